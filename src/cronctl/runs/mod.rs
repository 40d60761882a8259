//! `cronctl runs` and `cronctl run`: what became of runs.

pub mod story;

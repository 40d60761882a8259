//! `cronctl verify`.

pub mod calendar;

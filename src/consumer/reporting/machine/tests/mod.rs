mod alive;
mod clocks;
mod ends;
pub(in crate::consumer::reporting) mod fixture;

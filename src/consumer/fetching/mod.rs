//! From the topic: the threads *[`poll`]* and its *[`fetcher`]s*, one for each leader that is fetched from; [`reading`] tells
//! an attempt from what is none.

pub mod fetcher;
pub mod poll;
pub mod reading;

//! `cronctl runs` and `cronctl run` show what became of runs; `cronctl end` records that a run is over.
//!
//! [`run_detail`] folds the events of one run, and [`run_list`] keeps the runs of a period: each as an [`entry`], or in less room
//! once it is [`finished`]. [`row`] shows one run as a line. [`sources`] are what runs are listed from. A history of more runs
//! than fit is copied to a [`spool`] of [`packed`] files and listed one [`part`] after the other, and [`merge`] brings their rows
//! in order. [`search`] finds what the topics hold about one run, and [`peek`] what a record is about before it is decoded.
//! [`list`], [`one`] and [`end`] are the three commands.

pub mod end;
pub mod entry;
pub mod finished;
pub mod list;
mod merge;
pub mod one;
mod packed;
pub mod part;
pub(in crate::cronctl) mod peek;
pub mod row;
pub mod run_detail;
pub mod run_list;
pub(in crate::cronctl) mod search;
mod sources;
mod spool;

use super::screen::{Answer, Screen};
use crate::common::broker::BrokerError;
use crate::common::exit::Exit;

fn refused(screen: &mut Screen, error: &BrokerError) -> Answer {
    screen.complain(error)?;
    Ok(Exit::Kafka)
}

//! `cronctl runs` and `cronctl run` show what became of runs; `cronctl end` records that a run is over.
//!
//! [`run_detail`] folds the events of one run, and [`run_list`] keeps the runs of a period. [`row`] shows one run as a line.
//! [`list`], [`one`] and [`end`] are the three commands.

pub mod end;
pub mod list;
pub mod one;
pub mod row;
pub mod run_detail;
pub mod run_list;

use super::screen::{Answer, Screen};
use crate::common::broker::BrokerError;
use crate::common::exit::Exit;

fn refused(screen: &mut Screen, error: &BrokerError) -> Answer {
    screen.complain(error)?;
    Ok(Exit::Kafka)
}

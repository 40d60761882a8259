//! `cronctl runs`, `cronctl run` and `cronctl end`: what became of runs, and saying that one is over.
//!
//! [`story`] folds a run's events; [`journal`] keeps the runs of a period; [`row`] shows one; [`list`] and [`one`] are
//! the two questions, and [`end`] is the order.

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

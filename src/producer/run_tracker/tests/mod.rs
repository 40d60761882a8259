//! The rules of lost attempts, on a broker in memory and by a clock that is turned by hand.

mod another_log;
mod deciding;
pub(super) mod fixture;
mod knowing;
mod leading;
mod orders;
mod searching;
mod starting;
mod thread;
mod waiting;
mod working;

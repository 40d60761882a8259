//! Claim, then start: the thread *[`dispatch`]*, which steps the [`dispatcher`].
//!
//! [`loading`] asks where a partition goes on and [`position`] what an offset that makes no sense means; [`partition`] holds
//! what is not due, [`duplicates`] drops copies, [`claims`] and [`answers`] say what an answer to a commit allows, [`pace`]
//! when to wait for company; [`letters`] writes away what cannot be read.

pub mod answers;
pub mod claims;
pub mod dispatch;
pub mod dispatcher;
mod dispatching;
pub mod duplicates;
mod duties;
mod ends;
pub mod letters;
pub mod lines;
pub mod loading;
pub mod pace;
pub mod partition;
pub mod position;

//! Claim, then start: the thread *[`dispatch`]*, which steps the [`claimer`].
//!
//! [`loading`] asks where a partition goes on and [`position`] what an offset that makes no sense means; [`partition`] holds
//! what is not due, [`duplicates`] drops copies, [`claims`] and [`answers`] say what an answer to a commit allows, [`pace`]
//! when to wait for company; [`letters`] writes away what cannot be read.

pub mod answers;
pub mod channels;
pub mod claims;
pub mod dispatch;
pub mod duplicates;
mod duties;
mod lag;
pub mod letters;
pub mod linger;
pub mod loading;
pub mod machine;
pub mod messages;
pub mod partition;
pub mod position;
pub mod thread;

//! What became of attempts: the thread *[`reporter`]*, which steps [`reporting`]; [`reports`] says what follows from an end.

pub mod machine;
pub mod reports;
pub mod thread;

//! Group membership: who reads which partition.

mod assignor;

pub use assignor::{NAME as ASSIGNOR, assign, flatten};

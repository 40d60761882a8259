//! `cronctl` answers what people ask from the command line. Each question has a file.
//!
//! A question has its `Args`, which [`cli`] puts into the command line, and a function that answers on a
//! [`screen::Screen`] and says how the program ends. Nothing here knows the consumer.

pub mod check;
pub mod cli;
pub mod dead;
pub mod health;
pub mod instant;
mod names;
pub mod next;
pub mod offsets;
pub mod runs;
pub mod screen;
#[cfg(test)]
mod shown;
pub mod top;
pub mod verify;

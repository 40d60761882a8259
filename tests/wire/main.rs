//! The wire format is frozen: samples that are read back for ever, and a page that says what they hold.
//!
//! A test that fails here means that programs of two versions no longer understand each other. A new message gets a
//! new sample; a sample is never changed.

#[cfg(test)] // it is, and this tells the lints
mod described;
#[cfg(test)]
mod frozen;
#[cfg(test)]
mod message;
#[cfg(test)]
mod page;
#[cfg(test)]
mod samples;

//! consumer.
fn main() {}

//! producer.
fn main() {}

//! cronctl.
fn main() {}

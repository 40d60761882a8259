//! What `tests/contract.rs` cannot say of both ends: what takes long, and what a test plants.

mod faults;
mod group;
mod stepped;

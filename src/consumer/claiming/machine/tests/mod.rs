//! The claimer on a broker in memory: no threads, and a clock that the test turns.

mod claiming;
mod consumer;
pub(in crate::consumer::claiming) mod fixture;
mod ownership;
mod positions;
mod unreadable;

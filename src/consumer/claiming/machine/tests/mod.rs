//! The claiming machine on a broker in memory: there are no threads, and the test turns the clock.

mod claiming;
mod consumer;
mod findings;
pub(in crate::consumer::claiming) mod fixture;
mod made_anew;
mod ownership;
mod positions;
mod rests;
mod room;
mod unreadable;

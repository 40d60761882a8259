//! Workers and real processes: no Kafka, but everything from the claim that a worker takes to the report it makes.
//!
//! What counts descriptors, zombies or memory, and what is killed, runs in a process of its own: [`child`].

#[path = "../support/mod.rs"]
#[cfg(test)] // it is, and this tells the lints; so for the others
#[expect(dead_code, reason = "each test binary takes its own part")]
mod support;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod child;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod users;

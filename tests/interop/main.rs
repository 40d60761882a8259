//! What others write is read by us, and what we write is read by others: Kafka's own programs, and the `kafka` crate
//! as an independent second client.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod backlog;
#[cfg(test)]
mod codecs;
#[cfg(test)]
mod console;
#[cfg(test)]
mod kafka_crate;
#[cfg(test)]
mod needs;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod stored;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transactions;

//! The page of each program: `/metrics`, `/healthz` and `/readyz`, served by one thread within bounds.
//!
//! A client that can reach the port may not cost the program more than a little memory and one thread. `tiny_http`'s own
//! server does not promise that: it takes a thread for each connection, waits for a request without end, keeps a
//! request line of any length, and ends for good when the first `accept` fails. So the part of it that prints
//! answers is used, and what stands in front of that is ours:
//!
//! - `port`: which address is listened on ([`Bound`]).
//! - `head`: reads a request's head (a pure rule).
//! - `answer`: what is answered to which request, printed by `tiny_http`.
//! - `connection`: one connection, from its head to its farewell, without ever blocking.
//! - `page`: the thread `metrics-http`, which polls them all ([`Page`]).
//! - `health`: the facts behind `/healthz` and `/readyz` ([`Health`]).
//! - `duty`: what the program must keep doing, and how it says that it cannot ([`Duty`]).
//!
//! The answers are HTTP/1.0: a request a connection, which a client sees without a header that says so (and
//! `tiny_http` prints none). What a scrape every few seconds would save by keeping its connection is a handshake.

mod answer;
mod connection;
mod duty;
mod head;
mod health;
mod page;
mod port;
#[cfg(test)]
mod tests;

pub use duty::{Duty, Trouble};
pub use health::{Fact, Health};
pub use page::Page;
pub use port::{BindError, Bound};

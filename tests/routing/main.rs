//! What the client does when brokers die, freeze, come back, close connections, or are no brokers at all.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod calls;
#[cfg(test)]
mod death;
#[cfg(test)]
mod frozen;
#[cfg(test)]
mod nobody;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod quotas;

//! What both programs share: the model, the wire format, the broker port, clocks, threads, metrics and the log. Nothing
//! here knows what a producer or a consumer does.

pub mod backoff;
pub mod bounds;
pub mod broker;
pub mod byte_size;
pub mod cli;
pub mod clock;
pub mod descriptors;
pub mod duration;
pub mod exit;
pub mod glyphs;
pub mod holes;
pub mod http;
pub mod identity;
pub mod logging;
pub mod membership;
pub mod metrics;
pub mod model;
#[cfg(test)]
pub mod mutation;
pub mod nearest;
pub mod outgoing;
pub mod passing;
pub mod program;
pub mod rests;
pub mod scan;
pub mod signals;
pub mod thread;
pub mod topics;
pub mod unknown_time;
pub mod wire;
pub mod zones;

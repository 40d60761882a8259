//! What operators are shown of each cluster.

/// What operators are shown of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Jobs of the active file.
    pub jobs: usize,
    /// Ticks that were handed over and are not confirmed.
    pub in_flight: usize,
    /// Ticks of the backlog that are still to be taken, as far as they have been counted.
    pub backlog: u64,
}

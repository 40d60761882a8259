//! The number of a term.

use std::fmt;
use std::num::NonZeroU64;

/// One term of this producer: from the assignment by which it leads until it leads no more. A process counts its terms
/// from 1. What belongs to an earlier term than the present one is of no interest any more; no other process knows the
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(NonZeroU64);

impl Term {
    /// The first term of a process.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The term of this number; `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The term after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its number, from 1.
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

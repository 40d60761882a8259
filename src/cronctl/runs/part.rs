//! A part of all runs, told apart by their ids alone, so that a long history can be listed part by part.

use crate::common::model::RunId;

/// The runs whose ids end in certain bits. Ids are hashes, so halves of a part are of about the same size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    bits: u32,
    end: u128,
}

/// Ids that share so many bits are no hashes: a part is not divided further.
const MOST_BITS: u32 = 32;

impl Part {
    /// The part of that number, where all runs are divided by so many bits.
    pub fn numbered(bits: u32, number: u32) -> Self {
        Self { bits, end: number.into() }
    }

    /// The number of the part that a run is of, where all runs are divided by so many bits.
    pub fn number_of(bits: u32, run: RunId) -> usize {
        usize::try_from(run.0.as_u128() & ((1 << bits) - 1)).unwrap_or(0)
    }

    /// Whether a run is of this part.
    pub fn has(self, run: RunId) -> bool {
        run.0.as_u128() & ((1 << self.bits) - 1) == self.end
    }

    /// Its two halves.
    pub fn halves(self) -> Option<(Self, Self)> {
        let bits = self.bits + 1;
        (bits <= MOST_BITS).then(|| (Self { bits, ..self }, Self { bits, end: self.end | 1 << self.bits }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_of_one_half() {
        let all = Part::default();
        let (even, odd) = all.halves().unwrap();
        let (zero, two) = even.halves().unwrap();
        for id in 0..8_u128 {
            let run = RunId(uuid::Uuid::from_u128(id));
            let found = [all, even, odd, zero, two].map(|part| part.has(run));
            assert_eq!(found, [true, id % 2 == 0, id % 2 == 1, id % 4 == 0, id % 4 == 2], "{id}");
        }
        let mut part = all;
        while let Some((_, half)) = part.halves() {
            part = half;
        }
        assert!(part.has(RunId(uuid::Uuid::max())));
    }
}

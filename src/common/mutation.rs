//! Makes bytes for the tests of code that reads foreign bytes: random ones, and good ones that are bent.

/// A xorshift generator.
pub struct Random(pub u64);

impl Random {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }

    /// A byte, which is often one of those that stand for an end.
    pub fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => [0, 1, 2, 0x7f, 0x80, 0xff][self.below(6)],
            _ => u8::try_from(self.below(256)).unwrap(),
        }
    }

    /// So many of these bytes at most.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// Good bytes with up to four changes: cut out, replaced, put in, or doubled.
    pub fn bend(&mut self, good: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        let mut bent = good.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bent.len() + 1);
            let end = (at + self.below(12)).min(bent.len());
            match self.below(4) {
                0 => drop(bent.drain(at..end)),
                1 => bent[at..end].iter_mut().take(2).for_each(|byte| *byte = self.byte()),
                2 => drop(bent.splice(at..at, pieces[self.below(pieces.len())].iter().copied())),
                _ => drop(bent.splice(at..at, bent[at..end].to_vec())),
            }
        }
        bent
    }
}

/// How many cases a test tries: some thousands, or as many as `KAFKA_CRON_FUZZ_CASES` says for a longer search by hand.
pub fn cases(few: u64) -> u64 {
    std::env::var("KAFKA_CRON_FUZZ_CASES").ok().map_or(few, |cases| cases.parse().unwrap())
}

//! Numbers that look random and are the same in every run (SplitMix64).

/// A stream of numbers.
pub(in crate::producer) struct Random(pub(in crate::producer) u64);

impl Random {
    /// A number below `bound`.
    pub(in crate::producer) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).expect("below a u32")
    }

    /// One of `items`.
    pub(in crate::producer) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(u32::try_from(items.len()).expect("few")) as usize]
    }
}

//! Holes: messages below the committed offset that no consumer has claimed yet, written beside that offset.
//!
//! A retry that is not yet due is held while others behind it go first, so the committed offset moves past it. The
//! text beside the offset lists what was left out, so that the partition's next owner takes it up. It also carries
//! the topic's id: an offset of a topic that was deleted and made anew means nothing.
//!
//! The text is `1;<topic id>;` followed by nothing (no holes), by ranges `R<d>x<n>,…` – `n` holes of which the first
//! lies `d` below the committed offset – or by a bitmap `B<d>:<base64>` whose first bit is the offset `d` below.
//! Whichever is shorter is written; `docs/PROTOCOL.md` specifies it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use uuid::Uuid;

/// The longest text that Kafka keeps beside an offset (`offset.metadata.max.bytes`, default 4096).
pub const MAX_METADATA_BYTES: usize = 4096;

/// The length of a text without holes: the topic's id alone.
pub const LEAST_METADATA_BYTES: usize = 39;

/// How far below the committed offset a hole may lie. A text that says more is not one of ours.
pub const MAX_DISTANCE: i64 = 1_000_000_000;

/// The most holes that one text names: more than a bitmap of its length can, so that only long ranges reach it.
pub const MAX_HOLES: usize = 100_000;

/// Why the text beside an offset cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` beside the committed offset is not a list of holes")]
pub struct HolesError(String);

/// The holes below a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holes {
    /// The topic that the offset belongs to.
    pub topic_id: Uuid,
    /// Offsets below the committed one that are still unclaimed.
    pub offsets: BTreeSet<i64>,
}

/// The text for `offsets` below `committed`; `None` when it would be longer than Kafka keeps, when a hole lies too far
/// back, or when there are more holes than [`decode`] reads. Offsets at or above `committed` are no holes and are left
/// out.
pub fn encode(topic_id: Uuid, committed: i64, offsets: &BTreeSet<i64>) -> Option<String> {
    let holes: Vec<i64> = offsets.range(..committed).copied().collect();
    encode_within(MAX_METADATA_BYTES, topic_id, committed, &holes)
}

/// As [`encode`], for holes in ascending order that all lie below `committed`, in a text of at most `limit` bytes.
pub fn encode_within(limit: usize, topic_id: Uuid, committed: i64, holes: &[i64]) -> Option<String> {
    let head = format!("1;{topic_id};");
    let room = limit.min(MAX_METADATA_BYTES).checked_sub(head.len())?;
    let Some(lowest) = holes.first().copied() else { return Some(head) };
    if committed - lowest > MAX_DISTANCE || holes.len() > MAX_HOLES {
        return None;
    }
    let ranges = ranges(committed, holes);
    // A bitmap needs a sixth of a byte for each offset from the lowest hole on; a longer one cannot fit.
    let tail = match usize::try_from((committed - lowest) / 6) {
        Ok(length) if length <= room.min(ranges.len()) => {
            let bitmap = bitmap(committed, holes);
            if bitmap.len() < ranges.len() { bitmap } else { ranges }
        }
        _ => ranges,
    };
    (tail.len() <= room).then(|| head + &tail)
}

fn ranges(committed: i64, holes: &[i64]) -> String {
    let runs = holes.chunk_by(|a, b| a + 1 == *b);
    let texts = runs.map(|run| format!("{}x{}", committed - run[0], run.len()));
    format!("R{}", texts.collect::<Vec<_>>().join(","))
}

fn bitmap(committed: i64, holes: &[i64]) -> String {
    let (lowest, highest) = (holes[0], holes[holes.len() - 1]);
    let mut bits = vec![0_u8; usize::try_from((highest - lowest) / 8 + 1).unwrap_or(0)];
    for hole in holes {
        let at = hole - lowest;
        if let Some(byte) = usize::try_from(at / 8).ok().and_then(|i| bits.get_mut(i)) {
            *byte |= 1 << (at % 8);
        }
    }
    format!("B{}:{}", committed - lowest, BASE64.encode(bits))
}

/// Reads the text beside the committed offset. An empty text (a group whose offset was set by Kafka's own tools) is
/// `None`: no holes are known, and no topic id.
///
/// # Errors
/// [`HolesError`] when the text is neither empty nor one of ours.
pub fn decode(text: &str, committed: i64) -> Result<Option<Holes>, HolesError> {
    if text.is_empty() {
        return Ok(None);
    }
    let error = || HolesError(text.chars().take(80).collect());
    let rest = text.strip_prefix("1;").ok_or_else(error)?;
    let (id, tail) = rest.split_once(';').ok_or_else(error)?;
    let topic_id = Uuid::parse_str(id).map_err(|_| error())?;
    let offsets = if let Some(list) = tail.strip_prefix('R') {
        read_ranges(list, committed).ok_or_else(error)?
    } else if let Some(map) = tail.strip_prefix('B') {
        read_bitmap(map, committed).ok_or_else(error)?
    } else if tail.is_empty() {
        BTreeSet::new()
    } else {
        return Err(error());
    };
    Ok(Some(Holes { topic_id, offsets }))
}

fn first_offset(distance: &str, committed: i64) -> Option<i64> {
    let distance: i64 = distance.parse().ok()?;
    (1..=MAX_DISTANCE.min(committed)).contains(&distance).then(|| committed - distance)
}

fn read_ranges(list: &str, committed: i64) -> Option<BTreeSet<i64>> {
    let (mut offsets, mut named) = (BTreeSet::new(), 0);
    for range in list.split(',') {
        let (distance, count) = range.split_once('x')?;
        let first = first_offset(distance, committed)?;
        let count: usize = count.parse().ok()?;
        let after = first.checked_add(i64::try_from(count).ok()?)?;
        // Counted before they are taken: a text may name the same ones over and over.
        named = count.checked_add(named)?;
        if count == 0 || named > MAX_HOLES || after > committed {
            return None;
        }
        offsets.extend(first..after);
    }
    Some(offsets)
}

fn read_bitmap(map: &str, committed: i64) -> Option<BTreeSet<i64>> {
    let (distance, bits) = map.split_once(':')?;
    let first = first_offset(distance, committed)?;
    let bits = BASE64.decode(bits).ok()?;
    let mut offsets = BTreeSet::new();
    for (i, byte) in (0_i64..).zip(bits) {
        offsets
            .extend((0..8).filter(|bit| byte & (1 << bit) != 0).map(|bit| first.saturating_add(i * 8 + bit)));
    }
    offsets.last().is_none_or(|last| *last < committed).then_some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::mutation::{Random, cases};

    const ID: Uuid = Uuid::from_u128(7);

    fn check(committed: i64, offsets: impl IntoIterator<Item = i64>) -> String {
        let offsets: BTreeSet<i64> = offsets.into_iter().collect();
        let text = encode(ID, committed, &offsets).unwrap();
        assert!(text.len() <= MAX_METADATA_BYTES);
        assert_eq!(decode(&text, committed), Ok(Some(Holes { topic_id: ID, offsets })), "{text}");
        text.rsplit(';').next().unwrap().to_owned()
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(check(10, []), "");
        assert_eq!(check(10, [0]), "R10x1");
        assert_eq!(check(10, [9]), "R1x1");
        assert_eq!(check(1000, [100, 101, 102, 900]), "R900x3,100x1");
        assert_eq!(check(i64::MAX, [i64::MAX - 5, i64::MAX - 1]), "B5:EQ");
    }

    #[test]
    fn the_shorter_form_is_chosen() {
        assert!(check(20_000, 0..20_000).starts_with('R'));
        assert!(check(20_000, (0..20_000).step_by(2)).starts_with('B'));
        assert_eq!(check(40, [0, 30]), "R40x1,10x1", "ranges where both are as long");
    }

    #[test]
    fn random_holes_survive() {
        let mut seed = 88_172_645_463_325_252_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..500 {
            let committed = i64::try_from(next() % 5_000 + 1).unwrap();
            let count = next() % 300;
            check(
                committed,
                (0..count).map(|_| i64::try_from(next()).unwrap_or(0) % committed).map(i64::abs),
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_cut() {
        let far_apart: BTreeSet<i64> = (0..2_000).map(|i| i * 1_000).collect();
        assert_eq!(encode(ID, 2_000_000, &far_apart), None);
        assert_eq!(
            encode_within(usize::MAX, ID, 2_000_000, &Vec::from_iter(far_apart)),
            None,
            "Kafka's limit"
        );
        assert_eq!(encode(ID, MAX_DISTANCE + 1, &BTreeSet::from([0])), None);
        assert_eq!(check(MAX_DISTANCE, [0]), format!("R{MAX_DISTANCE}x1"));
    }

    #[test]
    fn what_is_written_can_be_read_however_many_holes_there_are() {
        let most = i64::try_from(MAX_HOLES).unwrap();
        assert_eq!(check(2 * most, 0..most), format!("R{}x{MAX_HOLES}", 2 * most));
        assert_eq!(check(2 * most, (0..most).map(|hole| hole + hole / (most - 1))).matches('x').count(), 2);
        assert_eq!(encode(ID, 2 * most, &(0..=most).collect()), None);
        assert_eq!(encode(ID, 2 * most, &(0..most).chain([most + 7]).collect()), None);
    }

    #[test]
    fn a_smaller_limit_of_the_broker_is_kept() {
        let holes: Vec<i64> = (0..40).map(|i| i * 1_000).collect();
        let whole = encode_within(4096, ID, 40_000, &holes).unwrap();
        assert_eq!(encode_within(whole.len(), ID, 40_000, &holes), Some(whole.clone()));
        assert_eq!(encode_within(whole.len() - 1, ID, 40_000, &holes), None);
        assert_eq!(encode_within(10, ID, 40_000, &[]), None, "not even the topic's id fits");
    }

    #[test]
    fn the_same_holes_named_over_and_over_are_an_error() {
        let text = format!("1;{ID};R{MAX_HOLES}x{MAX_HOLES},5x1");
        assert!(decode(&text, i64::MAX).is_err());
    }

    #[test]
    fn bent_texts_are_read_or_refused() {
        let pieces: [&[u8]; 10] = [b"R", b"B", b"x", b",", b":", b";", b"-1", b"99999", b"\xc3\xa9", b"+"];
        let good = [
            encode(ID, 1_000, &BTreeSet::from([1, 2, 900])).unwrap(),
            encode(ID, 1_000, &(0..1_000).step_by(3).collect()).unwrap(),
        ];
        let (mut random, mut read) = (Random(0xA076_1D64_78BD_642F), 0);
        for _ in 0..cases(5_000) {
            let good = good[random.below(2)].as_bytes();
            let bent = random.bend(good, &pieces);
            let committed = [0, 1, 1_000, i64::MAX][random.below(4)];
            let Ok(Some(holes)) = decode(&String::from_utf8_lossy(&bent), committed) else { continue };
            assert!(holes.offsets.len() <= MAX_HOLES);
            assert!(holes.offsets.iter().all(|hole| (0..committed).contains(hole)));
            if let Some(text) = encode(holes.topic_id, committed, &holes.offsets) {
                assert_eq!(decode(&text, committed), Ok(Some(holes)), "{text}");
                read += 1;
            }
        }
        assert!(read > 100, "{read}: too few are read for this to show anything");
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        assert_eq!(decode("", 5), Ok(None));
        let id = ID.to_string();
        let tails = [
            "X", "R", "R1", "Rx", "R0x1", "R6x1", "R5x6", "R5x0", "R5x1,", "R-1x1", "B", "B5", "B5:!",
            "B5:/w", "B5:IA", "é",
        ];
        let odd = ["1", "1;", "2;;", "1;no-uuid;", "\u{0}"].map(str::to_owned);
        for text in tails.iter().map(|tail| format!("1;{id};{tail}")).chain(odd) {
            assert!(decode(&text, 5).is_err(), "{text}");
        }
        assert!(decode(&format!("1;{id};R9999999999x9999999999"), i64::MAX).is_err());
        assert!(decode(&format!("1;{id};R{}x1", MAX_DISTANCE + 1), i64::MAX).is_err(), "too far below");
        let too_many = format!("1;{id};R{MAX_DISTANCE}x{MAX_HOLES},5x1");
        assert!(
            decode(&too_many, i64::MAX).is_err(),
            "each range is short enough, and together they are not"
        );
    }
}

//! Which partition a key belongs to: Kafka's own rule, so that every client puts a run in the same place.

/// The partition of `key` among `count`, by Kafka's default partitioner: murmur2 of the key (seed `0x9747b28c`),
/// sign bit cleared, modulo the count (`org.apache.kafka.clients.producer.internals.BuiltInPartitioner`).
pub fn partition_for(key: &[u8], count: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive).unwrap_or(0) % count.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = 0x9747_b28c_u32 ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        h = h.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_partitioner() {
        // Values from Kafka's test of Utils.murmur2, as unsigned numbers.
        let rows: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in rows {
            assert_eq!(murmur2(key), hash.cast_unsigned(), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn every_partition_is_in_range() {
        for n in 0..1000_i32 {
            let p = partition_for(&n.to_be_bytes(), 3);
            assert!((0..3).contains(&p));
        }
    }
}

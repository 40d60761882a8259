//! Where the logs of our partitions end, as far as fetches have told us. The lag is counted from these ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::broker::{BrokerError, Log, Position, TopicPartition};
use crate::consumer::fetching::fetcher::Track;

/// How often the end of a partition is looked at that is not read.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look-up may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long this look-up rests after a failure: claims wait while a broker does not answer.
const REST: Duration = Duration::from_secs(15);

/// The ends by partition.
#[derive(Debug)]
pub(super) struct Ends {
    known: BTreeMap<i32, i64>,
    look_at: Instant,
    looked: usize,
}

impl Ends {
    /// Creates one that knows no end.
    pub(super) fn new(now: Instant) -> Self {
        Self { known: BTreeMap::new(), look_at: now, looked: 0 }
    }

    /// Takes the partitions that are ours from now on.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// Takes an end that a fetch told.
    pub(super) fn told(&mut self, partition: i32, end: i64) {
        self.known.insert(partition, end);
    }

    /// The ends that are known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, i64)> {
        self.known.iter().map(|(partition, end)| (*partition, *end))
    }

    /// Asks for an end that no fetch tells: a partition that is full is not read.
    ///
    /// # Errors
    /// The partition whose end could not be learned, and why.
    pub(super) fn look<L: Log + ?Sized>(
        &mut self,
        client: &mut L,
        tracks: &[Arc<Track>],
        now: Instant,
    ) -> Result<(), (TopicPartition, BrokerError)> {
        if now < self.look_at {
            return Ok(());
        }
        self.look_at = now + LOOK;
        let shut: Vec<&Arc<Track>> =
            tracks.iter().filter(|track| !track.open.load(Ordering::Acquire)).collect();
        self.looked = self.looked.wrapping_add(1);
        let Some(track) = self.looked.checked_rem(shut.len()).map(|which| shut[which]) else { return Ok(()) };
        match client.offset(&track.of, Position::End, now + PATIENCE) {
            Ok(end) => self.told(track.of.partition, end),
            Err(error) => {
                self.look_at = now + REST;
                return Err((track.of.clone(), error));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::common::broker::memory::{Call, Fate, MemoryBroker};
    use crate::common::broker::{Broker, Client, ProduceBatch, Record};
    use crate::common::clock::SystemClock;
    use crate::common::topics::TopicSpec;

    #[test]
    fn the_ends_of_partitions_that_are_not_read_are_asked_for_in_turn() {
        let broker = MemoryBroker::stepped(Arc::new(SystemClock));
        let mut client = broker.client("test");
        let now = Instant::now();
        let by = now + Duration::from_secs(5);
        let (name, settings) = ("c".to_owned(), Vec::new());
        client.create_topic(&TopicSpec { name, partitions: 3, replication_factor: 1, settings }, by).unwrap();
        let track = |partition| {
            let of = TopicPartition { topic: "c".to_owned(), partition };
            Track::new(of, 1, 0, partition == 0)
        };
        let tracks: Vec<_> = (0..3).map(track).collect();
        for track in &tracks {
            let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
            let batch = ProduceBatch { to: track.of.clone(), records: vec![record] };
            client.produce(&[batch], by).remove(0).unwrap();
        }
        let mut ends = Ends::new(now);
        (0..2).for_each(|_| ends.look(client.as_mut(), &tracks, now).unwrap());
        assert_eq!(ends.iter().count(), 1, "one a second");
        ends.look(client.as_mut(), &tracks, now + LOOK).unwrap();
        assert_eq!(ends.iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
        // A broker that does not answer is left alone for longer.
        broker.faults().next(Call::Offset, Fate::RequestLost);
        let failed = now + LOOK * 2;
        let asked = |ends: &mut Ends, client: &mut dyn Client, at: Instant| {
            let before = broker.faults().made(Call::Offset);
            let looked = ends.look(client, &tracks, at);
            assert_eq!(looked.is_err(), at == failed);
            broker.faults().made(Call::Offset) - before
        };
        let rows = [(failed, 1), (failed + LOOK, 0), (failed + REST - LOOK, 0), (failed + REST, 1)];
        for (at, expected) in rows {
            assert_eq!(asked(&mut ends, client.as_mut(), at), expected, "{:?} later", at - failed);
        }
        ends.clear();
        assert_eq!(ends.iter().count(), 0);
    }
}

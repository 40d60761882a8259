//! What went with a topic that was deleted and made again: the messages that no consumer had claimed, as far as this one knew
//! of them. The new topic's log tells nothing of the former one, and Kafka forgets the offsets of a topic that is deleted.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::consumer::claiming::partition::Partition;

/// The partitions that were ours and whose position is to be looked up again: the id of their topic, and how many of their
/// messages no consumer had claimed.
#[derive(Debug, Default)]
pub(super) struct Former(BTreeMap<i32, (Uuid, i64)>);

impl Former {
    /// Remembers a partition that is let go.
    pub(super) fn remember(&mut self, partition: i32, held: &Partition) {
        self.0.insert(partition, (held.topic_id(), held.known_unclaimed()));
    }

    /// Only these partitions are ours from now on: of the others, their new owners know more.
    pub(super) fn keep(&mut self, partitions: &[i32]) {
        self.0.retain(|partition, _| partitions.contains(partition));
    }

    /// How many unclaimed messages of a partition are gone, now that its topic has this id.
    pub(super) fn gone(&mut self, partition: i32, topic_id: Uuid) -> Option<u64> {
        let (before, unclaimed) = self.0.remove(&partition)?;
        u64::try_from(unclaimed).ok().filter(|count| before != topic_id && *count > 0)
    }
}

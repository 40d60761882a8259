//! Members that are stepped in turn on one thread, as a simulation does it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, Client};
use crate::common::clock::{Clock, SystemClock};
use crate::common::membership::{Change, Member, Options};
use crate::common::topics::TopicSpec;

#[test]
fn members_that_are_stepped_in_turn_share_a_topic_without_waiting() {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let clock = SystemClock;
    let now = clock.monotonic();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 4, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, now + Duration::from_secs(1)).unwrap();
    let mut members: Vec<(Member, Box<dyn Client>, Option<Change>)> = (0..3)
        .map(|i| {
            let options = Options {
                group: "g".to_owned(),
                topic: "t".to_owned(),
                instance_id: None,
                session_timeout: Duration::from_secs(600),
            };
            (Member::new(options), broker.client(&format!("member-{i}")), None)
        })
        .collect();
    for _ in 0..20 {
        for (member, client, last) in &mut members {
            let (change, _) = member.step(client.as_mut(), now);
            *last = change.or_else(|| last.take());
        }
    }
    let mut all = Vec::new();
    let mut generations = Vec::new();
    for (_, _, last) in &members {
        let Some(Change::Assigned { holder, partitions, .. }) = last else { panic!("{last:?}") };
        generations.push(holder.generation);
        all.extend(partitions.iter().map(|of| of.partition));
    }
    all.sort_unstable();
    generations.dedup();
    assert_eq!((all, generations.len()), (vec![0, 1, 2, 3], 1), "each partition once, in one generation");
}

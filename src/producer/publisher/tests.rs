//! The real thread on a clock that the test turns, with a cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use crossbeam_channel::bounded;

use super::*;
use crate::common::bounds::TICK_BATCHES;
use crate::common::broker::Broker;
use crate::common::broker::memory::MemoryBroker;
use crate::common::clock::{Clock, ManualClock};
use crate::common::http::Health;
use crate::common::membership::Standing;
use crate::common::metrics::{Beats, Metrics};
use crate::common::words::ClusterName;
use crate::producer::job::sample;
use crate::producer::leadership::Mandate;
use crate::producer::measures::Measures;
use crate::producer::setup;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_batch_waits_for_the_proof_of_our_membership_and_is_left_only_when_its_term_is_over() {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let (metrics, standing) = (Metrics::new(), Standing::new(clock.monotonic()));
    let mandate = Mandate::new(standing.clone(), Duration::from_secs(6));
    let (confirming, confirmed) = bounded(TICK_BATCHES);
    let cluster = ClusterName::new("cluster-a").unwrap();
    let around = Around {
        client: MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>).client("publisher"),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        mandate: mandate.clone(),
        confirmed: confirming,
        measures: Measures::new(&metrics).of(&cluster),
        health: Health::new(&metrics),
        beat: Beats::new(&metrics).thread("publish"),
    };
    let topics = setup::Options { partitions: 1, replication_factor: None };
    let options = Options { cluster, number: 0, topics };
    let (_publisher, batches) = Publisher::start(options, around).unwrap();
    let batch = |epoch| Batch {
        epoch,
        kind: Some(Kind::Present),
        ticks: vec![Tick { job: Arc::new(sample("a", "@hourly")), at: DateTime::UNIX_EPOCH }],
        events: Vec::new(),
        revision: Arc::from("r"),
    };
    // The batch of a term that is over, and one of the present term while our membership is not proven.
    mandate.grant(2, standing.losses());
    batches.send(batch(1)).unwrap();
    batches.send(batch(2)).unwrap();
    while !batches.is_empty() {
        assert!(clock.ring_next(PATIENCE));
    }
    assert!(clock.ring_next(PATIENCE));
    assert!(confirmed.is_empty(), "nothing is written without a proof");
    standing.set(Some(clock.monotonic()));
    assert!(clock.ring_next(PATIENCE));
    let confirmed = confirmed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(confirmed.epoch, 2);
}

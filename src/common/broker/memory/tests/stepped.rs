//! Members that are stepped in turn on one thread, as a simulation does it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, BrokerError, Client, Join, JoinRequest, Joined, Subscription};
use crate::common::clock::{Clock, ManualClock, SystemClock};
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
                counts_once_taken_up: false,
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

#[test]
fn a_join_whose_place_a_late_copy_took_is_asked_anew_when_its_caller_has_waited_in_vain() {
    let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
    let join = |client: &mut dyn Client, member_id: &mut String| -> Result<Joined, BrokerError> {
        let mut request = JoinRequest {
            group: "g".to_owned(),
            member_id: member_id.clone(),
            instance_id: None,
            session_timeout: Duration::from_secs(600),
            rebalance_timeout: Duration::from_secs(600),
            protocol: "p".to_owned(),
            subscription: Subscription::default(),
        };
        let by = clock.monotonic() + Duration::from_secs(8);
        loop {
            match client.join(&request, by)? {
                Join::Named(name) => (*member_id, request.member_id) = (name.clone(), name),
                Join::Joined(joined) => return Ok(joined),
            }
        }
    };
    let [mut a, mut b, mut c, mut late] = ["a", "b", "c", "late"].map(|name| broker.client(name));
    let (mut of_a, mut of_b, mut of_c) = (String::new(), String::new(), String::new());
    join(a.as_mut(), &mut of_a).unwrap();
    // The second one waits for the first, and the third for both.
    assert!(join(b.as_mut(), &mut of_b).is_err());
    join(a.as_mut(), &mut of_a).unwrap();
    join(b.as_mut(), &mut of_b).unwrap();
    assert!(join(c.as_mut(), &mut of_c).is_err());
    assert!(join(a.as_mut(), &mut of_a).is_err());
    assert!(join(late.as_mut(), &mut of_a).is_err());
    assert_eq!(join(b.as_mut(), &mut of_b).unwrap().generation, 3);
    assert!(join(a.as_mut(), &mut of_a).is_err(), "the late copy has its answer");
    clock.turn(Duration::from_secs(9));
    assert_eq!(join(a.as_mut(), &mut of_a).unwrap().generation, 3);
}

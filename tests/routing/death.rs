//! A leader is killed.

use std::time::{Duration, Instant};

use kafka_cron::common::broker::{Broker as _, Client};
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::calls::{commit, committed, topic, values, write};
use crate::support::broker::{OwnBroker, await_groups, connect, version};
use crate::support::raw::ask;
use crate::support::{soon, unique, wait_until};

/// The broker that coordinates a group.
fn coordinator(broker: &str, group: &str) -> i32 {
    let group = StrBytes::from_string(group.to_owned());
    let request = FindCoordinatorRequest::default().with_key(group);
    let answer: FindCoordinatorResponse = ask(broker, ApiKey::FindCoordinator, 3, &request);
    answer.node_id.0
}

#[test]
fn the_death_of_a_leader_loses_nothing_that_was_confirmed_and_needs_no_one() {
    let cluster = OwnBroker::cluster(version(), 3);
    let all: Vec<String> = cluster.iter().map(OwnBroker::brokers).collect();
    let mut client = connect(&all.join(",")).client("routing");
    let client = client.as_mut();
    let of = topic(client, 3);
    await_groups(client);
    let leader = client.topic(&of.topic, soon()).unwrap().unwrap().partitions[0].leader.unwrap();
    let everyone = Duration::from_secs(30);
    let group = wait_until("a group that the leader coordinates", everyone, || {
        let group = unique("group");
        (coordinator(&all[0], &group) == leader).then_some(group)
    });
    wait_until("all copies are in sync and writing works", everyone, || {
        write(client, &of, "first", soon()).ok()
    });
    wait_until("a commit is granted", everyone, || commit(client, &group, &of, 1));

    let mut confirmed = vec![(0, "first".to_owned())];
    let mut number = 0;
    let mut write_next = |client: &mut dyn Client| {
        number += 1;
        let value = number.to_string();
        // The same again until it is confirmed, as every thread that writes does.
        let offset = wait_until("a record is confirmed", everyone, || {
            write(client, &of, &value, Instant::now() + Duration::from_secs(2)).ok()
        });
        confirmed.push((offset, value));
    };
    (0..100).for_each(|_| write_next(client));

    let dead = &cluster[usize::try_from(leader).unwrap() - 1];
    let survivor = cluster.iter().find(|own| own.port() != dead.port()).unwrap();
    dead.kill();
    (0..100).for_each(|_| write_next(client));
    wait_until("a commit is granted", everyone, || commit(client, &group, &of, 7));
    wait_until("the commit is read", everyone, || (committed(client, &group, &of)? == 7).then_some(()));
    let now = client.topic(&of.topic, soon()).unwrap().unwrap().partitions[0].leader.unwrap();
    assert_ne!(now, leader, "the premise: it was the leader that died");
    assert_ne!(coordinator(&survivor.brokers(), &group), leader, "the premise: and the coordinator");

    let log = values(client, &of);
    for (offset, value) in &confirmed {
        assert_eq!(log.get(usize::try_from(*offset).unwrap()), Some(value), "at offset {offset}");
    }
    // What had no answer may stand there twice; nothing stands there that was never written.
    let written = |value: &String| confirmed.iter().any(|(_, known)| known == value);
    assert!(log.iter().all(written), "{log:?}");
}

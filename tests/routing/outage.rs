//! Connections that were closed, and brokers that are away and come back.

use std::time::{Duration, Instant};

use kafka_cron::common::broker::{Broker as _, BrokerError, Client};

use super::calls::{commit, committed, topic, values, write};
use crate::support::broker::{OwnBroker, await_groups, version};
use crate::support::{closed_by_peer, soon, unique, wait_until};

#[test]
fn a_connection_that_the_broker_closed_is_dialled_again_without_an_error() {
    let own = OwnBroker::start_with(version(), &["connections.max.idle.ms=4000"]);
    let mut client = own.broker().client("routing");
    let client = client.as_mut();
    let of = topic(client, 1);
    let group = unique("group");
    await_groups(client);
    wait_until("a commit is granted", Duration::from_secs(20), || commit(client, &group, &of, 0));
    write(client, &of, "0", soon()).unwrap();
    let check = |client: &mut dyn Client, call: &mut dyn FnMut(&mut dyn Client)| {
        wait_until("the broker has closed the connection", Duration::from_secs(20), || {
            closed_by_peer(own.port()).then_some(())
        });
        call(client);
        assert!(!closed_by_peer(own.port()), "the premise: the call found the closed connection");
    };
    // The two that are never repeated, and one that is.
    check(client, &mut |client| assert_eq!(write(client, &of, "1", soon()), Ok(1)));
    check(client, &mut |client| commit(client, &group, &of, 2).expect("it is granted at once"));
    check(client, &mut |client| assert_eq!(committed(client, &group, &of), Some(2)));
}

#[test]
fn all_brokers_away_is_an_error_for_as_long_as_they_are_and_no_longer() {
    let own = OwnBroker::start(version());
    let mut client = own.broker().client("routing");
    let client = client.as_mut();
    let of = topic(client, 1);
    let group = unique("group");
    await_groups(client);
    wait_until("a commit is granted", Duration::from_secs(20), || commit(client, &group, &of, 0));
    write(client, &of, "before", soon()).unwrap();

    own.kill();
    // Ten seconds of asking, as threads do that cannot go on.
    let away = Instant::now() + Duration::from_secs(10);
    wait_until("ten seconds are over", Duration::from_secs(60), || {
        let refused = write(client, &of, "never", Instant::now() + Duration::from_secs(1));
        assert!(matches!(refused, Err(BrokerError::NotSent(_) | BrokerError::NoAnswer(_))), "{refused:?}");
        assert_eq!(commit(client, &group, &of, 9), None);
        assert!(client.topic(&of.topic, Instant::now() + Duration::from_secs(1)).is_err());
        (Instant::now() > away).then_some(())
    });
    own.restart();
    wait_until("writing works", Duration::from_secs(30), || write(client, &of, "after", soon()).ok());
    wait_until("a commit is granted", Duration::from_secs(30), || commit(client, &group, &of, 2));
    assert_eq!(committed(client, &group, &of), Some(2));
    assert_eq!(values(client, &of), ["before", "after"]);
}

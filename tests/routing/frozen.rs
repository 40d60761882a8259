//! A broker stops in its tracks: it accepts connections and says nothing.

use std::time::{Duration, Instant};

use kafka_cron::common::broker::{
    Broker as _, BrokerError, Client, Commit, JoinRequest, Position, Subscription, Want,
};
use kafka_cron::common::topics::TopicSpec;

use super::calls::{SLACK, nobody, topic, values, write};
use crate::support::broker::{OwnBroker, await_groups, version};
use crate::support::{soon, unique, wait_until};

#[test]
fn no_call_outwaits_its_deadline_at_a_frozen_broker() {
    let own = OwnBroker::start(version());
    let mut known = own.broker().client("routing");
    let of = topic(known.as_mut(), 1);
    await_groups(known.as_mut());
    let node = known.topic(&of.topic, soon()).unwrap().unwrap().partitions[0].leader.unwrap();
    write(known.as_mut(), &of, "before", soon()).unwrap();
    own.freeze();

    let mut new = own.broker().client("routing");
    for client in [known.as_mut(), new.as_mut()] {
        let patience = Duration::from_millis(200);
        let check = |what: &str, call: &mut dyn FnMut(Instant) -> Option<BrokerError>| {
            let began = Instant::now();
            let error = call(began + patience).unwrap_or_else(|| panic!("{what}: a frozen broker answered"));
            assert!(began.elapsed() < patience + SLACK, "{what} took {:?}", began.elapsed());
            assert!(matches!(error, BrokerError::NoAnswer(_) | BrokerError::NotSent(_)), "{what}: {error}");
        };
        let want = Want { from: of.clone(), offset: 0, max_bytes: 1 << 20 };
        let join = JoinRequest {
            group: "frozen".to_owned(),
            member_id: String::new(),
            instance_id: None,
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(10),
            protocol: "any".to_owned(),
            subscription: Subscription::default(),
        };
        let one = Commit { of: of.clone(), offset: 1, metadata: String::new() };
        let group = nobody("frozen");
        let spec = TopicSpec { name: unique("x"), partitions: 1, replication_factor: 1, settings: vec![] };
        check("produce", &mut |by| write(client, &of, "during", by).err());
        let long = Duration::from_secs(60);
        check("fetch", &mut |by| client.fetch(node, std::slice::from_ref(&want), long, by).err());
        check("topic", &mut |by| client.topic(&of.topic, by).err());
        check("offset", &mut |by| client.offset(&of, Position::End, by).err());
        check("join", &mut |by| client.join(&join, by).err());
        check("sync", &mut |by| client.sync(&group, "any", &[], by).err());
        check("heartbeat", &mut |by| client.heartbeat(&group, by).err());
        check("leave", &mut |by| client.leave(&group, by).err());
        check("commit", &mut |by| client.commit(&group, std::slice::from_ref(&one), by).err());
        check("committed", &mut |by| client.committed("frozen", std::slice::from_ref(&of), by).err());
        check("broker count", &mut |by| client.broker_count(by).err());
        check("create topic", &mut |by| client.create_topic(&spec, by).err());
        check("settings", &mut |by| client.topic_settings(&of.topic, &["retention.ms"], by).err());
    }

    // However far the deadline is, nobody waits longer for an answer than a request may take.
    let began = Instant::now();
    assert!(known.broker_count(began + Duration::from_secs(60)).is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    own.thaw();
    wait_until("it answers again", Duration::from_secs(30), || known.broker_count(soon()).ok());
    wait_until("it writes again", Duration::from_secs(30), || {
        write(known.as_mut(), &of, "after", soon()).ok()
    });
    let log = values(known.as_mut(), &of);
    assert_eq!((log.first().unwrap().as_str(), log.last().unwrap().as_str()), ("before", "after"));
}

/// A fetcher ends with the error that it meets, and another one begins with a client of its own. A broker that answers after
/// three seconds would be given up by each of them in turn.
#[test]
fn a_client_waits_as_long_for_a_slow_broker_as_the_clients_before_it_have_learnt_to() {
    let own = OwnBroker::start(version());
    let broker = own.broker();
    let mut clients = ["first", "second", "third"].map(|name| broker.client(name));
    let of = topic(clients[0].as_mut(), 1);
    let node = clients[0].topic(&of.topic, soon()).unwrap().unwrap().partitions[0].leader.unwrap();
    write(clients[0].as_mut(), &of, "before", soon()).unwrap();
    let want = Want { from: of, offset: 0, max_bytes: 1 << 20 };
    let fetch = |client: &mut dyn Client| {
        let by = Instant::now() + Duration::from_secs(30);
        client.fetch(node, std::slice::from_ref(&want), Duration::ZERO, by)
    };
    for client in &mut clients {
        fetch(client.as_mut()).expect("the premise: each has a connection that works");
    }
    own.freeze();
    let [first, second, third] = &mut clients;
    for client in [first, second] {
        let error = fetch(client.as_mut()).expect_err("a frozen broker does not answer");
        assert!(matches!(error, BrokerError::NoAnswer(_)), "{error}");
    }
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| fetch(third.as_mut()));
        let (_never, pause) = crossbeam_channel::bounded::<()>(0);
        let _over = pause.recv_timeout(Duration::from_secs(4));
        own.thaw();
        answer.join().unwrap().expect("it waits for twice as long as the second did");
    });
}

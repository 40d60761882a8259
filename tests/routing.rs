//! What the client does when brokers die, freeze, come back, close connections, or are no brokers at all.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_cron::common::broker::kafka::{KafkaBroker, TlsOptions};
use kafka_cron::common::broker::{
    Broker, BrokerError, Client, Commit, Holder, JoinRequest, Position, ProduceBatch, Record, Subscription,
    TopicPartition, Want,
};
use kafka_cron::common::topics::TopicSpec;
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use support::broker::{OwnBroker, VERSION, await_groups, await_topic, connect};
use support::raw::ask;
use support::{closed_by_peer, soon, unique, wait_until};

/// How much later than its deadline a call may return on a loaded machine.
const SLACK: Duration = Duration::from_millis(800);

/// An authority that nobody has a certificate of.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUVeDc0ISxBN0cRQstCpF5WOUDV2kwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTEyNDE0NDU0OVoXDTM2MTEyMTE0NDU0
OVowETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
D7zZq8kUsfMlbP0jBoYd0AXy8x+hH1CN+pM98yqru50NsjfREtGg1uqvNeO/ihAm
IYLflxpvLZNlCae0hE9fKaNTMFEwHQYDVR0OBBYEFKG/JcK7r1D7liZnyg2GaNQ9
GKnxMB8GA1UdIwQYMBaAFKG/JcK7r1D7liZnyg2GaNQ9GKnxMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAIZ1Adxsj8cWETCmBs46v4URGiHSrpL/
eb5sPX03I9wlAiEA1vTFBs8A3v3dSzfVPZdjgy6rCbTtXp+gxGa98uI5FKY=
-----END CERTIFICATE-----
";

fn topic(client: &mut dyn Client, copies: i16) -> TopicPartition {
    let name = unique("routing");
    let settings = if copies > 1 { vec![("min.insync.replicas", "2".to_owned())] } else { vec![] };
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: copies, settings };
    client.create_topic(&spec, soon()).unwrap();
    await_topic(client, &name);
    TopicPartition { topic: name, partition: 0 }
}

fn write(client: &mut dyn Client, to: &TopicPartition, value: &str, by: Instant) -> Result<i64, BrokerError> {
    let record = Record { key: None, value: Some(Bytes::from(value.to_owned())), timestamp_ms: 0 };
    let batch = ProduceBatch { to: to.clone(), records: vec![record] };
    client.produce(&[batch], by).remove(0).map(|written| written.base_offset)
}

/// In nobody's name: what an empty group takes.
fn nobody(group: &str) -> Holder {
    Holder { group: group.to_owned(), member_id: String::new(), instance_id: None, generation: -1 }
}

fn commit(client: &mut dyn Client, group: &str, of: &TopicPartition, offset: i64) -> Option<()> {
    let commit = Commit { of: of.clone(), offset, metadata: String::new() };
    let answer = client.commit(&nobody(group), &[commit], Instant::now() + Duration::from_secs(2));
    (answer == Ok(vec![None])).then_some(())
}

fn committed(client: &mut dyn Client, group: &str, of: &TopicPartition) -> Option<i64> {
    let by = Instant::now() + Duration::from_secs(2);
    client.committed(group, std::slice::from_ref(of), by).ok()?.remove(0).map(|committed| committed.offset)
}

/// The broker that coordinates a group.
fn coordinator(broker: &str, group: &str) -> i32 {
    let group = StrBytes::from_string(group.to_owned());
    let request = FindCoordinatorRequest::default().with_key(group);
    let answer: FindCoordinatorResponse = ask(broker, ApiKey::FindCoordinator, 3, &request);
    answer.node_id.0
}

/// All values of a partition, by offset.
fn values(client: &mut dyn Client, of: &TopicPartition) -> Vec<String> {
    let mut values = Vec::new();
    let end = client.offset(of, Position::End, soon()).unwrap();
    while i64::try_from(values.len()).unwrap() < end {
        let state = client.topic(&of.topic, soon()).unwrap().unwrap();
        let want = Want { from: of.clone(), offset: values.len().try_into().unwrap(), max_bytes: 1 << 20 };
        let leader = state.partitions[0].leader.unwrap();
        let fetched = client.fetch(leader, &[want], Duration::from_millis(500), soon()).unwrap().remove(0);
        let records = fetched.unwrap().records.into_iter();
        values.extend(records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    values
}

#[test]
fn the_death_of_a_leader_loses_nothing_that_was_confirmed_and_needs_no_one() {
    let cluster = OwnBroker::cluster(VERSION, 3);
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

#[test]
fn no_call_outwaits_its_deadline_at_a_frozen_broker() {
    let own = OwnBroker::start(VERSION);
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

#[test]
fn a_connection_that_the_broker_closed_is_dialled_again_without_an_error() {
    let own = OwnBroker::start_with(VERSION, &["connections.max.idle.ms=1000"]);
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
    let own = OwnBroker::start(VERSION);
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

#[test]
fn what_is_no_broker_costs_a_second_or_two_and_not_more() {
    // The system accepts connections for it; nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().unwrap().to_string();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::TempDir::new().unwrap();
    let check = |address: &str, tls: bool, limit_ms: u64| {
        let certificates = TlsOptions { ca_file: folder.path().join("ca.pem") };
        std::fs::write(&certificates.ca_file, CERTIFICATE).unwrap();
        let broker = KafkaBroker::new(&[address.to_owned()], tls.then_some(&certificates)).unwrap();
        let began = Instant::now();
        let answer = broker.client("routing").broker_count(began + Duration::from_secs(60));
        assert!(matches!(answer, Err(BrokerError::NotSent(_))), "{address}: {answer:?}");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(limit_ms) + SLACK, "{address} took {took:?}");
    };
    check(&nobody, false, 0);
    check(&mute, false, 2_000);
    check(&mute, true, 2_000);
    // A host that is not there (RFC 5737), or a network that says so.
    check("192.0.2.1:9092", false, 1_000);
    check("no-such-host.invalid:9092", false, 1_000);
}

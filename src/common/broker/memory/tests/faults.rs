//! What a test plants, and what the client hears of it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{
    Broker, BrokerError, Client, Commit, Deadline, ErrorCode, Holder, Position, ProduceBatch, Record,
    TopicPartition,
};
use crate::common::clock::{Clock, ManualClock, SystemClock};
use crate::common::topics::TopicSpec;

fn soon() -> Deadline {
    SystemClock.monotonic() + Duration::from_secs(20)
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".to_owned(), partition }
}

fn world() -> (MemoryBroker, Box<dyn Client>) {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let mut client = broker.client("test");
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    client.create_topic(&spec, soon()).unwrap();
    (broker, client)
}

fn commit(client: &mut dyn Client, offset: i64) -> Result<Vec<Option<ErrorCode>>, BrokerError> {
    let holder =
        Holder { group: "g".to_owned(), member_id: String::new(), instance_id: None, generation: -1 };
    client.commit(&holder, &[Commit { of: of(0), offset, metadata: String::new() }], soon())
}

fn committed(client: &mut dyn Client) -> Option<i64> {
    let committed = client.committed("g", &[of(0)], soon()).unwrap().remove(0);
    committed.map(|committed| committed.offset)
}

fn write(client: &mut dyn Client, partition: i32) -> Result<i64, BrokerError> {
    let record = Record { key: None, value: None, timestamp_ms: 0 };
    let batch = ProduceBatch { to: of(partition), records: vec![record] };
    client.produce(&[batch], soon()).remove(0).map(|written| written.base_offset)
}

#[test]
fn each_fate_is_told_and_applied_as_its_name_says() {
    let check = |fate: Fate, heard: &str, applied: bool| {
        let (broker, mut client) = world();
        broker.faults().next(Call::Commit, fate);
        let answer = match commit(&mut *client, 7) {
            Ok(codes) => codes[0].map_or("granted", ErrorCode::word),
            Err(error) => error.word(),
        };
        assert_eq!((answer, committed(&mut *client).is_some()), (heard, applied), "{fate:?}");
        assert!(broker.faults().all_met());
        assert_eq!(commit(&mut *client, 8), Ok(vec![None]), "{fate:?} is for one call");
    };
    check(Fate::NotSent, "unreachable", false);
    check(Fate::RequestLost, "no_answer", false);
    check(Fate::AnswerLost, "no_answer", true);
    check(Fate::Late, "no_answer", false);
    check(Fate::Refused(ErrorCode::NotCoordinator), "not_coordinator", false);
    check(Fate::AppliedButRefused(ErrorCode::NotCoordinator), "not_coordinator", true);
}

#[test]
fn late_requests_arrive_in_order_when_the_test_says_so() {
    let (broker, mut client) = world();
    for offset in [1, 2] {
        broker.faults().next(Call::Commit, Fate::Late);
        assert!(commit(&mut *client, offset).is_err());
    }
    commit(&mut *client, 9).unwrap();
    assert_eq!((broker.faults().late(), committed(&mut *client)), (2, Some(9)));
    broker.faults().deliver();
    assert_eq!((broker.faults().late(), committed(&mut *client)), (0, Some(2)));
}

#[test]
fn a_client_above_its_quota_is_held_back_and_nothing_of_it_is_applied() {
    let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let (mut client, by) = (broker.client("test"), clock.monotonic() + Duration::from_secs(99));
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, replication_factor: 1, settings: vec![] };
    client.create_topic(&spec, by).unwrap();
    broker.faults().next(Call::Offset, Fate::AboveQuota(Duration::from_secs(7)));
    assert_eq!(client.offset(&of(0), Position::End, by), Ok(0), "the broker answers, and then holds back");
    let check = |client: &mut dyn Client, is_held: bool| {
        let answer = client.offset(&of(0), Position::End, by);
        assert_eq!(matches!(answer, Err(BrokerError::Throttled(_))), is_held, "{answer:?}");
    };
    check(client.as_mut(), true);
    check(broker.client("test").as_mut(), true);
    check(broker.client("other").as_mut(), false);
    clock.turn(Duration::from_secs(7));
    check(client.as_mut(), false);
    // What is refused is refused above a quota as well.
    broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    broker.faults().next(Call::ClusterTime, Fate::AboveQuota(Duration::from_secs(7)));
    assert_eq!(client.cluster_time(by), Err(BrokerError::Refused(ErrorCode::Other(31))));
}

#[test]
fn a_broker_that_is_away_is_away_for_all() {
    let (broker, mut client) = world();
    broker.faults().away();
    assert!(matches!(write(&mut *client, 0), Err(BrokerError::NotSent(_))));
    assert!(matches!(broker.client("other").broker_count(soon()), Err(BrokerError::NotSent(_))));
    broker.faults().back();
    assert_eq!(write(&mut *client, 0), Ok(0));
}

#[test]
fn a_partition_without_a_leader_can_neither_be_written_nor_asked() {
    let (broker, mut client) = world();
    broker.faults().lead(&of(0), None);
    let refused = BrokerError::Refused(ErrorCode::LeaderNotAvailable);
    assert_eq!(write(&mut *client, 0), Err(refused.clone()));
    assert_eq!(client.offset(&of(0), Position::End, soon()), Err(refused));
    assert_eq!(write(&mut *client, 1), Ok(0));
    let state = client.topic("t", soon()).unwrap().unwrap();
    let leaders: Vec<Option<i32>> = state.partitions.iter().map(|partition| partition.leader).collect();
    assert_eq!(leaders, [None, Some(1)]);
}

#[test]
fn a_fate_is_decided_by_client_and_call() {
    let (broker, mut client) = world();
    broker.faults().decide(Box::new(|client, call| {
        ((client, call) == ("other", Call::Offset)).then_some(Fate::RequestLost)
    }));
    assert_eq!(client.offset(&of(0), Position::End, soon()), Ok(0));
    let mut other = broker.client("other");
    assert!(other.offset(&of(0), Position::End, soon()).is_err());
    assert_eq!(write(&mut *other, 0), Ok(0));
}

#[test]
fn what_is_refused_stays_refused_until_it_is_allowed_and_concerns_nothing_else() {
    let (broker, mut client) = world();
    let faults = broker.faults();
    let denied = ErrorCode::TopicAuthorizationFailed;
    faults.refuse(Call::Produce, "t", denied);
    faults.refuse(Call::Commit, "t", denied);
    for _ in 0..2 {
        assert_eq!(write(&mut *client, 0), Err(BrokerError::Refused(denied)));
        assert_eq!(commit(&mut *client, 1), Ok(vec![Some(denied)]));
    }
    assert_eq!((faults.made(Call::Produce), faults.made(Call::Commit)), (2, 2));
    faults.allow(Call::Produce, "t");
    assert_eq!(write(&mut *client, 0), Ok(0), "no write was applied while writes were refused");
    faults.allow(Call::Commit, "t");
    faults.next(Call::Commit, Fate::Late);
    assert!(commit(&mut *client, 2).is_err());
    let denied = ErrorCode::GroupAuthorizationFailed;
    faults.refuse(Call::Commit, "g", denied);
    assert_eq!(commit(&mut *client, 3), Ok(vec![Some(denied)]));
    faults.deliver();
    assert_eq!(committed(&mut *client), None, "a request that is late is refused as well");
    faults.allow(Call::Commit, "g");
    assert_eq!(commit(&mut *client, 4), Ok(vec![None]));
}

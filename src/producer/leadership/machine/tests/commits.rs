//! How often, for what and under which names cursors are committed, and clusters taken over later.

use super::*;
use crate::common::topics::TopicSpec;

/// A host that leads these clusters, of which the last has no topics where that is said.
fn leading(clusters: &[&str], last_is_absent: bool) -> Host {
    let mut host = Host::new(TimeDelta::zero());
    let clusters: Vec<_> = clusters.iter().map(|name| name.parse().unwrap()).collect();
    let there = &clusters[..clusters.len() - usize::from(last_is_absent)];
    for spec in topics::all(there, 1, 1) {
        // Some of them are there already.
        drop(host.client.create_topic(&spec, soon(&host.clock)));
    }
    let (window, standing) = (Duration::from_secs(3600), Standing::new(Instant::now()));
    host.leadership = Leadership::new(Options { clusters, window, standing });
    assert!(leads(&host.step()));
    host.step();
    host
}

/// The next step after the scheduler has told this cursor of all clusters.
fn keep(host: &mut Host, cursor: DateTime<Utc>) -> Vec<Effect> {
    let cursors = host.leadership.options.clusters.iter().map(|_| Some(cursor)).collect();
    host.leadership.keep(CursorCommit { term: Term::FIRST, cursors, reads: BTreeMap::new() });
    host.step()
}

fn kept(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Kept(_)))
}

fn failures(effects: &[Effect]) -> Vec<(super::super::Call, Option<String>)> {
    let failure = |effect: &Effect| match effect {
        Effect::Failed(failure) => Some((failure.call, failure.topic.clone())),
        _ => None,
    };
    effects.iter().filter_map(failure).collect()
}

#[test]
fn cursors_are_committed_once_a_second_however_often_they_move() {
    let mut host = leading(&["c"], false);
    let mut kept_at = Vec::new();
    for tenths in 0..35 {
        let at = host.clock.now();
        if kept(&keep(&mut host, at)) {
            kept_at.push(tenths);
        }
        host.clock.turn(Duration::from_millis(100));
    }
    assert_eq!(kept_at, [0, 10, 20, 30], "tenths of a second");
}

#[test]
fn a_group_that_gathers_is_asked_again_a_moment_later() {
    let mut host = leading(&["c"], false);
    host.broker.faults().next(Call::Commit, Fate::Refused(ErrorCode::RebalanceInProgress));
    let at = host.clock.now();
    assert_eq!(keep(&mut host, at), []);
    let made = host.broker.faults().made(Call::Commit);
    host.clock.turn(Duration::from_millis(199));
    assert_eq!((host.step(), host.broker.faults().made(Call::Commit)), (vec![], made));
    host.clock.turn(Duration::from_millis(1));
    assert!(kept(&host.step()));
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
}

#[test]
fn a_cluster_whose_topic_was_deleted_troubles_no_commit() {
    let mut host = leading(&["c", "d"], false);
    host.broker.faults().delete_topic("d");
    let at = host.clock.now();
    let effects = keep(&mut host, at);
    assert_eq!((kept(&effects), failures(&effects)), (true, vec![]), "{effects:?}");
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
}

#[test]
fn a_copy_that_may_not_be_committed_troubles_no_cursor() {
    let mut host = leading(&["c"], false);
    host.broker.faults().refuse(Call::Commit, "c-retry", ErrorCode::TopicAuthorizationFailed);
    let at = host.clock.now();
    let effects = keep(&mut host, at);
    assert_eq!((kept(&effects), failures(&effects)), (true, vec![]), "{effects:?}");
}

#[test]
fn nothing_is_said_to_be_kept_of_a_commit_that_is_refused_as_a_whole() {
    let mut host = leading(&["c"], false);
    host.broker.faults().refuse(Call::Commit, "g", ErrorCode::GroupAuthorizationFailed);
    let at = host.clock.now();
    let effects = keep(&mut host, at);
    assert_eq!((kept(&effects), failures(&effects).len()), (false, 1), "{effects:?}");
}

#[test]
fn a_cluster_without_a_topic_is_looked_for_twice_a_second_until_it_is_there() {
    let mut host = leading(&["c", "absent"], true);
    assert_eq!(host.broker.faults().made(Call::Committed), 1, "not at once");
    let ask = |host: &mut Host| {
        let before = host.broker.faults().made(Call::Committed);
        let effects = host.step();
        host.clock.turn(Duration::from_millis(100));
        (host.broker.faults().made(Call::Committed) - before, failures(&effects))
    };
    let asked: Vec<_> = (0..20).map(|_| ask(&mut host)).collect();
    let asked_at: Vec<_> = (0..).zip(&asked).filter(|(_, (made, _))| *made > 0).map(|(at, _)| at).collect();
    assert_eq!(asked_at, [5, 10, 15], "tenths of a second");
    let absent = (super::super::Call::LookUp, Some("absent".to_owned()));
    assert_eq!(asked[5].1, [absent], "no right is missing");
    for name in ["absent", "absent-retry"] {
        let (name, settings) = (name.to_owned(), Vec::new());
        let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
        host.client.create_topic(&spec, soon(&host.clock)).unwrap();
    }
    host.step();
    assert!(!host.leadership.is_taking_over());
    let asked: usize = (0..30).map(|_| ask(&mut host).0).sum();
    assert_eq!(asked, 0, "and then no more");
}

#[test]
fn a_cluster_that_may_not_be_taken_over_is_told_from_one_that_is_not_there() {
    let mut host = Host::new(TimeDelta::zero());
    host.broker.faults().refuse(Call::Commit, "c", ErrorCode::TopicAuthorizationFailed);
    let claim = (super::super::Call::Claim, Some("c".to_owned()));
    assert_eq!(failures(&host.step()), [claim]);
}

#[test]
fn a_cursor_has_its_copy_from_the_moment_that_it_is_taken_over() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    let of = ["c", "c-retry"].map(|topic| TopicPartition { topic: topic.to_owned(), partition: 0 });
    let by = soon(&host.clock);
    let committed = host.client.committed("g", &of, by).unwrap();
    assert!(committed[0].is_some());
    assert_eq!(committed[0].as_ref().map(|of| of.offset), committed[1].as_ref().map(|of| of.offset));
}

#[test]
fn a_leader_that_has_everything_comes_round_once_a_second() {
    let mut host = leading(&["c"], false);
    for _ in 0..3 {
        let now = Now { wall: host.clock.now(), mono: host.clock.monotonic() };
        let (effects, wait) = host.leadership.step(host.client.as_mut(), now);
        assert_eq!((effects, wait), (vec![], Duration::from_secs(1)));
    }
}

#[test]
fn the_last_cursor_is_kept_at_the_end_although_its_time_has_not_come() {
    let mut host = leading(&["c"], false);
    let at = host.clock.now();
    assert!(kept(&keep(&mut host, at)));
    let last = at + TimeDelta::milliseconds(1);
    assert_eq!(keep(&mut host, last), []);
    let now = Now { wall: host.clock.now(), mono: host.clock.monotonic() };
    host.leadership.finish(host.client.as_mut(), now).unwrap();
    assert_eq!(host.committed().unwrap().offset, last.timestamp_millis());
}

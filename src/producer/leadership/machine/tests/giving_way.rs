//! A producer that cannot take everything over for long, alone and with another one.

use super::*;
use crate::common::broker::BrokerError;
use crate::producer::leadership::Call as Attempt;
use crate::producer::leadership::giving_way::Patience;

/// Another producer of the group, which does nothing but be there.
struct Other {
    member: Member,
    client: Box<dyn Client>,
    /// How often it was given the partition, and whether it has it.
    times: u32,
    leads: bool,
}

impl Other {
    fn new(host: &Host) -> Self {
        Self { member: fresh().1, client: host.broker.client("other"), times: 0, leads: false }
    }

    fn step(&mut self, now: Instant) {
        match self.member.step(self.client.as_mut(), now).0 {
            Some(Change::Assigned { partitions, .. }) => {
                let leads = !partitions.is_empty();
                self.times += u32::from(leads && !self.leads);
                self.leads = leads;
            }
            Some(_) => self.leads = false,
            None => {}
        }
    }
}

/// How the host's calls for cursors fail.
fn fail(host: &Host, code: ErrorCode) {
    host.broker.faults().decide(Box::new(move |client, call| {
        (client == "host" && call == Call::Committed).then_some(Fate::Refused(code))
    }));
}

/// So many seconds; at which of them the host gives way, and for how long.
fn pass(host: &mut Host, other: Option<&mut Other>, seconds: u64) -> Vec<(u64, u64)> {
    let mut other = other;
    let mut given = Vec::new();
    for second in 1..=seconds {
        host.clock.turn(Duration::from_secs(1));
        let effects = host.step();
        if let Some(Effect::GiveWay(away)) = effects.last() {
            assert!(effects.contains(&Effect::End) && !host.leadership.leads());
            assert!(host.leadership.is_taking_over(), "it says that it does not do its work");
            given.push((second, away.as_secs()));
        }
        if let Some(other) = &mut other {
            other.step(host.clock.monotonic());
        }
    }
    given
}

#[test]
fn who_cannot_take_over_for_a_minute_lets_another_one_lead_and_comes_back() {
    let mut host = Host::new(TimeDelta::zero());
    fail(&host, ErrorCode::GroupAuthorizationFailed);
    host.step();
    let mut other = Other::new(&host);
    let given = pass(&mut host, Some(&mut other), 120);
    assert_eq!(given.len(), 1, "{given:?}");
    assert!((60..75).contains(&given[0].0) && given[0].1 == 120, "{given:?}");
    assert_eq!((other.leads, other.times), (true, 1));
    // It is back as a standby, and well.
    pass(&mut host, Some(&mut other), 180);
    assert!(other.leads && !host.leadership.is_taking_over());
}

#[test]
fn who_is_alone_or_misses_only_a_topic_does_not_give_way() {
    let mut host = Host::new(TimeDelta::zero());
    fail(&host, ErrorCode::GroupAuthorizationFailed);
    host.step();
    assert_eq!(pass(&mut host, None, 600), []);
    let mut host = Host::new(TimeDelta::zero());
    host.broker.faults().delete_topic("c");
    host.step();
    let mut other = Other::new(&host);
    assert_eq!(pass(&mut host, Some(&mut other), 600), []);
}

#[test]
fn one_cluster_that_cannot_be_read_is_reason_enough() {
    let mut host = Host::new(TimeDelta::zero());
    let mut asked = 0;
    host.broker.faults().decide(Box::new(move |client, call| {
        asked += u32::from(client == "host" && call == Call::Offset);
        // Once it is asked whether the topic was ever used.
        let refused = call == Call::Offset && asked > 1;
        refused.then_some(Fate::Refused(ErrorCode::NotLeader))
    }));
    assert!(leads(&host.step()), "it leads the others");
    let mut other = Other::new(&host);
    let given = pass(&mut host, Some(&mut other), 120);
    assert_eq!((given.len(), other.leads), (1, true), "{given:?}");
}

#[test]
fn a_quota_and_a_right_that_one_of_several_topics_lacks_are_no_reason() {
    let check = |error: BrokerError, leads_some: bool, expected: bool| {
        let effects = [Effect::Failed(Attempt::Read.failed(error.clone()))];
        let (mut patience, start) = (Patience::default(), Instant::now());
        let given = (0..100).find_map(|second| {
            patience.step(&effects, (true, leads_some), start + Duration::from_secs(second))
        });
        assert_eq!(given.is_some(), expected, "{error} {leads_some}");
    };
    check(BrokerError::Throttled("above the quota".to_owned()), true, false);
    check(BrokerError::Throttled("above the quota".to_owned()), false, false);
    check(BrokerError::Refused(ErrorCode::TopicAuthorizationFailed), true, false);
    // A producer that may read no topic at all leaves the lead to one that may.
    check(BrokerError::Refused(ErrorCode::TopicAuthorizationFailed), false, true);
    check(BrokerError::Refused(ErrorCode::NotLeader), true, true);
}

#[test]
fn two_producers_do_not_hand_the_lead_to_and_fro_where_kafka_fails() {
    let error = BrokerError::Refused(ErrorCode::NotCoordinator);
    let (effects, has_others) = ([Effect::Failed(Attempt::LookUp.failed(error))], true);
    let mut patience = Patience::default();
    let mut now = Instant::now();
    let mut away = Vec::new();
    for _ in 0..8 {
        let given = (0..100).find_map(|_| {
            now += Duration::from_secs(1);
            patience.step(&effects, (has_others, false), now)
        });
        away.push(given.expect("it gives way").as_secs());
        now += given.unwrap();
    }
    assert_eq!(away, [120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
    patience.has_all();
    let given = (0..100).find_map(|_| {
        now += Duration::from_secs(1);
        patience.step(&effects, (has_others, false), now)
    });
    assert_eq!(given, Some(Duration::from_secs(120)));
    // What fails now and then is no trouble of that kind.
    let given = (0..100).find_map(|_| {
        now += Duration::from_secs(31);
        patience.step(&effects, (has_others, false), now)
    });
    assert_eq!(given, None);
}

#[test]
fn the_minute_counts_from_the_first_of_failures_that_follow_each_other_in_one_term() {
    let error = BrokerError::Refused(ErrorCode::NotCoordinator);
    let effects = [Effect::Failed(Attempt::LookUp.failed(error))];
    let check = |failures_ms: &[u64], ends_at_ms: Option<u64>, expected: Option<u64>| {
        let (start, mut patience) = (Instant::now(), Patience::default());
        let mut ends_at_ms = ends_at_ms;
        let given = failures_ms.iter().find(|ms| {
            if ends_at_ms.take_if(|at| *at <= **ms).is_some() {
                patience.ends();
            }
            patience.step(&effects, (true, false), start + Duration::from_millis(**ms)).is_some()
        });
        assert_eq!(given.copied(), expected, "{failures_ms:?} {ends_at_ms:?}");
    };
    check(&[0, 29_999, 59_998, 59_999], None, None);
    check(&[0, 29_999, 59_998, 60_000], None, Some(60_000));
    check(&[0, 30_000, 59_999, 60_000], None, None);
    check(&[0, 25_000, 50_000, 70_000], None, Some(70_000));
    check(&[0, 25_000, 50_000, 70_000], Some(20_000), None);
}

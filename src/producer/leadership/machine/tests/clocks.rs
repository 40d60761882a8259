//! A host whose clock is off: it does not lead, or does not go on leading.

use super::*;

#[test]
fn a_producer_leads_only_if_its_clock_is_near_the_brokers() {
    fn check(ahead: TimeDelta, may_lead: bool) {
        let mut host = Host::new(ahead);
        let effects = host.step();
        assert_eq!(leads(&effects), may_lead, "{ahead}: {effects:?}");
        match &effects[0] {
            Effect::Clock(skew) => assert_eq!((skew.ahead, true), (ahead, may_lead)),
            effect => assert_eq!((effect, false), (&Effect::ClockOff(ahead), may_lead)),
        }
        assert_eq!(host.leadership.leads(), may_lead, "{ahead}");
        assert_eq!(
            host.committed().is_some(),
            may_lead,
            "{ahead}: what it would have committed misleads others"
        );
    }
    let most = skew::MOST;
    let milli = TimeDelta::milliseconds(1);
    check(TimeDelta::zero(), true);
    check(most, true);
    check(-most, true);
    check(most + milli, false);
    check(-most - milli, false);
    check(TimeDelta::days(-400), false);
}

#[test]
fn where_the_topic_of_events_does_not_tell_the_time_the_cluster_is_asked_for_it() {
    let check = |ahead: TimeDelta, may_ask: bool, may_lead: bool| {
        let mut host = Host::new(ahead);
        host.broker.faults().set_topic(RUNS, "message.timestamp.type", "CreateTime");
        if !may_ask {
            host.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
        }
        let effects = host.step();
        let told = effects.iter().any(|effect| matches!(effect, Effect::Clock(_) | Effect::ClockOff(_)));
        assert_eq!((leads(&effects), told), (may_lead, may_ask), "{ahead}: {effects:?}");
    };
    check(TimeDelta::zero(), true, true);
    check(TimeDelta::hours(1), true, false);
    check(TimeDelta::hours(-1), true, false);
    check(TimeDelta::zero(), false, true);
}

#[test]
fn a_producer_whose_clock_is_off_stays_out_of_the_group_until_it_is_right_and_then_leads() {
    let mut host = Host::new(TimeDelta::hours(1));
    assert_eq!(host.step(), [Effect::ClockOff(TimeDelta::hours(1))]);
    let mut other = Member::new(membership::Options {
        group: "g".to_owned(),
        topic: LEADER.to_owned(),
        instance_id: None,
        session_timeout: Duration::from_secs(6),
        counts_once_taken_up: true,
    });
    host.step();
    let mut client = host.broker.client("other");
    let (change, _) = other.step(client.as_mut(), host.clock.monotonic());
    let Some(Change::Assigned { partitions, .. }) = change else { panic!("{change:?}") };
    assert_eq!(partitions.len(), 1, "another producer leads at once");
    other.leave(client.as_mut(), host.clock.monotonic());
    let mut said = 0;
    for _ in 0..300 {
        host.clock.turn(Duration::from_secs(1));
        let effects = host.step();
        said += effects.iter().filter(|effect| matches!(effect, Effect::ClockOff(_))).count();
        assert!(!leads(&effects) && host.member.proven().is_none(), "it is back: {effects:?}");
    }
    assert!((10..=25).contains(&said), "said {said} times in five minutes");
    host.ahead = TimeDelta::zero();
    let mut effects = Vec::new();
    for _ in 0..REST.as_secs() + 3 {
        host.clock.turn(Duration::from_secs(1));
        effects.extend(host.step());
    }
    assert!(agrees(&effects) && leads(&effects), "{effects:?}");
    let metadata = host.committed().map(|cursor| cursor.metadata);
    assert_ne!(metadata, Some("1;".to_owned()), "it had never led, and nobody else does: this is the reboot");
}

#[test]
fn the_clock_is_compared_before_a_term_and_all_through_it() {
    let mut host = Host::new(TimeDelta::seconds(2));
    host.broker.faults().next(Call::Produce, Fate::RequestLost);
    let effects = host.step();
    assert!(matches!(effects[..], [Effect::Failed(_)]), "{effects:?}");
    host.clock.turn(Duration::from_millis(200));
    assert!(leads(&host.step()));
    let compared: Vec<u64> =
        host.pass(25).into_iter().filter(|(_, effects)| agrees(effects)).map(|(at, _)| at).collect();
    assert_eq!(compared, [10, 20]);
    assert_eq!(host.beats(), 3);
}

/// Of a leader whose clock goes wrong, the second at which it says so and its term ends.
fn ends_after(by: TimeDelta, in_steps_of: TimeDelta) -> Option<u64> {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    let mut ended = None;
    for second in 1..120 {
        if host.ahead.abs() < by.abs() {
            host.ahead += in_steps_of;
        }
        let effects = host.pass(1).remove(0).1;
        let off = matches!(effects[..], [Effect::ClockOff(ahead), Effect::End] if ahead == host.ahead);
        assert!(off || !effects.contains(&Effect::End), "{effects:?}");
        ended = ended.or(off.then_some(second));
        assert_eq!(host.leadership.leads(), ended.is_none(), "at {second}: {effects:?}");
        let has_left = host.member.proven().is_none();
        assert_eq!(has_left, ended.is_some_and(|at| at < second), "at {second}: others are to lead");
    }
    ended
}

#[test]
fn a_leader_whose_clock_goes_wrong_ends_its_term_and_stays_away() {
    let check = |by: TimeDelta, in_steps_of: TimeDelta, expected: Option<u64>| {
        assert_eq!(ends_after(by, in_steps_of), expected, "{by} in steps of {in_steps_of}");
    };
    let second = TimeDelta::seconds(1);
    check(TimeDelta::hours(1), TimeDelta::hours(1), Some(1));
    check(-TimeDelta::hours(1), -TimeDelta::hours(1), Some(1));
    check(second * 30, second * 30, None);
    check(second * 31, second, Some(31));
    check(second * 50, second * 25, Some(2));
    // So little at a time that no second shows it.
    check(TimeDelta::milliseconds(31_000), TimeDelta::milliseconds(500), Some(61));
}

#[test]
fn a_leader_that_cannot_compare_its_clock_leads_on_and_keeps_its_cursors() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    host.broker.faults().decide(Box::new(|_, call| (call == Call::Produce).then_some(Fate::NotSent)));
    host.pass(15);
    let at = host.clock.now();
    host.leadership.keep(CursorCommit { term: Term::FIRST, cursors: vec![Some(at)], reads: BTreeMap::new() });
    assert!(host.pass(5).iter().any(|(_, effects)| matches!(effects[..], [Effect::Failed(_), ..])));
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
    host.ahead = TimeDelta::hours(1);
    host.pass(5);
    assert!(host.leadership.leads(), "nobody knows which clock is wrong");
    host.broker.faults().decide(Box::new(|_, _| None));
    host.pass(1);
    assert!(!host.leadership.leads());
}

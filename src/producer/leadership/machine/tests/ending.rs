//! How a term ends, and what is left of it.

use super::*;
use crate::producer::leadership::LeaderLease;

fn keep(host: &mut Host, cursor: DateTime<Utc>) {
    let keep = CursorCommit { term: Term::FIRST, cursors: vec![Some(cursor)], reads: BTreeMap::new() };
    host.leadership.keep(keep);
}

#[test]
fn a_leader_that_the_broker_refuses_ends_its_term() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId] {
        let mut host = Host::new(TimeDelta::zero());
        assert!(leads(&host.step()));
        host.step();
        let at = host.clock.now();
        keep(&mut host, at);
        host.broker.faults().next(Call::Commit, Fate::Refused(code));
        let effects = host.step();
        assert!(
            matches!(&effects[..], [Effect::Warn(why), Effect::End] if why.contains("no more")),
            "{effects:?}"
        );
        assert!(!host.leadership.leads(), "{code}");
    }
}

#[test]
fn nothing_of_a_term_is_written_after_it_has_ended_even_if_the_next_is_ours_too() {
    let mut host = Host::new(TimeDelta::zero());
    let now = host.clock.monotonic();
    let standing = host.leadership.options.standing.clone();
    standing.tell(Some(now));
    let lease = LeaderLease::new(standing.clone(), Duration::from_secs(6));
    assert!(leads(&host.step()));
    lease.grant(Term::FIRST, standing.losses());
    host.step();
    assert!(lease.holds(Term::FIRST, now));
    let at = host.clock.now();
    keep(&mut host, at);
    host.broker.faults().next(Call::Commit, Fate::Refused(ErrorCode::IllegalGeneration));
    host.step();
    // The scheduler has not heard of the end yet.
    assert!(!lease.is_over(Term::FIRST) && !lease.holds(Term::FIRST, now));
}

#[test]
fn a_cursor_that_an_ended_term_had_still_to_keep_is_not_kept_by_the_next() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    host.step();
    let at = host.clock.now();
    keep(&mut host, at);
    host.step();
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
    // So close behind the other that it waits.
    keep(&mut host, at + TimeDelta::milliseconds(1));
    host.step();
    assert!(host.leadership.changed(&Change::Lost));
    host.member.join_as_new();
    let effects: Vec<Effect> = host.pass(5).into_iter().flat_map(|(_, effects)| effects).collect();
    assert!(leads(&effects), "{effects:?}");
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
}

#[test]
fn a_comparison_of_clocks_that_fails_is_made_again_every_second() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    host.broker.faults().decide(Box::new(|_, call| (call == Call::Produce).then_some(Fate::NotSent)));
    host.pass(10);
    let before = host.broker.faults().made(Call::Produce);
    for _ in 0..50 {
        host.clock.turn(Duration::from_millis(100));
        host.step();
    }
    assert_eq!(host.broker.faults().made(Call::Produce) - before, 5);
}

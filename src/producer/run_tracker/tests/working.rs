//! What the run tracker says that it cannot do.

use super::fixture::{LEASE, LEASE_AND_A_BIT, Producer, World, of};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::topics;
use crate::producer::run_tracker::Duties;

/// What is not done, but for seeing a leader: most standbys of these tests have none.
fn undone(producer: &Producer) -> Vec<Duties> {
    let is_asked = |work: &Duties| *work != Duties::Led && !producer.is_done(*work);
    Duties::ALL.into_iter().filter(is_asked).collect()
}

fn check(leads: bool, expected: &[Duties], breaks: impl Fn(&mut World), mends: impl Fn(&mut World)) {
    let mut world = World::new();
    let mut producer = world.producer("p", leads);
    world.start(1, 0);
    world.pass(15, &mut [&mut producer]);
    assert_eq!(undone(&producer), []);
    breaks(&mut world);
    world.pass(2 * LEASE_AND_A_BIT, &mut [&mut producer]);
    for _ in 0..30 {
        world.pass(1, &mut [&mut producer]);
        assert_eq!(undone(&producer), expected, "of a leader: {leads}");
    }
    mends(&mut world);
    world.pass(LEASE, &mut [&mut producer]);
    assert_eq!(undone(&producer), [], "of a leader: {leads}");
}

/// As [`check`], where the broker refuses each call of a kind.
fn check_refused(leads: bool, call: Call, expected: &[Duties]) {
    let refused = Fate::Refused(ErrorCode::TopicAuthorizationFailed);
    let refuse = move |of: &str, made: Call| (of == "p" && made == call).then_some(refused);
    check(
        leads,
        expected,
        |world| world.faults().decide(Box::new(refuse)),
        |world| world.faults().decide(Box::new(|_, _| None)),
    );
}

#[test]
fn what_a_broker_refuses_is_not_done_until_it_refuses_no_more() {
    check_refused(true, Call::Fetch, &[Duties::Following, Duties::Beats]);
    check_refused(false, Call::Fetch, &[Duties::Following]);
    check_refused(true, Call::Topic, &[Duties::Following, Duties::LostAttempts]);
    check_refused(true, Call::Produce, &[Duties::Beats]);
    check_refused(false, Call::Produce, &[Duties::StandingBy]);
}

#[test]
fn a_topic_that_is_deleted_or_without_a_leader_is_not_followed() {
    let delete = |world: &mut World| world.faults().delete_topic(topics::RUNS);
    let create = |world: &mut World| world.create(topics::RUNS, 2);
    check(true, &[Duties::Following, Duties::Beats], delete, create);
    check(false, &[Duties::Following, Duties::StandingBy], delete, create);
    let away = |world: &mut World| world.faults().lead(&of(topics::RUNS, 1), None);
    let back = |world: &mut World| world.faults().lead(&of(topics::RUNS, 1), Some(1));
    check(true, &[Duties::Following, Duties::Beats], away, back);
}

#[test]
fn a_lost_attempt_that_cannot_be_passed_on_is_owed_until_it_is() {
    let away = |world: &mut World| world.faults().lead(&of("c-dead", 0), None);
    let back = |world: &mut World| world.faults().lead(&of("c-dead", 0), Some(1));
    check(true, &[Duties::LostAttempts], away, back);
    check(false, &[], away, back);
}

#[test]
fn a_standby_knows_whether_some_producer_leads() {
    let mut world = World::new();
    let (mut leader, mut standby) = (world.producer("p", true), world.producer("q", false));
    world.start(1, 0);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader, &mut standby]);
    assert!(standby.is_done(Duties::Led), "it reads the leader's beats");
    world.pass(LEASE / u64::from(crate::producer::run_tracker::heartbeat::LED_FOR) + 2, &mut [&mut standby]);
    assert!(!standby.is_done(Duties::Led), "no producer leads any more");
    world.pass(LEASE, &mut [&mut leader, &mut standby]);
    assert!(standby.is_done(Duties::Led), "it leads again");
}

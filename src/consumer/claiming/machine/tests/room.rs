//! What a step would do, what does not fit, and when reading pauses.

use std::time::Duration;

use super::claiming::ready;
use super::consumer::Consumer;
use super::fixture::World;
use crate::common::bounds::READY_PER_PARTITION;
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::holes;
use crate::consumer::claiming::machine as claimer;

#[test]
fn each_thing_that_a_step_would_do_makes_dispatch_busy_by_itself() {
    let mut world = World::new();
    world.waiting_bytes = 0;
    let mut consumer = Consumer::join(&world);
    let owed = |consumer: &Consumer| {
        use claimer::Call;
        let all = [Call::Load, Call::ReadAgain, Call::Claim, Call::Commit, Call::Letter];
        all.into_iter().filter(|call| consumer.claimer.owes(*call)).collect::<Vec<_>>()
    };
    assert!(consumer.claimer.is_busy(), "it looks up where the partitions go on");
    assert_eq!(owed(&consumer), [claimer::Call::Load]);
    consumer.run(&world, 9);
    assert_eq!((consumer.claimer.is_busy(), owed(&consumer)), (false, vec![]));
    world.write(0, &[bytes::Bytes::from_static(b"garbage")]);
    consumer.poll(&world);
    assert!(consumer.claimer.is_busy(), "it writes a letter");
    assert_eq!(owed(&consumer), [claimer::Call::Letter]);
    // Each of two partitions has something to be read again, one in each step.
    world.publish_for_later(0, 1, 1);
    world.publish_for_later(1, 2, 1);
    consumer.run(&world, 9);
    assert_eq!((consumer.claimer.is_busy(), owed(&consumer)), (false, vec![]));
    world.turn_clock(Duration::from_secs(1));
    consumer.step(&world, 0);
    assert!(consumer.claimer.is_busy(), "it reads the other partition again");
    consumer.step(&world, 0);
    assert!(!consumer.claimer.is_busy(), "no worker is free");
    world.faults().next(Call::Commit, Fate::NotSent);
    consumer.step(&world, 9);
    assert!(consumer.claimer.is_busy(), "it sends the commit again");
    assert_eq!(owed(&consumer), [claimer::Call::Commit]);
    consumer.run(&world, 9);
    assert_eq!((consumer.claimer.is_busy(), owed(&consumer)), (false, vec![]));
    consumer.started.sort_unstable();
    assert_eq!(consumer.started, [1, 2]);
}

#[test]
fn a_partition_whose_commit_would_not_fit_is_named_while_something_of_it_is_due() {
    for (crowded, other) in [(0, 1), (1, 0)] {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[]);
        world.publish(crowded, 1);
        world.publish(other, 2);
        consumer.poll(&world);
        assert_eq!(consumer.claimer.crowded(), None);
        let limit = |consumer: &mut Consumer, bytes| {
            consumer.claimer.partitions.get_mut(&crowded).unwrap().limit_text(bytes);
        };
        limit(&mut consumer, 0);
        consumer.run(&world, 9);
        assert_eq!((consumer.started.as_slice(), consumer.claimer.crowded()), (&[2][..], Some(crowded)));
        limit(&mut consumer, holes::MAX_METADATA_BYTES);
        consumer.run(&world, 9);
        assert_eq!((consumer.started.as_slice(), consumer.claimer.crowded()), (&[2, 1][..], None));
    }
}

#[test]
fn a_partition_that_holds_as_much_as_it_may_pauses_alone_but_for_too_many_letters() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[]);
    let mut run = 0;
    while !consumer.is_paused(0) {
        run += 1;
        assert!(run <= READY_PER_PARTITION as u128, "it holds more than it may");
        world.publish(0, run);
        consumer.poll(&world);
    }
    assert_eq!((run, consumer.is_paused(1)), (READY_PER_PARTITION as u128, false));
    consumer.step(&world, 1);
    consumer.step(&world, 0);
    assert!(!consumer.is_paused(0), "there is room again");
    // Letters that cannot be written are held for all partitions together.
    world.faults().refuse(Call::Produce, "c-dead", ErrorCode::NotEnoughReplicas);
    let garbage = bytes::Bytes::from_static(b"garbage");
    world.write(1, &vec![garbage.clone(); READY_PER_PARTITION - 1]);
    consumer.poll(&world);
    assert!(!consumer.is_paused(1));
    world.write(1, std::slice::from_ref(&garbage));
    consumer.poll(&world);
    assert!(consumer.is_paused(0) && consumer.is_paused(1));
    world.faults().allow(Call::Produce, "c-dead");
    consumer.step(&world, 0);
    assert!(!consumer.is_paused(0) && !consumer.is_paused(1));
    // A new generation holds nothing of the old one.
    world.faults().refuse(Call::Produce, "c-dead", ErrorCode::NotEnoughReplicas);
    world.write(1, &vec![garbage; READY_PER_PARTITION]);
    consumer.poll(&world);
    assert!(consumer.is_paused(0) && consumer.claimer.owes(claimer::Call::Letter));
    consumer.next_generation_by_leaving(&world);
    assert!(!consumer.is_paused(0) && !consumer.claimer.owes(claimer::Call::Letter));
}

#[test]
fn nothing_new_is_claimed_while_the_host_has_no_room_for_it() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[]);
    world.publish(0, 1);
    consumer.poll(&world);
    let now = world.now();
    assert_eq!(consumer.claimer.handle(claimer::Event::Admits(false), now), []);
    consumer.run(&world, 9);
    assert_eq!((consumer.started.len(), world.claimed()), (0, vec![]));
    assert_eq!(consumer.claimer.handle(claimer::Event::Admits(true), now), []);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1]);
}

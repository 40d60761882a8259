//! Tests of next attempts that were passed on, and that the topics must still hold somewhere.

use super::*;

const TICK: &str = "12:01:40";

/// The first attempt of a run failed and was passed on, two hours ago; then something happened. The findings: lost
/// retries, and those that no consumer has begun.
fn found(then: impl Fn(&mut World)) -> [usize; 2] {
    let failed = |world: &mut World| {
        world.forget("often", at(TICK));
        world.publish("often", at(TICK));
        world.claim((RunId::of(&name("often"), at(TICK)), 1), "c1", at(TICK));
        world.finish("often", at(TICK), (1, "c1", Outcome::Failed { code: 1 }, Then::Retried));
        // Not so long ago that a consumer should have begun it.
        world.begun_within = Duration::from_secs(24 * 60 * 60);
        then(world);
    };
    let report = check(failed, [0; 6]);
    assert_eq!(report.ok, report.lost_retries.total + report.not_begun.total == 0, "{report:#?}");
    [report.lost_retries.total, report.not_begun.total]
}

#[test]
fn a_next_attempt_that_is_nowhere_is_a_finding() {
    assert_eq!(found(|_| {}), [1, 0]);
    assert_eq!(found(|world| world.pass_on("often", at("12:01:20"), 2)), [1, 0], "of another run");
    assert_eq!(found(|world| world.pass_on("often", at(TICK), 1)), [1, 0], "an earlier attempt");
    let elsewhere = |world: &mut World| {
        world.pass_on("often", at(TICK), 2);
        world.retries[0].0 = cluster("a");
    };
    assert_eq!(found(elsewhere), [1, 0], "of another cluster");
    let deleted = |world: &mut World| {
        world.pass_on("often", at(TICK), 2);
        world.deleted.push(("b-retry", 1));
    };
    assert_eq!(found(deleted), [1, 0]);
}

#[test]
fn a_next_attempt_that_waits_is_claimed_or_became_a_letter_is_not_lost() {
    assert_eq!(found(|world| world.pass_on("often", at(TICK), 2)), [0, 0]);
    let run = RunId::of(&name("often"), at(TICK));
    assert_eq!(found(|world| world.claim((run, 2), "c2", at("13:59:30"))), [0, 0]);
    for attempt in [1, 2] {
        let letter = |world: &mut World| {
            let attempt = world.attempt("often", at(TICK), attempt);
            world.letters.push((cluster("b"), attempt));
        };
        assert_eq!(found(letter), [0, 0]);
    }
    let late = |world: &mut World| {
        world.pass_on("often", at(TICK), 2);
        world.begun_within = Duration::from_secs(60);
    };
    assert_eq!(found(late), [0, 1], "it is there, and nobody begins it");
}

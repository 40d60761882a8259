//! `scripts/run.sh`, which a newcomer starts first: it shows the system at work, and however it ends, nothing of it is
//! left. Processes, ports and files are compared with those before.

#[cfg(test)] // it is, and this tells the lints
mod containers;
#[cfg(test)] // as above
mod place;
#[cfg(test)] // as above
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "../support/mod.rs"]
mod support;

use std::fs;

use place::{PATIENCE, Place, STARTED};
use support::wait_until;

#[test]
fn a_run_shows_what_happens_and_ends_when_its_time_is_up() {
    let place =
        Place::new("* * * * * * cluster-a [name=works] true\n* * * * * * cluster-b [name=fails] false\n");
    let run = place.start(&["--for", "8s"]);
    place.assert_ends(run, 0);
    let log = place.log();
    let shown = |who: &str, what: &str| log.lines().any(|line| line.starts_with(who) && line.contains(what));
    assert!(shown("producer", "published works"), "{log}");
    assert!(shown("cluster-a.", "attempt 1: succeeded"), "{log}");
    assert!(shown("cluster-b.", "attempt 1: failed"), "{log}");
    assert!(shown("cluster-b-retry", "serving /metrics"), "{log}");
}

#[test]
fn ctrl_c_ends_a_run_and_only_one_runs_at_a_time() {
    let place = Place::new("0 0 1 1 * cluster-a true\n");
    let mut run = place.start(&[]);
    place.await_log(&mut run, STARTED);
    let mut second = place.start(&[]);
    assert_eq!(second.wait().code(), Some(4), "{}", place.log());
    let said = format!("another run is under way in {}: process {}", place.path("data").display(), run.pid());
    assert!(place.log().contains(&said), "{}", place.log());
    run.signal("INT");
    place.assert_ends(run, 0);
}

#[test]
fn a_run_that_is_killed_ends_too_and_the_next_can_start_at_once() {
    let place = Place::new("* * * * * * cluster-a [name=long] exec sleep {nap}\n");
    let mut run = place.start(&[]);
    place.await_log(&mut run, STARTED);
    let asleep = || place.processes().iter().any(|line| line.starts_with("sleep ")).then_some(());
    wait_until("a job runs", PATIENCE, asleep);
    run.signal("KILL");
    run.wait();
    fs::write(place.path("jobs.cron"), "0 0 1 1 * cluster-a true\n").unwrap();
    let next = place.start(&["--for", "1s"]);
    place.assert_ends(next, 0);
    let log = place.log();
    assert_eq!(log.matches(STARTED).count(), 2, "{log}");
    assert_eq!(
        log.matches("nothing more is taken").count(),
        12,
        "the killed one's ended in order, too:\n{log}"
    );
}

#[test]
fn a_job_file_with_a_problem_ends_a_run_with_that() {
    let place = Place::new("0 25 * * * cluster-a true\n");
    let run = place.start(&[]);
    place.assert_ends(run, 2);
    let log = place.log();
    assert!(log.contains("jobs.cron:1: "), "{log}");
    assert!(log.contains("producer ended by itself, with code 2"), "{log}");
}

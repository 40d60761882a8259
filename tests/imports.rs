//! Imports point one way, and rules never import threads: what `src/lib.rs` and `docs/ARCHITECTURE.md` promise, read
//! from the source.

#[cfg(test)]
mod source;

use source::graph::Graph;
use source::sources;

/// Fails where code below a path mentions one of the words. Tests may.
#[cfg(test)]
fn check(below: &str, forbidden: &[&str]) {
    for source in sources(below) {
        for line in source.code.lines() {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "src/{} must not know `{}`: {line}", source.name, found.unwrap());
        }
    }
}

#[test]
fn common_knows_neither_program() {
    check("common", &["crate::producer", "crate::consumer", "crate::cronctl"]);
}

#[test]
fn producer_and_consumer_do_not_know_each_other() {
    check("producer", &["crate::consumer", "crate::cronctl"]);
    check("consumer", &["crate::producer", "crate::cronctl"]);
    check("cronctl", &["crate::consumer"]);
}

#[test]
fn the_second_opinion_on_schedules_shares_nothing_with_the_first() {
    check("cronctl/verify", &["producer::schedule", "Schedule::", "schedule.next", "job.next", "Timetable"]);
}

#[test]
fn only_one_room_knows_kafkas_wire_types() {
    for source in sources("") {
        let knows = source.code.contains("kafka_protocol");
        assert!(!knows || source.name.starts_with("common/broker/kafka/"), "src/{}", source.name);
    }
}

#[test]
fn rules_ask_no_clock_and_know_no_thread_no_channel_no_log_and_no_metric() {
    const SHELL: [&str; 7] = [
        "crossbeam_channel",
        "thread::spawn",
        "common::clock",
        "Instant::now",
        " log::",
        "prometheus",
        "common::metrics",
    ];
    let rules = [
        "producer/schedule",
        "producer/jobfile",
        "producer/due.rs",
        "producer/plan",
        "producer/job.rs",
        "producer/file_watch/debounce.rs",
        "producer/run_tracker/duties.rs",
        "producer/run_tracker/ends.rs",
        "producer/run_tracker/heartbeat.rs",
        "producer/run_tracker/history.rs",
        "producer/run_tracker/leases.rs",
        "producer/run_tracker/open_runs.rs",
        "producer/run_tracker/passage.rs",
        "producer/run_tracker/standbys.rs",
        "common/holes.rs",
        "consumer/claiming/duplicates.rs",
        "common/backoff.rs",
        "consumer/claiming/answers.rs",
        "consumer/claiming/position.rs",
        "consumer/claiming/partition.rs",
        "consumer/fetching/reading.rs",
        "consumer/orders/remembered.rs",
        "common/passing.rs",
        "common/model",
        "common/wire.rs",
        "cronctl/offsets/known.rs",
        "cronctl/offsets/plan.rs",
        "cronctl/runs/run_detail.rs",
        "cronctl/runs/run_list.rs",
        "cronctl/top/board.rs",
        "cronctl/top/figures.rs",
        "cronctl/top/listed.rs",
        "cronctl/top/messages.rs",
        "cronctl/top/next_ticks.rs",
        "cronctl/top/picture.rs",
        "cronctl/top/plain.rs",
        "cronctl/top/times.rs",
        "cronctl/top/view.rs",
        "cronctl/verify/calendar.rs",
        "cronctl/verify/tick_ledger.rs",
        "cronctl/verify/audit",
        "cronctl/verify/audit.rs",
        "cronctl/verify/revision_history.rs",
    ];
    rules.iter().for_each(|rule| check(rule, &SHELL));
}

#[test]
fn the_parts_of_the_run_tracker_write_no_log_and_no_metric_and_start_nothing() {
    const THREADS: [&str; 5] =
        ["crossbeam_channel", "thread::spawn", "Instant::now", "prometheus", "common::metrics"];
    for source in sources("producer/run_tracker") {
        let is_of_the_thread = ["thread.rs", "metrics.rs"].iter().any(|file| source.name.ends_with(file));
        if is_of_the_thread {
            continue;
        }
        for line in source.code.lines() {
            let logs = line.contains("log::") && !line.contains("use log::Level;");
            let found = THREADS.iter().any(|word| line.contains(word));
            assert!(!logs && !found, "src/{}: {line}", source.name);
        }
    }
}

#[test]
fn machines_know_no_channel_no_log_and_no_metric() {
    const SHELL: [&str; 5] = ["crossbeam_channel", "thread::spawn", "log::", "prometheus", "common::metrics"];
    let machines = [
        "common/membership/machine.rs",
        "consumer/claiming/machine",
        "consumer/claiming/machine.rs",
        "consumer/claiming/claims.rs",
        "consumer/claiming/loading.rs",
        "consumer/claiming/lag.rs",
        "consumer/claiming/runs_topic.rs",
        "consumer/orders/machine.rs",
        "consumer/reporting/machine",
        "consumer/reporting/machine.rs",
        "cronctl/top/machine.rs",
        "producer/leadership/machine",
        "producer/leadership/machine.rs",
        "producer/publisher/machine.rs",
        "producer/scheduler/machine.rs",
    ];
    machines.iter().for_each(|machine| check(machine, &SHELL));
}

/// A deadline of a call is compared with `clock::monotonic`, which counts the time for which the host was suspended. By
/// `Instant::now` it would lie in the past for ever after a suspension.
#[test]
fn only_the_clock_and_what_watches_processes_ask_for_an_instant_that_a_suspension_stops() {
    for source in sources("") {
        let may =
            source.name.starts_with("common/clock") || source.name.starts_with("consumer/running/process/");
        let asks = source.code.lines().find(|line| line.contains("Instant::now"));
        assert!(may || asks.is_none(), "src/{}: {asks:?}", source.name);
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = Graph::new(sources("")).circles();
    assert!(circles.is_empty(), "move what these share to a file of its own: {circles:#?}");
}

//! Imports point one way, and rules never import threads: what `src/lib.rs` and `docs/ARCHITECTURE.md` promise, read
//! from the source.

use std::path::{Path, PathBuf};

/// Files of `src/` below a path, with their text.
#[cfg(test)]
fn sources(below: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut to_look: Vec<PathBuf> = vec![root.join(below)];
    while let Some(path) = to_look.pop() {
        if path.is_dir() {
            to_look.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "nothing below src/{below}");
    found
}

/// Fails where code below a path mentions one of the words. What comes behind `#[cfg(test)]` may.
#[cfg(test)]
fn check(below: &str, forbidden: &[&str]) {
    for (name, text) in sources(below) {
        if name.contains("tests") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "src/{name} must not know `{}`: {line}", found.unwrap());
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
    for room in ["bin", "producer", "consumer", "cronctl", "common"] {
        for (name, text) in sources(room) {
            let knows = text.lines().any(|line| line.trim_start().starts_with("use kafka_protocol"));
            assert!(!knows || name.starts_with("common/broker/kafka/"), "src/{name}");
        }
    }
}

#[test]
fn rules_ask_no_clock_and_know_no_thread_no_channel_no_log_and_no_metric() {
    const SHELL: [&str; 7] = [
        "crossbeam_channel",
        "thread::spawn",
        "common::clock",
        "Instant::now",
        "log::",
        "prometheus",
        "common::metrics",
    ];
    let rules = [
        "producer/schedule",
        "producer/jobfile",
        "producer/timetable.rs",
        "producer/due.rs",
        "producer/lane",
        "producer/lane.rs",
        "producer/job.rs",
        "producer/watch/rhythm.rs",
        "producer/tail/ends.rs",
        "producer/tail/leases.rs",
        "producer/tail/unfinished.rs",
        "producer/tail/verdict.rs",
        "common/holes.rs",
        "consumer/claiming/duplicates.rs",
        "common/backoff.rs",
        "consumer/claiming/answers.rs",
        "consumer/claiming/position.rs",
        "consumer/claiming/partition.rs",
        "consumer/fetching/reading.rs",
        "common/passing.rs",
        "common/words",
        "common/wire.rs",
        "cronctl/runs/story.rs",
        "cronctl/runs/journal.rs",
        "cronctl/verify/calendar.rs",
        "cronctl/verify/book.rs",
        "cronctl/verify/audit",
        "cronctl/verify/audit.rs",
        "cronctl/verify/reign.rs",
    ];
    rules.iter().for_each(|rule| check(rule, &SHELL));
}

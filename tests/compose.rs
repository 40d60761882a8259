//! `docker-compose.yml` and `Dockerfile` against what they stand on: flags, versions, time limits, job files. What a
//! container engine does with them is told by `scripts/compose-check.sh`.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

#[cfg(test)]
fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What stands between a mark and the end of its word, for each mark.
#[cfg(test)]
fn words<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    let word = |rest: &'t str| rest.split(|c: char| c.is_whitespace() || "}\"'".contains(c)).next().unwrap();
    text.split(mark).skip(1).map(word).collect()
}

#[test]
fn each_variable_of_the_programs_is_one_that_they_know() {
    let mut known = String::new();
    for program in [env!("CARGO_BIN_EXE_producer"), env!("CARGO_BIN_EXE_consumer")] {
        let help = Command::new(program).arg("--help").output().unwrap();
        known += &String::from_utf8(help.stdout).unwrap();
    }
    let compose = file("docker-compose.yml");
    let named: BTreeSet<&str> = compose
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("KAFKA_CRON_") || *name == "KAFKA_BROKERS")
        .collect();
    assert!(named.len() >= 5, "{named:?}");
    for name in named {
        assert!(known.contains(&format!("[env: {name}=")), "no program knows {name}");
    }
}

#[test]
fn images_have_the_versions_that_everything_else_here_has() {
    let fetch = file("scripts/kafka-fetch.sh");
    assert_eq!(words(&file("docker-compose.yml"), "apache/kafka:"), words(&fetch, "version=${1:-"));
    let manifest = file("Cargo.toml");
    let rust = words(&manifest, "rust-version = \"")[0];
    let dockerfile = file("Dockerfile");
    assert_eq!(words(&dockerfile, "FROM rust:"), [format!("{rust}-slim-bookworm")]);
    // Built on one release of Debian and run on another, a program may ask for a newer libc than there is.
    assert!(words(&dockerfile, "FROM debian:").iter().all(|tag| *tag == "bookworm-slim"));
}

#[test]
fn what_a_consumer_needs_to_end_fits_into_what_the_engine_grants() {
    let compose = file("docker-compose.yml");
    let consumer = compose.split("\nx-consumer:").nth(1).unwrap().split("\nservices:").next().unwrap();
    let secs = |mark| words(consumer, mark)[0].strip_suffix('s').unwrap().parse().unwrap();
    let [drain, granted] =
        ["${KAFKA_CRON_DRAIN:-", "stop_grace_period: "].map(|mark| Duration::from_secs(secs(mark)));
    let (grace, last_results) = (Duration::from_secs(10), Duration::from_secs(10));
    assert!(drain + grace + last_results < granted, "{drain:?} and 20 s must be less than {granted:?}");
}

#[test]
fn the_job_file_for_weak_machines_is_right_and_names_one_cluster() {
    let clusters = [kafka_cron::common::words::ClusterName::new("cluster-a").unwrap()];
    let jobs =
        kafka_cron::producer::jobfile::parse("small.cron", file("conf/small.cron").as_bytes(), &clusters);
    let jobs = jobs.unwrap();
    assert_eq!(jobs.warnings, []);
    assert_eq!(jobs.jobs.len(), 3);
}

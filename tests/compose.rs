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
    assert_eq!(words(&file("conf/kafka/Dockerfile"), "apache/kafka:"), words(&fetch, "\nversion=${1:-"));
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
    let clusters = [kafka_cron::common::model::ClusterName::new("cluster-a").unwrap()];
    let jobs =
        kafka_cron::producer::jobfile::parse("small.cron", file("conf/small.cron").as_bytes(), &clusters);
    let jobs = jobs.unwrap();
    assert_eq!(jobs.warnings, []);
    assert_eq!(jobs.jobs.len(), 3);
}

/// The lines of a service, without comments.
#[cfg(test)]
fn service<'t>(compose: &'t str, name: &str) -> Vec<&'t str> {
    let mark = format!("\n  {name}:\n");
    let after = &compose[compose.find(&mark).unwrap_or_else(|| panic!("no service {name}")) + mark.len()..];
    let inside =
        |line: &&str| line.is_empty() || line.starts_with("    ") || line.trim_start().starts_with('#');
    after.lines().take_while(inside).filter(|line| !line.trim_start().starts_with('#')).collect()
}

/// In an environment `docker inspect` would show it, in a file of the repository everybody would read it.
#[test]
fn the_mail_password_is_a_file_in_the_two_services_that_send_mails_and_nowhere_else() {
    let compose = file("docker-compose.yml");
    let said: Vec<&str> =
        compose.lines().filter(|line| line.contains("GMAIL_AUTH_TOKEN") && !line.starts_with('#')).collect();
    let path = "  GMAIL_AUTH_TOKEN_FILE: /run/secrets/gmail_auth_token";
    assert_eq!(said, [path, "    environment: GMAIL_AUTH_TOKEN"], "as the source of the secret");
    let has = |name: &&str| service(&compose, name).iter().any(|line| line.contains("gmail_auth_token"));
    let names: Vec<&str> = compose
        .split("\nservices:\n")
        .nth(1)
        .unwrap()
        .split("\nsecrets:\n")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '-'))
        .collect();
    assert!(names.len() >= 13, "{names:?}");
    assert_eq!(
        names.iter().copied().filter(|name| has(name)).collect::<Vec<_>>(),
        ["alertmanager", "watchdog"]
    );
    // Empty in the file that compose reads, so that it may be missing.
    assert!(file(".env").lines().any(|line| line == "GMAIL_AUTH_TOKEN="));
}

#[test]
fn prometheus_looks_for_each_service_that_is_a_program() {
    let (compose, prometheus) = (file("docker-compose.yml"), file("conf/prometheus/prometheus.yml"));
    let mut programs = Vec::new();
    let mut name = "";
    for line in compose.split("\nservices:\n").nth(1).unwrap().lines() {
        match line.strip_prefix("  ").and_then(|line| line.strip_suffix(':')) {
            Some(service) if !service.starts_with(' ') => name = service,
            _ if line.trim() == "<<: *producer" || line.trim() == "<<: *consumer" => programs.push(name),
            _ => {}
        }
    }
    let mut looked_for: Vec<&str> = prometheus
        .split("names: [")
        .skip(1)
        .flat_map(|rest| rest.split(']').next().unwrap().split(", "))
        .collect();
    programs.sort_unstable();
    looked_for.sort_unstable();
    assert!(programs.len() >= 8);
    assert_eq!(looked_for, programs);
}

#[test]
fn the_broker_of_the_compose_file_and_the_local_one_have_the_same_agent() {
    let (image, fetch) = (file("conf/kafka/Dockerfile"), file("scripts/kafka-fetch.sh"));
    assert_eq!(words(&image, "jmx_prometheus_javaagent:"), words(&fetch, "agent_version="));
}

#[test]
fn the_three_brokers_of_the_override_are_one_cluster_that_every_program_and_prometheus_know() {
    let (compose, chaos) = (file("docker-compose.yml"), file("docker-compose.chaos.yml"));
    let watched = file("conf/prometheus/prometheus.yml") + &file("conf/prometheus-chaos.yml");
    let [brokers, voters] = ["&brokers ", "QUORUM_VOTERS: "].map(|mark| words(&chaos, mark)[0]);
    let names = ["kafka", "kafka-2", "kafka-3"];
    assert_eq!(brokers.split(',').collect::<Vec<_>>(), names.map(|name| format!("{name}:19092")));
    assert_eq!(voters.split(',').count(), 3);
    for (id, name) in (1..).zip(names) {
        let broker = service(&chaos, name).join("\n");
        let says = |line: &str| assert!(broker.contains(line), "{name} lacks {line}: {broker}");
        says(&format!("KAFKA_NODE_ID: {id}\n"));
        says(&format!("NETWORK://{name}:19092"));
        says(&format!("kafka-{id}-of-3:/var/lib/kafka/data"));
        says("<<: *environment");
        assert!(voters.contains(&format!("{id}@{name}:9093")), "{voters}");
        assert!(watched.contains(&format!("\"{name}:8999\"")), "Prometheus does not know {name}");
    }
    assert!(chaos.contains("KAFKA_MIN_INSYNC_REPLICAS: 2\n"));
    // What the base sets for its broker, the override sets too, except what differs from broker to broker.
    for line in service(&compose, "kafka") {
        if let Some((name, _)) = line.trim().split_once(": ").filter(|(name, _)| name.starts_with("KAFKA_")) {
            assert!(chaos.contains(&format!("{name}: ")), "{name}");
        }
    }
    let mut name = "";
    let mut programs = 0;
    for line in compose.split("\nservices:\n").nth(1).unwrap().lines() {
        match line.strip_prefix("  ").and_then(|line| line.strip_suffix(':')) {
            Some(service) if !service.starts_with(' ') => name = service,
            _ if line.trim() == "<<: *producer" || line.trim() == "<<: *consumer" => {
                programs += 1;
                assert!(chaos.contains(&format!("\n  {name}: *program\n")), "{name} knows one broker only");
            }
            _ => {}
        }
    }
    assert!(programs >= 8);
}

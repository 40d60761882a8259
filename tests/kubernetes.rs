//! `deploy/kubernetes` against what it stands on: flags, versions, settings and rules that `docker-compose.yml` and `conf/` have, too.
//! What can be seen only in the built overlays is checked by `scripts/kubernetes-check.sh`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[cfg(test)]
const DEPLOY: &str = "deploy/kubernetes";

#[cfg(test)]
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The texts of all manifests.
#[cfg(test)]
fn manifests() -> String {
    let (mut text, mut folders) = (String::new(), vec![root().join(DEPLOY)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// The words of a text that start so, up to the first character that belongs to no name.
#[cfg(test)]
fn names<'t>(text: &'t str, start: &str) -> BTreeSet<&'t str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(start) && word.len() > start.len())
        .collect()
}

#[test]
fn each_variable_of_the_programs_is_one_that_they_know() {
    let mut known = String::new();
    for program in [env!("CARGO_BIN_EXE_producer"), env!("CARGO_BIN_EXE_consumer")] {
        let help = Command::new(program).arg("--help").output().unwrap();
        known += &String::from_utf8(help.stdout).unwrap();
    }
    let text = manifests();
    let named = names(&text, "KAFKA_CRON_");
    assert!(named.len() >= 8, "{named:?}");
    for name in named.into_iter().chain(["KAFKA_BROKERS"]) {
        assert!(known.contains(&format!("[env: {name}=")), "no program knows {name}");
    }
}

#[test]
fn images_are_those_of_the_compose_file() {
    let images = |text: &str| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("image: "))
            .filter(|image| image.contains(':'))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let here = images(&manifests());
    assert!(here.len() >= 4, "{here:?}");
    assert_eq!(here, images(&file("docker-compose.yml")));
}

#[test]
fn the_broker_has_the_settings_of_the_compose_file() {
    let (compose, kafka) =
        (file("docker-compose.yml"), file(&format!("{DEPLOY}/components/kafka/kafka.yaml")));
    let compose = compose.split("\n  kafka:\n").nth(1).unwrap().split("\n  producer:\n").next().unwrap();
    let set = |line: &'_ str| {
        let (name, value) = line.trim().split_once(": ")?;
        name.starts_with("KAFKA_")
            .then(|| (name.to_owned(), value.split(" #").next().unwrap().trim_matches('"').to_owned()))
    };
    let here = |line: &str| {
        let (name, value) = line.trim().strip_prefix("- { name: ")?.split_once(", value: ")?;
        Some((name.to_owned(), value.strip_suffix(" }")?.trim_matches('"').to_owned()))
    };
    let here: std::collections::BTreeMap<String, String> = kafka.lines().filter_map(here).collect();
    let mut checked = 0;
    for (name, value) in compose.lines().filter_map(set) {
        // The broker's number comes from its pod, and its addresses are other ones.
        if ["NODE_ID", "VOTERS", "LISTENERS", "PROTOCOL_MAP", "LOG_DIRS"]
            .iter()
            .any(|part| name.ends_with(part))
        {
            assert!(kafka.contains(&name), "{name}");
        } else {
            assert_eq!(here.get(&name), Some(&value), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} settings were compared");
}

#[test]
fn prometheus_differs_from_that_of_the_compose_file_in_its_targets_alone() {
    let [compose, here] =
        ["conf/prometheus/prometheus.yml", &format!("{DEPLOY}/components/monitoring/prometheus.yml")].map(
            |name| {
                let text = file(name);
                text.split("\nglobal:\n")
                    .nth(1)
                    .unwrap()
                    .split("\nscrape_configs:\n")
                    .next()
                    .unwrap()
                    .to_owned()
            },
        );
    assert!(compose.contains("runbook_base"));
    assert_eq!(here, compose);
    let jobs = |name: &str| {
        let text = file(name);
        let jobs = text.lines().filter_map(|line| line.trim().strip_prefix("- job_name: "));
        jobs.map(str::to_owned).collect::<Vec<_>>()
    };
    let here = jobs(&format!("{DEPLOY}/components/monitoring/prometheus.yml"));
    assert_eq!(here, jobs("conf/prometheus/prometheus.yml"));
}

#[test]
fn the_rules_for_the_operator_are_those_of_prometheus() {
    let folder = root().join(DEPLOY).join("components/prometheus-operator");
    let written = Command::new(folder.join("rules.sh")).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let written = String::from_utf8(written.stdout).unwrap();
    assert!(written.matches("- alert: ").count() > 15);
    let there = std::fs::read_to_string(folder.join("rules.yaml")).unwrap();
    assert!(there == written, "rules.yaml is old: run {}", folder.join("rules.sh").display());
    assert!(!there.contains("externalLabels"), "the operator's Prometheus has no runbook_base");
}

#[test]
fn no_secret_has_a_value() {
    let text = manifests();
    let values: BTreeSet<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("gmail_auth_token: ")).collect();
    assert_eq!(values, ["the-password"].into());
    // The examples are in no kustomization, so that nobody applies them by mistake.
    assert!(!text.contains("- secrets/") && !text.contains("example.yaml\n"), "an example is applied");
}

//! Alerts, their playbooks, their tests and their table against each other, and the metrics that they name against those
//! that there are. The commands and links of playbooks are checked with those of all pages, in `tests/docs.rs`; their
//! queries by `scripts/rules-check.sh`.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "support/commands.rs"]
mod commands;

#[cfg(test)]
use commands::{read, root};

#[cfg(test)]
const RULES: &str = "conf/prometheus/rules";

/// What every playbook has, in this order.
#[cfg(test)]
const SHAPE: [&str; 6] = [
    "The part concerned",
    "What users feel",
    "Likely causes",
    "Narrowing it down",
    "What to do",
    "How to know that it is over",
];

/// The files of a folder whose names end so: their names without that, and their texts.
#[cfg(test)]
fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(short) = name.strip_suffix(ending) {
            files.insert(short.to_owned(), read(&format!("{folder}/{name}")));
        }
    }
    assert!(!files.is_empty(), "{folder} has nothing that ends in {ending}");
    files
}

/// The rules that make an alert: its name, and the rule's text.
#[cfg(test)]
fn alerts() -> Vec<(String, String)> {
    let mut alerts = Vec::new();
    for text in files(RULES, ".yml").values() {
        for rule in text.split("\n      - alert: ").skip(1) {
            let rule = rule.split("\n      - record: ").next().unwrap();
            alerts.push((rule.lines().next().unwrap().to_owned(), rule.to_owned()));
        }
    }
    assert!(alerts.len() > 15, "{alerts:?}");
    alerts
}

#[cfg(test)]
fn names() -> BTreeSet<String> {
    alerts().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn each_alert_says_how_urgent_it_is_what_is_felt_and_where_its_playbook_is() {
    for (name, rule) in alerts() {
        let has = |what: &str| assert!(rule.contains(what), "{name} lacks {what}");
        let book = format!("          runbook_url: '{{{{ $externalLabels.runbook_base }}}}/{name}.md'\n");
        has("        expr: ");
        has("          summary: ");
        has("          description: ");
        has(&book);
        let severity =
            rule.split("labels: { severity: ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
        assert!(matches!(severity, Some("page" | "ticket" | "none")), "{name}: {severity:?}");
    }
}

#[test]
fn each_alert_has_a_playbook_tests_and_a_place_in_the_table_and_each_playbook_an_alert() {
    let names = names();
    assert_eq!(files("docs/playbooks", ".md").into_keys().collect::<BTreeSet<_>>(), names);
    let tests: String = files("tests/alerts", ".yml").into_values().collect();
    let table = read("docs/alerts.md");
    for name in &names {
        assert!(
            tests.contains(&format!("alertname=\"{name}\", alertstate=\"firing\"")),
            "{name} is not tested"
        );
        assert!(
            table.contains(&format!("[{name}](playbooks/{name}.md)")),
            "docs/alerts.md does not link {name}"
        );
    }
}

#[test]
fn each_playbook_has_the_one_shape() {
    for (name, text) in files("docs/playbooks", ".md") {
        assert!(text.starts_with(&format!("# {name}\n\n")), "{name}");
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, SHAPE, "{name}");
        assert!(
            text.contains("```mermaid\n") && text.contains("```sh\n") && text.contains("```promql\n"),
            "{name}"
        );
        let lines = text.lines().count();
        assert!((40..=80).contains(&lines), "{name} has {lines} lines");
    }
}

/// Words that could be metrics of ours, of the brokers, or recorded ones.
#[cfg(test)]
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')));
    let ours = |word: &&str| {
        ["cron_", "kafka_"].iter().any(|start| word.starts_with(start))
            || word.contains(":cron_")
            || word.contains(":kafka_")
    };
    words.map(|word| word.trim_end_matches(':')).filter(ours).collect()
}

#[test]
fn each_metric_that_is_named_exists() {
    let listed = read("docs/METRICS.md");
    let exported = read("conf/kafka/jmx-exporter.yml");
    let recorded = read(&format!("{RULES}/recording.yml"));
    let exists = |name: &str| match name.split_once('_').map(|(first, _)| first) {
        _ if name.contains(':') => recorded.contains(&format!("- record: {name}\n")),
        Some("kafka") => exported.contains(&format!("name: {name},")),
        _ => listed.contains(&format!("`{name}`")),
    };
    // What a histogram makes of its name.
    let known = |name: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        exists(name) || base.is_some_and(exists)
    };
    let mut texts = files("docs/playbooks", ".md");
    texts.extend(files(RULES, ".yml"));
    texts.extend(["docs/alerts.md", "docs/monitoring.md"].map(|page| (page.to_owned(), read(page))));
    let mut missing = BTreeSet::new();
    let mut checked = 0;
    for (of, text) in &texts {
        for name in metrics(text) {
            checked += 1;
            if !known(name) {
                missing.insert(format!("{of}: {name}"));
            }
        }
    }
    assert!(checked > 100, "only {checked} were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn alertmanager_speaks_of_alerts_that_there_are() {
    let names = names();
    let routes = read("conf/alertmanager/alertmanager.yml.tmpl");
    let spoken: Vec<&str> =
        routes.split("alertname ").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    assert!(spoken.contains(&"Watchdog"), "{spoken:?}");
    assert!(spoken.iter().all(|name| names.contains(*name)), "{spoken:?}");
}

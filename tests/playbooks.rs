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
        let book = format!("          runbook_url: '{{{{ $externalLabels.runbook_base }}}}/{name}.md'");
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

/// What a rule asks for: metrics, and through recorded ones those that they are made of.
#[cfg(test)]
fn asked_by(rule: &str, recorded: &BTreeMap<String, String>, found: &mut BTreeSet<String>) {
    let expression = rule.split("expr: ").nth(1).unwrap().split("\n        ").take_while(|line| !ends(line));
    for name in metrics(&expression.collect::<Vec<_>>().join("\n")) {
        match recorded.get(name) {
            Some(rule) => asked_by(rule, recorded, found),
            None => _ = found.insert(name.to_owned()),
        }
    }
}

/// Whether a line is the next thing that a rule says after its expression.
#[cfg(test)]
fn ends(line: &str) -> bool {
    ["for: ", "keep_firing_for: ", "labels: ", "annotations:"].iter().any(|word| line.starts_with(word))
}

#[test]
fn the_list_of_metrics_says_which_alerts_stand_on_each() {
    let text = read(&format!("{RULES}/recording.yml"));
    let recorded: BTreeMap<String, String> = text
        .split("\n      - record: ")
        .skip(1)
        .map(|rule| {
            (rule.lines().next().unwrap().to_owned(), rule.split("\n      #").next().unwrap().to_owned())
        })
        .collect();
    let mut stand: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (alert, rule) in alerts() {
        let mut found = BTreeSet::new();
        asked_by(&rule, &recorded, &mut found);
        for name in found {
            let base = ["_bucket", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            stand.entry(base.to_owned()).or_default().insert(alert.clone());
        }
    }
    let mut listed = 0;
    let mut wrong = Vec::new();
    for row in read("docs/METRICS.md").lines().filter(|line| line.starts_with("| `cron_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let said: BTreeSet<String> =
            cells[4].split(", ").filter(|word| *word != "–").map(str::to_owned).collect();
        let stands = stand.get(cells[1].trim_matches('`')).cloned().unwrap_or_default();
        listed += stands.len();
        if said != stands {
            wrong.push(format!("{}: {}", cells[1], stands.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    assert!(wrong.is_empty(), "their alerts are:\n{}", wrong.join("\n"));
    assert!(listed > 20, "{stand:?}");
}

#[test]
fn alertmanager_speaks_of_alerts_that_there_are() {
    let names = names();
    let routes = read("conf/alertmanager/alertmanager.yml.tmpl");
    let quoted = routes.split("alertname ").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let spoken: Vec<&str> = quoted.flat_map(|names| names.split('|')).collect();
    assert!(spoken.contains(&"Watchdog"), "{spoken:?}");
    assert!(spoken.iter().all(|name| names.contains(*name)), "{spoken:?}");
}

#[test]
fn every_duty_is_explained_where_the_alert_on_duties_sends_people() {
    let mut code = String::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                code.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let book = read("docs/playbooks/CannotWork.md");
    let mut duties: BTreeSet<&str> =
        code.split(".duty(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    // Those that are named by a table.
    let of_tables =
        ["positions", "retries", "claims", "commits", "letters", "following", "beats", "lost attempts"];
    for name in of_tables {
        assert!(code.contains(&format!("\"{name}\"")), "there is no duty {name} any more");
    }
    duties.extend(of_tables.iter().chain(&["standing by", "leader", "topics", "publishing"]));
    assert!(duties.len() > 15, "{duties:?}");
    for duty in duties.iter().filter(|duty| !["claims-of-a-test", "lead"].contains(duty)) {
        assert!(book.contains(&format!("`{duty}")), "the playbook does not explain the duty {duty}");
    }
}

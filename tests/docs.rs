//! The pages against what they speak of: links that lead somewhere, and commands that the programs and scripts take.
//! What needs Kafka is run by `tests/system/` and `scripts/experiments/`; what needs nothing is run here as it stands.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[cfg(test)] // it is, and this tells the lints
#[path = "support/commands.rs"]
mod commands;

#[cfg(test)]
use commands::{code, judge, pages, root};

/// The anchors of a page's headings, as they are made from them where Markdown is shown.
#[cfg(test)]
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_leads_to_something_that_is_there() {
    let mut checked = 0;
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(there.exists(), "{} links to {target}", path.display());
            if let Some(anchor) = anchor.filter(|_| there.extension().is_some_and(|e| e == "md")) {
                let known = anchors(&std::fs::read_to_string(&there).unwrap());
                assert!(known.contains(anchor), "{} links to {target}; there are {known:?}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} links were found");
}

#[test]
fn every_command_is_one_that_the_programs_and_scripts_take() {
    let mut checked = 0;
    for (path, text) in pages() {
        for line in code(&text) {
            if let Some(verdict) = judge(&line) {
                assert_eq!(verdict, Ok(()), "{}: {line}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} commands were found");
}

#[test]
fn commands_in_the_tables_of_the_course_page_are_ones_that_there_are() {
    let page = std::fs::read_to_string(root().join("docs/COURSE.md")).unwrap();
    let judged = |code: &&str| judge(code).map(|verdict| (code.to_string(), verdict));
    let verdicts: Vec<_> = page.split('`').skip(1).step_by(2).filter_map(|code| judged(&code)).collect();
    for (command, verdict) in &verdicts {
        assert_eq!(*verdict, Ok(()), "docs/COURSE.md: {command}");
    }
    assert!(verdicts.len() > 40, "only {} commands were found", verdicts.len());
}

#[test]
fn every_experiment_has_a_page_that_names_its_script() {
    let pages: String = pages().into_iter().map(|(_, text)| text).collect();
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("scripts/experiments")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // A part of the migration, which is sourced.
        if name != "old-system.sh" {
            assert!(pages.contains(&format!("scripts/experiments/{name}")), "no page names {name}");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} scripts were found");
}

#[test]
fn commands_that_need_nothing_run_as_they_stand() {
    let programs = Path::new(env!("CARGO_BIN_EXE_cronctl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut run = BTreeSet::new();
    for (page, text) in pages() {
        // In running text, too.
        let inline = text.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
        let offline = |line: &String| {
            ["cronctl check conf/", "cronctl next '"].iter().any(|start| line.starts_with(start))
        };
        for line in code(&text).into_iter().chain(inline).filter(offline) {
            let output = Command::new("sh")
                .args(["-c", &line])
                .env("PATH", &path)
                .current_dir(root())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {line}: {said}", page.display());
            run.insert(line);
        }
    }
    assert!(run.len() >= 2, "{run:?}");
}

#[test]
fn what_is_wrong_with_a_command_is_seen() {
    let wrong = |line: &str| judge(line).unwrap_or_else(|| panic!("{line} is none of ours")).is_err();
    assert!(wrong("producer conf/jobs.cron --broker localhost:9092"));
    assert!(wrong("consumer --topic cluster-a --worker=4"));
    assert!(wrong("cronctl rums --since 1h"));
    assert!(wrong("cronctl dead list --run ID"));
    assert!(wrong("scripts/walk.sh") && wrong("scripts/run.sh --walk") && wrong("make tea"));
    assert!(wrong("cargo test --test nothing") && wrong("docker compose exec nobody true"));
    assert!(
        wrong("docker compose exec producer cronctl rums")
            && wrong("docker compose exec --index 2 nobody true")
    );
    let topics = "/opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:19092 --describe";
    assert!(wrong(&format!("docker compose exec kafka {topics}")));
    assert!(wrong(&format!("docker compose exec kafka env KAFKA_OPTS= {topics} --zookeeper zoo:2181")));
    assert!(!wrong(&format!("docker compose exec kafka env KAFKA_OPTS= {topics} --unavailable-partitions")));
    assert!(!wrong("docker compose exec --index 2 producer cronctl runs --since 1h"));
    assert!(!wrong("cronctl dead replay --cluster cluster-a --run=ID") && !wrong("make test"));
}

/// All Rust text below a folder.
#[cfg(test)]
fn rust_below(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_below(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn known_troubles_are_held_by_tests_that_there_are() {
    let mut code = String::new();
    ["src", "tests"].iter().for_each(|folder| rust_below(&root().join(folder), &mut code));
    let page = std::fs::read_to_string(root().join("docs/known-troubles.md")).unwrap();
    let mut checked = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in held_by.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                assert!(root().join(name).exists(), "{name} is not there: {row}");
            } else if name.contains('_') {
                assert!(code.contains(&format!("fn {name}(")), "there is no test {name}: {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "only {checked} tests are named");
}

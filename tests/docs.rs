//! The pages against what they speak of: links that lead somewhere, and commands that the programs and scripts take.
//! What needs Kafka is run by `tests/system/` and `scripts/experiments/`; what needs nothing is run here as it stands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(test)]
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, with its text.
#[cfg(test)]
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    let mut take = |path: PathBuf| {
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    };
    std::fs::read_dir(root()).unwrap().for_each(|entry| take(entry.unwrap().path()));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { take(path) }
        }
    }
    found
}

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

/// The lines of a page that are code: indented by four, or between fences. Pictures (`mermaid`) are none.
#[cfg(test)]
fn code(text: &str) -> Vec<String> {
    let mut fence: Option<bool> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.trim() != "mermaid") };
        } else if fence.unwrap_or_else(|| line.starts_with("    ")) {
            let line = line.trim().trim_start_matches("$ ");
            let command = line.split("  #").next().unwrap();
            lines.push(command.split(" # ").next().unwrap().trim().to_owned());
        }
    }
    lines
}

#[cfg(test)]
fn help(program: &str, words: &[&str]) -> Option<String> {
    let path = match program {
        "producer" => env!("CARGO_BIN_EXE_producer"),
        "consumer" => env!("CARGO_BIN_EXE_consumer"),
        _ => env!("CARGO_BIN_EXE_cronctl"),
    };
    let output = Command::new(path).args(words).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// What is wrong with a command, if anything is; `None` for what is none of ours.
#[cfg(test)]
fn judge(line: &str) -> Option<Result<(), String>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let flags =
        || words.iter().filter(|word| word.starts_with("--")).map(|flag| flag.split('=').next().unwrap());
    let all_in = |help: &str, of: &str| {
        let known = |flag: &str| {
            help.split(|c: char| c.is_whitespace() || "[]|,".contains(c)).any(|word| word == flag)
        };
        flags().find(|flag| !known(flag)).map_or(Ok(()), |flag| Err(format!("{of} has no {flag}")))
    };
    let named =
        |after: &str| words.iter().position(|word| *word == after).and_then(|at| words.get(at + 1)).copied();
    let exists =
        |path: String| if root().join(&path).exists() { Ok(()) } else { Err(format!("{path} is not there")) };
    match *words.first()? {
        program @ ("producer" | "consumer") if words.len() > 1 => {
            Some(all_in(&help(program, &[]).unwrap(), program))
        }
        "cronctl" if words.len() > 1 => {
            let deeper = words.get(2).filter(|word| words[1] == "dead" && !word.starts_with('-')).copied();
            let commands: Vec<&str> = [words[1]].into_iter().chain(deeper).collect();
            let Some(help) = help("cronctl", &commands) else {
                return Some(Err("no such command".to_owned()));
            };
            Some(all_in(&help, "cronctl"))
        }
        script if script.starts_with("scripts/") => {
            let there = exists(script.to_owned());
            let head = || {
                read(script).lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n")
            };
            Some(there.and_then(|()| all_in(&head(), script)))
        }
        "make" => {
            let target = format!("\n{}:", words.get(1)?);
            Some(if read("Makefile").contains(&target) { Ok(()) } else { Err(format!("no target{target}")) })
        }
        "cargo" => {
            let test = named("--test").map(|name| {
                exists(format!("tests/{name}.rs")).or_else(|_| exists(format!("tests/{name}/main.rs")))
            });
            let bench = named("--bench").map(|name| exists(format!("benches/{name}.rs")));
            Some(test.or(bench).unwrap_or(Ok(())))
        }
        "docker" => {
            let service =
                named("exec").or_else(|| named("--scale").and_then(|pair| pair.split('=').next()))?;
            let known = read("docker-compose.yml").contains(&format!("\n  {service}:\n"));
            Some(if known { Ok(()) } else { Err(format!("no service {service}")) })
        }
        _ => None,
    }
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
    assert!(!wrong("cronctl dead replay --cluster cluster-a --run=ID") && !wrong("make test"));
}

//! Pages, the commands that stand in them, and whether the programs and scripts take these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, with its text.
pub fn pages() -> Vec<(PathBuf, String)> {
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

/// The lines of a page that are code: indented by four, or between fences. Pictures (`mermaid`) are none.
pub fn code(text: &str) -> Vec<String> {
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
pub fn judge(line: &str) -> Option<Result<(), String>> {
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
    // The package gives them longer names.
    let first = *words.first()?;
    match first.strip_prefix("kafka-cron-").unwrap_or(first) {
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
        "docker" => docker(&words[1..]),
        // With the agent of the broker in their environment Kafka's tools die on its port.
        tool if tool.starts_with(KAFKA_BIN) => Some(Err(format!("{tool} without `env KAFKA_OPTS=`"))),
        "env" if words.get(2).is_some_and(|tool| tool.starts_with(KAFKA_BIN)) => {
            Some(all_in(&kafka_help(&words[2..]), words[2]))
        }
        _ => None,
    }
}

/// `docker compose`: a service that there is, and a command in it that there is.
fn docker(words: &[&str]) -> Option<Result<(), String>> {
    let after = |word: &str| words.iter().position(|w| *w == word).map(|at| &words[at + 1..]);
    let (service, command) = match after("exec") {
        Some(["--index", _, service, command @ ..] | [service, command @ ..]) => {
            (*service, command.join(" "))
        }
        _ => (after("--scale")?.first()?.split('=').next()?, String::new()),
    };
    if !read("docker-compose.yml").contains(&format!("\n  {service}:\n")) {
        return Some(Err(format!("no service {service}")));
    }
    Some(judge(&command).unwrap_or(Ok(())))
}

/// Where Kafka's tools are in its image.
const KAFKA_BIN: &str = "/opt/kafka/bin/";

/// What a tool of Kafka says of itself. Each is asked once.
fn kafka_help(words: &[&str]) -> String {
    static SAID: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let tool = words[0].trim_start_matches(KAFKA_BIN).trim_end_matches(".sh");
    let class = match tool {
        "kafka-topics" => "TopicCommand",
        "kafka-consumer-groups" => "consumer.group.ConsumerGroupCommand",
        "kafka-get-offsets" => "GetOffsetShell",
        "kafka-log-dirs" => "LogDirsCommand",
        "kafka-delete-records" => "DeleteRecordsCommand",
        "kafka-metadata-quorum" => "MetadataQuorumCommand",
        other => panic!("{other}: its class is to be named here"),
    };
    let mut said = SAID.lock().unwrap();
    let ask = || {
        let libs = Command::new(root().join("scripts/kafka-fetch.sh")).output().unwrap();
        assert!(libs.status.success(), "{libs:?}");
        let libs = String::from_utf8(libs.stdout).unwrap();
        let run = |arguments: &[&str]| {
            let mut java = Command::new("java");
            java.args(["-XX:TieredStopAtLevel=1", "-cp", &format!("{}/*", libs.trim())]);
            let output =
                java.arg(format!("org.apache.kafka.tools.{class}")).args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
        };
        // The only one with commands of its own, and flags of theirs.
        let deeper = if tool == "kafka-metadata-quorum" {
            run(&["--bootstrap-server", "localhost:1", "describe", "--help"])
        } else {
            String::new()
        };
        run(&["--help"]) + &deeper
    };
    said.entry(tool.to_owned()).or_insert_with(ask).clone()
}

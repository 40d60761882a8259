//! What the package brings against the programs: the units' commands and settings are ones that the programs take, the files
//! that it lists are there, and its times fit together. What a real systemd does with the units is told by
//! `scripts/package.sh test`.

use std::collections::BTreeSet;
use std::process::Command as Process;
use std::time::Duration;

use clap::{Command, CommandFactory, Parser};
use kafka_cron::common::duration;
use kafka_cron::{consumer, producer};

#[cfg(test)]
#[path = "support/commands.rs"]
#[expect(dead_code, reason = "each test binary takes its own part")]
mod commands;

use commands::{read, root};

/// The files of a folder.
#[cfg(test)]
fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| format!("{folder}/{}", entry.file_name().to_str().unwrap())).collect()
}

/// What a unit says of a setting, each time it does.
#[cfg(test)]
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

/// What is shipped as it stands: from where, to where, and with which rights.
#[cfg(test)]
fn shipped() -> Vec<(String, String, String)> {
    let script = read("scripts/lib/package.sh");
    let list = script.split("<<'LIST'\n").nth(1).unwrap().split("\nLIST\n").next().unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = list.lines().map(words);
    lines.map(|words| (words[0].clone(), words[1].clone(), words[2].clone())).collect()
}

/// Whether a program takes these words of its command line.
#[cfg(test)]
fn takes(program: &str, words: &[String]) -> Result<(), String> {
    let line = [program.to_owned()].into_iter().chain(words.iter().cloned());
    match program {
        "/usr/sbin/kafka-cron-producer" => producer::cli::Args::try_parse_from(line).map(drop),
        "/usr/sbin/kafka-cron-consumer" => consumer::cli::Args::try_parse_from(line).map(drop),
        other => return Err(format!("{other} is none of our programs")),
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
fn command(program: &str) -> Command {
    match program {
        "producer" => producer::cli::Args::command(),
        _ => consumer::cli::Args::command(),
    }
}

/// Whether a program takes `NAME=value` from its environment.
#[cfg(test)]
fn takes_variable(program: &str, assignment: &str) -> Result<(), String> {
    let (name, value) = assignment.split_once('=').ok_or("no assignment")?;
    let command = command(program);
    let known = command.get_arguments().find(|arg| arg.get_env().is_some_and(|env| env == name));
    let flag = known.ok_or_else(|| format!("{program} knows no {name}"))?;
    let flag = flag.get_long().ok_or_else(|| format!("{name} has no flag"))?;
    let mut words = vec![format!("--{flag}={}", value.replace("%H", "host-1"))];
    if program == "consumer" && flag != "topic" {
        words.push("--topic=cluster-a".to_owned());
    }
    takes(&format!("/usr/sbin/kafka-cron-{program}"), &words)
}

/// A time span as systemd writes it: `12min`, `6h5min`, `30s`.
#[cfg(test)]
fn span(text: &str) -> Duration {
    duration::parse(&text.replace("min", "m")).unwrap()
}

#[test]
fn each_unit_starts_a_program_that_takes_its_command_line() {
    let units = files("deploy/systemd");
    assert_eq!(units.len(), 2, "{units:?}");
    for path in &units {
        let unit = read(path);
        let started = settings(&unit, "ExecStart");
        assert_eq!(started.len(), 1, "{path}");
        let line = started[0].replace("%i", "cluster-a-retry");
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(takes(&words[0], &words[1..]), Ok(()), "{path}");
        let placed = format!("\"$root{}\"", words[0]);
        assert!(read("scripts/lib/package.sh").contains(&placed), "the package has no {}", words[0]);
        let page = format!("man:{}(8)", words[0].rsplit('/').next().unwrap());
        assert_eq!(settings(&unit, "Documentation"), [page.as_str()], "{path}");
    }
}

#[test]
fn what_is_wrong_with_a_unit_is_seen() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let wrong = |program: &str, line: &str| takes(program, &words(line)).is_err();
    assert!(wrong("/usr/sbin/kafka-cron-consumer", "--topics cluster-a"));
    assert!(wrong("/usr/sbin/kafka-cron-producer", "/etc/kafka-cron/jobs.cron --cluster x"));
    assert!(wrong("/usr/sbin/producer", "jobs.cron"));
    assert!(takes_variable("consumer", "KAFKA_CRON_DRAIN=ten").is_err());
    assert!(takes_variable("producer", "KAFKA_CRON_DRAIN=10m").is_err());
    assert!(takes_variable("consumer", "KAFKA_CRON_DRAIN=10m").is_ok());
}

#[test]
fn each_setting_of_the_package_is_one_that_its_program_takes() {
    let of = |path: &str| match path.rsplit('/').next().unwrap() {
        "kafka.env" => vec!["producer", "consumer"],
        "producer.env" | "kafka-cron-producer.service" => vec!["producer"],
        _ => vec!["consumer"],
    };
    let mut checked = 0;
    let mut check = |path: &str, assignment: &str| {
        for program in of(path) {
            assert_eq!(takes_variable(program, assignment), Ok(()), "{path}: {assignment}");
            checked += 1;
        }
    };
    for path in files("deploy/systemd/conf").iter().filter(|path| path.ends_with(".env")) {
        // What is commented out is for people to use.
        let text = read(path);
        let lines = text.lines().map(|line| line.trim_start_matches('#'));
        lines.filter(|line| line.starts_with("KAFKA_")).for_each(|line| check(path, line));
    }
    for path in files("deploy/systemd").iter().chain(&files("deploy/systemd/examples")) {
        settings(&read(path), "Environment").into_iter().for_each(|line| check(path, line));
    }
    assert!(checked > 14, "only {checked} settings were found");
}

#[test]
fn what_the_package_lists_is_there_and_everything_that_is_there_is_listed() {
    let shipped = shipped();
    let mut sources = BTreeSet::new();
    for (from, to, mode) in &shipped {
        assert!(root().join(from).is_file(), "{from} is not there");
        assert!(sources.insert(from.clone()), "{from} is listed twice");
        assert!(!to.starts_with('/') && (mode == "644" || mode == "640"), "{to} {mode}");
    }
    for folder in ["deploy/systemd", "deploy/systemd/conf", "deploy/systemd/examples"] {
        files(folder).iter().for_each(|path| assert!(sources.contains(path), "{path} is not in the package"));
    }
    let targets: BTreeSet<String> = shipped.iter().map(|(_, to, _)| format!("/{to}")).collect();
    for path in files("deploy/systemd") {
        let unit = read(&path);
        for file in settings(&unit, "EnvironmentFile").iter().filter(|file| !file.starts_with('-')) {
            assert!(targets.contains(*file), "{path} reads {file}, which the package does not bring");
        }
    }
    // The first lines of an example say where it belongs.
    for path in files("deploy/systemd/examples") {
        let name = path.rsplit('/').next().unwrap();
        let text = read(&path);
        let place =
            text.lines().find_map(|line| line.strip_prefix("#   /etc/systemd/system/kafka-cron-consumer@"));
        assert!(place.is_some_and(|place| place.ends_with(&format!(".service.d/{name}"))), "{path}");
    }
}

#[test]
fn a_stop_is_given_more_time_than_a_consumer_takes_for_it() {
    // A job's `grace`, and 10 s for the last results.
    let besides = Duration::from_secs(60 + 10);
    let mut checked = 0;
    for path in files("deploy/systemd").iter().chain(&files("deploy/systemd/examples")) {
        let unit = read(path);
        for drain in
            settings(&unit, "Environment").iter().filter_map(|line| line.strip_prefix("KAFKA_CRON_DRAIN="))
        {
            let granted = settings(&unit, "TimeoutStopSec");
            assert_eq!(granted.len(), 1, "{path} sets one without the other");
            let needed = duration::parse(drain).unwrap() + besides;
            assert!(span(granted[0]) >= needed, "{path}: {} is too short for a drain of {drain}", granted[0]);
            checked += 1;
        }
    }
    assert_eq!(checked, 2);
}

#[test]
fn the_consumers_unit_leaves_the_jobs_to_the_consumer() {
    let unit = read("deploy/systemd/kafka-cron-consumer@.service");
    let says = |name: &str, value: &str| assert_eq!(settings(&unit, name), [value], "{name}");
    says("Delegate", "yes");
    // TERM for the consumer and not for its jobs; nothing outlives it.
    says("KillMode", "mixed");
    // A job that is out of memory ends alone.
    says("OOMPolicy", "continue");
    // It would make the delegated group read-only.
    assert!(settings(&unit, "ProtectControlGroups").is_empty());
    for path in files("deploy/systemd") {
        assert_eq!(settings(&read(&path), "RestartPreventExitStatus"), ["2"], "{path}");
    }
}

#[test]
fn a_consumer_that_runs_as_root_leaves_the_jobs_directory_alone() {
    let unit = read("deploy/systemd/kafka-cron-consumer@.service");
    assert_eq!(settings(&unit, "StateDirectory"), ["kafka-cron"]);
    let mut checked = 0;
    for path in files("deploy/systemd/examples") {
        let example = read(&path);
        if !settings(&example, "User").is_empty() {
            // systemd would give the directory to this user, and all that is in it.
            assert_eq!(settings(&example, "StateDirectory"), [""], "{path}");
            assert!(
                !settings(&example, "WorkingDirectory").is_empty(),
                "{path}: it was the directory of the others"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 1);
}

#[test]
fn the_example_for_sudo_takes_back_everything_that_forbids_it() {
    // systemd.exec(5), NoNewPrivileges=: these imply it, whatever it says itself.
    let implies = [
        "DynamicUser",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "PrivateDevices",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "SystemCallArchitectures",
        "SystemCallFilter",
        "SystemCallLog",
    ];
    let unit = read("deploy/systemd/kafka-cron-consumer@.service");
    let example = read("deploy/systemd/examples/sudo.conf");
    let (set, cleared): (Vec<&str>, Vec<&str>) =
        implies.iter().partition(|name| !settings(&unit, name).is_empty());
    assert!(set.len() > 10, "{set:?}");
    for name in set {
        let said = settings(&example, name);
        assert!(said == ["no"] || said == [""], "sudo.conf leaves {name} as it is: {said:?}");
    }
    for name in cleared {
        assert!(settings(&example, name).is_empty(), "the unit does not set {name}");
    }
    // The empty list is what the unit says; this is all of them.
    assert_eq!(settings(&example, "CapabilityBoundingSet"), ["~"]);
}

#[test]
fn the_pages_that_settings_and_units_name_are_in_the_package() {
    let shipped = shipped();
    let there = |page: &str| match page.strip_prefix("docs/") {
        // All pages go there.
        Some(page) => root().join("docs").join(page).is_file(),
        None => shipped.iter().any(|(_, to, _)| {
            let to = to.strip_prefix("usr/share/doc/kafka-cron/");
            to.is_some_and(|to| to == page || to.starts_with(&format!("{page}/")))
        }),
    };
    let mut checked = 0;
    for folder in ["deploy/systemd", "deploy/systemd/conf", "deploy/systemd/examples"] {
        for path in files(folder) {
            for rest in read(&path).split("/usr/share/doc/kafka-cron/").skip(1) {
                let page = rest.split_whitespace().next().unwrap().trim_end_matches(['.', ',']);
                assert!(there(page), "{path} names {page}, which the package does not bring");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 3);
}

#[test]
fn the_job_file_of_the_package_is_right_and_has_no_job() {
    let output = Process::new(env!("CARGO_BIN_EXE_cronctl"))
        .args(["check", "deploy/systemd/conf/jobs.cron"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(said.contains(", 0 jobs, 0 schedules, 0 warnings"), "{said}");
    // Its examples are right, too.
    let text = read("deploy/systemd/conf/jobs.cron");
    let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).skip(1).collect();
    assert_eq!(examples.len(), 2, "{examples:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), examples.join("\n") + "\n").unwrap();
    let output = Process::new(env!("CARGO_BIN_EXE_cronctl")).arg("check").arg(file.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

//! The job file as a whole: what stands in a file, and what comes of it. Rules of a single thing are tested beside it.

mod mistakes;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::producer::job::{CatchUp, CatchUpPolicy, Overlap};
use crate::producer::schedule::Schedule;

pub(super) fn clusters() -> Vec<ClusterName> {
    ["cluster-a", "cluster-b"].map(|name| ClusterName::new(name).unwrap()).to_vec()
}

fn read(content: &str) -> JobFile {
    parse("jobs", content.as_bytes(), &clusters())
        .unwrap_or_else(|problems| panic!("{content}: {problems:?}"))
}

/// One job line, with the options and the command given.
fn job(tail: &str) -> Arc<Job> {
    Arc::clone(&read(&format!("* * * * * cluster-a {tail}\n")).jobs[0])
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

fn errors(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.retain(|problem| problem.severity == Severity::Error);
    problems
}

/// The errors of a file, each `line: part of the message`.
fn check_wrong(content: &str, expected: &[&str]) {
    let problems = match parse("jobs", content.as_bytes(), &clusters()) {
        Ok(file) => panic!("{content}: no problem, but {:?}", file.jobs),
        Err(problems) => texts(&errors(problems)),
    };
    assert_eq!(problems.len(), expected.len(), "{content}: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        let (line, part) = expected.split_once(": ").unwrap();
        assert!(problem.starts_with(&format!("jobs:{line}: ")) && problem.contains(part), "{problem}");
    }
}

fn check_warning(line: &str, expected: Option<&str>) {
    let warnings = texts(&read(line).warnings);
    assert_eq!(warnings.len(), usize::from(expected.is_some()), "{line}: {warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains(expected.unwrap())), "{line}: {warnings:?}");
}

#[test]
fn the_example_of_the_reference_means_what_it_says() {
    let file = read(
        r"CRON_TZ=Europe/London                 # zone for the lines below; default UTC
PATH=/usr/local/bin:/usr/bin:/bin     

# schedule      cluster     options                                          command
*/5 * * * *     cluster-a                                                    curl -fsS https://example.org/ping
0 3 * * *       cluster-b   [name=backup retries=3 backoff=30s timeout=2h]   /opt/backup --full
*/10 * * * * *  cluster-a   [name=flaky retries=5 backoff=1s]                test $(( $(date +%s) % 3 )) -eq 0
@every 90s      cluster-b   [name=poll tz=UTC overlap=skip]                  ./poll.sh # often",
    );
    assert_eq!(file.warnings, []);
    let commands: Vec<&str> = file.jobs.iter().map(|job| job.command.as_str()).collect();
    let expected = [
        "curl -fsS https://example.org/ping",
        "/opt/backup --full",
        "test $(( $(date +%s) % 3 )) -eq 0",
        "./poll.sh # often",
    ];
    assert_eq!(commands, expected);
    let schedules: Vec<Schedule> = file.jobs.iter().map(|job| Schedule::clone(&job.schedule)).collect();
    let london = |words: &str| Schedule::parse(words, &"Europe/London".parse().unwrap()).unwrap();
    let last = Schedule::parse("@every 90s", &Zone::utc()).unwrap();
    assert_eq!(schedules, [london("*/5 * * * *"), london("0 3 * * *"), london("*/10 * * * * *"), last]);
    let backup = &file.jobs[1];
    assert_eq!((backup.name.as_str(), backup.cluster.as_str()), ("backup", "cluster-b"));
    assert_eq!((backup.retry.retries, backup.retry.backoff_ms), (3, 30_000));
    assert_eq!(backup.limits.timeout_ms, Some(7_200_000));
    assert_eq!(backup.environment["PATH"], "/usr/local/bin:/usr/bin:/bin");
}

#[test]
fn options_reach_the_job() {
    let job = job("[cwd=\"/srv/a b\" user=nobody jitter=30s grace=1s backoff_max=1m retries=1] x");
    assert_eq!((job.cwd.as_deref(), job.user.as_deref()), (Some("/srv/a b"), Some("nobody")));
    assert_eq!((job.jitter, job.limits.grace_ms), (Duration::from_secs(30), 1_000));
    assert_eq!(job.retry.backoff_max_ms, 60_000);
}

#[test]
fn what_happens_to_ticks_that_come_late_or_too_soon_reaches_the_job() {
    let plain = job("x");
    assert_eq!((plain.overlap, plain.catch_up, plain.limits.deadline_ms), Default::default());
    let job = job("[overlap=queue catchup=all catchup_window=2h deadline=3h name=a] x");
    assert_eq!(job.overlap, Overlap::Queue);
    let window = Duration::from_secs(2 * 60 * 60);
    assert_eq!(job.catch_up, CatchUp { policy: CatchUpPolicy::All, window });
    assert_eq!(job.limits.deadline_ms, Some(3 * 60 * 60 * 1000));
}

#[test]
fn a_reboot_is_the_same_job_in_every_zone() {
    let file = "@reboot cluster-a x\nCRON_TZ=Asia/Tokyo\n@reboot cluster-b x\n";
    let [a, b] = <[Arc<Job>; 2]>::try_from(read(file).jobs).unwrap();
    assert!(a.schedule.is_reboot() && a.next(chrono::DateTime::UNIX_EPOCH).is_none());
    assert!(a.name.as_str().starts_with("x-") && a.name != b.name, "{}", a.name);
    let named = |line: &str| read(line).jobs.pop().unwrap();
    assert_eq!(named("CRON_TZ=Asia/Tokyo\n@reboot cluster-a x").name, a.name);
    let odd = named("@reboot cluster-a [tz=Asia/Tokyo jitter=1h] x");
    assert_eq!((&odd.name, odd.jitter, odd.shift()), (&a.name, Duration::ZERO, chrono::TimeDelta::zero()));
    let twice = "@reboot cluster-a x\nCRON_TZ=Asia/Tokyo\n@reboot cluster-a x\n";
    check_wrong(twice, &["3: the job stands in line 1 already"]);
}

#[test]
fn the_ticks_of_a_job_are_those_of_its_schedule_shifted() {
    let job = job("[name=shifted jitter=50s] x");
    let shift = job.shift();
    assert!(shift > chrono::TimeDelta::zero(), "the name was chosen for it");
    let tick = "2026-03-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() + shift;
    let second = chrono::TimeDelta::seconds(1);
    assert_eq!(job.next(tick - second), Some(tick));
    assert_eq!(job.next(tick), Some(tick + chrono::TimeDelta::minutes(1)));
}

#[test]
fn a_command_is_taken_verbatim() {
    for command in ["[ -f x ] && y", "x # y", "x 50% \"\t\" 'é'", "X=1 y", "x ]  z", "x  "] {
        assert_eq!(job(command).command, command);
    }
}

#[test]
fn files_of_other_systems_are_read() {
    let expected = read("A=1\n* * * * * cluster-a x\n");
    for content in [
        "A=1\n* * * * * cluster-a x",
        "A=1\r\n* * * * * cluster-a x\r\n",
        "\u{feff}A=1\n* * * * * cluster-a x\n",
    ] {
        let file = read(content);
        assert_eq!(file.jobs, expected.jobs);
        assert_ne!(Arc::clone(&file.revision), expected.revision);
    }
    assert_eq!(read("").jobs, []);
    assert_eq!(read("\n \t\n# x\n  # y").jobs, []);
    let utf16 = b"\xFF\xFE*\0 \0\n\0*\0";
    assert_eq!(
        texts(&parse("jobs", utf16, &clusters()).unwrap_err()),
        ["jobs:1: the file is in UTF-16 (save it as UTF-8)"]
    );
}

#[test]
fn environment_and_zone_hold_for_the_lines_below() {
    let file = read(
        "* * * * * cluster-a a\nA=1\nCRON_TZ=Asia/Tokyo # east\nB = ' 2 '\n* * * * * cluster-a b\n* * * * * cluster-a c\n\
         A=3\n* * * * * cluster-a [tz=UTC] d\n",
    );
    let [a, b, c, d] = file.jobs.as_slice() else { panic!("{file:?}") };
    let variables = |job: &Job| job.environment.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    assert_eq!(variables(a), [""; 0]);
    assert_eq!(variables(b), ["A=1", "B= 2 "]);
    assert_eq!(variables(d), ["A=3", "B= 2 "]);
    assert!(Arc::ptr_eq(&b.environment, &c.environment));
    assert!(Arc::ptr_eq(&b.schedule, &c.schedule));
    assert!(Arc::ptr_eq(&a.schedule, &d.schedule));
    assert_ne!(a.schedule, b.schedule);
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    check_wrong(
        "9A=1\n* * * * * cluster-a\n* * * * * clustr-a [retrys=3 tz=x] x\nCRON_TZ=Mars\nA=\n\
         * * * * cluster-a [grace=1] x\n* * * * * cluster-a [name=a x\n\u{1}\n",
        &[
            "1: `9A` is not an environment name",
            "2: the command is missing",
            "3: did you mean `cluster-a`?",
            "3: did you mean `retries`?",
            "3: option `tz`",
            "4: unknown time zone `Mars`",
            "5: `A=` has no value",
            "6: the schedule has 4 fields",
            "6: option `grace`",
            "7: the option list has no end",
            "8: control character U+0001",
        ],
    );
}

#[test]
fn two_jobs_of_one_name_are_an_error_that_names_both_lines() {
    let twice = "* * * * * cluster-a [name=a] x\n\n@daily cluster-b [name=a] y\n";
    check_wrong(twice, &["3: the name `a` is taken by line 1"]);
    let broken =
        "* * * * clstr [name=a] x\n* * * * * cluster-a [name=a retries=x] x\n@daily cluster-b [name=a] y\n";
    check_wrong(broken, &["1: field 5", "2: option `retries`", "3: the name `a` is taken by line 2"]);
    let anonymous =
        "* * * * * cluster-a x\n  *  * * * *\tcluster-a [retries=2]  x \nA=1\n* * * * * cluster-a x\n";
    check_wrong(
        anonymous,
        &[
            "2: the job stands in line 1 already (if both are meant, give them names",
            "4: the job stands in line 1",
        ],
    );
}

#[test]
fn a_name_survives_whatever_does_not_change_the_job() {
    let name = |content: &str| read(content).jobs.last().unwrap().name.clone();
    let plain = name("0 3 * * * cluster-a /opt/x 1\n");
    let same = [
        "# moved\n\n\t0  3\t* * *  cluster-a   /opt/x 1  \n",
        "A=1\n0 3 * * * cluster-a [retries=3 backoff=1s timeout=1s grace=1s jitter=1s] /opt/x 1",
        "0 3 * * * cluster-a [overlap=skip catchup=all catchup_window=1h deadline=2h] /opt/x 1",
        "CRON_TZ=UTC\n0 3 * * * cluster-a [tz=UTC] /opt/x 1",
        "@daily cluster-b y\n0 3 * * * cluster-a /opt/x 1\r\n",
    ];
    for content in same {
        assert_eq!(name(content), plain, "{content}");
    }
    let others = [
        "0 4 * * * cluster-a /opt/x 1",
        "0 3 * * * cluster-b /opt/x 1",
        "0 3 * * * cluster-a /opt/x  1",
        "0 3 * * * cluster-a [tz=Asia/Tokyo] /opt/x 1",
        "CRON_TZ=Asia/Tokyo\n0 3 * * * cluster-a /opt/x 1",
        "0 3 * * * cluster-a [cwd=/x] /opt/x 1",
        "0 3 * * * cluster-a [user=x] /opt/x 1",
    ];
    for content in others {
        assert_ne!(name(content), plain, "{content}");
    }
}

#[test]
fn what_means_something_to_crontab_and_nothing_here_is_a_warning() {
    check_warning("MAILTO=ops@example.org", Some("no mail is sent"));
    check_warning("MAILTO=", Some("no mail is sent"));
    check_warning("MAILTO=\"\"", Some("no mail is sent"));
    check_warning("MAILFROM=x", Some("no mail is sent"));
    check_warning("RANDOM_DELAY=5", Some("the option `jitter`"));
    check_warning("@daily cluster-a date +\\%F", Some("write `%`"));
    check_warning("@daily cluster-a date +%F", None);
    check_warning("@daily cluster-a x \\", Some("does not continue it"));
    check_warning("@daily cluster-a # x", Some("nothing is run"));
    check_warning("@daily cluster-a [retries 3] x", Some("`[retries` begins the command"));
    check_warning("@daily cluster-a root /opt/x", Some("a user is an option: `[user=root]`"));
    check_warning("@daily cluster-a [backoff=1s] x", Some("add `retries=`"));
    check_warning("A=$HOME/x", Some("is not expanded"));
    check_warning("PATH=~/bin:/bin", Some("`~` is not expanded"));
    check_warning("TZ=UTC", Some("`TZ` does not change when jobs are due"));
    check_warning("CRON_TZ=UTC\nTZ=Asia/Tokyo", None);
    check_warning("USER=me", Some("`[user=NAME]` sets that"));
    check_warning("LOGNAME=me", Some("no effect"));
    check_warning("@daily cluster-a name=a retries=3 x", Some("options stand in brackets: `[name=…]`"));
    check_warning("@daily cluster-a {name=a} x", Some("options stand in brackets: `[name=…]`"));
    check_warning("@reboot cluster-a ./server &", Some("is ended together with the command"));
    check_warning("@reboot cluster-a setsid ./server &", None);
    check_warning("*/90 * * * * cluster-a x", Some("every 90m is `@every 90m`"));
    check_warning("0 */24 * * * cluster-a x", Some("hour `*/24` means 0 alone"));
    check_warning("SHELL=/bin/bash", None);
    check_warning("@daily cluster-a [ -f x ] && y", None);
}

#[test]
fn a_revision_is_a_function_of_the_content_alone() {
    let content = "* * * * * cluster-a x\n";
    assert_eq!(&*read(content).revision, "f4f5d465b771");
    assert_eq!(
        read(content).revision,
        parse("other", content.as_bytes(), &[clusters().remove(0)]).unwrap().revision
    );
    assert_ne!(read(content).revision, read("* * * * * cluster-a  x\n").revision);
}

#[test]
fn a_file_that_is_none_is_given_up_after_a_thousand_problems() {
    let problems = parse("jobs", "x\n".repeat(5_000).as_bytes(), &clusters()).unwrap_err();
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    assert!(problems[MAX_PROBLEMS].to_string().starts_with("jobs:1000: 1000 problems up to here"));
    let read_on = |problems: usize| {
        let content = "x\n".repeat(problems) + "@daily cluster-a y\n";
        let clusters = clusters();
        let zones = Zones::bundled();
        let mut reader = Reader::new("jobs", &clusters, &zones);
        reader.read(content.as_bytes());
        !reader.jobs.is_empty()
    };
    assert!(read_on(MAX_PROBLEMS - 1) && !read_on(MAX_PROBLEMS));
}

#[test]
fn the_demonstration_is_right_and_shows_what_it_should() {
    let file = read(include_str!("../../../conf/jobs.cron"));
    assert_eq!(file.warnings, []);
    let job = |name: &str| file.jobs.iter().find(|job| job.name.as_str() == name).expect(name);
    assert_ne!(job("heartbeat-a").cluster, job("heartbeat-b").cluster);
    assert_eq!(job("always-fails").retry.retries, 3);
    assert_eq!(job("flaky").retry.retries, 5);
    assert!(job("slow").command.contains("sleep 25"));
    assert_eq!(job("too-long").limits.timeout_ms, Some(10_000));
    let schedule = |words: &str, zone: &Zone| Schedule::parse(words, zone).unwrap();
    assert_eq!(*job("every-15-seconds").schedule, schedule("*/15 * * * * *", &Zone::utc()));
    assert_eq!(*job("nightly-report").schedule, schedule("30 1 * * *", &"Europe/London".parse().unwrap()));
}

/// The rows of a table of the reference whose first cell is a line of a job file, with what the second says of it.
fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
    let reference = include_str!("../../../docs/jobfile.md");
    let section = reference.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let cells = |row: &'static str| row.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ");
    section.lines().filter_map(cells).filter(|(line, _)| !line.contains('…')).collect()
}

/// Whether a message is the one of the reference, which leaves out parts with `…`.
fn is_as_documented(message: &str, documented: &str) -> bool {
    let parts: Vec<&str> = documented.split('…').collect();
    let found =
        parts.iter().try_fold(message, |rest, part| rest.split_once(part.trim()).map(|(_, after)| after));
    message.starts_with(parts[0].trim()) && found.is_some()
}

#[test]
fn the_reference_quotes_the_messages_that_are_printed() {
    let problems = rows("Problems");
    assert!(problems.len() > 35, "{problems:?}");
    for (line, documented) in problems {
        let found = parse("jobs", line.as_bytes(), &clusters()).expect_err(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(is_as_documented(&found[0].what, documented), "{line}: {}, not {documented}", found[0].what);
    }
    let warnings = rows("Warnings");
    assert!(warnings.len() > 6, "{warnings:?}");
    for (line, documented) in warnings {
        let found = read(line).warnings;
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(is_as_documented(&found[0].what, documented), "{line}: {}, not {documented}", found[0].what);
    }
}

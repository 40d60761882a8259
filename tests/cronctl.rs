//! cronctl as people run it: what it prints, where, and how it ends.
#![cfg(test)] // it is, and this tells the lints

use std::io::{Read, Write, pipe};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kafka_cron::common::thread;
use tempfile::NamedTempFile;

fn cronctl(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cronctl"));
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

/// Runs cronctl: exit code, standard output, standard error.
fn run(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = cronctl(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn jobs(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn a_right_file_gets_a_summary() {
    let file = jobs("* * * * * a [name=one] x\n* * * * * a [name=two] y\n@daily b [name=three] z\n");
    let (code, out, err) = run(&["check", path(&file), "--clusters", "a,b,c"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with(&format!("{}: revision ", path(&file))), "{out}");
    assert!(lines[0].ends_with(", 3 jobs, 2 schedules, 0 warnings"), "{out}");
    assert_eq!(lines[1..5], ["  a: 2 jobs", "  b: 1 job", "  c: 0 jobs", "next ticks:"]);
    for (line, name) in lines[5..].iter().zip(["one", "two", "three"]) {
        let (tick, shown) = line.trim().split_once(' ').unwrap();
        assert_eq!(shown, name);
        assert!(tick.ends_with(":00Z"), "{line}");
    }
    assert_eq!(lines.len(), 8);
}

#[test]
fn the_demonstration_is_right_with_the_default_clusters() {
    let (code, out, err) = run(&["check", "conf/jobs.cron"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("conf/jobs.cron: revision ") && out.contains(" 0 warnings\n"), "{out}");
    assert!(out.ends_with("  and those of 3 more jobs\n"), "{out}");
}

#[test]
fn clusters_may_come_from_the_environment() {
    let file = jobs("@daily x [name=one] y\n");
    let output = cronctl(&["check", path(&file)]).env("KAFKA_CRON_CLUSTERS", "x,").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_warning_is_shown_and_does_not_fail_the_check() {
    let file = jobs("MAILTO=me\n@daily cluster-a x\n");
    let (code, out, err) = run(&["check", path(&file)]);
    assert_eq!(code, 0);
    assert!(out.contains("1 job, 1 schedule, 1 warning\n"), "{out}");
    assert_eq!(
        err,
        format!(
            "{}:1: warning: no mail is sent (the end of a run's output is kept with the run)\n",
            path(&file)
        )
    );
}

#[test]
fn every_problem_of_a_wrong_file_is_on_standard_error() {
    let file = jobs("* * * * * cluster-a\n\n* * * * * clustr-a [retrys=1] x\n");
    let (code, out, err) = run(&["check", path(&file)]);
    assert_eq!((code, out.as_str()), (2, ""));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].starts_with(&format!("{}:1: the command is missing", path(&file))), "{err}");
    assert!(lines[1].starts_with(&format!("{}:3: unknown cluster `clustr-a`", path(&file))), "{err}");
    assert!(lines[2].starts_with(&format!("{}:3: unknown option `retrys`", path(&file))), "{err}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_the_system() {
    let (code, out, err) = run(&["check", "/does/not/exist"]);
    assert_eq!((code, out.as_str()), (4, ""));
    assert!(err.starts_with("/does/not/exist cannot be read: "), "{err}");
    assert_eq!(run(&["check", "/"]).0, 4);
    assert_eq!(run(&["verify", "/does/not/exist"]).0, 4);
}

#[test]
fn a_file_with_problems_gets_no_verdict_and_neither_does_a_kafka_that_is_away() {
    let file = jobs("* * * * * nowhere x\n");
    assert_eq!(run(&["verify", path(&file)]).0, 2);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, out, err) = run(&["verify", "conf/jobs.cron", "--brokers", &free]);
    assert_eq!((code, out.as_str(), err.is_empty()), (3, "", false));
    assert_eq!(run(&["run", "87ca294a-ea2b-5902-b344-9fc1da880045", "--brokers", &free]).0, 3);
    assert_eq!(run(&["runs", "--brokers", &free]).0, 3);
    assert_eq!(run(&["offsets", "--brokers", &free]).0, 3);
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let check = |words: &[&str], part: &str| {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}");
        assert!(err.contains(part), "{words:?}: {err}");
    };
    check(&[], "Usage: cronctl");
    check(&["chekc"], "'check'");
    check(&["check"], "<FILE>");
    check(&["check", "x", "--clusters", "A"], "is not a cluster name");
    check(&["next", "@daily", "--tz", "Europe/Lodnon"], "did you mean `Europe/London`?");
    check(&["next", "0 9 * * 1–5"], "U+2013 (en dash) only looks like `-` (write `-`)");
    check(&["next", "0 3 L * *"], "the days 28-31 with a test in the command");
    check(&["next", "@daily", "--after", "tomorrow"], "as in `2026-03-01T00:00:00Z`");
    check(&["next", "@daily", "--count", "0"], "--count");
    check(
        &["verify", "conf/jobs.cron", "--since", "10s"],
        "the period is empty: without --until it ends 10s ago",
    );
    check(&["verify", "conf/jobs.cron", "--since", "1ms"], "the period is empty");
    check(
        &["verify", "conf/jobs.cron", "--brokers", "kafka://a:9092"],
        "begins with a scheme (write `a:9092` alone)",
    );
    check(
        &["check", "conf/jobs.cron", "--clusters", "cluster-a,,cluster-b"],
        "a comma has nothing before it",
    );
    check(&["verify", "conf/jobs.cron", "--since", "yesterday"], "a time ago (as in `90m`)");
    check(&["runs", "--since", "1"], "a time ago (as in `90m`)");
    check(&["run", "7"], "<ID>");
    check(&["health", "https://example.org/"], "only plain `http://` is asked");
}

#[test]
fn the_help_documents_the_exit_codes_and_the_environment() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for part in ["Exit codes:", "check", "next", "runs", "run", "verify", "offsets", "dead", "health"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(run(&["check", "--help"]).1.contains("KAFKA_CRON_CLUSTERS"));
    assert!(run(&["next", "--help"]).1.contains("KAFKA_CRON_AFTER"));
}

#[test]
fn ticks_are_shown_in_utc_and_in_the_zone() {
    let check = |words: &[&str], expected: &[&str]| {
        let (code, out, err) = run(&[&["next"], words].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        assert_eq!(out.lines().collect::<Vec<_>>(), expected, "{words:?}");
    };
    let after = ["--after", "2026-03-01T00:00:00Z", "--count", "2"];
    check(
        &[&["*/15 * * * *"][..], &after].concat(),
        &["2026-03-01T00:15:00Z 2026-03-01T00:15:00+00:00", "2026-03-01T00:30:00Z 2026-03-01T00:30:00+00:00"],
    );
    check(
        &[&["@every", "12h"][..], &after].concat(),
        &["2026-03-01T12:00:00Z 2026-03-01T12:00:00+00:00", "2026-03-02T00:00:00Z 2026-03-02T00:00:00+00:00"],
    );
    check(
        &["30 1 * * *", "--tz", "Europe/London", "--after", "2026-03-28T12:00:00Z", "--count", "2"],
        &["2026-03-29T01:00:00Z 2026-03-29T02:00:00+01:00", "2026-03-30T00:30:00Z 2026-03-30T01:30:00+01:00"],
    );
}

#[test]
fn without_flags_five_ticks_after_now_are_shown() {
    let (code, out, _) = run(&["next", "* * * * *"]);
    assert_eq!((code, out.lines().count()), (0, 5));
}

#[test]
fn a_reboot_is_no_error_and_has_no_ticks() {
    let (code, out, err) = run(&["next", "@reboot"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.starts_with("`@reboot` names no instant: ") && err.lines().count() == 1, "{err}");
    let file = jobs("@reboot cluster-a [name=warm-up] x\n");
    let (code, out, err) = run(&["check", path(&file)]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("next ticks:\n  @reboot warm-up\n"), "{out}");
}

#[test]
fn a_wrong_schedule_ends_with_2() {
    let (code, out, err) = run(&["next", "61 * * * *"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("`61 * * * *`: "), "{err}");
}

#[test]
fn a_reader_that_went_away_is_no_error_and_changes_no_exit_code() {
    let check = |words: &[&str], code: i32| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let both = writer.try_clone().unwrap();
        let output = cronctl(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{words:?}");
        let output = cronctl(words).stdout(both.try_clone().unwrap()).stderr(both).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?} with both closed");
    };
    check(&["check", "conf/jobs.cron"], 0);
    check(&["next", "* * * * *", "--count", "100000"], 0);
    let file = jobs("SHELL=bash\n* * * * * clustr-a x\n");
    check(&["check", path(&file)], 2);
    check(&["verify", path(&file)], 2);
    check(&["next", "61 * * * *"], 2);
    check(&["check", "/does/not/exist"], 4);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    check(&["health", &format!("http://{free}/readyz")], 1);
}

#[test]
fn a_view_without_an_end_ends_when_its_reader_has_gone_although_kafka_is_away() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (reader, writer) = pipe().unwrap();
    let mut command = cronctl(&["top", "--plain", "--interval", "200ms", "--brokers", &free]);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    std::thread::park_timeout(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "it is read");
    drop(reader);
    let end = Instant::now() + Duration::from_secs(60);
    let mut status = None;
    while status.is_none() && Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(20));
        status = child.try_wait().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[test]
fn nothing_that_a_terminal_would_obey_is_shown() {
    let file = jobs("0 3 * * * cluster-a [name=\u{202e}evil retrys=1] x\n");
    let (code, out, err) = run(&["check", path(&file)]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("U+202E (bidirectional override)") && !err.contains('\u{202e}'), "{err}");
    let (code, _, err) = run(&["next", "* * \u{1b}[31m * *"]);
    assert_eq!(code, 2);
    assert!(!err.contains('\u{1b}'), "{err}");
}

/// Asks a page that answers like this.
fn check_health(answer: &'static str, code: i32, part: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let server = thread::spawn("page", move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 1024];
        let length = stream.read(&mut question).unwrap();
        assert!(question[..length].starts_with(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:"));
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let (got, out, err) = run(&["health", &url]);
    drop(server);
    assert_eq!((got, out.as_str()), (code, ""), "{err}");
    assert_eq!(err, if code == 0 { String::new() } else { format!("{url}: {part}\n") });
}

#[test]
fn a_health_check_ends_as_the_page_says() {
    check_health("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "");
    check_health(
        "HTTP/1.1 503 Service Unavailable\r\n\r\ntimer: 12 s late\n",
        1,
        "HTTP/1.1 503 Service Unavailable timer: 12 s late",
    );
    check_health("HTTP/1.1 204 No Content\r\n\r\n", 1, "HTTP/1.1 204 No Content");
    check_health("", 1, "the connection was closed without an answer");
}

#[test]
fn a_program_that_is_not_there_is_not_well() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/readyz");
    let (code, _, err) = run(&["health", &url]);
    assert_eq!(code, 1);
    assert!(err.starts_with(&format!("{url}: ")) && err.contains("refused"), "{err}");
}

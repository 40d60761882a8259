//! Every way to end is told apart, and what the command finds is what the job file promises.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kafka_cron::common::clock::{Clock, ManualClock};
use kafka_cron::common::model::Outcome;
use kafka_cron::common::model::Outcome::{CouldNotStart, Expired, Failed, Signalled, Succeeded};
use kafka_cron::consumer::running::process::{Output, Settings};
use kafka_cron::consumer::running::worker::Options;

use crate::bench::{Bench, Cracked, LONG, attempt, check, options, run, settings, system_clock, with};
use crate::support::wait_until;

#[test]
fn every_way_to_end_by_itself_is_told_apart() {
    check(attempt("echo out; echo err >&2; echo out"), &Succeeded, "out\nerr\nout\n");
    check(attempt("exit 3"), &Failed { code: 3 }, "");
    check(attempt("kill -9 $$"), &Signalled { signal: 9 }, "");
    check(attempt("kill -TERM $$"), &Signalled { signal: 15 }, "");
    check(attempt("no-such-command 2>/dev/null"), &Failed { code: 127 }, "");
    check(attempt("printf '100%% %s' \"$0\""), &Succeeded, "100% /bin/sh");
}

#[test]
fn what_could_not_be_started_says_what_was_attempted() {
    let check = |attempt, reason: &str| check(attempt, &CouldNotStart { reason: reason.to_owned() }, "");
    let shell = |shell: &'static str| {
        with("true", move |run| Arc::make_mut(&mut run.environment).extend([("SHELL".into(), shell.into())]))
    };
    let cwd = |cwd: &'static str| with("true", move |run| run.cwd = Some(cwd.to_owned()));
    check(cwd("/x/y"), "cwd /x/y: No such file or directory");
    check(cwd("/etc/passwd"), "cwd /etc/passwd: Not a directory");
    check(shell("/no/shell"), "shell /no/shell: No such file or directory");
    check(shell("/etc/passwd"), "shell /etc/passwd: Permission denied");
    check(shell("bash"), "shell bash: not an absolute path");
    check(
        with("true", |run| run.user = Some("nobody-of-this-name".to_owned())),
        "user nobody-of-this-name: no such user",
    );
    check(attempt("tr\0ue"), "the command holds a NUL byte");
    let nul = |run: &mut kafka_cron::common::model::Run| {
        Arc::make_mut(&mut run.environment).extend([("A".into(), "\0".into())]);
    };
    check(with("true", nul), "environment: `A` has a value with a NUL byte");
    check(attempt(&format!("# {}", "x".repeat(200_000))), "shell /bin/sh: Argument list too long");
}

#[test]
fn the_environment_is_what_the_page_says_and_nothing_else() {
    let attempt = with("exec env", |run| {
        Arc::make_mut(&mut run.environment).extend([("GREETING".into(), "good day".into())]);
    });
    let (id, job) = (attempt.run.id, attempt.run.job.clone());
    let report = run(attempt);
    // The shell's own: POSIX has it keep PWD.
    let mut found: Vec<&str> = report.output_tail.lines().filter(|line| !line.starts_with("PWD=")).collect();
    found.sort_unstable();
    let me = kafka_cron::consumer::running::process::user::own();
    let lang = std::env::var("LANG").unwrap_or_else(|_| "C.UTF-8".to_owned());
    let mut expected = [
        "CRON_ATTEMPT=1".to_owned(),
        "CRON_CLUSTER=a".to_owned(),
        format!("CRON_JOB={job}"),
        format!("CRON_RUN_ID={id}"),
        "CRON_SCHEDULED_AT=2026-11-23T17:00:00Z".to_owned(),
        "GREETING=good day".to_owned(),
        format!("HOME={}", me.home.display()),
        format!("LANG={lang}"),
        format!("LOGNAME={}", me.name),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SHELL=/bin/sh".to_owned(),
        format!("USER={}", me.name),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_command_has_its_own_group_its_directory_and_three_descriptors() {
    check(attempt("cat"), &Succeeded, "");
    check(with("pwd", |run| run.cwd = Some("/usr".to_owned())), &Succeeded, "/usr\n");
    check(attempt("[ $(ps -o pgid= -p $$) -eq $$ ]"), &Succeeded, "");
    // The fourth is the directory that ls reads.
    check(attempt("ls /proc/self/fd"), &Succeeded, "0\n1\n2\n3\n");
    let shell = |run: &mut kafka_cron::common::model::Run| {
        Arc::make_mut(&mut run.environment).extend([("SHELL".into(), "/bin/bash".into())]);
    };
    check(with("echo ${BASH_VERSION:+bash} $SHELL", shell), &Succeeded, "bash /bin/bash\n");
}

#[test]
fn what_is_found_later_than_its_deadline_is_not_started() {
    let now: chrono::DateTime<chrono::Utc> = "2026-11-23T17:00:10Z".parse().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    let bench = Bench::with(options(1), &clock);
    let check_metric = |line: &str| {
        let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    };
    let check = |deadline_ms: Option<u64>, outcome: &Outcome, output: &str| {
        let attempt = with("echo started", |run| run.limits.deadline_ms = deadline_ms);
        let due_s = (now - attempt.run.scheduled_at).num_seconds();
        let report = bench.run(attempt);
        assert_eq!((&report.outcome, report.output_tail.as_str()), (outcome, output), "{deadline_ms:?}");
        assert_eq!((due_s, report.started_at, report.ended_at), (10, now, now));
        let (job, word) = (&report.claimed.attempt.run.job, outcome.word());
        check_metric(&format!("cron_attempts_total{{job=\"{job}\",outcome=\"{word}\",topic=\"a\"}} 1"));
    };
    check(Some(10_000), &Succeeded, "started\n");
    check(Some(9_999), &Expired, "");
    check(None, &Succeeded, "started\n");
    check_metric("cron_attempts_started_total{topic=\"a\"} 2");
    // Each waited ten seconds for its worker, the one that was not started too.
    check_metric("cron_queue_age_seconds_bucket{topic=\"a\",le=\"5\"} 0");
    check_metric("cron_queue_age_seconds_bucket{topic=\"a\",le=\"10\"} 3");
}

#[test]
fn a_worker_that_panics_reports_it_and_goes_on() {
    let clock: Arc<dyn Clock> = Arc::new(Cracked(AtomicBool::new(true)));
    let bench = Bench::with(options(1), &clock);
    let attempt_that_is_started = attempt("sleep 1000");
    let report = bench.run(attempt_that_is_started.clone());
    let reason = "the worker panicked: the clock is cracked".to_owned();
    assert_eq!(report.outcome, CouldNotStart { reason });
    assert_eq!(report.claimed.attempt, attempt_that_is_started);
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded);
    wait_until("the command of the panicked worker is gone", LONG, || {
        let of_run = std::process::Command::new("grep")
            .args(["-lsz", &format!("CRON_RUN_ID={}", report.claimed.attempt.run.id)])
            .args(std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
                let path = entry.ok()?.path();
                path.file_name()?.to_str()?.parse::<u32>().ok()?;
                Some(path.join("environ"))
            }))
            .output()
            .unwrap();
        of_run.stdout.is_empty().then_some(())
    });
}

#[test]
fn workers_say_when_they_are_free_and_end_when_there_is_nothing_more() {
    let mut bench = Bench::new(2);
    for _ in 0..2 {
        bench.idle.recv_timeout(LONG).unwrap();
    }
    assert!(bench.idle.try_recv().is_err(), "each is free once");
    bench.hand_over(attempt("echo $PPID; cat /proc/$PPID/task/*/comm; sleep 0.2"));
    wait_until("one is busy", LONG, || (bench.measures.workers_busy.get() == 1).then_some(()));
    let report = bench.report();
    for name in ["worker-0\n", "worker-1\n"] {
        assert!(report.output_tail.contains(name), "{}", report.output_tail);
    }
    bench.idle.recv_timeout(LONG).expect("free again");
    assert_eq!(bench.measures.workers_busy.get(), 0);
    assert!(!bench.workers.is_over());
    bench.close();
    wait_until("the threads have ended", LONG, || bench.workers.is_over().then_some(()));
}

#[test]
fn output_may_go_to_a_file_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let output = Output::Directory(directory.path().to_owned());
    let bench =
        Bench::with(Options { process: Settings { output, ..settings() }, ..options(1) }, &system_clock());
    let report = bench.run(attempt("seq 10000"));
    assert_eq!(report.outcome, Succeeded);
    let run = &report.claimed.attempt.run;
    let kept =
        std::fs::read_to_string(directory.path().join(format!("{}.{}.1.log", run.job, run.id))).unwrap();
    assert!(kept.starts_with("1\n2\n") && kept.ends_with("\n10000\n"));
    assert_eq!(report.output_bytes, kept.len() as u64);
    assert_eq!(report.output_tail, kept[kept.len() - 8192..]);
}

#[test]
fn an_outcome_can_be_read_as_a_sentence() {
    let report = run(with("true", |run| run.cwd = Some("/x".to_owned())));
    assert_eq!(Outcome::to_string(&report.outcome), "could not start: cwd /x: No such file or directory");
}

#[test]
fn an_attempt_whose_claim_is_no_longer_good_for_a_start_is_not_started() {
    let now = "2026-11-23T17:00:10Z".parse().unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let bench = Bench::with(options(1), &(Arc::clone(&clock) as Arc<dyn Clock>));
    let check = |left: Duration, is_started: bool| {
        bench.idle.recv_timeout(LONG).expect("a free worker");
        bench.hand_over_for(attempt("echo started"), clock.monotonic() + left);
        let report = bench.report();
        assert_eq!(
            (report.output_tail == "started\n", report.outcome == Succeeded),
            (is_started, is_started)
        );
        if !is_started {
            let CouldNotStart { reason } = &report.outcome else { panic!("{report:?}") };
            assert!(reason.starts_with("its claim waited until the lease was nearly over"), "{reason}");
        }
    };
    check(Duration::from_millis(1), true);
    check(Duration::ZERO, false);
    check(Duration::from_secs(60), true);
}

//! What a job may use of the host: limits hold for what is started, and what cannot be enforced is refused.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kafka_cron::common::model::Outcome::{CouldNotStart, OverLimit, Succeeded, TimedOut};
use kafka_cron::common::model::{Attempt, Exit, Limit, Outcome, Resources};
use kafka_cron::consumer::running::process::ceilings::Ceilings;
use kafka_cron::consumer::running::process::cgroup::Cgroups;
use kafka_cron::consumer::running::process::{Settings, trial};
use kafka_cron::consumer::running::worker::Options;

use crate::bench::{Bench, LONG, attempt, check, lives, options, pid_in, run, settings, system_clock, with};
use crate::child;
use crate::support::wait_until;

const NONE: Resources = Resources { memory_bytes: None, cpu_s: None, pids: None, nofile: None, nice: None };

fn limited(command: &str, resources: Resources) -> Attempt {
    with(command, |run| run.resources = resources)
}

/// A control group of our own with these controllers, or `None` (said) where this host gives none.
struct Group {
    directory: PathBuf,
    cgroups: Cgroups,
}

impl Group {
    fn with(controllers: Resources) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let mount = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        let made = mount.ok_or_else(|| "no control groups of version 2".to_owned()).and_then(|mount| {
            // The root may give its controllers away whatever lives in it.
            for name in ["+memory", "+pids"] {
                let _not_there = std::fs::write(mount.join("cgroup.subtree_control"), name);
            }
            let directory = mount.join(crate::support::unique("kafka-cron-test"));
            std::fs::create_dir(&directory).map_err(|error| error.to_string())?;
            let cgroups = Cgroups::prepare(Some(&directory)).map_err(|error| error.to_string());
            let group = Self { directory, cgroups: cgroups? };
            group.cgroups.has_what_it_takes(&controllers).map_err(|error| error.to_string())?;
            Ok(group)
        });
        made.map_err(|why| println!("skipped: {why}")).ok()
    }

    fn bench(&self) -> Bench {
        let process = Settings { cgroups: Ok(self.cgroups.clone()), ..settings() };
        Bench::with(Options { process, ..options(1) }, &system_clock())
    }

    fn is_empty(&self) -> bool {
        let entries = std::fs::read_dir(&self.directory).unwrap();
        entries.flatten().all(|entry| !entry.file_type().unwrap().is_dir())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir(&self.directory);
    }
}

#[test]
fn a_job_finds_its_priority_and_its_descriptors() {
    let resources = Resources { nofile: Some(64), nice: Some(7), ..NONE };
    check(limited("ulimit -n; ulimit -Hn; nice", resources), &Succeeded, "64\n64\n7\n");
    check(limited("ls /proc/self/fd; cat", resources), &Succeeded, "0\n1\n2\n3\n");
    // What our own runtime ignores is not ignored by the command.
    let report = run(limited("grep SigIgn /proc/self/status", resources));
    let mask = report.output_tail.trim().rsplit('\t').next().unwrap();
    let pipe = 1 << (libc::SIGPIPE - 1);
    assert_eq!(u64::from_str_radix(mask, 16).unwrap() & pipe, 0, "{report:?}");
}

#[test]
fn a_limit_goes_with_a_directory_and_a_shell() {
    let attempt = with("pwd; echo $0", |run| {
        run.cwd = Some("/usr".to_owned());
        run.resources = Resources { nice: Some(1), ..NONE };
    });
    check(attempt, &Succeeded, "/usr\n/bin/sh\n");
    let attempt = with("true", |run| {
        run.cwd = Some("/nonexistent".to_owned());
        run.resources = Resources { nice: Some(1), ..NONE };
    });
    let reason = "cwd /nonexistent: No such file or directory".to_owned();
    check(attempt, &CouldNotStart { reason }, "");
    let attempt = with("true", |run| {
        run.environment = std::sync::Arc::new([("SHELL".to_owned(), "/x/sh".to_owned())].into());
        run.resources = Resources { nice: Some(1), ..NONE };
    });
    let reason = "shell /x/sh: No such file or directory".to_owned();
    check(attempt, &CouldNotStart { reason }, "");
}

#[test]
fn a_job_that_uses_up_its_cpu_time_is_ended_for_that() {
    let resources = Resources { cpu_s: Some(1), ..NONE };
    let exit = Exit::Signal(libc::SIGXCPU);
    check(limited("while :; do :; done", resources), &OverLimit { limit: Limit::Cpu, exit }, "");
    // The shell tells of the program that it has waited for.
    let exit = Exit::Code(128 + libc::SIGXCPU);
    let report = run(limited("sh -c 'while :; do :; done'; exit $?", resources));
    assert_eq!(report.outcome, OverLimit { limit: Limit::Cpu, exit });
    // One that does not listen is killed.
    let exit = Exit::Signal(libc::SIGKILL);
    check(
        limited("trap '' XCPU; while :; do :; done", resources),
        &OverLimit { limit: Limit::Cpu, exit },
        "",
    );
}

#[test]
fn what_cannot_be_enforced_here_is_refused_and_not_ignored() {
    let check = |resources: Resources, asked: &str| {
        let report = run(limited("true", resources));
        let CouldNotStart { reason } = &report.outcome else { panic!("{report:?}") };
        assert!(reason.starts_with(&format!("{asked}: needs a writable control group (docs/")), "{reason}");
    };
    check(Resources { memory_bytes: Some(512 << 20), ..NONE }, "memory=512m");
    check(Resources { memory_bytes: Some(1 << 30), pids: Some(5), ..NONE }, "memory=1g pids=5");
}

#[test]
fn a_job_that_asks_for_more_than_the_ceiling_is_refused_and_one_that_does_not_say_gets_it() {
    let ceilings = Ceilings(Resources { nofile: Some(50), nice: Some(3), ..NONE });
    let process = Settings { ceilings, ..settings() };
    let options = Options { process, ..options(1) };
    let bench = Bench::with(options, &system_clock());
    let report = bench.run(limited("ulimit -n; nice", NONE));
    assert_eq!((report.outcome, report.output_tail.as_str()), (Succeeded, "50\n3\n"));
    let report = bench.run(limited("true", Resources { nofile: Some(51), ..NONE }));
    let reason = "nofile=51: this consumer allows at most 50 (--max-nofile)".to_owned();
    assert_eq!(report.outcome, CouldNotStart { reason });
}

#[test]
fn a_job_has_no_more_processes_than_it_may_have_and_all_of_them_end_with_it() {
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let bench = group.bench();
    let limit = Resources { pids: Some(8), ..NONE };
    let bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; wait";
    let began = Instant::now();
    let report = bench.run(limited(bomb, limit));
    assert!(matches!(report.outcome, OverLimit { limit: Limit::Pids, .. }), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "its children do not outlive it");
    // What has left the process group is still in the control group.
    let report = bench.run(limited("setsid sleep 1000 & sleep 0.2; echo started", limit));
    assert_eq!((report.outcome, report.output_tail.as_str()), (Succeeded, "started\n"));
    let timed_out = with("setsid sleep 1000 & sleep 1000", |run| {
        (run.resources, run.limits.timeout_ms) = (limit, Some(300));
    });
    assert_eq!(bench.run(timed_out).outcome, Outcome::TimedOut);
    assert!(group.is_empty(), "no control group is left");
}

/// Two of itself for each, without end.
const BOMB: &str = "bomb() { bomb | bomb & }; bomb; sleep 1000";

#[test]
fn a_job_that_forks_without_end_is_held_at_its_pids_and_ended_at_its_time_limit() {
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let bench = group.bench();
    for _ in 0..3 {
        let report = bench.run(with(BOMB, |run| {
            run.resources = Resources { pids: Some(50), ..NONE };
            (run.limits.timeout_ms, run.limits.grace_ms) = (Some(1_000), 100);
        }));
        assert!(matches!(report.outcome, TimedOut | OverLimit { limit: Limit::Pids, .. }), "{report:?}");
    }
    assert!(group.is_empty(), "no control group is left");
}

/// Without control groups the limit is the user's (setrlimit(2), `RLIMIT_NPROC`), and what leaves the process group of the job
/// is found by its mark.
#[test]
fn a_job_that_forks_without_end_as_a_user_with_150_processes_is_ended_at_its_time_limit_with_all_of_them() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: becoming another user takes root");
        return;
    }
    let bench = Bench::new(1);
    let of_the_job = |id: &str| {
        let mark = format!("CRON_RUN_ID={id}");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
        environments.filter(|text| text.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())).count()
    };
    for bomb in [BOMB.to_owned(), BOMB.replace("bomb |", "setsid sleep 1000 & bomb |")] {
        let job = with(&format!("ulimit -u 150; {bomb}"), |run| {
            run.user = Some("nobody".to_owned());
            // The shell of POSIX has no such limit.
            std::sync::Arc::make_mut(&mut run.environment).extend([("SHELL".into(), "/bin/bash".into())]);
            (run.limits.timeout_ms, run.limits.grace_ms) = (Some(1_500), 100);
        });
        let id = job.run.id.to_string();
        let report = bench.run(job);
        assert_eq!(report.outcome, TimedOut, "{report:?}");
        assert!(report.output_tail.contains("Resource temporarily unavailable"), "{}", report.output_tail);
        wait_until("nothing of it is left", LONG, || (of_the_job(&id) == 0).then_some(()));
    }
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded, "the worker goes on");
}

#[test]
fn a_job_that_needs_more_memory_than_it_may_have_is_killed_for_that() {
    let Some(group) = Group::with(Resources { memory_bytes: Some(1), ..NONE }) else { return };
    let bench = group.bench();
    let limit = Resources { memory_bytes: Some(32 << 20), ..NONE };
    let report = bench.run(limited("head -c 200m /dev/zero | tail; echo after", limit));
    let exit = Exit::Signal(libc::SIGKILL);
    assert_eq!(report.outcome, OverLimit { limit: Limit::Memory, exit }, "{report:?}");
    let report = bench.run(limited("head -c 1m /dev/zero | tail -c 1 | wc -c", limit));
    assert_eq!((report.outcome, report.output_tail.as_str()), (Succeeded, "1\n"));
    assert!(group.is_empty(), "no control group is left");
}

#[test]
fn a_job_that_leaves_its_control_group_is_ended_all_the_same() {
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let bench = group.bench();
    let root = group.directory.parent().unwrap().join("cgroup.procs");
    for leaving in ["echo 0 >ROOT; exec sleep 1000", "(echo 0 >ROOT; exec setsid sleep 1000) & sleep 1000"] {
        let command = leaving.replace("ROOT", &root.display().to_string());
        let report = bench.run(with(&command, |run| {
            run.resources = Resources { pids: Some(8), ..NONE };
            (run.limits.timeout_ms, run.limits.grace_ms) = (Some(500), 100);
        }));
        assert_eq!(report.outcome, Outcome::TimedOut, "{leaving}");
    }
    let alive = std::fs::read_to_string(&root).unwrap();
    let is_sleeper = |pid: &str| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep\x001000\0"))
    };
    assert_eq!(alive.lines().filter(|pid| is_sleeper(pid)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn groups_that_a_job_makes_in_its_own_end_with_it() {
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let bench = group.bench();
    let inner = format!(
        "D={}/*; mkdir $D/inner; (echo 0 >$D/inner/cgroup.procs; exec sleep 1000) & sleep 0.3",
        group.directory.display()
    );
    let report = bench.run(limited(&inner, Resources { pids: Some(8), ..NONE }));
    assert_eq!(report.outcome, Succeeded, "{report:?}");
    assert!(group.is_empty(), "no control group is left");
}

/// What a job file sets means something to the loader of any program. It is for the job alone: the starter may be root.
#[test]
fn the_environment_of_a_job_is_not_the_starters() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("libgcc_s.so.1"), "no library").unwrap();
    let attempt = with("echo $LD_LIBRARY_PATH", |run| {
        let path = directory.path().display().to_string();
        run.environment = std::sync::Arc::new([("LD_LIBRARY_PATH".to_owned(), path)].into());
        run.resources = Resources { nice: Some(1), ..NONE };
    });
    check(attempt, &Succeeded, &format!("{}\n", directory.path().display()));
}

#[test]
fn limits_that_cannot_be_enforced_are_found_before_any_job() {
    let ceilings = |resources| Settings { ceilings: Ceilings(resources), ..settings() };
    assert_eq!(trial(&ceilings(NONE)), Ok(()));
    assert_eq!(trial(&ceilings(Resources { nice: Some(1), cpu_s: Some(60), ..NONE })), Ok(()));
    let error = trial(&ceilings(Resources { pids: Some(5), ..NONE })).unwrap_err().to_string();
    assert!(error.starts_with("pids=5: needs a writable control group"), "{error}");
    let error = trial(&ceilings(Resources { nofile: Some(u64::MAX >> 1), ..NONE })).unwrap_err().to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let limits = ceilings(Resources { pids: Some(5), ..NONE });
    assert_eq!(trial(&Settings { cgroups: Ok(group.cgroups.clone()), ..limits }), Ok(()));
    assert!(group.is_empty(), "no control group is left");
}

/// Plays a consumer until it is killed: its job has left the process group and thrown its environment away.
#[test]
fn plays_a_consumer_whose_job_hides() {
    let Some(directory) = child::part() else { return };
    let (directory, file) = directory.split_once(':').unwrap();
    let process = Settings { cgroups: Cgroups::prepare(Some(Path::new(directory))), ..settings() };
    let bench = Bench::with(Options { process, ..options(1) }, &system_clock());
    let hidden = format!("env -i setsid sh -c 'echo $$ >{file}; exec sleep 1000' & sleep 1000");
    bench.start(limited(&hidden, Resources { pids: Some(8), ..NONE }));
    println!("guard {}", bench.workers.guard_pid().unwrap());
    bench.run(attempt("sleep 1000"));
}

#[test]
fn what_hides_from_its_consumer_ends_with_it_all_the_same() {
    let Some(group) = Group::with(Resources { pids: Some(1), ..NONE }) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hidden");
    let part = format!("{}:{}", group.directory.display(), file.display());
    let mut consumer = child::command("limits::plays_a_consumer_whose_job_hides", &part).spawn().unwrap();
    child::line(&mut consumer, "guard ");
    let hidden = wait_until("the job runs", LONG, || pid_in(&file));
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    wait_until("the job is gone", LONG, || (!lives(hidden)).then_some(()));
    wait_until("its control group is gone", LONG, || group.is_empty().then_some(()));
}

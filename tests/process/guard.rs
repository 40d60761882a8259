//! Whatever becomes of the consumer, its jobs do not outlive it; and the guard outlives neither.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use kafka_cron::common::model::Outcome::{CouldNotStart, Succeeded};
use kafka_cron::consumer::running::process::Settings;
use kafka_cron::consumer::running::worker::Options;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::bench::{Bench, LONG, attempt, lives, options, pid_in, system_clock};
use crate::child;
use crate::support::wait_until;

/// The promise.
const A_SECOND: Duration = Duration::from_secs(1);

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Plays a consumer until it is killed. Two attempts are under way: one with a stray, and one whose shell has exited
/// and whose background process, deaf and without our variables, is in its grace. A third one is over, and left the
/// group in time.
#[test]
fn plays_a_consumer() {
    let Some(directory) = child::part() else { return };
    let file = |name: &str| Path::new(&directory).join(name).display().to_string();
    let ready = |name: &str| format!("while ! [ -s {} ]; do sleep 0.01; done", file(name));
    let sleeper =
        |name: &str| format!("setsid sh -c 'echo $$ >{}; exec sleep 1000' & {}", file(name), ready(name));
    let bench = Bench::new(2);
    bench.run(attempt(&sleeper("free")));
    bench.start(attempt(&format!("{}; echo $$ >{}; exec sleep 1000", sleeper("stray"), file("leader"))));
    let deaf =
        format!("env -i sh -c 'trap \"\" TERM HUP; echo $$ >{}; while :; do sleep 1; done'", file("deaf"));
    bench.start(attempt(&format!("{deaf} & {}", ready("deaf"))));
    let mut last = None;
    loop {
        let guard = wait_until("another guard, or our end", LONG, || {
            bench.workers.guard_pid().filter(|pid| last != Some(*pid))
        });
        println!("guard {guard}");
        last = Some(guard);
    }
}

struct Consumer {
    process: Child,
    guard: i32,
    jobs: Vec<i32>,
    free: i32,
    _directory: tempfile::TempDir,
}

fn consumer() -> Consumer {
    let directory = tempfile::tempdir().unwrap();
    let mut process =
        child::command("guard::plays_a_consumer", directory.path().to_str().unwrap()).spawn().unwrap();
    let guard = child::line(&mut process, "guard ").parse().unwrap();
    let jobs = ["stray", "leader", "deaf"].map(|name| directory.path().join(name));
    let jobs = wait_until("all jobs run", LONG, || jobs.iter().map(|file| pid_in(file)).collect());
    let free = pid_in(&directory.path().join("free")).unwrap();
    Consumer { process, guard, jobs, free, _directory: directory }
}

impl Consumer {
    fn all_end_within_a_second(&mut self, since: Instant) {
        let alive = |pids: &[i32]| pids.iter().copied().filter(|pid| lives(*pid)).collect::<Vec<_>>();
        wait_until("the jobs are gone", LONG, || alive(&self.jobs).is_empty().then_some(()));
        let took = since.elapsed();
        println!("gone after {took:?}");
        assert!(took < A_SECOND, "{took:?}");
        wait_until("the guard is gone", LONG, || alive(&[self.guard]).is_empty().then_some(()));
        self.process.wait().unwrap();
        assert!(lives(self.free), "what was let be stays so");
        kill_process(Pid::from_raw(self.free).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn a_consumer_that_is_killed_leaves_nothing_after_a_second() {
    let mut consumer = consumer();
    let since = Instant::now();
    consumer.process.kill().unwrap();
    consumer.all_end_within_a_second(since);
}

/// Plays a consumer that is killed while it starts a program, beside a job that runs.
#[test]
fn plays_a_consumer_that_is_starting() {
    let Some(directory) = child::part() else { return };
    let file = |name: &str| Path::new(&directory).join(name).display().to_string();
    let bench = Bench::new(2);
    bench.run(attempt("true"));
    println!("guard {}", bench.workers.guard_pid().unwrap());
    bench.start(attempt(&format!("echo $$ >{}; exec sleep 1000", file("running"))));
    bench.start(attempt(&file("program")));
    bench.report();
}

/// Which signal tells of an open (fcntl(2)).
const F_SETSIG: i32 = 10;

/// A program whose execution waits: a lease on its file lets nobody open it until the holder gives it up (fcntl(2), "Leases").
struct Leased {
    file: File,
}

impl Leased {
    fn new(program: &Path) -> Self {
        let script = program.with_extension("sh");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        child::copy(&script, program);
        let file = File::open(program).unwrap();
        // SAFETY: numbers only. The signal that tells of an open is one that does nothing.
        let held = unsafe {
            libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0
                && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
        };
        assert!(held, "this file system gives no lease: {}", std::io::Error::last_os_error());
        Self { file }
    }

    /// Whether a process waits to open it.
    fn is_wanted(&self) -> bool {
        // SAFETY: asks only.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) != libc::F_WRLCK }
    }

    fn give_up(&self) {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) }, 0);
    }
}

/// The processes whose parent this is, but for one.
fn children_but(but: i32, of: u32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap();
    let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(of)
    };
    numbers.filter(|pid| *pid != but).filter(is_child).collect()
}

#[test]
fn a_job_that_is_being_started_when_its_consumer_is_killed_does_not_outlive_it_and_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let leased = Leased::new(&directory.path().join("program"));
    let name = "guard::plays_a_consumer_that_is_starting";
    let mut consumer = child::command(name, directory.path().to_str().unwrap()).spawn().unwrap();
    let guard: i32 = child::line(&mut consumer, "guard ").parse().unwrap();
    let running = wait_until("the other job runs", LONG, || pid_in(&directory.path().join("running")));
    wait_until("the program is about to be executed", LONG, || leased.is_wanted().then_some(()));
    let mut starting = children_but(guard, consumer.id());
    starting.retain(|pid| *pid != running);
    assert_eq!(starting.len(), 1, "{starting:?}");
    consumer.kill().unwrap();
    // A guard that waits for the one that starts would leave this one alone.
    wait_until("the other job is gone", LONG, || (!lives(running)).then_some(()));
    // One that looks once and goes finds nothing of the first: until it is executed, the process shows no sign of its attempt.
    let looked = Instant::now() + A_SECOND;
    while lives(guard) && Instant::now() < looked {
        std::thread::park_timeout(A_SECOND / 50);
    }
    leased.give_up();
    wait_until("the job is gone", LONG, || (!lives(starting[0])).then_some(()));
    wait_until("the guard is gone", LONG, || (!lives(guard)).then_some(()));
    consumer.wait().unwrap();
}

#[test]
fn the_guard_is_deaf_to_what_is_meant_for_the_consumer() {
    let mut consumer = consumer();
    let guard = Pid::from_raw(consumer.guard).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        kill_process(guard, signal).unwrap();
    }
    assert_eq!(rustix::process::getsid(Some(guard)).unwrap(), guard, "a session of its own");
    assert_eq!(rustix::process::getpgid(Some(guard)).unwrap(), guard, "a group of its own");
    assert!(consumer.jobs.iter().all(|job| lives(*job)));
    let since = Instant::now();
    consumer.process.kill().unwrap();
    consumer.all_end_within_a_second(since);
}

#[test]
fn a_guard_that_dies_is_replaced_at_once_and_told_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let bench = Bench::new(2);
    bench.start(attempt(&format!("echo $$ >{}; exec sleep 1000", file.display())));
    let job = wait_until("it runs", LONG, || pid_in(&file));
    let first = bench.workers.guard_pid().unwrap();
    kill_process(pid(first), Signal::KILL).unwrap();
    let second = wait_until("another guard", LONG, || bench.workers.guard_pid().filter(|pid| *pid != first));
    assert!(lives(job), "a guard's death ends nobody");

    // While nothing runs nobody watches, and the next start finds out.
    kill_process_group(Pid::from_raw(job).unwrap(), Signal::KILL).unwrap();
    bench.report();
    kill_process(pid(second), Signal::KILL).unwrap();
    let dead = || !lives(i32::try_from(second).unwrap());
    wait_until("the second guard is dead", LONG, || dead().then_some(()));
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded);
    let third = bench.workers.guard_pid().unwrap();
    assert!(third != second && lives(i32::try_from(third).unwrap()));
}

#[test]
fn nothing_is_started_that_nobody_guards() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("consumer");
    child::copy(Path::new(env!("CARGO_BIN_EXE_consumer")), &program);
    let bench =
        Bench::with(Options { process: Settings::plain(program.clone()), ..options(1) }, &system_clock());
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded);
    let guard = bench.workers.guard_pid().unwrap();
    let hidden = program.with_extension("gone");
    std::fs::rename(&program, &hidden).unwrap();
    kill_process(pid(guard), Signal::KILL).unwrap();
    let dead = || !lives(i32::try_from(guard).unwrap());
    wait_until("the guard is dead", LONG, || dead().then_some(()));
    let reason = "guard: No such file or directory".to_owned();
    assert_eq!(bench.run(attempt("true")).outcome, CouldNotStart { reason });
    std::fs::rename(&hidden, &program).unwrap();
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded, "it is tried again each time");
}

#[test]
fn a_guard_that_replaced_another_ends_what_was_started_before_it() {
    let mut consumer = consumer();
    kill_process(Pid::from_raw(consumer.guard).unwrap(), Signal::KILL).unwrap();
    consumer.guard = child::line(&mut consumer.process, "guard ").parse().unwrap();
    assert!(consumer.jobs.iter().all(|job| lives(*job)), "a guard's death ends nobody");
    let since = Instant::now();
    consumer.process.kill().unwrap();
    consumer.all_end_within_a_second(since);
}

#[test]
fn an_orderly_end_takes_the_guard_along_and_reaps_it() {
    let bench = Bench::new(1);
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded);
    let guard = bench.workers.guard_pid().unwrap();
    drop(bench);
    assert!(!Path::new(&format!("/proc/{guard}")).exists(), "neither a process nor a zombie");
}

#[test]
fn the_guard_is_small_and_holds_nothing() {
    let bench = Bench::new(1);
    let guard = bench.workers.guard_pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{guard}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 16 * 1024, "{kib} KiB");
    let mut open: Vec<_> = std::fs::read_dir(format!("/proc/{guard}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort_unstable();
    assert_eq!(open, ["0", "1", "2", "3"]);
    assert_eq!(std::fs::read(format!("/proc/{guard}/environ")).unwrap(), b"", "no passwords either");
    assert_eq!(std::fs::read_link(format!("/proc/{guard}/cwd")).unwrap(), Path::new("/"));
    println!("the guard takes {kib} KiB");
}

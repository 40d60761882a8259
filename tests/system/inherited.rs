//! What programs and their jobs inherit from whoever starts them: signals that are ignored or blocked, and limits.

use std::fs;
use std::process::Command;

use crate::support::programs::{PATIENCE, World};
use crate::support::wait_until;

/// The signals 32 and 33, which glibc uses itself. Its posix_spawn(3) has each child ignore them, and whoever started these tests may
/// have used it.
const THE_LIBRARYS: u64 = 0b11 << 31;

#[test]
fn under_nohup_a_hang_up_ends_neither_program() {
    let world = World::new();
    let jobs = world.jobs("@every 1s  {a}  [name=goes-on]  {note}\n");
    let mut producer = world.producer_by(&["nohup"], &jobs);
    let mut consumer = world.consumer_by(&["nohup"], world.a.as_str(), &["--workers", "2"]);
    let before = world.await_ledger("jobs run", |ledger| !ledger.is_empty()).len();
    producer.signal("HUP");
    consumer.signal("HUP");
    // Longer than what was under way lasts: a consumer that ends starts nothing new, a producer publishes nothing new.
    world.await_ledger("jobs go on", |ledger| ledger.len() >= before + 5);
    assert!(producer.is_running() && consumer.is_running());
    producer.stop();
    consumer.stop();
}

#[test]
fn a_term_that_the_parent_had_blocked_ends_a_program_and_jobs_find_no_signal_ignored_or_blocked() {
    let world = World::new();
    let jobs = world.jobs(
        "@every 1s  {a}  [name=looks]  grep -E 'Sig(Blk|Ign)' /proc/self/status > {dir}/now && mv {dir}/now {dir}/seen; {note}\n",
    );
    let parent = [
        "env",
        "--block-signal=TERM",
        "--ignore-signal=QUIT",
        "--ignore-signal=USR1",
        "--ignore-signal=ALRM",
    ];
    let producer = world.producer_by(&parent, &jobs);
    let consumer = world.consumer_by(&parent, world.a.as_str(), &["--workers", "1"]);
    world.await_ledger("a job has looked", |ledger| !ledger.is_empty());
    let seen = fs::read_to_string(world.dir().join("seen")).unwrap();
    let masks: Vec<u64> = seen
        .lines()
        .map(|line| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap() & !THE_LIBRARYS)
        .collect();
    assert_eq!(masks, [0, 0], "{seen}");
    // Any other program that this parent starts does inherit them.
    let other =
        Command::new(parent[0]).args(&parent[1..]).args(["cat", "/proc/self/status"]).output().unwrap();
    let other = String::from_utf8(other.stdout).unwrap();
    let ignored = other.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let quit = 1 << (libc::SIGQUIT - 1);
    assert_ne!(u64::from_str_radix(ignored, 16).unwrap() & quit, 0, "{other}");
    producer.stop();
    consumer.stop();
}

#[test]
fn as_many_jobs_as_workers_run_at_once_although_the_soft_limit_of_descriptors_is_too_small_for_them() {
    const WORKERS: usize = 40;
    let world = World::new();
    // Each waits until all have begun, so that all are there at once however slow this machine is.
    let all = (0..WORKERS).map(|number| {
        format!(
            "@reboot {{a}} [name=job-{number}] {{note}}; ulimit -Sn >> {{dir}}/limits; \
             until [ $(wc -l < {{dir}}/limits) -ge {WORKERS} ]; do sleep 1; done\n"
        )
    });
    let jobs = world.jobs(&all.collect::<String>());
    let _producer = world.producer(&jobs, &[]);
    let consumer = world.consumer_by(
        &["prlimit", "--nofile=64:"],
        world.a.as_str(),
        &["--workers", &WORKERS.to_string()],
    );
    wait_until("all have succeeded", PATIENCE, || {
        (consumer.metric("cron_attempts_total", &["outcome=\"succeeded\""]) >= WORKERS as f64).then_some(())
    });
    let limits = fs::read_to_string(world.dir().join("limits")).unwrap();
    assert!(limits.lines().all(|limit| limit == "64"), "jobs have the limit that was given: {limits}");
    assert_eq!(consumer.metric("cron_attempts_started_total", &[]), WORKERS as f64);
    assert_eq!(world.ledger().len(), WORKERS);
}

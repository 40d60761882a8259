//! What the whole path of an attempt costs, against a process that is merely started: `cargo bench --bench processes`.
//!
//! Everything is measured in one run, because only the ratios say something about another machine. Two threads start
//! processes in each row, and none does anything else.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use crossbeam_channel::bounded;
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::descriptors::with_high_number;
use kafka_cron::common::http::Health;
use kafka_cron::common::metrics::Metrics;
use kafka_cron::common::model::{Attempt, Place};
use kafka_cron::common::thread::spawn;
use kafka_cron::common::wire::decode_attempt;
use kafka_cron::consumer::claiming::machine::Claimed;
use kafka_cron::consumer::metrics::ConsumerMetrics;
use kafka_cron::consumer::orders::desk::Desk;
use kafka_cron::consumer::running::process::Settings;
use kafka_cron::consumer::running::worker::{Channels, Options, Workers};

type Failure = Box<dyn std::error::Error>;

const THREADS: usize = 2;
/// Processes of a thread in a round. The rows take turns, so that whatever else the machine does hits all of them.
const EACH: usize = 50;
const ROUNDS: usize = 5;

/// Resident memory for the rows that need some: a consumer with some partitions' messages in its hands.
const RESIDENT: usize = 64 * 1024 * 1024;

/// Descriptors open for the rows that need some: what a consumer has for some 250 attempts at a time.
const HELD: usize = 800;

type Row<'a> = (&'a str, &'a dyn Fn() -> Result<Duration, Failure>);

fn main() -> Result<(), Failure> {
    kafka_cron::consumer::running::process::guard::main_if_asked();
    compare(&[
        ("a shell that becomes a program, started bare", &|| bare(sh)),
        ("the program without the shell", &|| bare(|| Command::new("/bin/true"))),
        ("the shell, through a worker", &|| path(None)),
    ])?;
    let resident = black_box(vec![1_u8; RESIDENT]);
    compare(&[
        ("with 64 MiB resident: bare, posix_spawn", &|| bare(sh)),
        ("with 64 MiB resident: bare, fork", &|| bare(forked)),
        ("with 64 MiB resident: through a worker", &|| path(None)),
    ])?;
    if rustix::process::geteuid().is_root() {
        compare(&[
            ("with 64 MiB resident: through a worker", &|| path(None)),
            ("with 64 MiB resident: as another user, through the starter", &|| path(Some("nobody"))),
        ])?;
    }
    black_box(resident);
    let held =
        (0..HELD).map(|_| File::open("/dev/null").map(with_high_number)).collect::<Result<Vec<_>, _>>()?;
    compare(&[
        ("with 800 descriptors open: bare, posix_spawn", &|| bare(sh)),
        ("with 800 descriptors open: through a worker", &|| path(None)),
    ])?;
    drop(held);
    Ok(())
}

/// Prints each row's rate, and its ratio to the first one's.
#[expect(clippy::print_stdout, reason = "a measurement's result")]
#[expect(clippy::cast_precision_loss, reason = "a count of hundreds")]
fn compare(rows: &[Row<'_>]) -> Result<(), Failure> {
    let mut took = vec![Duration::ZERO; rows.len()];
    for _ in 0..ROUNDS {
        for ((_, run), took) in rows.iter().zip(&mut took) {
            *took += run()?;
        }
    }
    for ((what, _), one) in rows.iter().zip(&took) {
        let rate = (THREADS * EACH * ROUNDS) as f64 / one.as_secs_f64();
        println!("{what:52} {rate:6.0} a second, {:5.2}", took[0].as_secs_f64() / one.as_secs_f64());
    }
    Ok(())
}

fn sh() -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec /bin/true"]);
    command
}

fn forked() -> Command {
    let mut command = sh();
    // SAFETY: it does nothing, and only keeps std from posix_spawn.
    unsafe { command.pre_exec(|| Ok(())) };
    command
}

fn bare(command: fn() -> Command) -> Result<Duration, Failure> {
    let began = Instant::now();
    let (failed, failures) = bounded(THREADS);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let failed = failed.clone();
            spawn("bare", move || {
                for _ in 0..EACH {
                    let mut command = command();
                    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                    if let Err(error) = command.status() {
                        return drop(failed.send(error));
                    }
                }
            })
        })
        .collect::<Result<_, _>>()?;
    drop(threads);
    failures.try_recv().map_or(Ok(began.elapsed()), |error| Err(error.into()))
}

fn path(user: Option<&str>) -> Result<Duration, Failure> {
    let (jobs, from_dispatch) = bounded(THREADS);
    let (to_dispatch, idle) = bounded(THREADS);
    let (tell, told) = bounded(THREADS * 2);
    let metrics = Metrics::new();
    let health = Health::new(&metrics);
    let (starting, keeping) = (health.duty("starting"), health.duty("output"));
    let lines =
        Channels { jobs: from_dispatch, idle: to_dispatch, tell, starting, keeping, desk: Desk::default() };
    let guard = PathBuf::from(kafka_cron::consumer::running::process::guard::THIS_PROGRAM);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options { workers: THREADS, process: Settings::plain(guard) };
    let workers = Workers::start(options, &clock, &lines, &ConsumerMetrics::new(&metrics, "a"))?;
    let claimed = claimed(user)?;
    let began = Instant::now();
    for _ in 0..THREADS * EACH {
        idle.recv()?;
        jobs.send(Box::new(claimed.clone()))?;
        told.try_iter().for_each(drop);
    }
    drop((jobs, lines));
    told.iter().for_each(drop);
    let took = began.elapsed();
    drop(workers);
    Ok(took)
}

fn claimed(user: Option<&str>) -> Result<Claimed, Failure> {
    let user = user.map_or("null".to_owned(), |user| format!("\"{user}\""));
    let text = format!(
        r#"{{"v":1,"run":{{"id":"00000000-0000-0000-0000-000000000001","job":"j","cluster":"a",
        "scheduled_at":"2026-11-23T17:00:00Z","command":"exec /bin/true","user":{user},
        "limits":{{"grace_ms":1}},"retry":{{"retries":0,"backoff_ms":1,"backoff_max_ms":1}},"revision":"r"}},
        "attempt":1,"attempts_left":0}}"#
    );
    let attempt: Attempt = decode_attempt(text.as_bytes())?;
    let start_by = std::time::Instant::now() + std::time::Duration::from_secs(3_600);
    let place = Place { topic: "a".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
    Ok(Claimed { attempt, place, published_ms: 0, claimed_at: DateTime::UNIX_EPOCH, start_by })
}

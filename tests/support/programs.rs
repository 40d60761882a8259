//! The real programs as processes: started with a log of their own, signalled, asked for their metrics, and gone when
//! the test is over, however it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kafka_cron::common::model::ClusterName;
use tempfile::TempDir;

use super::broker::{TestBroker, connect, free_port};
use super::{unique, wait_until};
use kafka_cron::common::broker::{Broker, Client};

/// How long a program may take to say something on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A test's own world: two clusters with names that nobody else has, a directory, and a ledger that its jobs write.
pub struct World {
    /// The brokers, as `--brokers` takes them.
    pub brokers: String,
    /// The first cluster.
    pub a: ClusterName,
    /// The second cluster.
    pub b: ClusterName,
    dir: TempDir,
}

/// A line of the ledger: an attempt that was started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The job.
    pub job: String,
    /// The scheduled instant, as the job saw it.
    pub scheduled_at: String,
    /// The attempt's number.
    pub attempt: u32,
    /// When its shell wrote the line, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The topic's consumer that started it, where the job file says so.
    pub run: String,
}

impl World {
    /// On the broker that all tests of the binary share.
    pub fn new() -> Self {
        Self::on(TestBroker::shared().brokers())
    }

    /// On other brokers.
    pub fn on(brokers: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("kafka-cron-test-").tempdir().unwrap();
        let cluster = |base: &str| ClusterName::new(&unique(base)).unwrap();
        Self { brokers: brokers.to_owned(), a: cluster("a"), b: cluster("b"), dir }
    }

    /// Writes the job file. `{a}`, `{b}` stand for the clusters, `{note}` for a command that writes a line of the
    /// ledger (put it first: `{note}; false`), `{dir}` for the test's directory.
    pub fn jobs(&self, text: &str) -> PathBuf {
        let note = format!(
            r#"echo "$CRON_JOB $CRON_SCHEDULED_AT $CRON_ATTEMPT $(date +%s%3N) $CRON_RUN_ID" >> {}"#,
            self.ledger_path().display()
        );
        let text = text
            .replace("{a}", self.a.as_str())
            .replace("{b}", self.b.as_str())
            .replace("{note}", &note)
            .replace("{dir}", &self.dir.path().display().to_string());
        let path = self.dir.path().join("jobs.cron");
        fs::write(&path, text).unwrap();
        path
    }

    /// The test's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    /// What the jobs wrote so far, in the order of writing.
    pub fn ledger(&self) -> Vec<Entry> {
        let text = fs::read_to_string(self.ledger_path()).unwrap_or_default();
        let entry = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [job, scheduled_at, attempt, at_ms, run] = words[..] else { panic!("ledger: {line:?}") };
            Entry {
                job: job.to_owned(),
                scheduled_at: scheduled_at.to_owned(),
                attempt: attempt.parse().unwrap(),
                at_ms: at_ms.parse().unwrap(),
                run: run.to_owned(),
            }
        };
        // The last line may be half written.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(entry).collect()
    }

    /// Waits until the ledger satisfies the test.
    pub fn await_ledger(&self, what: &str, mut ready: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        wait_until(what, PATIENCE, || Some(self.ledger()).filter(|ledger| ready(ledger)))
    }

    /// A producer of this world's clusters.
    pub fn producer(&self, jobs: &Path, more: &[&str]) -> Program {
        self.producer_with(jobs, more, &[])
    }

    /// A producer with more in its environment.
    pub fn producer_with(&self, jobs: &Path, more: &[&str], environment: &Environment) -> Program {
        self.start_producer(&[], jobs, more, environment)
    }

    /// A producer that another command starts (`nohup`) and that takes its place.
    pub fn producer_by(&self, by: &[&str], jobs: &Path) -> Program {
        self.start_producer(by, jobs, &[], &[])
    }

    fn start_producer(&self, by: &[&str], jobs: &Path, more: &[&str], environment: &Environment) -> Program {
        let clusters = format!("{},{}", self.a, self.b);
        let jobs = jobs.display().to_string();
        // Producers of other tests are none of ours.
        let group = format!("leader-{}", self.a);
        let args = [jobs.as_str(), "--clusters", &clusters, "--replication-factor", "1", "--group", &group];
        let args = [&args, more].concat();
        let program = [by, &[env!("CARGO_BIN_EXE_producer")]].concat();
        self.program(&program, "producer", &args, None, environment)
    }

    /// A consumer of a topic.
    pub fn consumer(&self, topic: &str, more: &[&str]) -> Program {
        self.consumer_by(&[], topic, more)
    }

    /// A consumer that another command starts (`nohup`) and that takes its place.
    pub fn consumer_by(&self, by: &[&str], topic: &str, more: &[&str]) -> Program {
        let args = [&["--topic", topic], more].concat();
        let program = [by, &[env!("CARGO_BIN_EXE_consumer")]].concat();
        self.program(&program, topic, &args, None, &[])
    }

    /// A consumer with more in its environment.
    pub fn consumer_in(&self, topic: &str, more: &[&str], environment: &Environment) -> Program {
        let args = [&["--topic", topic], more].concat();
        self.program(&[env!("CARGO_BIN_EXE_consumer")], topic, &args, None, environment)
    }

    /// A consumer whose log goes elsewhere: into a pipe that nobody reads.
    pub fn consumer_with(&self, topic: &str, more: &[&str], stderr: Stdio) -> Program {
        let args = [&["--topic", topic], more].concat();
        self.program(&[env!("CARGO_BIN_EXE_consumer")], topic, &args, Some(stderr), &[])
    }

    /// Runs `cronctl` to its end: exit code, stdout, stderr.
    pub fn cronctl(&self, args: &[&str]) -> (i32, String, String) {
        self.cronctl_with(args, &[])
    }

    /// As [`Self::cronctl`], with more in its environment.
    pub fn cronctl_with(&self, args: &[&str], environment: &Environment) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cronctl"));
        command.args(args).env("KAFKA_BROKERS", &self.brokers).envs(environment.iter().cloned());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// A client of the brokers.
    pub fn client(&self) -> Box<dyn Client> {
        connect(&self.brokers).client("test")
    }

    fn program(
        &self,
        program: &[&str],
        name: &str,
        args: &[&str],
        stderr: Option<Stdio>,
        environment: &Environment,
    ) -> Program {
        let port = free_port();
        let log = self.dir.path().join(format!("{}.log", unique(name)));
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(args).args(["--metrics-addr", &format!("127.0.0.1:{port}")]);
        command.env("KAFKA_BROKERS", &self.brokers).env("KAFKA_CRON_LOG_LEVEL", "debug");
        command.envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(stderr.unwrap_or_else(|| File::create(&log).unwrap().into()));
        let child = command.spawn().unwrap();
        Program { child, log, port, name: name.to_owned(), ended: None }
    }
}

/// Variables and their values.
pub type Environment = [(&'static str, String)];

/// A program under way.
pub struct Program {
    child: Child,
    log: PathBuf,
    port: u16,
    name: String,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// A number of its process as proc(5) tells it in `/proc/PID/status`: `VmHWM` (the most memory that it had) and `VmRSS` in
    /// KiB, `Threads`.
    pub fn of_process(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Sends it a signal by name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success(), "{} is not there to take {name}", self.name);
    }

    /// Whether TERM would not end it at once: a process that has just been started has no handler yet (proc(5), `SigCgt`).
    fn catches_term(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_until(&format!("{} ends", self.name), PATIENCE, || child.try_wait().unwrap());
        self.ended = Some(status);
        status
    }

    /// Asks it to end, once it is so far that it takes signals, and waits; it must end well.
    pub fn stop(mut self) {
        wait_until(&format!("{} catches TERM", self.name), PATIENCE, || self.catches_term().then_some(()));
        self.signal("TERM");
        let status = self.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}:\n{}", self.name, self.log());
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged something.
    pub fn await_log(&mut self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(self.is_running(), "{} has ended:\n{log}", self.name);
            assert!(Instant::now() < end, "{} does not say {part:?}:\n{log}", self.name);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Where its page is served on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it answers to something that is no request: the status line's code.
    pub fn garbage(&self) -> Option<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        writeln!(stream, "garbage").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// A page of its metrics port: status line's code and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Its metrics by series, as `name{labels}`.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, page) = wait_until("metrics answer", PATIENCE, || self.get("/metrics"));
        let series = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        page.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect()
    }

    /// The sum of all series of a name whose labels hold all the given parts (`topic="a"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &str| {
            let (of, rest) = series.split_once('{').unwrap_or((series, ""));
            of == name && labels.iter().all(|label| rest.contains(label))
        };
        self.metrics().iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Woken first: a stopped process takes nothing but KILL, and leaves its jobs to the guard.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the end of the log of {}:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

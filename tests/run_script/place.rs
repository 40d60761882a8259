//! A directory in which runs of `scripts/run.sh` follow each other, and what must not be left of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::support::broker::{free_port, kafka_libs, version};
use super::support::{unique, wait_until};

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Where the scripts are.
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// What a run says when all of it is started.
pub const STARTED: &str = "Ctrl-C ends it all";

/// A directory in which runs follow each other.
pub struct Place {
    dir: TempDir,
    ports: [u16; 3],
    /// In the environment of all that a run starts, but for the commands of its jobs, which get none of it.
    mark: String,
    /// How long a job sleeps, and nobody else: by that its command is found.
    nap: String,
    /// What lies in the repository before.
    repository: BTreeSet<String>,
}

/// `scripts/run.sh`, for which Ctrl-C means what it does in a terminal: a shell has the programs that it starts in the background
/// ignore that signal, these tests among them.
pub fn run_script() -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=INT,QUIT").arg(Path::new(REPOSITORY).join("scripts/run.sh"));
    command
}

impl Place {
    /// Jobs in which `{nap}` stands for a long time.
    pub fn new(jobs: &str) -> Self {
        kafka_libs(version());
        let dir = tempfile::Builder::new().prefix("kafka-cron-test-").tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let nap = format!("3600.{}{}", std::process::id(), ports[0]);
        fs::create_dir(dir.path().join("tmp")).unwrap();
        fs::write(dir.path().join("jobs.cron"), jobs.replace("{nap}", &nap)).unwrap();
        Self { dir, ports, mark: unique("run"), nap, repository: names(Path::new(REPOSITORY)) }
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a run; what it says is added to the log. It ends after five minutes at the latest.
    pub fn start(&self, more: &[&str]) -> Run {
        let programs = Path::new(env!("CARGO_BIN_EXE_producer")).parent().unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut run = run_script();
        run.arg("--local").arg("--jobs").arg(self.path("jobs.cron"));
        run.args(["--port", &self.ports[0].to_string()]);
        run.args(["--controller-port", &self.ports[1].to_string()]);
        run.args(["--jmx-port", &self.ports[2].to_string(), "--for", "5m"]).args(more);
        run.env("KAFKA_CRON_BIN_DIR", programs).env("KAFKA_CRON_DATA_DIR", self.path("data"));
        run.env("TMPDIR", self.path("tmp")).env("KAFKA_CRON_TEST_MARK", &self.mark);
        run.env_remove("KAFKA_BROKERS");
        run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Run(run.spawn().unwrap())
    }

    /// What the runs said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the run has said something.
    pub fn await_log(&self, run: &mut Run, part: &str) {
        wait_until(&format!("the run says {part:?}"), PATIENCE, || {
            let ended = run.0.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none(), "the run has ended with {ended:?}:\n{log}");
            log.contains(part).then_some(())
        });
    }

    /// Waits for the end of a run, which must have the given code and leave nothing.
    pub fn assert_ends(&self, mut run: Run, code: i32) {
        let status = run.wait();
        assert_eq!(status.code(), Some(code), "{status}:\n{}", self.log());
        self.assert_nothing_is_left();
    }

    fn assert_nothing_is_left(&self) {
        // Three times a second the broker's watcher looks whether it is needed.
        let mut left = Vec::new();
        for _ in 0..50 {
            left = self.processes();
            if left.is_empty() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        assert!(left.is_empty(), "still there: {left:#?}");
        for port in self.ports {
            drop(TcpListener::bind(("127.0.0.1", port)).expect("a port that is free again"));
        }
        assert_eq!(names(&self.path("tmp")), BTreeSet::new());
        assert_eq!(names(&self.path("data")), BTreeSet::from(["broker".to_owned()]));
        assert_eq!(names(Path::new(REPOSITORY)), self.repository);
    }

    /// The command lines of those processes of a run that are there.
    pub fn processes(&self) -> Vec<String> {
        let of = |dir: PathBuf| {
            let read = |name| Some(String::from_utf8_lossy(&fs::read(dir.join(name)).ok()?).into_owned());
            let (environment, line) = (read("environ")?, read("cmdline")?);
            let ours = environment.contains(&self.mark) || line.contains(&self.nap);
            ours.then(|| line.replace('\0', " "))
        };
        fs::read_dir("/proc").unwrap().filter_map(|entry| of(entry.ok()?.path())).collect()
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(dir).unwrap().map(name).collect()
}

/// A run under way. It is killed when this is dropped, and what it started ends by itself.
pub struct Run(Child);

impl Run {
    /// A script that was started.
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    /// The process of the script.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the run ends", PATIENCE, || self.0.try_wait().unwrap())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It is gone already, unless the test has failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

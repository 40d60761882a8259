//! `scripts/run.sh`, which a newcomer starts first: it shows the system at work, and however it ends, nothing of it is
//! left. Processes, ports and files are compared with those before.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::broker::free_port;
use support::{unique, wait_until};
use tempfile::TempDir;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// What a run says when all of it is started.
const STARTED: &str = "Ctrl-C ends it all";

/// A directory in which runs follow each other.
struct Place {
    dir: TempDir,
    ports: [u16; 2],
    /// In the environment of all that a run starts, but for the commands of its jobs, which get none of it.
    mark: String,
    /// How long a job sleeps, and nobody else: by that its command is found.
    nap: String,
    /// What lies in the repository before.
    repository: BTreeSet<String>,
}

impl Place {
    /// `{nap}` stands for a long time.
    fn new(jobs: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("kafka-cron-test-").tempdir().unwrap();
        let ports = [free_port(), free_port()];
        let nap = format!("3600.{}{}", std::process::id(), ports[0]);
        fs::create_dir(dir.path().join("tmp")).unwrap();
        fs::write(dir.path().join("jobs.cron"), jobs.replace("{nap}", &nap)).unwrap();
        Self { dir, ports, mark: unique("run"), nap, repository: names(Path::new(REPOSITORY)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a run; what it says is added to the log.
    fn start(&self, more: &[&str]) -> Child {
        let programs = Path::new(env!("CARGO_BIN_EXE_producer")).parent().unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut run = Command::new(Path::new(REPOSITORY).join("scripts/run.sh"));
        run.arg("--jobs").arg(self.path("jobs.cron")).args(["--port", &self.ports[0].to_string()]);
        run.args(["--controller-port", &self.ports[1].to_string()]).args(more);
        run.env("KAFKA_CRON_BIN_DIR", programs).env("KAFKA_CRON_DATA_DIR", self.path("data"));
        run.env("TMPDIR", self.path("tmp")).env("KAFKA_CRON_TEST_MARK", &self.mark);
        run.env_remove("KAFKA_BROKERS");
        run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        run.spawn().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the run has said something.
    fn await_log(&self, run: &mut Child, part: &str) {
        wait_until(&format!("the run says {part:?}"), PATIENCE, || {
            let ended = run.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none(), "the run has ended with {ended:?}:\n{log}");
            log.contains(part).then_some(())
        });
    }

    /// Waits for the end of a run, which must have the given code and leave nothing.
    fn assert_ends(&self, mut run: Child, code: i32) {
        let status = wait_until("the run ends", PATIENCE, || run.try_wait().unwrap());
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
    fn processes(&self) -> Vec<String> {
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

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_run_shows_what_happens_and_ends_when_its_time_is_up() {
    let place =
        Place::new("* * * * * * cluster-a [name=works] true\n* * * * * * cluster-b [name=fails] false\n");
    let run = place.start(&["--for", "8s"]);
    place.assert_ends(run, 0);
    let log = place.log();
    let shown = |who: &str, what: &str| log.lines().any(|line| line.starts_with(who) && line.contains(what));
    assert!(shown("producer", "published works"), "{log}");
    assert!(shown("cluster-a.", "attempt 1: succeeded"), "{log}");
    assert!(shown("cluster-b.", "attempt 1: failed"), "{log}");
    assert!(shown("cluster-b-retry", "serving /metrics"), "{log}");
}

#[test]
fn ctrl_c_ends_a_run_and_only_one_runs_at_a_time() {
    let place = Place::new("0 0 1 1 * cluster-a true\n");
    let mut run = place.start(&[]);
    place.await_log(&mut run, STARTED);
    let mut second = place.start(&[]);
    assert_eq!(second.wait().unwrap().code(), Some(4), "{}", place.log());
    let said = format!("another run is under way in {}: process {}", place.path("data").display(), run.id());
    assert!(place.log().contains(&said), "{}", place.log());
    signal(&run, "INT");
    place.assert_ends(run, 0);
}

#[test]
fn a_run_that_is_killed_ends_too_and_the_next_can_start_at_once() {
    let place = Place::new("* * * * * * cluster-a [name=long] exec sleep {nap}\n");
    let mut run = place.start(&[]);
    place.await_log(&mut run, STARTED);
    let asleep = || place.processes().iter().any(|line| line.starts_with("sleep ")).then_some(());
    wait_until("a job runs", PATIENCE, asleep);
    signal(&run, "KILL");
    run.wait().unwrap();
    fs::write(place.path("jobs.cron"), "0 0 1 1 * cluster-a true\n").unwrap();
    let next = place.start(&["--for", "1s"]);
    place.assert_ends(next, 0);
    let log = place.log();
    assert_eq!(log.matches(STARTED).count(), 2, "{log}");
    assert_eq!(
        log.matches("nothing more is taken").count(),
        12,
        "the killed one's ended in order, too:\n{log}"
    );
}

#[test]
fn a_job_file_with_a_problem_ends_a_run_with_that() {
    let place = Place::new("0 25 * * * cluster-a true\n");
    let run = place.start(&[]);
    place.assert_ends(run, 2);
    let log = place.log();
    assert!(log.contains("jobs.cron:1: "), "{log}");
    assert!(log.contains("producer ended by itself, with code 2"), "{log}");
}

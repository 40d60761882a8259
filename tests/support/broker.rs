//! Real brokers, by `scripts/kafka-broker.sh`.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use kafka_cron::common::broker::kafka::KafkaBroker;
use kafka_cron::common::broker::{Broker, Client, Position, TopicPartition, TopicState};
use kafka_cron::common::topics::TopicSpec;
use tempfile::TempDir;

use super::{soon, wait_until};

/// The version of Kafka that tests run against unless they say otherwise: that of `scripts/test.sh --kafka VERSION`, or the
/// one that the project is developed with.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| std::env::var("KAFKA_CRON_KAFKA").unwrap_or_else(|_| "4.3.1".to_owned()))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// A port that nobody listens on. Below the range from which the system takes ports for outgoing connections, so
/// that none of those gets it before its listener does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Far apart for processes that were started one after the other.
    let start = u16::try_from(u64::from(std::process::id()) * 997 % 11_000).unwrap_or(0);
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The directory with the jars of a version of Kafka.
///
/// # Panics
/// Where they are not here and cannot be fetched, or no Java is: with one sentence that says what to do.
pub fn kafka_libs(version: &str) -> String {
    let fetched = Command::new(script("kafka-fetch.sh")).arg(version).output().expect("bash runs");
    let said = String::from_utf8_lossy(&fetched.stderr).trim().replace('\n', "; ");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_java = std::env::split_paths(&path).any(|folder| folder.join("java").is_file());
    assert!(
        fetched.status.success() && has_java,
        "this test needs Kafka {version} and Java: scripts/test.sh fetches what is missing, starts a broker and runs all \
         tests; with java on the PATH, `cargo test` alone does where KAFKA_CRON_RUN_DIR (default: .run) is where \
         scripts/kafka-fetch.sh {version} has put the jars, and tests that share a broker take one that runs from \
         KAFKA_CRON_TEST_BROKERS=host:port ({})",
        if has_java { &said } else { "there is no java on the PATH" }
    );
    String::from_utf8(fetched.stdout).unwrap().trim().to_owned()
}

/// A command line for one of Kafka's own programs, by the name of its class.
pub fn kafka_program(version: &str, class: &str) -> Command {
    let libs = kafka_libs(version);
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]);
    java.arg(format!("{libs}/*")).arg(class);
    java
}

/// The broker that all tests of a binary share: `KAFKA_CRON_TEST_BROKERS` where that is set, one of our own
/// otherwise. Topics and groups of tests have names of their own ([`super::unique`]).
pub struct TestBroker {
    brokers: String,
    _own: Option<OwnBroker>,
}

impl TestBroker {
    /// Starts it unless that has been done.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestBroker> = OnceLock::new();
        SHARED.get_or_init(|| {
            if let Ok(brokers) = std::env::var("KAFKA_CRON_TEST_BROKERS") {
                assert!(
                    brokers.split(',').any(|address| TcpStream::connect(address).is_ok()),
                    "KAFKA_CRON_TEST_BROKERS names {brokers}, where nothing listens: start a Kafka there \
                     (scripts/kafka-broker.sh start), or unset it, so that the tests start one of their own"
                );
                await_groups(&mut *connect(&brokers).client("test"));
                return Self { brokers, _own: None };
            }
            let own = OwnBroker::start(version());
            await_groups(&mut *own.broker().client("test"));
            Self { brokers: own.brokers(), _own: Some(own) }
        })
    }

    /// As `--brokers` takes it.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The port's Kafka end, pointed at it.
    pub fn broker(&self) -> KafkaBroker {
        connect(&self.brokers)
    }

    /// Creates a topic and waits until it can be written. For topics of a test's own; partitions have one copy.
    pub fn topic(&self, name: &str, partitions: i32) -> TopicState {
        self.topic_with(name, partitions, Vec::new())
    }

    /// As [`Self::topic`], with settings.
    pub fn topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: Vec<(&'static str, String)>,
    ) -> TopicState {
        let mut client = self.broker().client("test");
        let spec = TopicSpec { name: name.to_owned(), partitions, replication_factor: 1, settings };
        client.create_topic(&spec, soon()).unwrap();
        await_topic(&mut *client, name)
    }
}

/// The port's Kafka end for a list as `--brokers` takes it.
pub fn connect(brokers: &str) -> KafkaBroker {
    let brokers: Vec<String> = brokers.split(',').map(str::to_owned).collect();
    KafkaBroker::new(&brokers, None).unwrap()
}

/// Waits until a topic is there and the leaders of its partitions know that they are.
pub fn await_topic(client: &mut dyn Client, name: &str) -> TopicState {
    wait_until(&format!("topic {name} has leaders"), Duration::from_secs(30), || {
        let state = client.topic(name, soon()).ok()??;
        state.partitions.iter().all(|partition| partition.leader.is_some()).then_some(())?;
        // A broker may name a leader a moment before that one takes the part.
        let mut numbers = state.partitions.iter().map(|partition| partition.partition);
        let of = |partition| TopicPartition { topic: name.to_owned(), partition };
        numbers.all(|number| client.offset(&of(number), Position::End, soon()).is_ok()).then_some(state)
    })
}

/// Waits until groups have coordinators: a fresh cluster makes the topic behind them for the first that asks.
pub fn await_groups(client: &mut dyn Client) {
    let of = TopicPartition { topic: "none".to_owned(), partition: 0 };
    wait_until("groups have coordinators", Duration::from_secs(60), || {
        client.committed("warm-up", std::slice::from_ref(&of), soon()).ok()
    });
}

/// A broker that a test may do anything to. It ends, and its files go, when this is dropped.
pub struct OwnBroker {
    version: String,
    data: TempDir,
    port: u16,
    /// What `start` is called with beside version, port and directory.
    options: Vec<String>,
}

impl OwnBroker {
    /// One broker that is a cluster.
    pub fn start(version: &str) -> Self {
        Self::start_with(version, &[])
    }

    /// One broker with settings (`"message.max.bytes=2000"`) beside those of the script.
    pub fn start_with(version: &str, settings: &[&str]) -> Self {
        let mut options = vec!["--controller-port".to_owned(), free_port().to_string()];
        options.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
        let own = Self::prepare(version, options);
        own.restart();
        own
    }

    /// One broker with settings that name its own ports: of clients, of the controller.
    pub fn start_with_port(version: &str, settings: impl FnOnce(u16, u16) -> Vec<String>) -> Self {
        let controller = free_port();
        let mut own = Self::prepare(version, vec!["--controller-port".to_owned(), controller.to_string()]);
        let settings = settings(own.port, controller);
        own.options.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        own.restart();
        own
    }

    /// Brokers 1 to `count` of one cluster.
    pub fn cluster(version: &str, count: usize) -> Vec<Self> {
        let controllers: Vec<(usize, u16)> = (1..=count).map(|id| (id, free_port())).collect();
        let voters: Vec<String> =
            controllers.iter().map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
        let options = |id: usize, port: u16| {
            let pairs = [
                ("--node-id", id.to_string()),
                ("--controller-port", port.to_string()),
                ("--voters", voters.join(",")),
            ];
            pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        };
        let brokers: Vec<Self> =
            controllers.iter().map(|(id, port)| Self::prepare(version, options(*id, *port))).collect();
        // Together: none is ready before most of them are.
        let started: Vec<_> = brokers.iter().map(|own| own.command("start").spawn().unwrap()).collect();
        for mut process in started {
            assert!(process.wait().unwrap().success(), "a broker of the cluster did not start");
        }
        brokers
    }

    fn prepare(version: &str, options: Vec<String>) -> Self {
        kafka_libs(version);
        let data = tempfile::Builder::new().prefix("kafka-cron-test-").tempdir().unwrap();
        Self { version: version.to_owned(), data, port: free_port(), options }
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(script("kafka-broker.sh"));
        script.arg(command).arg("--data").arg(self.data.path());
        if command == "start" {
            script.args(["--version", &self.version, "--port", &self.port.to_string(), "--temporary"]);
            // Tests write records of years ago, which retention would delete half a minute after the start.
            script.args(["--set", "log.retention.ms=-1"]);
            script.args(["--parent", &std::process::id().to_string()]).args(&self.options);
            script.stdout(std::process::Stdio::null());
        }
        script
    }

    /// As `--brokers` takes it.
    pub fn brokers(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port's Kafka end, pointed at it.
    pub fn broker(&self) -> KafkaBroker {
        connect(&self.brokers())
    }

    /// Starts it again, with what was written before. Returns when it answers.
    pub fn restart(&self) {
        run(&mut self.command("start"));
    }

    /// Kills it: no farewell to clients or to other brokers.
    pub fn kill(&self) {
        run(self.command("stop").arg("--now"));
    }

    /// Lets it shut down in order.
    pub fn stop(&self) {
        run(&mut self.command("stop"));
    }

    /// Stops it in its tracks: it still accepts connections (the system does) and says nothing.
    pub fn freeze(&self) {
        let pid = self.pid();
        run(Command::new("kill").arg("-STOP").arg(&pid));
        // On a busy machine each thread may go on for a moment.
        wait_until("it stands still", Duration::from_secs(10), || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let state = |dir: std::fs::DirEntry| std::fs::read_to_string(dir.path().join("stat")).ok();
            let stands = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"));
            threads.flatten().filter_map(state).all(stands).then_some(())
        });
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        run(Command::new("kill").arg("-CONT").arg(self.pid()));
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.data.path().join("broker.pid")).unwrap().trim().to_owned()
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        // In a panic a second one would hide the first.
        drop(self.command("stop").arg("--now").output());
    }
}

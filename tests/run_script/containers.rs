//! Whether `scripts/run.sh` runs in containers, and what it asks of the engine then. The engine is a script that writes
//! down what it is asked; what a real one does with `docker-compose.yml` is told by `scripts/compose-check.sh`.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use tempfile::TempDir;

use super::place::{PATIENCE, Run, run_script};
use super::support::wait_until;

/// A `docker` that answers while there is a file `engine` beside it, and follows logs until it is told to end.
const DOCKER: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/asked"
case "$*" in
    info*) [ ! -e "$here/engine" ] || echo 26.1 ;;
    "compose config --services") printf 'kafka\nproducer\ncluster-a\nprometheus\n' ;;
    "compose up"*) env | grep ^KAFKA_CRON_ | sort >"$here/told"; [ ! -e "$here/broken" ] ;;
    "compose logs --follow"*) touch "$here/following"; exec sleep 600 ;;
    "compose ps --quiet") [ ! -e "$here/up" ] || echo 0123456789ab ;;
esac
"#;

const UP: &str = "compose up --build --detach --wait --wait-timeout 300";
const FOLLOW: &str = "compose logs --follow cluster-a producer";

/// A machine with this `docker`, and files that tell it how to be.
struct Machine(TempDir);

impl Machine {
    fn with(files: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("kafka-cron-test-").tempdir().unwrap();
        fs::write(dir.path().join("docker"), DOCKER).unwrap();
        fs::set_permissions(dir.path().join("docker"), Permissions::from_mode(0o755)).unwrap();
        files.iter().for_each(|file| fs::write(dir.path().join(file), "").unwrap());
        Self(dir)
    }

    fn start(&self, words: &[&str]) -> Run {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let log = fs::File::options().create(true).append(true).open(self.0.path().join("log")).unwrap();
        let mut run = run_script();
        run.args(words).env("PATH", path).env("KAFKA_CRON_DATA_DIR", self.0.path().join("data"));
        run.env_remove("KAFKA_BROKERS").env_remove("KAFKA_CRON_BIN_DIR");
        run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Run::of(run.spawn().unwrap())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap_or_default()
    }

    /// What the engine was asked to do, beyond whether it is there.
    fn asked(&self) -> Vec<String> {
        let acts = ["compose up", "compose logs", "compose down"];
        let is_act = |line: &&str| acts.iter().any(|act| line.starts_with(act));
        self.read("asked").lines().filter(is_act).map(str::to_owned).collect()
    }

    /// The run ends with the code and says so.
    fn check(&self, words: &[&str], code: i32, says: &str) {
        let ended = self.start(words).wait();
        assert_eq!(ended.code(), Some(code), "{words:?}: {}", self.read("log"));
        assert!(self.read("log").contains(says), "{words:?}: {}", self.read("log"));
    }
}

#[test]
fn where_an_engine_answers_it_runs_in_containers_and_none_is_left() {
    let machine = Machine::with(&["engine"]);
    machine.check(&["--for", "1s"], 0, "Kafka is at localhost:9092");
    assert_eq!(machine.asked(), [UP, FOLLOW, "compose down"]);
}

#[test]
fn ctrl_c_removes_the_containers() {
    let machine = Machine::with(&["engine"]);
    let mut run = machine.start(&["--docker"]);
    let following = || machine.0.path().join("following").exists().then_some(());
    wait_until("the logs are followed", PATIENCE, following);
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(0), "{}", machine.read("log"));
    assert_eq!(machine.asked(), [UP, FOLLOW, "compose down"]);
}

#[test]
fn containers_are_told_the_port_and_the_job_file() {
    let machine = Machine::with(&["engine", "my.cron"]);
    let jobs = machine.0.path().join("my.cron").display().to_string();
    machine.check(&["--for", "1s", "--port", "9192", "--jobs", &jobs], 0, "Kafka is at localhost:9192");
    let told = machine.read("told");
    let conf = format!("KAFKA_CRON_CONF={}", machine.0.path().display());
    for variable in [&conf, "KAFKA_CRON_JOBS_FILE=my.cron", "KAFKA_CRON_PORT=9192", "KAFKA_CRON_DRAIN=5s"] {
        assert!(told.lines().any(|line| line == variable), "{variable} is not in\n{told}");
    }
}

#[test]
fn what_did_not_start_is_removed_and_what_was_up_before_is_let_be() {
    let machine = Machine::with(&["engine", "broken"]);
    machine.check(&["--docker"], 3, "not all of it started");
    assert_eq!(machine.asked(), [UP, "compose logs --tail 5 cluster-a producer", "compose down"]);
    let machine = Machine::with(&["engine", "up"]);
    machine.check(&["--docker"], 4, "up already");
    assert_eq!(machine.asked(), [""; 0]);
}

#[test]
fn without_an_engine_and_for_what_containers_cannot_do_it_runs_as_processes() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let as_processes = |files: &[&str], words: &[&str]| {
        let machine = Machine::with(files);
        machine.check(&[words, &["--port", &port]].concat(), 4, &format!("port {port} is taken"));
        assert_eq!(machine.asked(), [""; 0]);
    };
    as_processes(&[], &[]);
    as_processes(&["engine"], &["--local"]);
    as_processes(&["engine"], &["--release"]);
    as_processes(&["engine"], &["--controller-port", "19192"]);
    Machine::with(&[]).check(&["--docker"], 4, "no container engine with compose answers");
    Machine::with(&["engine"]).check(&["--docker", "--release"], 2, "--release is for --local");
    Machine::with(&["engine"]).check(&["--docker", "--local"], 2, "exclude each other");
}

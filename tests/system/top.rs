//! `cronctl top` on real brokers: what its lines say of real programs, and that it outlives an outage of Kafka.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::support::broker::{OwnBroker, version};
use crate::support::programs::{PATIENCE, World};
use crate::support::wait_until;

/// The cells of the row of a table that begins with a word.
fn row(lines: &[String], first: &str) -> Vec<String> {
    let found = lines.iter().find(|line| line.split_whitespace().next() == Some(first));
    found.map(|line| line.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// A snapshot, as lines.
fn once(world: &World, jobs: &str, more: &[&str]) -> Vec<String> {
    let clusters = format!("{},{}", world.a, world.b);
    let group = format!("leader-{}", world.a);
    let args = ["top", jobs, "--once", "--clusters", &clusters, "--group", &group];
    let (code, out, err) = world.cronctl(&[&args, more].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn a_snapshot_shows_what_runs_who_leads_and_the_letters() {
    let world = World::new();
    let jobs = world.jobs(
        "@reboot        {a}  [name=long]   {note}; sleep 600\n\
         @reboot        {a}  [name=broken] {note}; exit 3\n\
         @every 36500d  {b}  [name=next]   true\n",
    );
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2", "--instance-id", "worker-of-top"]);
    world.await_ledger("both jobs", |ledger| ledger.len() >= 2);
    let jobs = jobs.display().to_string();
    let is_whole = |lines: &Vec<String>| {
        row(lines, world.a.as_str()).get(1).is_some_and(|running| running == "1")
            && row(lines, world.a.as_str()).get(7).is_some_and(|letters| letters == "1")
            && lines.iter().any(|line| line.contains(" leads, no standby, job file "))
    };
    let lines = wait_until("all is shown", PATIENCE, || Some(once(&world, &jobs, &[])).filter(is_whole));
    let said = lines.join("\n");
    // Its name is that of its host and process.
    let leader = lines.iter().find(|line| line.contains(" leads, ")).unwrap();
    assert!(leader.contains(&format!("-{}-", producer.pid())), "{said}");
    // CLUSTER, RUNNING, LATE, FAILING, HELD, LAG, RETRIES, LETTERS, MISSED, DUE NEXT.
    assert_eq!(row(&lines, world.a.as_str())[1..9], ["1", "0", "1", "0", "0", "0", "1", "0"], "{said}");
    let next = row(&lines, world.b.as_str());
    assert_eq!(
        (next[1..9].join(" "), next.last().map(String::as_str)),
        ("0 0 0 0 0 0 0 0".to_owned(), Some("next"))
    );
    let has = |parts: &[&str]| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["long", "running", "worker-of-top"]), "{said}");
    assert!(has(&["broken", "given up: failed (exit code 3)"]), "{said}");
    assert!(has(&["worker-of-top", " ago  ", world.a.as_str()]), "{said}");
    // A window that begins after the claim: only the consumer's sign of life tells that the job runs.
    let is_running =
        |lines: &Vec<String>| lines.iter().any(|line| line.contains("long") && line.contains("running"));
    wait_until("a job of before the window", PATIENCE, || {
        let lines = once(&world, &jobs, &["--since", "25s"]);
        let is_before = !lines.iter().any(|line| line.contains("broken"));
        Some(lines).filter(|lines| is_before && is_running(lines))
    });
    let listed = once(&world, &jobs, &["--filter", "BROKEN"]);
    assert!(listed.iter().any(|line| line == "1 run, with `BROKEN`"), "{listed:?}");
    producer.stop();
    consumer.kill();
}

#[test]
fn what_no_consumer_takes_is_late_and_lags() {
    let world = World::new();
    let jobs = world.jobs("@reboot  {a}  [name=waits]  true\n");
    let mut producer = world.producer(&jobs, &[]);
    producer.await_log("published waits");
    let clusters = world.a.to_string();
    let late = wait_until("it is late", PATIENCE, || {
        let (code, out, err) = world.cronctl(&["top", "--once", "--clusters", &clusters]);
        assert_eq!((code, err.as_str()), (0, ""));
        let lines: Vec<String> = out.lines().map(str::to_owned).collect();
        Some(row(&lines, &clusters)).filter(|row| row.get(2).is_some_and(|late| late == "1"))
    });
    // The age of the oldest one stands beside the count.
    assert_eq!((late[1].as_str(), late[4..7].join(" ").as_str()), ("0", "0 0 1"), "{late:?}");
    // So it is when the message is older than the window.
    wait_until("the window is over", PATIENCE, || {
        let (_, out, _) = world.cronctl(&["top", "--once", "--clusters", &clusters, "--since", "5s"]);
        let lines: Vec<String> = out.lines().map(str::to_owned).collect();
        (row(&lines, &clusters).get(2).map(String::as_str) == Some("1")).then_some(())
    });
    producer.stop();
}

/// A view that prints lines, and ends with the test.
struct Printing {
    child: Child,
    said: Receiver<String>,
}

impl Printing {
    fn start(world: &World) -> Self {
        let clusters = format!("{},{}", world.a, world.b);
        let mut child = Command::new(env!("CARGO_BIN_EXE_cronctl"))
            .args(["top", "--interval", "200ms", "--clusters", &clusters, "--brokers", &world.brokers])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, said) = sync_channel(10_000);
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for (name, stream) in ["out", "err"].into_iter().zip(streams) {
            let tell = tell.clone();
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        if tell.send(format!("{name}: {line}")).is_err() {
                            return;
                        }
                    }
                })
                .unwrap();
        }
        Self { child, said }
    }

    fn await_line(&self, parts: &[&str]) -> String {
        wait_until(&format!("a line with {parts:?}"), PATIENCE, || {
            let line = self.said.recv_timeout(Duration::from_millis(20)).ok()?;
            parts.iter().all(|part| line.contains(part)).then_some(line)
        })
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn it_outlives_an_outage_of_kafka_and_ends_well_on_term() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &[]);
    let mut view = Printing::start(&world);
    view.await_line(&["out: ", "every", "succeeded"]);
    own.kill();
    view.await_line(&["err: not sent", "see that the brokers run"]);
    // Once, it does not wait.
    let (code, out, err) = world.cronctl(&["top", "--once", "--clusters", world.a.as_str()]);
    assert_eq!((code, out.as_str(), err.starts_with("not sent")), (3, "", true), "{err}");
    while view.said.try_recv().is_ok() {}
    own.restart();
    view.await_line(&["out: ", "every", "succeeded"]);
    let sent = Command::new("kill").args(["-TERM", &view.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let status = wait_until("the view ends", PATIENCE, || view.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    producer.stop();
    consumer.stop();
}

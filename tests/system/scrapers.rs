//! Hostile scrapers against the real programs: they cost little memory, hold up nobody, and keep no other from its page.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::checks::complete;
use crate::support::programs::{Entry, Program, World};
use crate::support::wait_until;

/// Connections that are open at the same time, as far as this side is concerned.
const CONNECTIONS: usize = 10_000;

/// What an attack may cost a program, in bytes.
const MOST: u64 = 20_000_000;

/// How long a page may take, whoever else asks.
const SOON: Duration = Duration::from_secs(5);

/// How late a run may be that should be on time; the machine may be a busy one.
const LATE_MS: i64 = 5_000;

/// The resident memory of a program in bytes (proc(5), `/proc/PID/status`).
fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
}

/// Watches a program under attack.
struct Victim<'a> {
    program: &'a Program,
    before: u64,
    most: u64,
}

impl<'a> Victim<'a> {
    fn new(program: &'a Program) -> Self {
        // The first pages take what the later ones use again.
        (0..3).for_each(|_| assert_eq!(program.get("/metrics").map(|(code, _)| code), Some(200)));
        let before = resident(program);
        Self { program, before, most: before }
    }

    /// It answers soon, and has not grown much.
    fn check(&mut self, what: &str) {
        let began = Instant::now();
        let answer = self.program.get("/metrics");
        assert_eq!(answer.map(|(code, _)| code), Some(200), "{what}");
        assert!(began.elapsed() < SOON, "{what}: a page took {:?}", began.elapsed());
        self.most = self.most.max(resident(self.program));
        let grown = self.most - self.before;
        assert!(grown < MOST, "{what}: {} MB became {} MB", self.before / 1_000_000, self.most / 1_000_000);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.program.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// As many connections as there may be, each with half a request, all held open.
    fn half_open(&mut self) {
        let mut held = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let mut stream = self.connect();
            // Some have been shown out already.
            drop(stream.write(b"GET /metrics HTTP/1.1\r\nX-Half: "));
            held.push(stream);
            if number % 500 == 0 {
                self.check("half-open connections");
            }
        }
        self.check("ten thousand half-open connections");
    }

    /// Request lines of a megabyte, some of them at once.
    fn long_lines(&mut self) {
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
        let mut streams: Vec<TcpStream> = (0..8).map(|_| self.connect()).collect();
        for stream in &mut streams {
            // It is answered long before its end, and need not be taken to it.
            drop(stream.write_all(line.as_bytes()));
            drop(stream.shutdown(Shutdown::Write));
        }
        self.check("request lines of a megabyte");
        let mut answer = [0; 12];
        streams[0].read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.0 431");
    }

    /// Paths that lead elsewhere on other servers.
    fn paths(&mut self) {
        let elsewhere = "../".repeat(40) + "etc/passwd";
        for path in [
            format!("/{elsewhere}"),
            elsewhere.clone(),
            format!("/metrics/{elsewhere}"),
            format!("/{}", elsewhere.replace("..", "%2e%2e")),
            format!("/{}", elsewhere.replace('/', "\\")),
            "//etc/passwd".to_owned(),
            "file:///etc/passwd".to_owned(),
            "/metrics%00".to_owned(),
        ] {
            let (code, body) = self.program.get(&path).unwrap_or_else(|| panic!("{path}: no answer"));
            assert_eq!((code, body.contains("root:")), (404, false), "{path}: {body}");
        }
        self.check("paths that lead elsewhere");
    }

    /// Clients that ask and do not read, and clients that ask a byte at a time.
    fn slow(&mut self) {
        let deaf: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = self.connect();
                stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
                stream
            })
            .collect();
        self.check("clients that do not read");
        let mut slow: Vec<TcpStream> = (0..50).map(|_| self.connect()).collect();
        for byte in b"GET /metrics HTTP/1.1\r\nX: aaaaaaaa" {
            for stream in &mut slow {
                drop(stream.write(&[*byte]));
            }
            self.check("clients that ask a byte at a time");
        }
        drop(deaf);
    }

    fn endure(mut self, kind: &str) {
        self.half_open();
        self.long_lines();
        self.paths();
        self.slow();
        let (before, grown) = (self.before / 1_000, (self.most - self.before) / 1_000);
        println!("{kind}: {before} kB, and {grown} kB more under attack");
        assert!(self.program.metric("cron_http_connections_refused_total", &["no_room"]) >= 9_000.0);
    }
}

fn lateness_ms(entry: &Entry) -> i64 {
    let due: chrono::DateTime<chrono::Utc> = entry.scheduled_at.parse().unwrap();
    i64::try_from(entry.at_ms).unwrap() - due.timestamp_millis()
}

#[test]
fn hostile_scrapers_cost_little_and_hold_up_nobody() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let room = limit.maximum.unwrap_or(u64::MAX);
    assert!(room > CONNECTIONS as u64 + 1_000, "this test needs more descriptors than {room} (ulimit -n)");
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "4"]);
    let before = world.await_ledger("it works", |ledger| ledger.len() >= 3).len();
    Victim::new(&producer).endure("producer");
    Victim::new(&consumer).endure("consumer");
    let ledger = world.await_ledger("it works on", |ledger| complete(ledger, "every", 1, before + 5));
    let late: Vec<&Entry> = ledger[before..].iter().filter(|entry| lateness_ms(entry) > LATE_MS).collect();
    assert!(late.is_empty(), "{late:?}");
    for (program, thread) in [(&producer, "timer"), (&consumer, "dispatch")] {
        wait_until("its thread comes round", SOON * 3, || {
            let now = chrono::DateTime::from_timestamp_millis(i64::try_from(ledger.last()?.at_ms).ok()?)?;
            let beat = program.metric("cron_thread_last_beat_seconds", &[thread]);
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            (beat >= now.timestamp() as f64 - 2.0).then_some(())
        });
    }
}

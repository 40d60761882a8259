//! The page against real sockets: whatever others do to the port, a scrape is answered.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Bound, Health, Page};
use crate::common::bounds::HTTP_CONNECTIONS;
use crate::common::clock::SystemClock;
use crate::common::metrics::{Beat, Beats, Metrics};
use crate::common::thread;

/// How long a test waits for what should take milliseconds. Below the time that a flood of mute clients would
/// take to go one after the other.
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    page: Page,
    beat: Beat,
    metrics: Metrics,
}

impl Bench {
    /// How many were turned away, by reason.
    fn turned_away(&self) -> Vec<(String, u64)> {
        let page = String::from_utf8(self.metrics.page().unwrap()).unwrap();
        let count = |line: &str| {
            let (reason, count) =
                line.strip_prefix("cron_http_connections_refused_total{reason=\"")?.split_once("\"} ")?;
            Some((reason.to_owned(), count.parse().unwrap()))
        };
        page.lines().filter_map(count).collect()
    }
}

fn serve(metrics: &Metrics) -> Bench {
    let bound = Bound::bind(Some("127.0.0.1:0".parse().unwrap())).unwrap();
    let beat = Beats::new(metrics).thread("metrics-http");
    let health = Health::new(metrics);
    let page = Page::start(bound, metrics.clone(), health, Arc::new(SystemClock), beat.clone()).unwrap();
    Bench { page, beat, metrics: metrics.clone() }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn say(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// All that comes until the other end closes in order.
fn hear(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn get(addr: SocketAddr, path: &str) -> String {
    let stream = connect(addr);
    say(&stream, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    hear(&stream)
}

fn assert_scraped(addr: SocketAddr) {
    let answer = get(addr, "/metrics");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("cron_build_info{"), "{answer}");
}

#[test]
fn mute_clients_do_not_keep_a_scrape_from_its_answer() {
    let bench = serve(&Metrics::new());
    // Two seconds for every sixteen would be longer than the scrape's patience.
    let mute: Vec<TcpStream> = (0..200).map(|_| connect(bench.page.addr())).collect();
    for stream in &mute {
        // Some have been shown out already.
        drop((&*stream).write(b"GET /met"));
    }
    assert_scraped(bench.page.addr());
    let turned_away: u64 =
        bench.turned_away().into_iter().filter(|(why, _)| why == "no_room").map(|(_, n)| n).sum();
    assert!(turned_away >= 200 - 2 * HTTP_CONNECTIONS as u64, "{turned_away}");
    drop(mute);
}

#[test]
fn a_client_that_does_not_come_to_its_point_is_shown_out() {
    let bench = serve(&Metrics::new());
    let (silent, half) = (connect(bench.page.addr()), connect(bench.page.addr()));
    say(&half, "GET /metrics HTTP/1.1\r\n");
    assert_eq!((hear(&silent), hear(&half)), (String::new(), String::new()));
    assert_eq!(bench.turned_away(), [("too_slow".to_owned(), 2)]);
}

#[test]
fn a_head_that_comes_in_pieces_is_answered() {
    let bench = serve(&Metrics::new());
    let stream = connect(bench.page.addr());
    stream.set_nodelay(true).unwrap();
    for piece in ["GET /hea", "lthz HTTP/1.1\r\n", "Host: test\r", "\n\r\n"] {
        say(&stream, piece);
    }
    assert!(hear(&stream).ends_with("\r\n\r\nhealthy\n"));
}

#[test]
fn a_request_without_end_is_refused_and_not_kept() {
    let bench = serve(&Metrics::new());
    let long = connect(bench.page.addr());
    say(&long, &"G".repeat(100_000));
    long.peek(&mut [0]).unwrap();
    // Answered, and still listened to: a reset now could cost the client the answer.
    say(&long, "G");
    say(&long, "G");
    assert!(hear(&long).starts_with("HTTP/1.0 431 Request Header Fields Too Large\r\n"));
    assert_eq!(bench.turned_away(), [("too_long".to_owned(), 1)]);

    let endless = connect(bench.page.addr());
    endless.set_write_timeout(Some(PATIENCE)).unwrap();
    let error = io::copy(&mut io::repeat(b'G'), &mut &endless).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_scraped(bench.page.addr());
}

#[test]
fn garbage_is_told_what_the_port_speaks() {
    let bench = serve(&Metrics::new());
    for garbage in ["\u{16}\u{3}\u{1}\u{2}\0", "hello\r\n", "\0\0\0\0", "\n"] {
        let stream = connect(bench.page.addr());
        say(&stream, garbage);
        let answer = hear(&stream);
        assert!(answer.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{garbage:?}: {answer}");
    }
    assert_eq!(bench.turned_away(), [("not_http".to_owned(), 4)]);
    assert_scraped(bench.page.addr());
}

/// So many lines of so many bytes, in one metric.
fn large(metrics: &Metrics, lines: usize, length: usize) {
    let many = metrics.counters("cron_test_total", "Many.", &["topic"]);
    for n in 0..lines {
        many.with_label_values(&[&format!("{n:0length$}")]).inc();
    }
}

#[test]
fn an_answer_that_is_read_slowly_comes_whole_and_holds_up_nobody() {
    let metrics = Metrics::new();
    large(&metrics, 4_000, 2_000);
    let bench = serve(&metrics);
    let slow = connect(bench.page.addr());
    say(&slow, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(get(bench.page.addr(), "/healthz").ends_with("\r\n\r\nhealthy\n"));
    let answer = hear(&slow);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{} bytes after {head}", body.len());
}

#[test]
fn a_page_of_ten_thousand_lines() {
    let metrics = Metrics::new();
    large(&metrics, 10_000, 10);
    let bench = serve(&metrics);
    let began = Instant::now();
    let answer = get(bench.page.addr(), "/metrics");
    println!("a page of 10,000 lines, {} bytes: {:?}", answer.len(), began.elapsed());
    assert_eq!(answer.matches("\ncron_test_total{").count(), 10_000);
}

#[test]
fn the_thread_comes_round_although_nobody_asks() {
    let bench = serve(&Metrics::new());
    let (first, end) = (bench.beat.last(), Instant::now() + PATIENCE);
    while bench.beat.last().to_bits() == first.to_bits() {
        assert!(Instant::now() < end, "no beat");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn stopping_waits_for_no_client_and_frees_the_port() {
    let bench = serve(&Metrics::new());
    let addr = bench.page.addr();
    let clients: Vec<TcpStream> = (0..HTTP_CONNECTIONS).map(|_| connect(addr)).collect();
    let (stopped, stop) = bounded(1);
    let thread = thread::spawn("stop", move || {
        drop(bench.page);
        stopped.send(()).unwrap();
    });
    stop.recv_timeout(PATIENCE).expect("the page has stopped");
    drop(thread);
    TcpListener::bind(addr).unwrap();
    drop(clients);
}

/// Set for the process that a test starts of itself, to take all descriptors in.
const ALONE: &str = "KAFKA_CRON_TEST_ALONE";

#[test]
fn running_out_of_descriptors_is_survived() {
    if std::env::var_os(ALONE).is_some() {
        return run_out_of_descriptors();
    }
    let (_, room) = module_path!().split_once("::").unwrap();
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", &format!("{room}::running_out_of_descriptors_is_survived"), "--nocapture"]);
    let output = alone.env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn run_out_of_descriptors() {
    let bench = serve(&Metrics::new());
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.pop();
    let client = connect(bench.page.addr()); // with the last one
    say(&client, "GET /healthz HTTP/1.1\r\n\r\n");
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = (&client).read(&mut [0]).expect_err("nobody can take the connection");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    taken.clear();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(hear(&client).ends_with("\r\n\r\nhealthy\n"));
}

//! What two servers of the page cost while clients misbehave: tiny_http's own, and the programs'. See page-server.sh.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_cron::common::clock::SystemClock;
use kafka_cron::common::http::{Bound, Health, Page};
use kafka_cron::common::metrics::{Beats, Metrics};

const ANY: &str = "127.0.0.1:0";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("tiny_http") => serve_tiny_http(),
        Some("ours") => serve_ours(),
        _ => measure(),
    }
}

fn serve_tiny_http() {
    let server = tiny_http::Server::http(ANY).unwrap();
    println!("{}", server.server_addr());
    for request in server.incoming_requests() {
        let _gone = request.respond(tiny_http::Response::from_string("ok\n"));
    }
}

fn serve_ours() {
    let metrics = Metrics::new();
    let (health, beat) = (Health::new(&metrics), Beats::new(&metrics).thread("metrics-http"));
    let page = Page::start(Bound::bind(Some(ANY.parse().unwrap())).unwrap(), metrics, health, Arc::new(SystemClock), beat);
    println!("{}", page.as_ref().unwrap().addr());
    loop {
        std::thread::park();
    }
}

struct Server {
    child: Child,
    at: SocketAddr,
}

impl Server {
    fn start(which: &str) -> Self {
        let mut child =
            Command::new(std::env::current_exe().unwrap()).arg(which).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, at: line.trim().parse().unwrap() }
    }

    /// The threads of the process, and its memory in KiB.
    fn costs(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (value("Threads:"), value("VmRSS:"))
    }

    /// How long a whole request takes; `None` if it is not answered within two seconds.
    fn answers_in(&self) -> Option<Duration> {
        let began = Instant::now();
        let mut stream = TcpStream::connect_timeout(&self.at, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        answer.starts_with(b"HTTP/1.").then(|| began.elapsed())
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.at, Duration::from_millis(200)).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        Some(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait());
    }
}

fn measure() {
    println!("| clients | server | threads more | memory more, KiB | a request is answered in |\n| --- | --- | --- | --- | --- |");
    for which in ["tiny_http", "ours"] {
        let show = |what: &str, server: &Server, before: (u64, u64)| {
            let (after, answer) = (server.costs(), server.answers_in());
            let answer = answer.map_or("not in 2 s".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
            println!(
                "| {what} | {which} | {} | {} | {answer} |",
                after.0.saturating_sub(before.0),
                after.1.saturating_sub(before.1)
            );
        };
        let server = Server::start(which);
        server.answers_in();
        let before = server.costs();
        let begin = |_| {
            let mut stream = server.connect()?;
            stream.write_all(b"GET /metr").ok()?;
            Some(stream)
        };
        let open: Vec<TcpStream> = (0..1_000).filter_map(begin).collect();
        std::thread::sleep(Duration::from_secs(1));
        show("1,000 that send half a request and wait", &server, before);
        drop(open);

        let server = Server::start(which);
        server.answers_in();
        let before = server.costs();
        let mut stream = server.connect().unwrap();
        let piece = vec![b'a'; 1 << 20];
        let sent = (0..100).take_while(|_| stream.write_all(&piece).is_ok()).count();
        show(&format!("one that sends a request line of 100 MiB (taken: {sent} MiB)"), &server, before);
    }
}

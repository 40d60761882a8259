//! What is answered to which request, printed by `tiny_http`.

use prometheus::IntCounterVec;
use tiny_http::{HTTPVersion, Header, Method, Response};

use super::head::{Refusal, Request};
use super::health::Health;
use crate::common::metrics::Metrics;

/// Prometheus' text format, in its only version.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

const UNKNOWN_PATH: &str = "there is nothing here but /metrics, /healthz and /readyz\n";

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// `/metrics`.
    pub metrics: Metrics,
    /// `/healthz` and `/readyz`.
    pub health: Health,
    refused: IntCounterVec,
}

impl Site {
    /// Serves these, and registers `cron_http_connections_refused_total{reason}`.
    pub fn new(metrics: Metrics, health: Health) -> Self {
        let help = "Connections to the page that were turned away.";
        let refused = metrics.counters("cron_http_connections_refused_total", help, &["reason"]);
        Self { metrics, health, refused }
    }

    /// A connection was turned away, for a reason in a word.
    pub fn turned_away(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// The answer to a head that is not read further.
    pub fn refuse(&self, refusal: Refusal) -> Vec<u8> {
        let (status, reason, why) = match refusal {
            Refusal::NotHttp => (400, "not_http", "this port speaks HTTP/1.1 without TLS\n"),
            Refusal::Version => (505, "version", "this port speaks HTTP/1.1\n"),
            Refusal::TooLong => (431, "too_long", "the request is too long\n"),
        };
        self.turned_away(reason);
        print(&Answer::text(status, why.to_owned()), &Method::Get)
    }

    /// The answer to a request, ready to be sent.
    pub fn answer(&self, request: &Request) -> Vec<u8> {
        let answer = match (&request.method, request.path.as_str()) {
            (Method::Get | Method::Head, "/metrics") => self.page(),
            (Method::Get | Method::Head, "/healthz") => Answer::unless("healthy", &self.health.stalled()),
            (Method::Get | Method::Head, "/readyz") => Answer::unless("ready", &self.health.missing()),
            (Method::Get | Method::Head, _) => Answer::text(404, UNKNOWN_PATH.to_owned()),
            _ => Answer::text(405, "only GET and HEAD are answered here\n".to_owned()),
        };
        print(&answer, &request.method)
    }

    fn page(&self) -> Answer {
        match self.metrics.page() {
            Ok(body) => Answer { status: 200, content_type: PAGE_TYPE, body },
            Err(error) => {
                log::error!("cannot print the metrics: {error}");
                Answer::text(500, format!("cannot print the metrics: {error}\n"))
            }
        }
    }
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn text(status: u16, text: String) -> Self {
        Self { status, content_type: TEXT_TYPE, body: text.into_bytes() }
    }

    /// 200, unless something is the matter.
    fn unless(fine: &str, matters: &[String]) -> Self {
        if matters.is_empty() {
            Self::text(200, format!("{fine}\n"))
        } else {
            Self::text(503, matters.join("\n") + "\n")
        }
    }
}

#[expect(clippy::expect_used, reason = "printing into memory does not fail")]
fn print(answer: &Answer, method: &Method) -> Vec<u8> {
    let mut headers = vec![header("Server", "kafka-cron"), header("Content-Type", answer.content_type)];
    if answer.status == 405 {
        headers.push(header("Allow", "GET, HEAD"));
    }
    let length = answer.body.len();
    let response = Response::new(answer.status.into(), headers, answer.body.as_slice(), Some(length), None);
    let mut printed = Vec::with_capacity(length + 512);
    let without_body = *method == Method::Head;
    response.raw_print(&mut printed, HTTPVersion(1, 0), &[], without_body, None).expect("a printed answer");
    printed
}

#[expect(clippy::expect_used, reason = "names and values are constants, in ASCII")]
fn header(name: &'static str, value: &'static str) -> Header {
    Header::from_bytes(name, value).expect("a valid header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::http::health::Fact;

    fn site() -> Site {
        let metrics = Metrics::new();
        Site::new(metrics.clone(), Health::new(&metrics))
    }

    /// Asks, and compares status line and body, for GET and for HEAD, which promises the same without the body.
    fn check(site: &Site, path: &str, status: &str, body: &str) {
        let [get, head] = [Method::Get, Method::Head].map(|method| {
            let printed = site.answer(&Request { method, path: path.to_owned() });
            let printed = String::from_utf8(printed).unwrap();
            let (head, body) = printed.split_once("\r\n\r\n").unwrap();
            (head.to_owned(), body.to_owned())
        });
        assert_eq!(get.0.lines().next(), Some(format!("HTTP/1.0 {status}").as_str()), "{path}");
        assert_eq!(get.1, body, "{path}");
        assert!(get.0.contains(&format!("\r\nContent-Length: {}", body.len())), "{path}: {}", get.0);
        let undated = |head: &str| head.lines().filter(|l| !l.starts_with("Date: ")).collect::<String>();
        assert_eq!(undated(&head.0), undated(&get.0), "{path}");
        assert_eq!(head.1, "", "{path}");
    }

    #[test]
    fn health_and_readiness_are_told_apart_a_line_a_reason() {
        let site = site();
        check(&site, "/healthz", "200 OK", "healthy\n");
        check(&site, "/readyz", "200 OK", "ready\n");
        site.health.set("kafka", Fact::NotReady("not connected yet".to_owned()));
        site.health.set("leader", Fact::NotReady("the clock is off by 31 s".to_owned()));
        check(&site, "/healthz", "200 OK", "healthy\n");
        let missing = "kafka: not connected yet\nleader: the clock is off by 31 s\n";
        check(&site, "/readyz", "503 Service Unavailable", missing);
    }

    #[test]
    fn an_unknown_path_is_told_the_known_ones() {
        assert!(["/metrics", "/healthz", "/readyz"].iter().all(|path| UNKNOWN_PATH.contains(path)));
        for path in ["/", "/metrics/", "/Metrics", "*", ""] {
            check(&site(), path, "404 Not Found", UNKNOWN_PATH);
        }
    }

    #[test]
    fn the_page_says_its_format() {
        let printed = site().answer(&Request { method: Method::Get, path: "/metrics".to_owned() });
        let printed = String::from_utf8(printed).unwrap();
        let (head, body) = printed.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        assert!(body.contains("\ncron_build_info{"), "{body}");
    }

    #[test]
    fn what_only_reads_is_answered_and_nothing_else() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "BREW"] {
            let request = Request { method: method.parse().unwrap(), path: "/metrics".to_owned() };
            let printed = String::from_utf8(site().answer(&request)).unwrap();
            assert!(printed.starts_with("HTTP/1.0 405 Method Not Allowed\r\n"), "{method}: {printed}");
            assert!(printed.contains("\r\nAllow: GET, HEAD\r\n"), "{method}: {printed}");
        }
    }
}

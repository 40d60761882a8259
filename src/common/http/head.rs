//! Reads the head of a request as far as it has come. Of its fields none matters here, so only the request line is
//! looked into (RFC 9112, section 3).

use tiny_http::Method;

use crate::common::bounds::HTTP_HEAD_BYTES;

/// The head of a request, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// More of it must come.
    Partial,
    /// It has come.
    Whole(Request),
    /// It will not be read further.
    Refused(Refusal),
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, HEAD, or what is refused.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
}

/// Why a head is not read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP.
    NotHttp,
    /// It is HTTP, but not version 1.
    Version,
    /// It is longer than [`HTTP_HEAD_BYTES`].
    TooLong,
}

/// Reads what has come. A head that cannot become a request is refused before its end.
pub fn read(bytes: &[u8]) -> Head {
    // The first octet tells what speaks no HTTP, such as TLS, which would otherwise wait for an answer.
    if !bytes.first().is_none_or(u8::is_ascii_alphabetic) {
        return Head::Refused(Refusal::NotHttp);
    }
    if bytes.len() > HTTP_HEAD_BYTES {
        return Head::Refused(Refusal::TooLong);
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Head::Partial };
    let (line, fields) = (&bytes[..end], &bytes[end + 1..]);
    match request(line) {
        Err(refusal) => Head::Refused(refusal),
        Ok(_) if !is_ended(fields) => Head::Partial,
        Ok(request) => Head::Whole(request),
    }
}

/// Whether the fields end in an empty line.
fn is_ended(fields: &[u8]) -> bool {
    let empty = |line: &[u8]| line == b"\n" || line == b"\r\n";
    fields.split_inclusive(|byte| *byte == b'\n').any(empty)
}

fn request(line: &[u8]) -> Result<Request, Refusal> {
    let line = str::from_utf8(line).map_err(|_| Refusal::NotHttp)?.trim_end_matches('\r');
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::NotHttp);
    };
    if !version.starts_with("HTTP/") {
        return Err(Refusal::NotHttp);
    }
    if !version.starts_with("HTTP/1.") {
        return Err(Refusal::Version);
    }
    let method = method.parse().map_err(|()| Refusal::NotHttp)?;
    Ok(Request { method, path: path(target).to_owned() })
}

/// The path of a target, which may be a whole address (RFC 9112, section 3.2.2: a server must accept it).
fn path(target: &str) -> &str {
    let from_host = target.strip_prefix("http://").unwrap_or(target);
    let from_path = if from_host.len() < target.len() {
        from_host.find('/').map_or("/", |slash| &from_host[slash..])
    } else {
        target
    };
    from_path.split('?').next().unwrap_or(from_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::mutation::{Random, cases};

    /// What is decided about the first bytes stays so, whatever comes behind them.
    #[test]
    fn bent_heads_are_read_or_refused_and_more_bytes_change_no_answer() {
        let pieces: [&[u8]; 9] =
            [b" ", b"\r\n", b"\n", b"\r\n\r\n", b"HTTP/1.1", b"?", b"http://", b"\0", b"\xc3\xa9"];
        let good = b"GET http://a:9100/metrics?x HTTP/1.1\r\nHost: a\r\n\r\n";
        let (mut random, mut whole) = (Random(0xE703_7ED1_A0B4_28DB), 0);
        for _ in 0..cases(20_000) {
            let bent = random.bend(good, &pieces);
            let (first, all) = (read(&bent[..random.below(bent.len() + 1)]), read(&bent));
            match first {
                Head::Partial => {}
                Head::Whole(_) => assert_eq!(first, all, "{bent:?}"),
                Head::Refused(_) => assert!(matches!(all, Head::Refused(_)), "{bent:?}"),
            }
            whole += u64::from(matches!(all, Head::Whole(_)));
        }
        assert!(whole > 1_000, "{whole}: too few are read for this to show anything");
    }

    fn check(bytes: &str, expected: &Head) {
        assert_eq!(&read(bytes.as_bytes()), expected, "{bytes:?}");
    }

    fn whole(method: Method, path: &str) -> Head {
        Head::Whole(Request { method, path: path.to_owned() })
    }

    #[test]
    fn a_head_is_its_request_line() {
        check("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", &whole(Method::Get, "/metrics"));
        check("GET /metrics HTTP/1.0\r\n\r\n", &whole(Method::Get, "/metrics"));
        check("GET /metrics HTTP/1.1\nHost: a\n\n", &whole(Method::Get, "/metrics"));
        check("HEAD /readyz?verbose=1 HTTP/1.1\r\n\r\n", &whole(Method::Head, "/readyz"));
        check("GET http://a:9100/metrics?x HTTP/1.1\r\n\r\n", &whole(Method::Get, "/metrics"));
        check("GET http://a HTTP/1.1\r\n\r\n", &whole(Method::Get, "/"));
        check("DELETE / HTTP/1.1\r\n\r\nbody", &whole(Method::Delete, "/"));
    }

    #[test]
    fn a_head_that_has_not_come_to_its_end_is_waited_for() {
        let head = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for length in 0..head.len() {
            check(&head[..length], &Head::Partial);
        }
        check(&"G".repeat(HTTP_HEAD_BYTES), &Head::Partial);
    }

    #[test]
    fn what_cannot_become_a_request_is_refused_at_once() {
        check("\u{16}\u{3}\u{1}", &Head::Refused(Refusal::NotHttp));
        check("\r\n", &Head::Refused(Refusal::NotHttp));
        check("hello\n", &Head::Refused(Refusal::NotHttp));
        check("GET /metrics\r\n", &Head::Refused(Refusal::NotHttp));
        check("GET  /metrics HTTP/1.1\r\n", &Head::Refused(Refusal::NotHttp));
        check("GET /metrics SPDY/3\r\n", &Head::Refused(Refusal::NotHttp));
        check("GÊT /metrics HTTP/1.1\r\n", &Head::Refused(Refusal::NotHttp));
        check("PRI * HTTP/2.0\r\n", &Head::Refused(Refusal::Version));
        check(&"G".repeat(HTTP_HEAD_BYTES + 1), &Head::Refused(Refusal::TooLong));
        let endless = "GET / HTTP/1.1\r\n".to_owned() + &"a: b\r\n".repeat(HTTP_HEAD_BYTES / 6);
        check(&endless, &Head::Refused(Refusal::TooLong));
    }
}

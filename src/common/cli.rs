//! The pieces of the command line that the programs share. A flag's environment variable is `KAFKA_CRON_<FLAG>`,
//! but for `--brokers`, whose variable is the one that Kafka users know.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use log::LevelFilter;

use super::broker::kafka::{KafkaBroker, Misconfigured, TlsOptions};
use super::duration::{self, DurationError};
use super::glyphs::{glyph, visible};
use super::model::ClusterName;
use super::zones::Zones;

/// Where Kafka is.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// Kafka brokers to ask first, as host:port,host:port
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092", value_name = "LIST")]
    pub brokers: BrokerList,

    /// Use TLS to the brokers, and trust the authorities whose certificates (PEM) are in this file
    #[arg(long, env = "KAFKA_CRON_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl KafkaArgs {
    /// The way to these brokers. This does not dial.
    ///
    /// # Errors
    /// When the certificate file cannot be used.
    pub fn broker(&self) -> Result<KafkaBroker, Misconfigured> {
        let brokers: Vec<String> = self.brokers.as_slice().iter().map(HostPort::to_string).collect();
        let tls = self.tls_ca.clone().map(|ca_file| TlsOptions { ca_file });
        KafkaBroker::new(&brokers, tls.as_ref())
    }
}

/// The clusters of `--clusters`: the known names, in order, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterList(Vec<ClusterName>);

impl ClusterList {
    /// What it is where nothing is said.
    pub const DEFAULT: &str = "cluster-a,cluster-b";

    /// The names, in the order given.
    pub fn as_slice(&self) -> &[ClusterName] {
        &self.0
    }
}

impl FromStr for ClusterList {
    type Err = ArgError;
    fn from_str(text: &str) -> Result<Self, ArgError> {
        let mut names: Vec<ClusterName> = Vec::new();
        let example = "as in `cluster-a,cluster-b`";
        for word in list(text).map_err(|why| ArgError(format!("{why} ({example})")))? {
            let name = ClusterName::new(word).map_err(|error| ArgError(error.to_string()))?;
            if names.contains(&name) {
                return Err(ArgError(format!("`{name}` is named twice")));
            }
            names.push(name);
        }
        Ok(Self(names))
    }
}

/// The words of a list that are separated by commas, blanks around them not counted. A comma at the end does no harm:
/// scripts that put lists together leave one.
fn list(text: &str) -> Result<Vec<&str>, String> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    for word in &words {
        if word.is_empty() {
            let empty = if words.len() == 1 { "the list is empty" } else { "a comma has nothing before it" };
            return Err(empty.to_owned());
        }
        if word.contains([' ', '\t', ';']) {
            return Err(format!(
                "`{}` is no single word: commas separate the words of the list",
                visible(word)
            ));
        }
    }
    Ok(words)
}

/// What is shown to the operator of the program.
#[derive(Debug, Clone, Args)]
pub struct ObserveArgs {
    /// Where /metrics, /healthz and /readyz are served [default: 0.0.0.0:9100, or the next free port up to 9199]
    #[arg(long, env = "KAFKA_CRON_METRICS_ADDR", value_name = "ADDR:PORT", value_parser = listen_address)]
    pub metrics_addr: Option<SocketAddr>,

    /// How much to log: off, error, warn, info, debug, trace
    #[arg(long, env = "KAFKA_CRON_LOG_LEVEL", default_value = "info", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: LevelFilter,
}

/// What `--version` says: the program's own, and that of the time zones that it would follow here.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| format!("{}\n{}", env!("CARGO_PKG_VERSION"), Zones::of_host()))
}

/// A duration flag: `#[arg(value_parser = cli::duration)]`.
///
/// # Errors
/// What is wrong with the text and what would be right.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    duration::parse(text)
}

/// A word of the command line that is not what the flag asks for. Which flag it was is said by clap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgError(String);

fn log_level(word: &str) -> Result<LevelFilter, ArgError> {
    word.parse().map_err(|_| ArgError("the levels are off, error, warn, info, debug, trace".to_owned()))
}

fn listen_address(text: &str) -> Result<SocketAddr, ArgError> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let wrong = |why: &str| ArgError(format!("{why} (as in `127.0.0.1:9100` or `:9100`)"));
    HostPort::parse(&full, 0).map_err(|error| wrong(&error.0))?;
    full.to_socket_addrs()
        .map_err(|error| wrong(&error.to_string()))?
        .next()
        .ok_or_else(|| wrong("the host has no address"))
}

/// A host and a port, unresolved: names are looked up at each dialling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    fn parse(text: &str, lowest_port: u16) -> Result<Self, ArgError> {
        let wrong = |why: &str| ArgError(format!("`{}` {why}", visible(text)));
        if let Some((scheme, rest)) = text.split_once("://") {
            let tls = matches!(
                scheme.to_ascii_lowercase().as_str(),
                "ssl" | "tls" | "https" | "kafkas" | "sasl_ssl"
            );
            let tls = if tls { "; --tls-ca asks for TLS" } else { "" };
            return Err(wrong(&format!("begins with a scheme (write `{}` alone{tls})", visible(rest))));
        }
        if let Some(odd) = text.chars().find_map(glyph) {
            return Err(wrong(&format!("is mistyped: {}", odd.said(""))));
        }
        if let Some((address, _)) = text.split_once('/') {
            return Err(wrong(&format!("has a path behind the port (write `{address}` alone)")));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(wrong(&format!(
                "has no valid host or no port (IPv6 addresses stand in brackets, as in `[{text}]:9092`)"
            )));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            let host = if text.is_empty() { "localhost" } else { text };
            return Err(wrong(&format!("has no port (Kafka listens on 9092 by default: `{host}:9092`)")));
        };
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let fits = match bare {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(known),
        };
        if !fits {
            return Err(wrong("has no valid host (IPv6 addresses stand in brackets)"));
        }
        let port = port.parse::<u16>().ok().filter(|port| *port >= lowest_port);
        let port = port.ok_or_else(|| wrong(&format!("has no port between {lowest_port} and 65535")))?;
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Brokers to ask first; the cluster's metadata names the others. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerList(Vec<HostPort>);

impl BrokerList {
    /// The brokers, in the order given.
    pub fn as_slice(&self) -> &[HostPort] {
        &self.0
    }
}

impl FromStr for BrokerList {
    type Err = ArgError;
    fn from_str(text: &str) -> Result<Self, ArgError> {
        let wrong = |error: ArgError| {
            ArgError(format!("{error} (as in `localhost:9092` or `kafka-1:9092,kafka-2:9092`)"))
        };
        let words = list(text).map_err(ArgError).map_err(wrong)?;
        let hosts: Result<Vec<_>, _> = words.into_iter().map(|word| HostPort::parse(word, 1)).collect();
        hosts.map(Self).map_err(wrong)
    }
}

impl fmt::Display for BrokerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(HostPort::to_string).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        kafka: KafkaArgs,
        #[command(flatten)]
        observe: ObserveArgs,
    }

    fn check_brokers(text: &str, expected: Result<&str, &str>) {
        match (text.parse::<BrokerList>(), expected) {
            (Ok(list), Ok(expected)) => assert_eq!(list.to_string(), expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_broker_list_is_hosts_with_ports() {
        check_brokers("localhost:9092", Ok("localhost:9092"));
        check_brokers("a:1, b_2.example.org:2", Ok("a:1,b_2.example.org:2"));
        check_brokers("[::1]:9092,127.0.0.1:9093", Ok("[::1]:9092,127.0.0.1:9093"));
        check_brokers("a:1,b:2,", Ok("a:1,b:2"));
        check_brokers(" a:1 , b:2 , ", Ok("a:1,b:2"));
        check_brokers("", Err("the list is empty (as in `localhost:9092`"));
        check_brokers(",", Err("the list is empty"));
        check_brokers(
            "localhost",
            Err("`localhost` has no port (Kafka listens on 9092 by default: `localhost:9092`) (as in"),
        );
        check_brokers("a:1,,b:2", Err("a comma has nothing before it"));
        check_brokers(",a:1", Err("a comma has nothing before it"));
        check_brokers("a:1 b:2", Err("`a:1 b:2` is no single word: commas separate the words of the list"));
        check_brokers("a:1;b:2", Err("commas separate"));
        check_brokers(":9092", Err("no valid host"));
        check_brokers("a:0", Err("between 1 and 65535"));
        check_brokers("a:65536", Err("between 1 and 65535"));
        check_brokers("::1:9092", Err("brackets"));
        check_brokers("PLAINTEXT://a:9092", Err("begins with a scheme (write `a:9092` alone)"));
        check_brokers(
            "kafka://a:9092,b:9092",
            Err("`kafka://a:9092` begins with a scheme (write `a:9092` alone)"),
        );
        check_brokers("SSL://a:9093", Err("(write `a:9093` alone; --tls-ca asks for TLS)"));
        check_brokers("a:9092/kafka", Err("has a path behind the port (write `a:9092` alone)"));
        check_brokers(
            "a:9092\u{200b}",
            Err("`a:9092\\u{200b}` is mistyped: U+200B (zero width space) cannot be seen"),
        );
        check_brokers("kafka‐1:9092", Err("U+2010 (hyphen) only looks like `-`"));
    }

    #[test]
    fn a_cluster_list_is_known_names_each_once() {
        let check = |text: &str, part: Option<&str>| match (text.parse::<ClusterList>(), part) {
            (Ok(list), None) => {
                let names: Vec<&str> = list.as_slice().iter().map(ClusterName::as_str).collect();
                assert_eq!(names.join(","), text);
            }
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (got, part) => panic!("{text}: {got:?} instead of {part:?}"),
        };
        check(ClusterList::DEFAULT, None);
        let with_comma: ClusterList = "a, b,".parse().unwrap();
        assert_eq!(with_comma, "a,b".parse().unwrap());
        check("", Some("the list is empty (as in `cluster-a,cluster-b`)"));
        check("a,,b", Some("a comma has nothing before it (as in"));
        check("a b", Some("`a b` is no single word: commas separate"));
        check("A", Some("is not a cluster name"));
        check("a,b,a", Some("`a` is named twice"));
        check("a-retry", Some("not ending in `-retry`"));
    }

    fn parse(words: &[&str]) -> Result<Program, String> {
        Program::try_parse_from([&["program"], words].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shared_flags_have_the_documented_defaults() {
        let program = parse(&["--brokers", "a:1"]).unwrap();
        assert_eq!(program.kafka.brokers.as_slice()[0], HostPort { host: "a".to_owned(), port: 1 });
        assert_eq!(program.observe.metrics_addr, None);
        assert_eq!(program.observe.log_level, LevelFilter::Info);
        let program = parse(&["--metrics-addr", ":9100", "--log-level", "WARN"]).unwrap();
        assert_eq!(program.observe.metrics_addr, "0.0.0.0:9100".parse().ok());
        assert_eq!(program.observe.log_level, LevelFilter::Warn);
    }

    #[test]
    fn a_wrong_flag_is_named_with_what_would_be_right() {
        let check = |words: &[&str], part: &str| {
            let error = parse(words).expect_err("an error");
            assert!(error.contains(part), "{words:?}: {error}");
        };
        check(&["--log-level", "loud"], "off, error, warn");
        check(&["--metrics-addr", "9100"], "as in `127.0.0.1:9100`");
        check(&["--metrics-addr", "127.0.0.1:x"], "no port between 0 and 65535");
        check(&["--brokers", "x"], "--brokers");
    }
}

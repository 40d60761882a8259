//! Addresses where no broker is.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kafka_cron::common::broker::kafka::{KafkaBroker, TlsOptions};
use kafka_cron::common::broker::{Broker as _, BrokerError, TopicPartition};
use kafka_cron::common::thread::spawn;
use kafka_cron::common::topics::TopicSpec;

use super::calls::{SLACK, write};
use crate::support::broker::{OwnBroker, version};
use crate::support::{soon, unique, wait_until};

/// An authority that nobody has a certificate of.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUVeDc0ISxBN0cRQstCpF5WOUDV2kwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTEyNDE0NDU0OVoXDTM2MTEyMTE0NDU0
OVowETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
D7zZq8kUsfMlbP0jBoYd0AXy8x+hH1CN+pM98yqru50NsjfREtGg1uqvNeO/ihAm
IYLflxpvLZNlCae0hE9fKaNTMFEwHQYDVR0OBBYEFKG/JcK7r1D7liZnyg2GaNQ9
GKnxMB8GA1UdIwQYMBaAFKG/JcK7r1D7liZnyg2GaNQ9GKnxMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAIZ1Adxsj8cWETCmBs46v4URGiHSrpL/
eb5sPX03I9wlAiEA1vTFBs8A3v3dSzfVPZdjgy6rCbTtXp+gxGa98uI5FKY=
-----END CERTIFICATE-----
";

#[test]
fn what_is_no_broker_costs_a_second_or_two_and_not_more() {
    // The system accepts connections for it; nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().unwrap().to_string();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::TempDir::new().unwrap();
    let check = |address: &str, tls: bool, limit_ms: u64| {
        let certificates = TlsOptions { ca_file: folder.path().join("ca.pem") };
        std::fs::write(&certificates.ca_file, CERTIFICATE).unwrap();
        let broker = KafkaBroker::new(&[address.to_owned()], tls.then_some(&certificates)).unwrap();
        let began = Instant::now();
        let answer = broker.client("routing").broker_count(began + Duration::from_secs(60));
        assert!(matches!(answer, Err(BrokerError::NotSent(_))), "{address}: {answer:?}");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(limit_ms) + SLACK, "{address} took {took:?}");
    };
    check(&nobody, false, 0);
    check(&mute, false, 2_000);
    check(&mute, true, 2_000);
    // A host that is not there (RFC 5737), or a network that says so.
    check("192.0.2.1:9092", false, 1_000);
    check("no-such-host.invalid:9092", false, 1_000);
}

#[test]
fn a_silent_broker_is_asked_first_by_one_client_of_a_process_and_last_by_all_after_it() {
    let own = OwnBroker::start(version());
    // The system accepts connections for it; nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let list = [mute.local_addr().unwrap().to_string(), own.brokers()];
    let broker = KafkaBroker::new(&list, None).unwrap();
    for _ in 0..4 {
        broker.client("routing").broker_count(soon()).unwrap();
    }
    mute.set_nonblocking(true).unwrap();
    let asked = std::iter::from_fn(|| mute.accept().ok()).count();
    assert_eq!(asked, 1, "each question to the silent broker costs a client two seconds");
}

#[test]
fn what_listens_there_instead_of_a_broker_is_named_with_what_to_do() {
    let folder = tempfile::TempDir::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, CERTIFICATE).unwrap();
    let check = |says: &'static [u8], tls: bool, parts: &[&str]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = spawn("not-a-broker", move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _ = peer.read(&mut [0; 4096]).unwrap();
            peer.write_all(says).unwrap();
        });
        let certificates = TlsOptions { ca_file: ca_file.clone() };
        let broker = KafkaBroker::new(std::slice::from_ref(&address), tls.then_some(&certificates)).unwrap();
        let refused = broker.client("routing").broker_count(soon()).unwrap_err().to_string();
        drop(server.unwrap());
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        assert!(refused.contains(&address) && !refused.contains("bytes"), "{refused}");
    };
    // What Java's TLS answers to plain text.
    check(&[0x15, 3, 3, 0, 2, 2, 80], false, &["it speaks TLS", "--tls-ca"]);
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n", false, &["web server"]);
    check(b"SSH-2.0-OpenSSH_9.6\r\n", false, &["\"SSH-...\""]);
    check(b"", false, &["the connection was closed", "(SASL)", "--tls-ca"]);
    check(b"\0\0\0\x10anything at all, no TLS", true, &["does not speak TLS", "--tls-ca"]);
}

#[test]
fn a_broker_that_names_an_address_where_nobody_is_is_told_apart_from_one_that_is_away() {
    let own = OwnBroker::start_with(
        version(),
        &["advertised.listeners=PLAINTEXT://kafka-1.invalid:9092", "group.initial.rebalance.delay.ms=0"],
    );
    let mut client = own.broker().client("routing");
    let name = unique("routing");
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, settings: vec![] };
    client.create_topic(&spec, soon()).unwrap();
    let topic = wait_until("the topic has a leader", Duration::from_secs(30), || {
        client.topic(&name, soon()).ok()?.filter(|topic| topic.partitions[0].leader.is_some())
    });
    assert_eq!(topic.partitions.len(), 1);
    let of = TopicPartition { topic: name, partition: 0 };
    let refused = write(client.as_mut(), &of, "x", soon()).unwrap_err().to_string();
    for part in [&own.brokers(), "answered and named kafka-1.invalid:9092", "advertised.listeners"] {
        assert!(refused.contains(part), "{refused}");
    }
}

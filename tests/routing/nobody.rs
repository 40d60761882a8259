//! Addresses where no broker is.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use kafka_cron::common::broker::kafka::{KafkaBroker, TlsOptions};
use kafka_cron::common::broker::{Broker as _, BrokerError};

use super::calls::SLACK;

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

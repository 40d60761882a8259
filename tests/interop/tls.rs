//! TLS against a broker with certificates of an authority that the test makes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kafka_cron::common::broker::kafka::{KafkaBroker, TlsOptions};
use kafka_cron::common::broker::{Broker as _, BrokerError, Client};
use kafka_cron::common::topics::TopicSpec;
use tempfile::TempDir;

use super::plain::{partition, read_all, record, text_of, write};
use crate::support::broker::{OwnBroker, await_topic, version};
use crate::support::{closed_by_peer, soon, unique, wait_until};

const PASSWORD: &str = "not-a-secret";

fn keytool(folder: &Path, words: &str) {
    // It comes with Java, which the brokers need anyhow.
    let mut program = Command::new("keytool");
    program.current_dir(folder).args(words.split(' ')).args(["-storepass", PASSWORD]);
    let output = program.output().expect("keytool is installed");
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stdout));
}

/// Makes an authority; its certificate is `NAME.pem`.
fn authority(folder: &Path, name: &str) -> PathBuf {
    let extensions = "-ext bc:c=ca:true -ext ku:c=keyCertSign";
    keytool(
        folder,
        &format!("-genkeypair -alias ca -keyalg EC -dname CN={name} {extensions} -keystore {name}.p12"),
    );
    keytool(folder, &format!("-exportcert -rfc -alias ca -file {name}.pem -keystore {name}.p12"));
    folder.join(format!("{name}.pem"))
}

/// A broker's key with a certificate for `localhost` by that authority.
fn broker_key(folder: &Path, authority: &str) -> PathBuf {
    keytool(folder, "-genkeypair -alias broker -keyalg EC -dname CN=broker -keystore broker.p12");
    keytool(folder, "-certreq -alias broker -file broker.csr -keystore broker.p12");
    let names = "-ext san=dns:localhost";
    keytool(
        folder,
        &format!(
            "-gencert -alias ca -infile broker.csr -outfile broker.pem {names} -keystore {authority}.p12"
        ),
    );
    keytool(folder, &format!("-importcert -noprompt -alias ca -file {authority}.pem -keystore broker.p12"));
    keytool(folder, "-importcert -noprompt -alias broker -file broker.pem -keystore broker.p12");
    folder.join("broker.p12")
}

fn start(key: &Path) -> OwnBroker {
    let key = key.display();
    OwnBroker::start_with(
        version(),
        &[
            // The listener keeps its name and port, and speaks TLS.
            "listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type=PKCS12",
            &format!("ssl.keystore.location={key}"),
            &format!("ssl.keystore.password={PASSWORD}"),
            "ssl.truststore.type=PKCS12",
            &format!("ssl.truststore.location={key}"),
            &format!("ssl.truststore.password={PASSWORD}"),
            "connections.max.idle.ms=3000",
        ],
    )
}

fn client(broker: &str, authority: &Path) -> Box<dyn Client> {
    let options = TlsOptions { ca_file: authority.to_owned() };
    KafkaBroker::new(&[broker.to_owned()], Some(&options)).unwrap().client("tls")
}

#[test]
fn tls_carries_everything_and_refuses_who_cannot_prove_its_name() {
    let folder = TempDir::new().unwrap();
    let trusted = authority(folder.path(), "trusted");
    let other = authority(folder.path(), "other");
    let own = start(&broker_key(folder.path(), "trusted"));

    let mut tls = client(&own.brokers(), &trusted);
    let name = unique("tls");
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, settings: vec![] };
    tls.create_topic(&spec, soon()).unwrap();
    await_topic(tls.as_mut(), &name);
    // Larger than a TLS record, and than what a socket takes at once.
    let large = "x".repeat(700_000);
    write(tls.as_mut(), &partition(&name, 0), vec![record(Some("small"), Some("value"))]);
    write(tls.as_mut(), &partition(&name, 0), vec![record(Some("large"), Some(&large))]);
    let whole = read_all(tls.as_mut(), &partition(&name, 0), 1 << 20);
    let text = |text: &str| Some(text.to_owned());
    let expected = [(text("small"), text("value")), (text("large"), Some(large))];
    assert!(whole.records.iter().map(text_of).eq(expected));

    // Idle until the broker closes: the next request dials again, though a write is never repeated by itself.
    wait_until("the broker has closed the connection", Duration::from_secs(20), || {
        closed_by_peer(own.port()).then_some(())
    });
    assert_eq!(write(tls.as_mut(), &partition(&name, 0), vec![record(None, Some("again"))]), 2);

    let check = |broker: String, authority: &Path, part: &str| match client(&broker, authority)
        .broker_count(soon())
    {
        Err(BrokerError::NotSent(why)) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    };
    check(own.brokers(), &other, "UnknownIssuer");
    check(format!("127.0.0.1:{}", own.port()), &trusted, "not valid for name");
    // And who speaks no TLS at all gets nothing that it could take for an answer.
    let plain = own.broker().client("plain").broker_count(soon());
    assert!(matches!(plain, Err(BrokerError::NotSent(_))), "{plain:?}");
}

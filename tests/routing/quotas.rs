//! A broker holds a client back, as its quotas ask for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_cron::common::broker::{Broker as _, BrokerError, ProduceBatch, Record};
use kafka_cron::common::metrics::Metrics;

use super::calls::{SLACK, topic, values, write};
use crate::support::broker::{OwnBroker, kafka_program, version};
use crate::support::{soon, wait_until};

/// The client id that has the quota.
const HELD: &str = "held";

#[test]
fn nothing_is_sent_while_a_quota_holds_a_client_back_and_nothing_is_written_twice() {
    let own = OwnBroker::start(version());
    let mut free = own.broker().client("free");
    let of = topic(free.as_mut(), 1);
    let number: Vec<u32> = version().split('.').filter_map(|part| part.parse().ok()).collect();
    let room = if number >= vec![4, 4] { "org.apache.kafka.tools" } else { "kafka.admin" };
    let mut config = kafka_program(version(), &format!("{room}.ConfigCommand"));
    config.args(["--bootstrap-server", &own.brokers(), "--alter"]);
    config.args(["--add-config", "producer_byte_rate=20000"]);
    config.args(["--entity-type", "clients", "--entity-name", HELD]);
    // On a busy machine Kafka's own program gives up before the broker has answered it.
    wait_until("the quota is set", Duration::from_secs(180), || {
        config.output().unwrap().status.success().then_some(())
    });

    // A quota is a rate over ten seconds: that many bytes make the broker deaf for some five.
    let held = own.broker();
    let metrics = Metrics::new();
    held.measure(&metrics);
    let mut client = held.client(HELD);
    let large = "x".repeat(300_000);
    let record = Record { key: None, value: Some(Bytes::from(large)), timestamp_ms: 0 };
    let batch = ProduceBatch { to: of.clone(), records: vec![record] };
    wait_until("the quota is in force", Duration::from_secs(30), || {
        client
            .produce(std::slice::from_ref(&batch), soon())
            .remove(0)
            .expect("the broker writes, and then holds back");
        matches!(client.topic(&of.topic, Instant::now() + SLACK), Err(BrokerError::Throttled(_)))
            .then_some(())
    });
    let written = values(free.as_mut(), &of).len();

    // Whatever is asked, on this connection and on a new one, is told at once, and is not on its way.
    let began = Instant::now();
    for client in [&mut client, &mut held.client(HELD)] {
        let refused = write(client.as_mut(), &of, "too early", Instant::now() + Duration::from_secs(1));
        let Err(BrokerError::Throttled(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains(&own.brokers()) && why.contains(HELD), "{why}");
    }
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    // Other clients are served meanwhile, and this one as soon as the broker listens.
    write(free.as_mut(), &of, "free", soon()).unwrap();
    wait_until("the broker listens again", Duration::from_secs(60), || {
        write(client.as_mut(), &of, "in time", soon()).map(Some).unwrap_or_else(|error| {
            // A try that waits for the end of the hold may have no time left to connect: that is not sent, either.
            assert!(matches!(error, BrokerError::Throttled(_) | BrokerError::NotSent(_)), "{error}");
            None
        })
    });
    let log = values(free.as_mut(), &of);
    assert_eq!(log[written..], ["free", "in time"]);
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    let counted = page.lines().find_map(|line| {
        line.strip_prefix("cron_throttled_seconds_total{client=\"held\"} ")?.parse::<f64>().ok()
    });
    assert!(counted.is_some_and(|seconds| seconds > 1.0), "{counted:?} of\n{page}");
}

//! What Kafka's own producer writes in transactions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use kafka_cron::common::broker::{Broker as _, Client, FetchedRecord, Position, TopicPartition, Want};
use kafka_cron::common::scan::Scan;

use super::plain::{partition, record, write};
use crate::support::broker::{TestBroker, kafka_program, version};
use crate::support::{soon, unique, wait_until};

/// The values that lie in a partition, up to where reading comes at present.
fn values(client: &mut dyn Client, from: &TopicPartition, committed: bool) -> Vec<String> {
    let leader = client.topic(&from.topic, soon()).unwrap().unwrap().partitions[0].leader.unwrap();
    let end = client.offset(from, Position::End, soon()).unwrap();
    let (mut values, mut offset) = (Vec::new(), 0);
    loop {
        let want = [Want { from: from.clone(), offset, max_bytes: 1 << 20 }];
        let wait = Duration::from_millis(200);
        let answers = if committed {
            client.fetch_committed(leader, &want, wait, soon())
        } else {
            client.fetch(leader, &want, wait, soon())
        };
        let fetched = answers.unwrap().remove(0).unwrap();
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        values.extend(fetched.records.iter().map(|record| text(record.value.as_deref().unwrap())));
        if fetched.next_offset == offset {
            assert_eq!(offset, fetched.end_offset, "it says itself that there is no more");
            assert_eq!(fetched.log_end, end, "and what waits");
            return values;
        }
        offset = fetched.next_offset;
    }
}

/// The values that a scan of what is committed finds, and where it cannot read on.
fn scanned(client: &mut dyn Client, topic: &str) -> (Vec<String>, Vec<(i32, i64)>) {
    let mut values = Vec::new();
    let mut scan = Scan::of_committed(topic);
    let ends = scan.ends(client).unwrap();
    let take =
        |_, record: FetchedRecord| values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    assert!(scan.read(client, take).unwrap());
    (values, scan.short_of(&ends))
}

#[test]
fn what_a_stranger_aborts_is_not_delivered_and_what_is_open_is_waited_for() {
    let test = TestBroker::shared();
    let topic = unique("transactions");
    test.topic(&topic, 1);
    let mut client = test.broker().client("transactions");
    let client = client.as_mut();
    let to = partition(&topic, 0);
    write(client, &to, vec![record(None, Some("before"))]);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/Transactions.java");
    let mut java = kafka_program(version(), source);
    java.args([test.brokers(), &topic]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut stranger = java.spawn().expect("java is installed");
    let mut lines = BufReader::new(stranger.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().expect("it says so").unwrap(), "open");
    write(client, &to, vec![record(None, Some("behind"))]);

    assert_eq!(values(client, &to, true), ["before", "committed"]);
    let (found, open) = scanned(client, &topic);
    assert_eq!(found, ["before", "committed"], "it does not wait for what is open");
    assert!(matches!(open[..], [(0, offset)] if offset > 1), "{open:?}");
    assert_eq!(values(client, &to, false), ["before", "aborted", "committed", "open", "behind"]);

    stranger.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next().expect("it says so").unwrap(), "closed");
    assert!(stranger.wait().unwrap().success());
    wait_until("the marker is written", Duration::from_secs(30), || {
        (values(client, &to, true) == ["before", "committed", "behind"]).then_some(())
    });
    let (found, open) = scanned(client, &topic);
    assert_eq!((found, open), (["before", "committed", "behind"].map(str::to_owned).to_vec(), vec![]));
}

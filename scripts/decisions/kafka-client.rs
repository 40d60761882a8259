//! The probes of `kafka-client.sh`: what each client does with one broker. A probe that does not end within
//! `PATIENCE` says so; its thread is left behind, and the process ends all the same.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_cron::common::broker::kafka::KafkaBroker;
use kafka_cron::common::broker::{
    Broker, Client, Commit, Holder, JoinRequest, Owned, Position, ProduceBatch, Record, Subscription,
    TopicPartition, Want,
};
use kafka_cron::common::topics::TopicSpec;

const PATIENCE: Duration = Duration::from_secs(20);
const TIMED: usize = 500;

type Answer = Result<String, String>;

fn within(probe: impl FnOnce() -> Answer + Send + 'static) -> String {
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || tell.send(probe()));
    match told.recv_timeout(PATIENCE) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => format!("**{}**", error.replace('|', "/")),
        Err(_) => format!("**no end within {} s**", PATIENCE.as_secs()),
    }
}

fn words(error: impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.chars().take(160).collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

fn ours(broker: &str) -> Box<dyn Client> {
    KafkaBroker::new(&[broker.to_owned()], None).expect("an address").client("probe")
}

/// A topic of its own for each probe, with one partition that has a leader.
fn topic(broker: &str, name: &str, client: &str) -> TopicPartition {
    let name = format!("{name}-{client}");
    let mut admin = ours(broker);
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, settings: vec![] };
    admin.create_topic(&spec, soon()).expect("the topic is made");
    let of = TopicPartition { topic: name, partition: 0 };
    // The literal crate does not look for a leader that is not one yet.
    while admin.offset(&of, Position::End, soon()).is_err() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    of
}

fn write(client: &mut dyn Client, to: &TopicPartition, records: Vec<Record>) -> Result<i64, String> {
    let batch = ProduceBatch { to: to.clone(), records };
    client.produce(&[batch], soon()).remove(0).map(|written| written.base_offset).map_err(words)
}

fn record(key: Option<&str>, value: Option<&str>) -> Record {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    Record { key: key.map(bytes), value: value.map(bytes), timestamp_ms: 1_700_000_000_000 }
}

fn read_all(
    client: &mut dyn Client,
    from: &TopicPartition,
    max_bytes: i32,
) -> Result<Vec<(Option<Bytes>, i64)>, String> {
    let state = client.topic(&from.topic, soon()).map_err(words)?.ok_or("no topic")?;
    let leader = state.partitions[0].leader.ok_or("no leader")?;
    let end = client.offset(from, Position::End, soon()).map_err(words)?;
    let (mut next, mut all) = (0, Vec::new());
    while next < end {
        let want = Want { from: from.clone(), offset: next, max_bytes };
        let fetched =
            client.fetch(leader, &[want], Duration::from_millis(500), soon()).map_err(words)?.remove(0);
        let fetched = fetched.map_err(words)?;
        next = fetched.next_offset;
        all.extend(fetched.records.into_iter().map(|record| (record.value, record.timestamp_ms)));
    }
    Ok(all)
}

/// What a record that the client wrote looks like to us: its time.
fn written_when(broker: &str, of: &TopicPartition) -> Answer {
    let all = read_all(ours(broker).as_mut(), of, 1 << 20)?;
    let year = |ms: &i64| 1970 + ms / 31_556_952_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(words)?;
    let this_year = 1970 + i64::try_from(now.as_secs()).unwrap_or(0) / 31_556_952;
    let dated = all.iter().map(|(_, ms)| year(ms)).next().ok_or("nothing was written")?;
    Ok(if dated == this_year || dated == 2023 { "yes".to_owned() } else { format!("**dated {dated}**") })
}

mod literal {
    //! The `kafka` crate.
    use super::*;
    use kafka::client::{FetchOffset, FetchPartition, GroupOffsetStorage, KafkaClient, RequiredAcks};
    use kafka::producer::{Producer, Record};

    fn client(broker: &str) -> Result<KafkaClient, String> {
        let mut client = KafkaClient::new(vec![broker.to_owned()]);
        client.load_metadata_all().map_err(words)?;
        Ok(client)
    }

    fn producer(broker: &str) -> Result<Producer, String> {
        let builder = Producer::from_hosts(vec![broker.to_owned()]).with_required_acks(RequiredAcks::All);
        builder.create().map_err(words)
    }

    pub fn write(broker: &str, to: &TopicPartition) -> Answer {
        let record = Record::from_key_value(&to.topic, "key", "value").with_partition(0);
        producer(broker)?.send(&record).map_err(words)?;
        written_when(broker, to)
    }

    pub fn backlog(broker: &str, of: &TopicPartition, count: usize, max_bytes: i32) -> Answer {
        let mut client = client(broker)?;
        client.fetch_offsets(&[&of.topic], FetchOffset::Latest).map_err(words)?;
        let mut next = 0;
        while next < count as i64 {
            let want = FetchPartition::new(&of.topic, 0, next).with_max_bytes(max_bytes);
            let responses = client.fetch_messages_for_partition(&want).map_err(words)?;
            let before = next;
            for partition in responses.iter().flat_map(|r| r.topics()).flat_map(|t| t.partitions()) {
                let data = partition.data().map_err(words)?;
                next = data.messages().last().map_or(next, |message| message.offset + 1);
            }
            if next == before {
                return Err(format!("stands still at {next} of {count}"));
            }
        }
        Ok(format!("all {next}"))
    }

    pub fn commit(broker: &str, group: &str, of: &TopicPartition) -> Answer {
        let mut client = client(broker)?;
        client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
        client.commit_offset(group, &of.topic, 0, 1).map_err(words)?;
        Ok("granted".to_owned())
    }

    pub fn time(broker: &str, to: &TopicPartition) -> Answer {
        let mut producer = producer(broker)?;
        timed(|| {
            producer.send(&Record::from_key_value(&to.topic, "key", "value").with_partition(0)).map_err(words)
        })
    }

    pub fn dial(address: &str) -> Answer {
        client(address).map(|_| "answered".to_owned())
    }
}

mod fork {
    //! Its maintained fork.
    use super::*;
    use rustfs_kafka::client::{FetchPartition, GroupOffsetStorage, KafkaClient, RequiredAcks};
    use rustfs_kafka::producer::{Producer, Record};

    fn client(broker: &str) -> Result<KafkaClient, String> {
        let mut client = KafkaClient::new(vec![broker.to_owned()]);
        client.load_metadata_all().map_err(words)?;
        Ok(client)
    }

    fn producer(broker: &str) -> Result<Producer, String> {
        let builder = Producer::from_hosts(vec![broker.to_owned()]).with_required_acks(RequiredAcks::All);
        builder.create().map_err(words)
    }

    pub fn write(broker: &str, to: &TopicPartition) -> Answer {
        producer(broker)?.send(&Record::from_key_value(&to.topic, "key", "value")).map_err(words)?;
        written_when(broker, to)
    }

    pub fn backlog(broker: &str, of: &TopicPartition, count: usize, max_bytes: i32) -> Answer {
        let mut client = client(broker)?;
        let mut next = 0;
        while next < count as i64 {
            let want = FetchPartition::new(&of.topic, 0, next).with_max_bytes(max_bytes);
            let responses = client.fetch_messages_for_partition(&want).map_err(words)?;
            let before = next;
            for partition in responses.iter().flat_map(|r| &r.topics).flat_map(|t| &t.partitions) {
                let data = partition.data().map_err(|e| format!("at {next} of {count}: {}", words(e)))?;
                next = data.messages.last().map_or(next, |message| message.offset + 1);
            }
            if next == before {
                return Err(format!("stands still at {next} of {count}"));
            }
        }
        Ok(format!("all {next}"))
    }

    pub fn commit(broker: &str, group: &str, of: &TopicPartition) -> Answer {
        let mut client = client(broker)?;
        client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
        client.commit_offset(group, &of.topic, 0, 1).map_err(words)?;
        Ok("granted".to_owned())
    }

    pub fn time(broker: &str, to: &TopicPartition) -> Answer {
        let mut producer = producer(broker)?;
        timed(|| producer.send(&Record::from_key_value(&to.topic, "key", "value")).map_err(words))
    }

    pub fn dial(address: &str) -> Answer {
        client(address).map(|_| "answered".to_owned())
    }
}

mod own {
    //! The client of this project.
    use super::*;

    pub fn write(broker: &str, to: &TopicPartition) -> Answer {
        super::write(ours(broker).as_mut(), to, vec![record(Some("key"), Some("value"))])?;
        written_when(broker, to)
    }

    pub fn backlog(broker: &str, of: &TopicPartition, count: usize, max_bytes: i32) -> Answer {
        let all = read_all(ours(broker).as_mut(), of, max_bytes)?;
        if all.len() == count { Ok(format!("all {count}")) } else { Err(format!("{} of {count}", all.len())) }
    }

    pub fn time(broker: &str, to: &TopicPartition) -> Answer {
        let mut client = ours(broker);
        timed(|| super::write(client.as_mut(), to, vec![record(Some("key"), Some("value"))]).map(drop))
    }

    pub fn dial(address: &str) -> Answer {
        ours(address).broker_count(Instant::now() + PATIENCE).map(|_| "answered".to_owned()).map_err(words)
    }
}

/// The median of so many calls, the first ten left out.
fn timed(mut call: impl FnMut() -> Result<(), String>) -> Answer {
    let mut took = Vec::new();
    for _ in 0..TIMED {
        let began = Instant::now();
        call()?;
        took.push(began.elapsed());
    }
    let mut took = took.split_off(10);
    took.sort();
    Ok(format!("{:.2} ms", took[took.len() / 2].as_secs_f64() * 1000.0))
}

/// A group with one member of ours. Returns who that is, and commits of a past generation and of the present one.
fn member(broker: &str, group: &str, of: &TopicPartition) -> Answer {
    let mut client = ours(broker);
    let request = JoinRequest {
        group: group.to_owned(),
        member_id: String::new(),
        instance_id: None,
        session_timeout: Duration::from_secs(60),
        rebalance_timeout: Duration::from_secs(5),
        protocol: "probe".to_owned(),
        subscription: Subscription { topics: vec![of.topic.clone()], owned: vec![], owned_generation: -1 },
    };
    let joined = loop {
        match client.join(&request, soon()) {
            Ok(joined) => break joined,
            // A fresh broker makes the topic behind groups for the first that asks.
            Err(_) => std::thread::park_timeout(Duration::from_millis(100)),
        }
    };
    let holder = |generation: i32| Holder {
        group: group.to_owned(),
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation,
    };
    let share = vec![Owned { topic: of.topic.clone(), partitions: vec![0] }];
    client
        .sync(&holder(joined.generation), "probe", &[(joined.member_id.clone(), share)], soon())
        .map_err(words)?;
    let mut commit = |generation: i32| -> Answer {
        let commit = Commit { of: of.clone(), offset: 1, metadata: String::new() };
        let answer = client.commit(&holder(generation), &[commit], soon()).map_err(words)?.remove(0);
        Ok(answer.map_or_else(|| "granted".to_owned(), |code| code.to_string()))
    };
    Ok(format!("{}; of a past generation: {}", commit(joined.generation)?, commit(joined.generation - 1)?))
}

fn row(name: &str, cells: [String; 3]) {
    println!("| {name} | {} |", cells.join(" | "));
}

/// The same probe of each client, each with a topic of its own.
fn compare(name: &str, short: &str, broker: &str, probes: [fn(&str, &TopicPartition) -> Answer; 3]) {
    let cells = probes.into_iter().enumerate().map(|(i, probe)| {
        let (broker, of) = (broker.to_owned(), topic(broker, short, &i.to_string()));
        within(move || probe(&broker, &of))
    });
    row(name, cells.collect::<Vec<_>>().try_into().expect("three"));
}

const BATCHES: usize = 100;
const RECORDS: usize = 50;

fn backlog(broker: &str) {
    let of = topic(broker, "backlog", "all");
    let mut client = ours(broker);
    let value = "x".repeat(100);
    for _ in 0..BATCHES {
        write(client.as_mut(), &of, vec![record(Some("key"), Some(&value)); RECORDS]).expect("it is written");
    }
    // A batch is about 5.6 KB: three of them and a part of the fourth come at a time.
    type Probe = fn(&str, &TopicPartition, usize, i32) -> Answer;
    let probes: [Probe; 3] = [literal::backlog, fork::backlog, own::backlog];
    let cells = probes.map(|probe| {
        let (broker, of) = (broker.to_owned(), of.clone());
        within(move || probe(&broker, &of, BATCHES * RECORDS, 20_000))
    });
    row("a backlog of 5,000 records, 20,000 bytes a fetch", cells);
}

fn mute() {
    // The system accepts for it, and it never reads.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    let probes: [fn(&str) -> Answer; 3] = [literal::dial, fork::dial, own::dial];
    let cells = probes.map(|probe| {
        let address = address.clone();
        let began = Instant::now();
        let ended = within(move || probe(&address));
        if ended.contains("no end") {
            ended
        } else {
            format!("gives up after {:.1} s", began.elapsed().as_secs_f64())
        }
    });
    row("a peer that accepts and says nothing", cells);
    drop(listener);
}

fn main() {
    let broker = std::env::args().nth(1).expect("usage: probe HOST:PORT");
    compare(
        "writes a record, dated by its writer",
        "write",
        &broker,
        [literal::write, fork::write, own::write],
    );
    backlog(&broker);
    let commit: [fn(&str, &TopicPartition) -> Answer; 3] = [
        |broker, of| {
            member(broker, &of.topic, of)?;
            literal::commit(broker, &of.topic, of)
        },
        |broker, of| {
            member(broker, &of.topic, of)?;
            fork::commit(broker, &of.topic, of)
        },
        |broker, of| member(broker, &of.topic, of),
    ];
    compare("a commit while the group has a member", "commit", &broker, commit);
    compare("writes one record, median of 490", "time", &broker, [literal::time, fork::time, own::time]);
    mute();
}

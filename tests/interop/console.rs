//! Kafka's own programs against what we write, and we against what they write.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kafka_cron::common::broker::{
    Broker as _, Client, Commit, ErrorCode, Holder, Join, JoinRequest, Owned, Share, Subscription,
    partition_for,
};
use kafka_cron::common::membership::ASSIGNOR;

use super::plain::{WRITTEN_MS, partition, read_all, record, text_of, write};
use super::stored::codecs;
use crate::support::broker::{TestBroker, kafka_program, version};
use crate::support::{soon, unique, wait_until};

const TOOLS: &str = "org.apache.kafka.tools";

/// The version of the tools, whatever the broker's: before 4.0 they had other names, options and columns.
const VERSION: &str = "4.3.1";

fn tool(class: &str, brokers: &str) -> Command {
    let mut program = kafka_program(VERSION, &format!("{TOOLS}.{class}"));
    program.args(["--bootstrap-server", brokers]).stdin(Stdio::null()).stderr(Stdio::piped());
    program
}

/// What a program printed, once it has ended well.
fn output(mut program: Command) -> String {
    let output = program.output().expect("java is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Starts Kafka's console producer on lines of key, tab and value.
fn produce(brokers: &str, topic: &str, codec: &str, lines: &str) -> Child {
    let mut program = tool("ConsoleProducer", brokers);
    program.args(["--topic", topic, "--compression-codec", codec, "--request-required-acks", "all"]);
    program.args(["--reader-property", "parse.key=true", "--reader-property", "null.marker=NULL"]);
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("java is installed");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child
}

fn ended_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn kafkas_console_consumer_reads_what_we_write_with_keys_and_times() {
    let test = TestBroker::shared();
    let topic = unique("console");
    test.topic(&topic, 1);
    let mut client = test.broker().client("console");
    let ours = [(Some("key"), Some(r#"{"v":1}"#)), (None, Some("no key")), (Some("no value"), None)];
    write(client.as_mut(), &partition(&topic, 0), ours.map(|(key, value)| record(key, value)).to_vec());
    write(client.as_mut(), &partition(&topic, 0), vec![record(Some("ключ"), Some("значение"))]);

    let mut program = tool("consumer.ConsoleConsumer", test.brokers());
    program.args(["--topic", &topic, "--from-beginning", "--max-messages", "4", "--timeout-ms", "20000"]);
    for part in ["key", "timestamp", "offset", "headers"] {
        program.args(["--formatter-property", &format!("print.{part}=true")]);
    }
    program.args(["--formatter-property", "key.separator=|"]);
    let line = |offset: i64, key: &str, value: &str| {
        format!("CreateTime:{WRITTEN_MS}|Offset:{offset}|NO_HEADERS|{key}|{value}\n")
    };
    let expected = [
        line(0, "key", r#"{"v":1}"#),
        line(1, "null", "no key"),
        line(2, "no value", "null"),
        line(3, "ключ", "значение"),
    ];
    assert_eq!(output(program), expected.concat());
}

#[test]
fn what_kafkas_producer_writes_is_read_and_keys_lie_where_we_would_put_them() {
    let test = TestBroker::shared();
    let topic = unique("console");
    test.topic(&topic, 7);
    // Keys of all lengths modulo four, run ids among them.
    let keys: Vec<String> = (0..200).map(|i| format!("{}{i}", "é-key-".repeat(i % 5))).collect();
    let mut lines: String = keys.iter().map(|key| format!("{key}\tvalue of {key}\n")).collect();
    lines.push_str("87ca294a-ea2b-5902-b344-9fc1da880045\tNULL\n");
    ended_well(produce(test.brokers(), &topic, "none", &lines));

    let mut client = test.broker().client("console");
    let mut read = Vec::new();
    for number in 0..7 {
        let whole = read_all(client.as_mut(), &partition(&topic, number), 1 << 20);
        assert_eq!(whole.undecodable, []);
        for record in &whole.records {
            let key = record.key.as_deref().unwrap();
            assert_eq!(partition_for(key, 7), number, "{}", String::from_utf8_lossy(key));
            assert!(record.timestamp_ms > WRITTEN_MS);
        }
        read.extend(whole.records.iter().map(text_of));
    }
    let mut expected: Vec<_> =
        keys.iter().map(|key| (Some(key.clone()), Some(format!("value of {key}")))).collect();
    expected.push((Some("87ca294a-ea2b-5902-b344-9fc1da880045".to_owned()), None));
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}

#[test]
fn what_kafkas_producer_packs_is_read_and_our_topics_keep_it_unpacked() {
    let test = TestBroker::shared();
    let broker = test.brokers().split(',').next().unwrap();
    let check = |codec: &str, keeps: &str| {
        let topic = unique("console");
        test.topic_with(&topic, 1, vec![("compression.type", keeps.to_owned())]);
        (topic.clone(), produce(test.brokers(), &topic, codec, "a\t1\nb\t2\n"))
    };
    // On topics with the setting of ours, and on one that keeps what it is sent as it came.
    let started = [check("lz4", "uncompressed"), check("lz4", "producer"), check("zstd", "producer")];
    let mut client = test.broker().client("console");
    for ((topic, child), stored) in started.into_iter().zip([0, 3, 4]) {
        ended_well(child);
        assert!(codecs(broker, &topic).iter().all(|codec| *codec == stored));
        let whole = read_all(client.as_mut(), &partition(&topic, 0), 1 << 20);
        let values: Vec<_> = whole.records.iter().map(|record| record.value.clone().unwrap()).collect();
        assert_eq!((values, whole.undecodable.len()), (vec!["1".into(), "2".into()], 0));
    }
}

/// The only member of a new group, with both partitions of a topic.
fn member(test: &TestBroker, topic: &str) -> (Box<dyn Client>, Holder) {
    let mut client = test.broker().client("consumer-of-ours");
    let request = JoinRequest {
        group: unique("group"),
        member_id: String::new(),
        instance_id: Some("instance-7".to_owned()),
        session_timeout: Duration::from_secs(60),
        rebalance_timeout: Duration::from_secs(5),
        protocol: ASSIGNOR.to_owned(),
        subscription: Subscription { topics: vec![topic.to_owned()], owned: vec![], owned_generation: -1 },
    };
    let Ok(Join::Joined(joined)) = client.join(&request, soon()) else {
        panic!("static members join at once")
    };
    let holder = Holder {
        group: request.group,
        member_id: joined.member_id.clone(),
        instance_id: request.instance_id,
        generation: joined.generation,
    };
    let owned = vec![Owned { topic: topic.to_owned(), partitions: vec![0, 1] }];
    let share = Share { owned, shared_out: Some(2), is_first: true };
    client.sync(&holder, ASSIGNOR, &[(joined.member_id, share)], soon()).unwrap();
    (client, holder)
}

/// The words of the first line of a description of a group that has all of some words in it.
fn described(test: &TestBroker, group: &str, what: &[&str], with: &[&str]) -> Vec<String> {
    let mut program = tool("consumer.group.ConsumerGroupCommand", test.brokers());
    program.args(["--describe", "--group", group]).args(what);
    let output = output(program);
    let mut lines = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| with.iter().all(|with| words.contains(with)));
    line.unwrap_or_else(|| panic!("{with:?} in\n{output}")).into_iter().map(str::to_owned).collect()
}

#[test]
fn kafkas_group_tool_shows_our_group() {
    let test = TestBroker::shared();
    let topic = unique("console");
    test.topic(&topic, 2);
    let (mut client, holder) = member(test, &topic);
    write(client.as_mut(), &partition(&topic, 1), vec![record(None, Some("x")); 5]);
    let commit = Commit { of: partition(&topic, 1), offset: 3, metadata: "1;text".to_owned() };
    assert_eq!(client.commit(&holder, &[commit], soon()).unwrap(), [None]);

    // Group, topic, partition, committed offset, end, lag, member, host, client id.
    let offsets = described(test, &holder.group, &[], &[&holder.group, &topic, "1"]);
    assert_eq!(offsets[3..7], ["3", "5", "2", &holder.member_id]);
    assert_eq!(offsets[8], "consumer-of-ours");
    let members = described(test, &holder.group, &["--members", "--verbose"], &[&holder.group]);
    assert!(members.contains(&format!("{topic}:0,1")), "{members:?}");
    client.leave(&holder, soon()).unwrap();
    // Its offsets can be set by Kafka's tool where nobody is a member.
    let mut program = tool("consumer.group.ConsumerGroupCommand", test.brokers());
    program.args([
        "--reset-offsets",
        "--to-earliest",
        "--execute",
        "--topic",
        &topic,
        "--group",
        &holder.group,
    ]);
    output(program);
    let committed = client.committed(&holder.group, &[partition(&topic, 1)], soon()).unwrap().remove(0);
    assert_eq!(committed.map(|committed| committed.offset), Some(0));
}

#[test]
fn consumers_of_other_programs_cannot_join_our_group() {
    let test = TestBroker::shared();
    let topic = unique("console");
    test.topic(&topic, 2);
    let (mut client, holder) = member(test, &topic);
    write(client.as_mut(), &partition(&topic, 1), vec![record(None, Some("x")); 5]);
    let check = |client: &mut dyn Client, protocol: &str, refusal: &str| {
        let mut program = tool("consumer.ConsoleConsumer", test.brokers());
        program.args(["--topic", &topic, "--group", &holder.group, "--timeout-ms", "10000"]);
        program.args(["--command-property", &format!("group.protocol={protocol}"), "--from-beginning"]);
        let output = program.output().expect("java is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(refusal), "{protocol}: {said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains('x'), "{protocol}: it read");
        assert_eq!(client.heartbeat(&holder, soon()), Ok(()), "{protocol}: the generation is what it was");
    };
    // KIP-848's consumers, which a group of classic ones would take in and be converted for; and classic ones.
    let is_known = !version().starts_with("3.");
    let refusal = if is_known {
        "GroupIdNotFoundException"
    } else {
        "does not support the new CONSUMER group protocol"
    };
    check(client.as_mut(), "consumer", refusal);
    check(client.as_mut(), "classic", "InconsistentGroupProtocolException");
    let state = described(test, &holder.group, &["--state"], &[&holder.group]);
    assert!(state.ends_with(&[ASSIGNOR, "Stable", "1"].map(str::to_owned)), "{state:?}");
    client.leave(&holder, soon()).unwrap();
}

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Such a member keeps the offsets of a group from being set, as ours do, and is told as ours are.
#[test]
fn members_of_the_newer_protocol_are_told() {
    if version().starts_with("3.") {
        return; // it has no such groups unless it is told to
    }
    let test = TestBroker::shared();
    let (topic, group) = (unique("console"), unique("group"));
    test.topic(&topic, 1);
    let mut client = test.broker().client("cronctl");
    let nobody = Holder { group: group.clone(), member_id: String::new(), instance_id: None, generation: -1 };
    let commit = [Commit { of: partition(&topic, 0), offset: 0, metadata: "text".to_owned() }];
    assert_eq!(client.commit(&nobody, &commit, soon()), Ok(vec![None]));
    assert_eq!(client.members(&group, soon()), Ok(Vec::new()));
    let mut program = tool("consumer.ConsoleConsumer", test.brokers());
    program.args(["--topic", &topic, "--group", &group]);
    program.args(["--command-property", "group.protocol=consumer"]);
    let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("java is installed");
    let _running = Running(child);
    let members = wait_until("it is a member", Duration::from_secs(60), || {
        client.members(&group, soon()).ok().filter(|members| !members.is_empty())
    });
    assert!(matches!(members.as_slice(), [one] if one.contains(" at 127.0.0.1")), "{members:?}");
    assert_eq!(client.commit(&nobody, &commit, soon()), Ok(vec![Some(ErrorCode::UnknownMemberId)]));
}

//! The command as a whole, on Kafka in memory: copies that are made by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use uuid::Uuid;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{
    Commit, Committed, Holder, Join, JoinRequest, ProduceBatch, Record, Subscription, TopicPartition,
};
use crate::common::clock::SystemClock;
use crate::common::model::{Attempt, Event, Place, Run};
use crate::common::topics::TopicSpec;
use crate::common::{holes, wire};
use crate::cronctl::offsets::known::tests::claimed;
use crate::cronctl::shown::Shown;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The id that a topic has elsewhere.
const THERE: Uuid = Uuid::from_u128(0xA);

/// The site to which topics of cluster `c` were copied.
struct Site {
    broker: MemoryBroker,
    client: Box<dyn Client>,
}

impl Site {
    /// With these topics, each of two partitions.
    fn new(topics: &[&str]) -> Self {
        let broker = MemoryBroker::new(Arc::new(SystemClock));
        let mut client = broker.client("cronctl");
        for name in topics {
            let spec = TopicSpec {
                name: (*name).to_owned(),
                partitions: 2,
                replication_factor: 1,
                settings: Vec::new(),
            };
            client.create_topic(&spec, soon()).unwrap();
        }
        Self { broker, client }
    }

    fn write(&mut self, topic: &str, value: Vec<u8>) {
        let record = Record { key: None, value: Some(value.into()), timestamp_ms: 0 };
        let to = TopicPartition { topic: topic.to_owned(), partition: 0 };
        self.client.produce(&[ProduceBatch { to, records: vec![record] }], soon()).remove(0).unwrap();
    }

    fn attempt(&mut self, topic: &str, attempt: &Attempt) {
        self.write(topic, wire::encode(attempt).to_vec());
    }

    fn event(&mut self, event: &Event) {
        self.write(topics::RUNS, wire::encode(event).to_vec());
    }

    /// Commits as another Kafka's offset was copied, with so many holes.
    fn copy_offset(&mut self, topic: &str, offset: i64, holes: i64) {
        let holes: BTreeSet<i64> = (1..=holes).collect();
        let metadata = holes::encode(THERE, 1_000, &holes).unwrap();
        let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let (group, member_id) = (topic.to_owned(), String::new());
        let holder = Holder { group, member_id, instance_id: None, generation: -1 };
        let codes = self.client.commit(&holder, &[Commit { of, offset, metadata }], soon()).unwrap();
        assert_eq!(codes, [None]);
    }

    /// A consumer becomes a member.
    fn join(&mut self, group: &str) {
        let mut request = JoinRequest {
            group: group.to_owned(),
            member_id: String::new(),
            instance_id: None,
            session_timeout: Duration::from_secs(60),
            rebalance_timeout: Duration::from_secs(60),
            protocol: "p".to_owned(),
            subscription: Subscription::default(),
        };
        if let Join::Named(id) = self.client.join(&request, soon()).unwrap() {
            request.member_id = id;
            self.client.join(&request, soon()).unwrap();
        }
    }

    fn committed(&mut self, topic: &str) -> Option<Committed> {
        let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
        self.client.committed(topic, &[of], soon()).unwrap().remove(0)
    }

    /// Runs the command: exit code, and what it shows.
    fn offsets(&mut self, words: &[&str]) -> (Exit, String) {
        let line = Line::parse_from([&["offsets", "--clusters", "c"], words].concat());
        let shown = Shown::default();
        let mut screen = Screen::new(shown.clone(), shown.clone());
        let exit = offsets(&line.args, self.client.as_mut(), &mut screen).unwrap();
        let text = shown.text();
        (exit, text)
    }
}

const ALL: [&str; 3] = ["c", "c-retry", topics::RUNS];

/// An attempt of the run of this second.
fn attempt(second: i64, number: u32) -> Attempt {
    let sample = include_bytes!("../../../tests/data/wire/v1/attempt-first.json");
    let mut run = Run::clone(&wire::decode_attempt(sample).unwrap().run);
    run.scheduled_at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second);
    run.id = crate::common::model::RunId::of(&run.job, run.scheduled_at);
    run.cluster = "c".parse().unwrap();
    let not_before = (number > 1).then_some(run.scheduled_at);
    Attempt { run: Arc::new(run), attempt: number, attempts_left: 1, not_before }
}

fn begun(attempt: &Attempt, partition: i32) -> Event {
    let topic = if attempt.attempt > 1 { "c-retry" } else { "c" }.to_owned();
    claimed(attempt.name(), Place { topic, topic_id: THERE, partition, offset: 77 }, 1)
}

/// Five runs of which four have begun, and a copied offset that has passed three of them; of the retries of the first four, the
/// second and the fourth wait.
fn site() -> Site {
    let mut site = Site::new(&ALL);
    for second in 1..=5 {
        site.attempt("c", &attempt(second, 1));
        if second < 5 {
            site.event(&begun(&attempt(second, 1), 0));
            site.attempt("c-retry", &attempt(second, 2));
        }
    }
    site.event(&begun(&attempt(1, 2), 1));
    site.event(&begun(&attempt(3, 2), 0));
    site.copy_offset("c", 3, 0);
    site.copy_offset("c-retry", 4, 2);
    site
}

#[test]
fn what_would_be_committed_is_shown_and_nothing_is_changed() {
    let mut site = site();
    let before = [site.committed("c"), site.committed("c-retry")];
    let (exit, shown) = site.offsets(&[]);
    assert_eq!(exit, Exit::Done);
    let expected = "\
TOPIC    PARTITION  COMMITTED  GOES-TO  WAITING  UNREAD  SKIPPED  AGAIN
c        0          3          4        0        1       1        0
c        1          -          stays    -        -       -        -
c-retry  0          4          4        2        0       0        0
c-retry  1          -          stays    -        -       -        -
c: the last event of cron-runs about attempts of this cluster is of 1970-01-01T00:00:01Z; what began later is not known, and runs again
nothing is changed; --execute commits this
";
    assert_eq!(shown, expected);
    assert_eq!([site.committed("c"), site.committed("c-retry")], before);
}

#[test]
fn what_is_committed_names_the_topic_here_and_what_waits_and_is_committed_once() {
    let mut site = site();
    let (exit, shown) = site.offsets(&["--execute"]);
    assert!(exit == Exit::Done && shown.ends_with("the consumers can be started\n"), "{shown}");
    for (topic, offset, waiting) in [("c", 4, vec![]), ("c-retry", 4, vec![1, 3])] {
        let committed = site.committed(topic).unwrap();
        let named = holes::decode(&committed.metadata, committed.offset).unwrap().unwrap();
        let id = site.client.topic(topic, soon()).unwrap().unwrap().id;
        assert_eq!((committed.offset, named.topic_id, Vec::from_iter(named.offsets)), (offset, id, waiting));
    }
    let (exit, shown) = site.offsets(&["--execute"]);
    assert!(exit == Exit::Done && shown.matches("stays").count() == 4, "{shown}");
    assert!(!shown.contains("runs again"), "nothing does: {shown}");
}

/// Runs the command on a site where it changes nothing.
fn check_refused(mut site: Site, part: &str) {
    let before = site.committed("c");
    let (exit, shown) = site.offsets(&["--execute"]);
    assert_eq!(exit, Exit::Found, "{shown}");
    assert!(shown.contains(part), "{shown}");
    assert_eq!(site.committed("c"), before);
}

#[test]
fn a_copy_that_is_not_whole_is_refused() {
    check_refused(Site::new(&["c-retry", topics::RUNS]), "there is no topic c: was it copied");
    check_refused(Site::new(&["c", topics::RUNS]), "there is no topic c-retry: was it copied");
    check_refused(Site::new(&["c", "c-retry"]), "there is no topic cron-runs: was it copied");
    let mut site = site();
    site.event(&begun(&attempt(1, 2), 3));
    check_refused(site, "c-retry has 2 partitions, and where it was copied from it had at least 4");
}

#[test]
fn an_offset_beyond_the_end_of_the_log_is_refused() {
    let mut site = site();
    site.copy_offset("c", 9, 0);
    check_refused(site, "c/0: the committed offset 9 lies beyond the end of the partition's log, 5, and");
}

#[test]
fn a_group_with_members_is_refused_and_they_are_named() {
    let mut site = site();
    site.join("c-retry");
    check_refused(site, "the group c-retry has members (cronctl-");
}

/// What a broker does with a group whose members it does not tell: nothing is committed, for no group.
fn check_untold(mut site: Site, group: &str) {
    let Ok(all) = reading::read(&["c".parse().unwrap()], site.client.as_mut()) else {
        panic!("there is nothing to refuse yet")
    };
    site.join(group);
    let before = [site.committed("c"), site.committed("c-retry")];
    let shown = Shown::default();
    let mut screen = Screen::new(shown.clone(), shown.clone());
    let exit = committing::commit(&all, site.client.as_mut(), &mut screen).unwrap();
    let text = shown.text();
    assert!(text.contains(&format!("the group {group} has members (unknown_member_id), which")), "{text}");
    assert_eq!(exit, Exit::Found, "{text}");
    assert_eq!([site.committed("c"), site.committed("c-retry")], before);
}

#[test]
fn a_group_whose_members_are_not_told_is_refused_before_anything_is_changed() {
    check_untold(site(), "c");
    check_untold(site(), "c-retry");
    let mut never_committed = Site::new(&ALL);
    never_committed.attempt("c", &attempt(1, 1));
    never_committed.attempt("c-retry", &attempt(2, 2));
    never_committed.copy_offset("c-retry", 1, 0);
    check_untold(never_committed, "c");
}

#[test]
fn what_other_programs_write_to_this_kafka_does_not_make_the_copy_fresh() {
    let mut site = site();
    let beat = include_bytes!("../../../tests/data/wire/v1/event-beat.json");
    site.write(topics::RUNS, beat.to_vec());
    let place = Place { topic: "d".to_owned(), topic_id: THERE, partition: 0, offset: 1 };
    site.event(&claimed(attempt(7, 1).name(), place, 99));
    let (_, shown) = site.offsets(&[]);
    assert!(shown.contains("of this cluster is of 1970-01-01T00:00:01Z; what"), "{shown}");
}

#[test]
fn what_the_copy_lacks_is_told() {
    let mut site = site();
    let (run, at) = (attempt(4, 1).name(), DateTime::<Utc>::UNIX_EPOCH);
    site.event(&Event::Lost {
        attempt: crate::common::model::AttemptRef { attempt: 2, ..run },
        job: None,
        cluster: "c".parse().unwrap(),
        scheduled_at: None,
        consumer: "one".to_owned(),
        place: Place { topic: "c-retry".to_owned(), topic_id: THERE, partition: 0, offset: 1 },
        then: crate::common::model::Then::Retried,
        at,
    });
    site.attempt("c-retry", &attempt(8, 2));
    site.copy_offset("c-retry", 5, 1);
    let (_, shown) = site.offsets(&[]);
    let missing = format!("do not run: attempt 3 of run {}", run.run);
    let left_out = format!("they do not run: attempt 2 of run {}\n", attempt(2, 1).run.id);
    assert!(shown.contains(&missing) && shown.contains(&left_out), "{shown}");
    let (_, shown) = Site::new(&ALL).offsets(&[]);
    assert!(shown.contains("c: cron-runs holds no event of an attempt of this cluster"), "{shown}");
}

#[test]
fn what_lies_behind_an_open_transaction_is_not_passed_over() {
    for topic in ["c", "c-retry"] {
        let mut site = Site::new(&ALL);
        site.event(&begun(&attempt(1, 1), 0));
        let number = if topic == "c" { 1 } else { 2 };
        site.attempt(topic, &attempt(2, number));
        let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
        site.broker.faults().open_transaction(&of);
        site.attempt(topic, &attempt(3, number));
        let (exit, shown) = site.offsets(&["--execute"]);
        let part = format!("{topic}/0: a transaction is open at offset 1, and nothing behind it can be read");
        assert!(exit == Exit::Found && shown.contains(&part), "{shown}");
        assert_eq!(site.committed(topic), None);
        site.broker.faults().commit_transaction(&of);
        let (exit, shown) = site.offsets(&["--execute"]);
        assert_eq!(exit, Exit::Done, "{shown}");
    }
}

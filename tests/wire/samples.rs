//! What the samples say, spelled out as values.

mod letters;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kafka_cron::common::model::{
    Attempt, AttemptRef, ClusterName, EndReason, Event, Exit, JobName, Limit, Limits, MissedReason, Order,
    OrderReason, Outcome, Place, Resources, RetryPolicy, Run, RunId, RunningAttempt, Then,
};

use self::letters::letters;
use super::message::Message;

const RUN: &str = "87ca294a-ea2b-5902-b344-9fc1da880045";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn noted() -> DateTime<Utc> {
    at("2026-11-23T17:00:01.250Z")
}

fn consumer() -> String {
    "host-1/4711".to_owned()
}

fn job() -> JobName {
    JobName::new("backup").unwrap()
}

fn cluster() -> ClusterName {
    ClusterName::new("cluster-a").unwrap()
}

fn attempt_of(run: &str, attempt: u32) -> AttemptRef {
    AttemptRef { run: run.parse().unwrap(), attempt }
}

fn place(topic: &str, partition: i32, offset: i64) -> Place {
    let topic_id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427".parse().unwrap();
    Place { topic: topic.to_owned(), topic_id, partition, offset }
}

fn in_cluster(offset: i64) -> Place {
    place("cluster-a", 1, offset)
}

/// A run with no more than a run must have.
fn bare() -> Arc<Run> {
    let sample = Run::sample(RUN.parse::<RunId>().unwrap(), job(), cluster());
    Arc::new(Run {
        scheduled_at: at("2026-11-23T17:00:00Z"),
        limits: Limits { grace_ms: 10_000, ..sample.limits },
        retry: RetryPolicy { retries: 0, backoff_ms: 10_000, backoff_max_ms: 3_600_000 },
        revision: "0123456789ab".to_owned(),
        ..sample
    })
}

/// A run with all that a run may have.
fn full() -> Arc<Run> {
    let environment = [("PATH", "/usr/local/bin:/usr/bin"), ("SHELL", "/bin/bash"), ("TARGET", "")];
    let environment: BTreeMap<String, String> =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Arc::new(Run {
        command: "/opt/backup --full \"%\" && echo 'é'".to_owned(),
        environment: Arc::new(environment),
        cwd: Some("/srv".to_owned()),
        user: Some("backup".to_owned()),
        limits: Limits { timeout_ms: Some(7_200_000), grace_ms: 30_000, deadline_ms: None },
        retry: RetryPolicy { retries: 3, backoff_ms: 30_000, backoff_max_ms: 600_000 },
        ..Run::clone(&bare())
    })
}

const NONE: Resources = Resources { memory_bytes: None, cpu_s: None, pids: None, nofile: None, nice: None };
const MEMORY: Resources = Resources { memory_bytes: Some(536_870_912), ..NONE };
const NICE: Resources = Resources { nice: Some(10), ..NONE };
const RESOURCES: Resources =
    Resources { cpu_s: Some(600), pids: Some(64), nofile: Some(1_024), nice: Some(-5), ..MEMORY };

fn with(resources: Resources) -> Arc<Run> {
    Arc::new(Run { resources, ..Run::clone(&bare()) })
}

fn with_deadline() -> Arc<Run> {
    let limits = Limits { timeout_ms: None, grace_ms: 10_000, deadline_ms: Some(900_000) };
    Arc::new(Run { limits, ..Run::clone(&bare()) })
}

fn attempt(run: Arc<Run>, attempt: u32, attempts_left: u32, not_before: Option<&str>) -> Attempt {
    Attempt { run, attempt, attempts_left, not_before: not_before.map(at) }
}

fn finished(number: u32, outcome: Outcome, then: Then, (output_bytes, output_tail): (u64, &str)) -> Message {
    Message::Event(Event::Finished {
        attempt: attempt_of(RUN, number),
        job: job(),
        cluster: cluster(),
        scheduled_at: at("2026-11-23T17:00:00Z"),
        consumer: consumer(),
        outcome,
        then,
        started_at: at("2026-11-23T17:00:31Z"),
        ended_at: at("2026-11-23T17:00:31.004500Z"),
        output_bytes,
        output_tail: output_tail.to_owned(),
    })
}

/// Every sample by name.
pub fn expected() -> BTreeMap<&'static str, Message> {
    [attempts(), events(), ticks(), leaders(), ends(), orders(), letters()].into_iter().flatten().collect()
}

fn orders() -> Vec<(&'static str, Message)> {
    let end = Order::End {
        run: RUN.parse().unwrap(),
        job: job(),
        cluster: cluster(),
        reason: OrderReason::Replaced,
        by: "host-2/17".to_owned(),
        at: noted(),
    };
    vec![("order-end", Message::Order(end))]
}

fn attempts() -> Vec<(&'static str, Message)> {
    vec![
        ("attempt-first", Message::Attempt(attempt(bare(), 1, 0, None))),
        ("attempt-full", Message::Attempt(attempt(full(), 1, 3, Some("2026-11-23T17:00:00Z")))),
        ("attempt-deadline", Message::Attempt(attempt(with_deadline(), 1, 0, None))),
        ("attempt-memory", Message::Attempt(attempt(with(MEMORY), 1, 0, None))),
        ("attempt-nice", Message::Attempt(attempt(with(NICE), 1, 0, None))),
        ("attempt-resources", Message::Attempt(attempt(with(RESOURCES), 1, 0, None))),
        ("attempt-retry", Message::Attempt(attempt(full(), 2, 2, Some("2026-11-23T17:00:33.127Z")))),
    ]
}

fn events() -> Vec<(&'static str, Message)> {
    let (lease_ms, at_noted) = (60_000, noted());
    let claimed = Event::Claimed {
        attempt: attempt_of(RUN, 1),
        job: job(),
        place: in_cluster(42),
        consumer: consumer(),
        lease_ms,
        at: at_noted,
    };
    let running = vec![
        RunningAttempt { attempt: attempt_of(RUN, 1), place: in_cluster(42) },
        RunningAttempt {
            attempt: attempt_of("00000000-0000-0000-0000-000000000001", 3),
            place: place("cluster-a-retry", 0, 7),
        },
    ];
    let alive = |running| Event::Alive { consumer: consumer(), lease_ms, running, at: at_noted };
    let reason =
        "the batch at offsets 43 to 45 cannot be decoded: it is packed with lz4, which is not read here";
    let unreadable =
        Event::Unreadable { place: in_cluster(43), last_offset: 45, reason: reason.to_owned(), at: at_noted };
    let deleted = Event::DeletedUnread { place: in_cluster(10), next_offset: 1010, at: at_noted };
    let truncated = Event::Truncated { place: in_cluster(1010), end_offset: 990, at: at_noted };
    vec![
        ("event-claimed", Message::Event(claimed)),
        ("event-alive", Message::Event(alive(running))),
        ("event-alive-idle", Message::Event(alive(Vec::new()))),
        ("event-unreadable", Message::Event(unreadable)),
        ("event-deleted-unread", Message::Event(deleted)),
        ("event-truncated", Message::Event(truncated)),
    ]
}

/// What became of ticks other than being run at once.
fn ticks() -> Vec<(&'static str, Message)> {
    let (job, cluster) = (job(), cluster());
    let blocked_by: RunId = RUN.parse().unwrap();
    let missed = |reason| Event::Missed {
        job: self::job(),
        cluster: self::cluster(),
        from: at("2026-11-23T17:00:00Z"),
        to: at("2026-11-23T19:00:00Z"),
        count: 3,
        reason,
        at: at("2026-11-23T19:00:02Z"),
    };
    let published = Event::Published {
        run: RUN.parse().unwrap(),
        job: job.clone(),
        cluster: cluster.clone(),
        scheduled_at: at("2026-11-23T17:00:00Z"),
        place: in_cluster(42),
        at: noted(),
    };
    let queued = Event::Queued {
        job: job.clone(),
        cluster: cluster.clone(),
        scheduled_at: at("2026-11-23T18:00:00Z"),
        blocked_by,
        at: at("2026-11-23T18:00:00.003Z"),
    };
    let skipped = Event::Skipped {
        job,
        cluster,
        scheduled_at: at("2026-11-23T19:00:00Z"),
        blocked_by,
        at: at("2026-11-23T19:00:00.004Z"),
    };
    let events = [
        ("event-published", published),
        ("event-queued", queued),
        ("event-skipped", skipped),
        ("event-missed", missed(MissedReason::TooLarge)),
        ("event-missed-not-caught-up", missed(MissedReason::NotCaughtUp)),
        ("event-missed-window", missed(MissedReason::Window)),
        ("event-missed-deadline", missed(MissedReason::Deadline)),
        ("event-missed-no-cursor", missed(MissedReason::NoCursor)),
        ("event-missed-removed", missed(MissedReason::Removed)),
    ];
    events.map(|(name, event)| (name, Message::Event(event))).into()
}

/// What only producers say.
fn leaders() -> Vec<(&'static str, Message)> {
    let leader = || "host-2/17".to_owned();
    let lost = |number, then| Event::Lost {
        attempt: attempt_of(RUN, number),
        job: (then == Then::Retried).then(job),
        cluster: cluster(),
        scheduled_at: (then == Then::Retried).then(|| at("2026-11-23T17:00:00Z")),
        consumer: consumer(),
        place: in_cluster(42),
        then,
        at: noted(),
    };
    let revision = Event::Revision {
        cluster: cluster(),
        revision: "0123456789ab".to_owned(),
        tzdata: None,
        leader: leader(),
        from: at("2026-11-23T16:59:59.750Z"),
        at: noted(),
    };
    let revision_with_zones = Event::Revision {
        cluster: cluster(),
        revision: "0123456789ab".to_owned(),
        tzdata: Some("2026f".to_owned()),
        leader: leader(),
        from: at("2026-11-23T16:59:59.750Z"),
        at: noted(),
    };
    let standby = Event::Standby {
        producer: leader(),
        group: "cron-leader".to_owned(),
        revision: "0123456789ab".to_owned(),
        tzdata: None,
        at: noted(),
    };
    let standby_with_zones = Event::Standby {
        producer: leader(),
        group: "cron-leader".to_owned(),
        revision: "0123456789ab".to_owned(),
        tzdata: Some("2026f".to_owned()),
        at: noted(),
    };
    let ended = |number, scheduled_at, reason, detail: &str, by: &str| Event::Ended {
        attempt: attempt_of(RUN, number),
        job: job(),
        cluster: cluster(),
        scheduled_at,
        reason,
        detail: detail.to_owned(),
        by: by.to_owned(),
        at: noted(),
    };
    let due = Some(at("2026-11-23T17:00:00Z"));
    let gone = "no message of it is left in cluster-a that a consumer would claim";
    let given_up = "its host is gone for good";
    let events = [
        ("event-ended-unclaimable", ended(0, due, EndReason::Unclaimable, gone, "host-2/17")),
        ("event-ended-operator", ended(2, None, EndReason::Operator, given_up, "host-3/99")),
        ("event-lost-retried", lost(1, Then::Retried)),
        ("event-lost-dead", lost(4, Then::Dead)),
        ("event-beat", Event::Beat { leader: leader(), number: 7, at: noted() }),
        ("event-revision", revision),
        ("event-revision-tzdata", revision_with_zones),
        ("event-standby", standby),
        ("event-standby-tzdata", standby_with_zones),
    ];
    events.map(|(name, event)| (name, Message::Event(event))).into()
}

fn ends() -> Vec<(&'static str, Message)> {
    let oops = (5, "oops\n");
    let silent = (0, "");
    let no_user = Outcome::CouldNotStart { reason: "user `backup`: no such user".to_owned() };
    let signalled = Outcome::Signalled { signal: 11 };
    let over = |limit, exit| Outcome::OverLimit { limit, exit };
    vec![
        ("event-finished-succeeded", finished(1, Outcome::Succeeded, Then::Done, silent)),
        ("event-finished-failed", finished(2, Outcome::Failed { code: 3 }, Then::Retried, oops)),
        ("event-finished-signalled", finished(2, signalled, Then::Dead, (10_485_760, "… the end"))),
        (
            "event-finished-out-of-memory",
            finished(2, over(Limit::Memory, Exit::Signal(9)), Then::Dead, (10_485_760, "… the end")),
        ),
        (
            "event-finished-out-of-cpu-time",
            finished(2, over(Limit::Cpu, Exit::Code(152)), Then::Retried, oops),
        ),
        (
            "event-finished-out-of-processes",
            finished(2, over(Limit::Pids, Exit::Code(2)), Then::Retried, oops),
        ),
        ("event-finished-timed-out", finished(2, Outcome::TimedOut, Then::Retried, oops)),
        ("event-finished-could-not-start", finished(2, no_user, Then::Dead, silent)),
        ("event-finished-cancelled", finished(2, Outcome::Cancelled, Then::Retried, oops)),
        ("event-finished-replaced", finished(2, Outcome::Replaced, Then::Done, oops)),
        ("event-finished-lost", finished(2, Outcome::Lost, Then::Dead, silent)),
        ("event-finished-expired", finished(2, Outcome::Expired, Then::Done, silent)),
    ]
}

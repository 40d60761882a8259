use uuid::Uuid;

use super::*;

fn check(note: &Note, level: Level, text: &str) {
    assert_eq!((note.level(), note.to_string().as_str()), (level, text));
}

fn error() -> BrokerError {
    BrokerError::NotSent("no route".to_owned())
}

#[test]
fn what_is_seen_and_not_seen_of_cron_runs_is_said() {
    check(
        &Note::OutOfSight,
        Level::Warn,
        "the end of cron-runs is out of sight: nothing is found to be lost",
    );
    check(&Note::InSight, Level::Info, "the end of cron-runs is in sight again, and leases start anew");
    check(
        &Note::LogIsAnother { attempts: 3 },
        Level::Error,
        "cron-runs was cut or made anew: it is read from its start, and what became of 3 attempts under way is not \
         known until their consumers tell",
    );
    check(
        &Note::DeletedUnread { partition: 1, from: 5, to: 9 },
        Level::Error,
        "offsets 5 to 9 of cron-runs/1 were deleted before they were read; attempts under way may have ended there",
    );
    let text = format!("a beat on cron-runs/1: {}; leases start anew", error());
    check(&Note::BeatFailed { partition: 1, error: error() }, Level::Warn, &text);
}

#[test]
fn what_became_of_attempts_and_runs_is_said() {
    let run = RunId(Uuid::from_u128(1));
    let lost = |job: Option<&str>| Note::Lost {
        attempt: AttemptRef { run, attempt: 2 },
        job: job.map(|job| job.parse().unwrap()),
        topic: "c-retry".to_owned(),
        consumer: "one".to_owned(),
        to: "c-dead".to_owned(),
    };
    let rest = "attempt 2: lost with consumer one; what follows is in c-dead";
    check(&lost(Some("j")), Level::Warn, &format!("c-retry: j, {rest}"));
    check(&lost(None), Level::Warn, &format!("c-retry: run {run}, {rest}"));
    check(
        &Note::OfNoCluster { topic: "t".to_owned() },
        Level::Error,
        "an attempt in t, which is no cluster's topic, is given up",
    );
    let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 5 };
    let text = format!("the lost attempt at c/0 5: {}; trying again", error());
    check(&Note::UnreadMessage { place, error: error() }, Level::Warn, &text);
    let text = format!("what follows from lost attempts and runs: {}; trying again", error());
    check(&Note::Unwritten { error: error() }, Level::Warn, &text);
    let (cluster, job) = ("c".parse().unwrap(), "j".parse().unwrap());
    let text = format!("c: run {run} of j will not be run: it is gone");
    check(&Note::Unclaimable { cluster, run, job, detail: "it is gone".to_owned() }, Level::Warn, &text);
}

#[test]
fn which_runs_are_to_end_and_go_on_is_said() {
    let run = RunId(Uuid::from_u128(1));
    let (cluster, job): (ClusterName, JobName) = ("c".parse().unwrap(), "j".parse().unwrap());
    let text = format!("c: run {run} of j is to end, because a newer tick waits for it");
    check(&Note::AskedToEnd { cluster: cluster.clone(), run, job: job.clone() }, Level::Info, &text);
    let text = format!(
        "c: run {run} of j goes on 61 s after its end was asked for: no consumer has taken it, its consumer is cut off or \
         of a version that knows no orders, or its command takes long to end"
    );
    check(&Note::GoesOn { cluster, run, job, waits: Duration::from_secs(61) }, Level::Warn, &text);
    let text = format!("asking consumers to end runs: {}; trying again", error());
    check(&Note::Unordered { error: error() }, Level::Debug, &text);
}

#[test]
fn which_producers_have_other_files_and_zone_data_is_said() {
    let others: Vec<_> = [("a", "1"), ("b", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let ours = || "3".to_owned();
    check(
        &Note::FilesDiffer { others: others.clone(), ours: ours() },
        Level::Error,
        "the producers' job files differ: a has revision 1, b has revision 2; ours is 3, and rules while we lead",
    );
    check(
        &Note::FilesAgree { ours: ours() },
        Level::Info,
        "no producer has another job file than ours any more: 3",
    );
    check(
        &Note::ZonesDiffer { others, ours: ours() },
        Level::Warn,
        "the producers' time-zone data differs: a has tzdata 1, b has tzdata 2; ours is 3, and rules while we lead \
         (update the host's package tzdata, or the program)",
    );
    check(
        &Note::ZonesAgree { ours: ours() },
        Level::Info,
        "no producer has other time-zone data than ours any more: 3",
    );
}

#[test]
fn calls_that_failed_are_said_to_who_debugs() {
    let debug = |note: Note, text: &str| check(&note, Level::Debug, &text.replace('@', &error().to_string()));
    debug(Note::Failed { what: "what it was", error: error() }, "what it was: @; trying again");
    debug(Note::PartitionFailed { partition: 1, error: error() }, "cron-runs/1: @");
    debug(Note::FetchFailed { broker: 2, error: error() }, "reading cron-runs from broker 2: @");
    debug(Note::FileUnsaid { error: error() }, "saying which job file we have: @");
    debug(
        Note::NoTopic { topic: "c".to_owned() },
        "topic c does not exist; attempts of it are looked at again later",
    );
    let error = error();
    debug(Note::NoStart { topic: "c".to_owned(), partition: 1, error }, "c/1: @; trying again");
}

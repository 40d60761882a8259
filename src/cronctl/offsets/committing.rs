//! Commits what is planned, in the name of groups without members.
//!
//! Kafka refuses a commit by no member where the group has members. So each group is tried first with what it has committed
//! already, which changes nothing; only if none refuses, the plan is committed.

use super::reading::{Partition, Reading};
use super::{Refusal, has_members, refuse, soon};
use crate::common::broker::{BrokerError, Client, Commit, Committed, ErrorCode, Holder, TopicPartition};
use crate::common::exit::Exit;
use crate::cronctl::screen::{Answer, Screen};

/// Commits what is planned for all topics, unless one of the groups has members.
pub(super) fn commit(all: &[Reading], client: &mut dyn Client, screen: &mut Screen) -> Answer {
    let mut topics: Vec<&[Partition]> =
        all.iter().flat_map(|reading| [reading.retry.as_slice(), &reading.first]).collect();
    if let Err(refusal) = try_all(&topics, client) {
        return refuse(refusal, screen);
    }
    // A group that has committed nothing was not tried: it comes first, when nothing is changed yet.
    topics.sort_by_key(|partitions| partitions.iter().any(|partition| partition.committed.is_some()));
    let mut is_changed = false;
    for partitions in topics {
        if let Some(exit) = commit_topic(partitions, is_changed, client, screen)? {
            return Ok(exit);
        }
        is_changed |= partitions.iter().any(|partition| partition.plan.is_some());
    }
    screen.say("the offsets are committed; the consumers can be started")?;
    Ok(Exit::Done)
}

/// Refuses where one of the groups has members.
fn try_all(topics: &[&[Partition]], client: &mut dyn Client) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    for partitions in topics {
        // One partition is enough, and best one that is committed anyhow.
        let committed = partitions.iter().filter(|partition| partition.committed.is_some());
        if let Some(partition) = committed.max_by_key(|partition| partition.plan.is_some()) {
            problems.extend(try_group(&partition.of, client)?);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Found(problems)) }
}

/// Commits for a group what it has committed on a partition. Returns what is wrong where it has members.
fn try_group(of: &TopicPartition, client: &mut dyn Client) -> Result<Option<String>, BrokerError> {
    let committed = client.committed(&of.topic, std::slice::from_ref(of), soon())?;
    let Some(Committed { offset, metadata }) = committed.into_iter().flatten().next() else {
        return Ok(None);
    };
    let again = Commit { of: of.clone(), offset, metadata };
    let codes = client.commit(&no_member(&of.topic), &[again], soon())?;
    match codes.into_iter().flatten().next() {
        Some(code) if is_of_members(code) => Ok(Some(has_members(&of.topic, &code.to_string()))),
        // It is the group that is asked first.
        None | Some(ErrorCode::OffsetMetadataTooLarge) => Ok(None),
        Some(code) => Err(BrokerError::Refused(code)),
    }
}

/// Commits what is planned for the partitions of a topic. An exit code where Kafka does not take it.
fn commit_topic(
    partitions: &[Partition],
    is_changed: bool,
    client: &mut dyn Client,
    screen: &mut Screen,
) -> std::io::Result<Option<Exit>> {
    let commit = |partition: &Partition| {
        let plan = partition.plan.as_ref()?;
        Some(Commit { of: partition.of.clone(), offset: plan.offset, metadata: plan.text.clone() })
    };
    let commits: Vec<Commit> = partitions.iter().filter_map(commit).collect();
    let Some(topic) = commits.first().map(|commit| commit.of.topic.clone()) else { return Ok(None) };
    let codes = match client.commit(&no_member(&topic), &commits, soon()) {
        Ok(codes) => codes,
        Err(error) => {
            screen.complain(format_args!("{topic}: {error}; call this again"))?;
            return Ok(Some(Exit::Kafka));
        }
    };
    if !is_changed && codes.iter().all(|code| code.is_some_and(is_of_members)) {
        let code = codes.first().copied().flatten();
        let who = code.map(|code| code.to_string()).unwrap_or_default();
        return refuse(Refusal::Found(vec![has_members(&topic, &who)]), screen).map(Some);
    }
    let mut exit = None;
    for (commit, code) in commits.iter().zip(codes) {
        let Some(code) = code else { continue };
        screen.complain(format_args!("{topic}/{}: {}", commit.of.partition, why(commit, code)))?;
        exit = Some(Exit::Kafka);
    }
    Ok(exit)
}

/// What a refused commit means.
fn why(commit: &Commit, code: ErrorCode) -> String {
    match code {
        _ if is_of_members(code) => has_members(&commit.of.topic, &code.to_string()),
        ErrorCode::OffsetMetadataTooLarge => format!(
            "{code}: the broker keeps less than {} bytes beside an offset; raise its offset.metadata.max.bytes",
            commit.metadata.len()
        ),
        _ => code.to_string(),
    }
}

/// Whether Kafka refuses with it what no member commits for a group that has members.
fn is_of_members(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress)
}

fn no_member(group: &str) -> Holder {
    Holder { group: group.to_owned(), member_id: String::new(), instance_id: None, generation: -1 }
}

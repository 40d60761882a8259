//! The group side of the port: each call to the group's coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::KafkaClient;
use super::produce::millis;
use super::subscription::{read_assignment, read_subscription, write_assignment, write_subscription};
use super::wire::{Asked, group_id, text, topic_name};
use crate::common::broker::{
    BrokerError, Commit, Committed, Deadline, ErrorCode, Group, Holder, Join, JoinRequest, Joined, Member,
    Share, TopicPartition,
};

/// The protocol type of Kafka's own consumers, which its tools know how to show. [`super::subscription`] keeps those
/// consumers out all the same.
const CONSUMER: &str = "consumer";
/// `MEMBER_ID_REQUIRED` (KIP-394): join again with the id that comes with it.
const MEMBER_ID_REQUIRED: ErrorCode = ErrorCode::Other(79);
/// What the older request says of a group that does not exist, or is one of the newer protocol.
const DEAD: &str = "Dead";
/// `GROUP_ID_NOT_FOUND`: there is no group of the newer protocol with this name.
const GROUP_ID_NOT_FOUND: ErrorCode = ErrorCode::Other(69);
/// What a broker answers that knows the request and has the newer protocol switched off, as Kafka 3.9 has by default.
const UNSUPPORTED_VERSION: ErrorCode = ErrorCode::Other(35);
/// The wait for a group's leader to assign is as long as the deadline allows.
const UNLIMITED: Duration = Duration::from_secs(3600);

impl KafkaClient {
    /// Asks the group's coordinator; where it turns out to be elsewhere, looks it up and asks once more. That
    /// answer means that nothing was applied, for all requests but a commit, which does not come here.
    fn coordinator<R: Asked>(
        &mut self,
        group: &str,
        request: &R,
        wait: Duration,
        by: Deadline,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, BrokerError> {
        let mut last = None;
        for _ in 0..2 {
            let address = self.routes.coordinator(group, by)?;
            let answer = self.routes.ask(&address, request, wait, by)?;
            let Some(code) = ErrorCode::from_wire(code(&answer)) else { return Ok(answer) };
            if code == MEMBER_ID_REQUIRED {
                return Ok(answer);
            }
            last = Some(code);
            if !is_elsewhere(code) {
                break;
            }
            self.routes.forget_coordinator(group);
        }
        Err(last.map_or_else(|| BrokerError::Nonsense("no answer".to_owned()), BrokerError::Refused))
    }
}

fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
}

fn checked(code: i16) -> Result<(), BrokerError> {
    ErrorCode::from_wire(code).map_or(Ok(()), |code| Err(BrokerError::Refused(code)))
}

impl Group for KafkaClient {
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Join, BrokerError> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(&request.protocol))
            .with_metadata(write_subscription(&request.subscription)?);
        let wire = JoinGroupRequest::default()
            .with_group_id(group_id(&request.group))
            .with_session_timeout_ms(millis(request.session_timeout))
            .with_rebalance_timeout_ms(millis(request.rebalance_timeout))
            .with_member_id(text(&request.member_id))
            .with_group_instance_id(request.instance_id.as_deref().map(text))
            .with_protocol_type(text(CONSUMER))
            .with_protocols(vec![protocol]);
        let answer =
            self.coordinator(&request.group, &wire, request.rebalance_timeout, by, |a| a.error_code)?;
        if ErrorCode::from_wire(answer.error_code) == Some(MEMBER_ID_REQUIRED) {
            return Ok(Join::Named(answer.member_id.to_string()));
        }
        checked(answer.error_code)?;
        Ok(Join::Joined(joined(answer)))
    }

    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        by: Deadline,
    ) -> Result<Share, BrokerError> {
        let mut assignments = Vec::with_capacity(shares.len());
        for (member, share) in shares {
            let share = write_assignment(share)?;
            assignments.push(
                SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(share),
            );
        }
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&holder.group))
            .with_generation_id(holder.generation)
            .with_member_id(text(&holder.member_id))
            .with_group_instance_id(holder.instance_id.as_deref().map(text))
            .with_protocol_type(Some(text(CONSUMER)))
            .with_protocol_name(Some(text(protocol)))
            .with_assignments(assignments);
        let answer = self.coordinator(&holder.group, &request, UNLIMITED, by, |a| a.error_code)?;
        read_assignment(&answer.assignment)
            .ok_or_else(|| BrokerError::Nonsense("an assignment that cannot be read".to_owned()))
    }

    fn heartbeat(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&holder.group))
            .with_generation_id(holder.generation)
            .with_member_id(text(&holder.member_id))
            .with_group_instance_id(holder.instance_id.as_deref().map(text));
        self.coordinator(&holder.group, &request, Duration::ZERO, by, |a| a.error_code).map(drop)
    }

    fn leave(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let member = MemberIdentity::default()
            .with_member_id(text(&holder.member_id))
            .with_group_instance_id(holder.instance_id.as_deref().map(text));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(&holder.group)).with_members(vec![member]);
        let answer = self.coordinator(&holder.group, &request, Duration::ZERO, by, |a| a.error_code)?;
        answer.members.first().map_or(Ok(()), |member| checked(member.error_code))
    }

    fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        by: Deadline,
    ) -> Result<Vec<Option<ErrorCode>>, BrokerError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let address = self.routes.coordinator(&holder.group, by)?;
        let answer = self.routes.ask(&address, &commit_request(holder, commits), Duration::ZERO, by)?;
        let found: BTreeMap<(&str, i32), i16> = answer
            .topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|p| ((&*topic.name.0, p.partition_index), p.error_code))
            })
            .collect();
        let code = |commit: &Commit| {
            let code = found.get(&(commit.of.topic.as_str(), commit.of.partition));
            let code =
                code.ok_or_else(|| BrokerError::Nonsense(format!("nothing about {}", commit.of.topic)))?;
            Ok(ErrorCode::from_wire(*code))
        };
        let codes = commits.iter().map(code).collect::<Result<Vec<_>, BrokerError>>()?;
        if codes.iter().flatten().any(|code| is_elsewhere(*code)) {
            // Not sent again from here: a coordinator that steps down says this of a commit that it has written.
            self.routes.forget_coordinator(&holder.group);
        }
        Ok(codes)
    }

    fn committed(
        &mut self,
        group: &str,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Result<Vec<Option<Committed>>, BrokerError> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for of in of {
            topics.entry(&of.topic).or_default().push(of.partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetFetchRequestTopic::default().with_name(topic_name(name)).with_partition_indexes(partitions)
        });
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(group))
            .with_topics(Some(topics.collect()))
            .with_require_stable(true);
        let answer = self.coordinator(group, &request, Duration::ZERO, by, |a| a.error_code)?;
        let mut found = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                checked(partition.error_code)?;
                let metadata = partition.metadata.as_deref().unwrap_or_default().to_owned();
                let committed = Committed { offset: partition.committed_offset, metadata };
                found.insert((topic.name.0.to_string(), partition.partition_index), committed);
            }
        }
        let none = |committed: &Committed| committed.offset >= 0;
        Ok(of.iter().map(|of| found.get(&(of.topic.clone(), of.partition)).cloned().filter(none)).collect())
    }

    fn members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let code =
            |answer: &DescribeGroupsResponse| answer.groups.first().map_or(0, |group| group.error_code);
        let answer = self.coordinator(group, &request, Duration::ZERO, by, code)?;
        if answer.groups.iter().any(|group| group.group_state.as_str() == DEAD) {
            return self.newer_members(group, by);
        }
        let members = answer.groups.iter().flat_map(|group| &group.members);
        Ok(members.map(|member| described(&member.client_id, &member.client_host)).collect())
    }
}

impl KafkaClient {
    /// The members of a group of the newer protocol (KIP-848). A broker that does not know the request, or has
    /// the protocol switched off, has no such groups.
    fn newer_members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        let code = |answer: &ConsumerGroupDescribeResponse| {
            answer.groups.first().map_or(0, |group| group.error_code)
        };
        match self.coordinator(group, &request, Duration::ZERO, by, code) {
            Ok(answer) => {
                let members = answer.groups.iter().flat_map(|group| &group.members);
                Ok(members.map(|member| described(&member.client_id, &member.client_host)).collect())
            }
            Err(BrokerError::Refused(GROUP_ID_NOT_FOUND | UNSUPPORTED_VERSION) | BrokerError::NotSent(_)) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

fn described(client: &str, host: &str) -> String {
    format!("{client} at {}", host.trim_start_matches('/'))
}

fn joined(answer: JoinGroupResponse) -> Joined {
    let leads = answer.leader == answer.member_id;
    let member = |member: kafka_protocol::messages::join_group_response::JoinGroupResponseMember| {
        let subscription = read_subscription(&member.metadata).unwrap_or_else(|| {
            log::warn!(
                "member {} of the group is another program's: it gets nothing; stop it, or give it another group",
                member.member_id
            );
            crate::common::broker::Subscription::default()
        });
        Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            subscription,
        }
    };
    Joined {
        generation: answer.generation_id,
        member_id: answer.member_id.to_string(),
        skips_assignment: leads && answer.skip_assignment,
        members: if leads { answer.members.into_iter().map(member).collect() } else { Vec::new() },
    }
}

fn commit_request(holder: &Holder, commits: &[Commit]) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for commit in commits {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(commit.of.partition)
            .with_committed_offset(commit.offset)
            .with_committed_metadata(Some(text(&commit.metadata)));
        topics.entry(&commit.of.topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(group_id(&holder.group))
        .with_generation_id_or_member_epoch(holder.generation)
        .with_member_id(text(&holder.member_id))
        .with_group_instance_id(holder.instance_id.as_deref().map(text))
        .with_topics(topics.collect())
}

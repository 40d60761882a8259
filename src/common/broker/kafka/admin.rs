//! The topics' side of the port.

use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest, DescribeQuorumRequest};

use super::KafkaClient;
use super::connection::REQUEST;
use super::produce::millis;
use super::wire::{text, topic_name};
use crate::common::broker::{Admin, BrokerError, Deadline, ErrorCode};
use crate::common::clock::monotonic;
use crate::common::topics::TopicSpec;

/// `DescribeConfigs` knows several kinds of things; this one is a topic.
const TOPIC: i8 = 2;

/// The log of the controllers, whose leader is the active one.
const QUORUM: &str = "__cluster_metadata";

impl Admin for KafkaClient {
    fn broker_count(&mut self, by: Deadline) -> Result<usize, BrokerError> {
        self.routes.metadata(&[], by)?;
        Ok(self.routes.broker_count())
    }

    /// The leader of the quorum says of itself that it is up to date now, by its clock (KIP-836).
    fn cluster_time(&mut self, by: Deadline) -> Result<i64, BrokerError> {
        let partitions = vec![PartitionData::default().with_partition_index(0)];
        let topic = TopicData::default().with_topic_name(topic_name(QUORUM)).with_partitions(partitions);
        let answer = self.routes.ask_any(&DescribeQuorumRequest::default().with_topics(vec![topic]), by)?;
        if let Some(code) = ErrorCode::from_wire(answer.error_code) {
            return Err(BrokerError::Refused(code));
        }
        let nothing = || BrokerError::Nonsense("no time of the quorum's leader".to_owned());
        let quorum = answer.topics.first().and_then(|topic| topic.partitions.first()).ok_or_else(nothing)?;
        if let Some(code) = ErrorCode::from_wire(quorum.error_code) {
            return Err(BrokerError::Refused(code));
        }
        let leader = quorum.current_voters.iter().find(|voter| voter.replica_id == quorum.leader_id);
        let at_ms = leader.map(|leader| leader.last_caught_up_timestamp).filter(|ms| *ms > 0);
        at_ms.ok_or_else(nothing)
    }

    fn topic_names(&mut self, by: Deadline) -> Result<Vec<String>, BrokerError> {
        self.routes.topic_names(by)
    }

    fn create_topic(&mut self, topic: &TopicSpec, by: Deadline) -> Result<(), BrokerError> {
        let settings = topic.settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let wire = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(settings.collect());
        let patience: Duration = by.saturating_duration_since(monotonic()).min(REQUEST);
        let request =
            CreateTopicsRequest::default().with_topics(vec![wire]).with_timeout_ms(millis(patience * 4 / 5));
        let answer = self.routes.ask_any(&request, by)?;
        let result = answer.topics.first();
        let result = result.ok_or_else(|| BrokerError::Nonsense(format!("nothing about {}", topic.name)))?;
        let Some(code) = ErrorCode::from_wire(result.error_code) else { return Ok(()) };
        if let Some(message) = &result.error_message {
            log::debug!("topic {} is not created: {message}", topic.name);
        }
        Err(BrokerError::Refused(code))
    }

    fn topic_settings(
        &mut self,
        topic: &str,
        names: &[&str],
        by: Deadline,
    ) -> Result<Vec<(String, String)>, BrokerError> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(names.iter().map(|name| text(name)).collect()));
        let answer =
            self.routes.ask_any(&DescribeConfigsRequest::default().with_resources(vec![resource]), by)?;
        let result = answer.results.first();
        let result = result.ok_or_else(|| BrokerError::Nonsense(format!("nothing about {topic}")))?;
        if let Some(code) = ErrorCode::from_wire(result.error_code) {
            return Err(BrokerError::Refused(code));
        }
        let value = |name: &&str| {
            let found = result.configs.iter().find(|config| *config.name == **name)?;
            Some(((*name).to_owned(), found.value.as_ref()?.to_string()))
        };
        Ok(names.iter().filter_map(value).collect())
    }
}

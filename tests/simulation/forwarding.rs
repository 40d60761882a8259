//! What clients that wrap another one pass on as it is: nothing goes wrong with these calls beyond what the broker decides.

pub use kafka_cron::common::broker::{Admin, BrokerError, Deadline};
pub use kafka_cron::common::topics::TopicSpec;

/// Has a client with a field `inner` pass on all calls of an administrator.
macro_rules! forward_admin {
    ($client:ty) => {
        impl $crate::forwarding::Admin for $client {
            fn broker_count(
                &mut self,
                by: $crate::forwarding::Deadline,
            ) -> Result<usize, $crate::forwarding::BrokerError> {
                self.inner.broker_count(by)
            }

            fn cluster_time(
                &mut self,
                by: $crate::forwarding::Deadline,
            ) -> Result<i64, $crate::forwarding::BrokerError> {
                self.inner.cluster_time(by)
            }

            fn topic_names(
                &mut self,
                by: $crate::forwarding::Deadline,
            ) -> Result<Vec<String>, $crate::forwarding::BrokerError> {
                self.inner.topic_names(by)
            }

            fn create_topic(
                &mut self,
                topic: &$crate::forwarding::TopicSpec,
                by: $crate::forwarding::Deadline,
            ) -> Result<(), $crate::forwarding::BrokerError> {
                self.inner.create_topic(topic, by)
            }

            fn topic_settings(
                &mut self,
                topic: &str,
                names: &[&str],
                by: $crate::forwarding::Deadline,
            ) -> Result<Vec<(String, String)>, $crate::forwarding::BrokerError> {
                self.inner.topic_settings(topic, names, by)
            }
        }
    };
}

pub(crate) use forward_admin;

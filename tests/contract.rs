//! What every broker does, whichever end of the port it is.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
mod support;

use std::time::Duration;

use bytes::Bytes;
use kafka_cron::common::broker::{
    Broker, Commit, Holder, JoinRequest, Owned, ProduceBatch, Record, Subscription, TopicPartition, Want,
};
use support::broker::TestBroker;
use support::{soon, unique};

#[test]
fn records_and_commits_come_back_from_a_real_broker() {
    let test = TestBroker::shared();
    let topic = unique("smoke");
    let state = test.topic(&topic, 2);
    let mut client = test.broker().client("smoke");
    let to = TopicPartition { topic: topic.clone(), partition: 1 };
    let record = Record { key: Some(Bytes::from_static(b"k")), value: None, timestamp_ms: 1_700_000_000_000 };
    let batch = ProduceBatch { to: to.clone(), records: vec![record; 3] };
    let written = client.produce(&[batch.clone(), batch], soon());
    assert_eq!(written[1].as_ref().unwrap().base_offset, 3);
    let want = Want { from: to.clone(), offset: 1, max_bytes: 1 << 20 };
    let leader = state.partitions[1].leader.unwrap();
    let fetched = client.fetch(leader, &[want], Duration::from_millis(500), soon()).unwrap();
    assert_eq!(fetched[0].as_ref().unwrap().records.len(), 5);
    let group = unique("group");
    let joined = client
        .join(
            &JoinRequest {
                group: group.clone(),
                member_id: String::new(),
                instance_id: None,
                session_timeout: Duration::from_secs(10),
                rebalance_timeout: Duration::from_secs(5),
                protocol: "sticky".to_owned(),
                subscription: Subscription {
                    topics: vec![topic.clone()],
                    owned: vec![],
                    owned_generation: -1,
                },
            },
            soon(),
        )
        .unwrap();
    let holder = Holder {
        group: group.clone(),
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation: joined.generation,
    };
    let mine = vec![Owned { topic, partitions: vec![0, 1] }];
    let share = client.sync(&holder, "sticky", &[(joined.member_id, mine.clone())], soon()).unwrap();
    assert_eq!(share, mine);
    client.heartbeat(&holder, soon()).unwrap();
    let commit = Commit { of: to.clone(), offset: 3, metadata: "m".to_owned() };
    assert_eq!(client.commit(&holder, &[commit], soon()).unwrap(), vec![None]);
    let committed = client.committed(&group, &[to], soon()).unwrap();
    assert_eq!(committed[0].as_ref().unwrap().offset, 3);
    client.leave(&holder, soon()).unwrap();
}

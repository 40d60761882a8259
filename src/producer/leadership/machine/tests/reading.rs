//! A topic that holds far more since its cursor than is read in a step.

use super::*;
use crate::common::model::RunId;

#[test]
fn a_long_history_is_read_a_piece_at_a_time_and_other_clusters_begin_meanwhile() {
    let mut host = Host::new(TimeDelta::zero());
    let clusters = vec!["long".parse().unwrap(), "c".parse().unwrap()];
    for spec in topics::all(&clusters, 1, 1) {
        // Some of them are there already.
        drop(host.client.create_topic(&spec, soon(&host.clock)));
    }
    let (window, standing) = (Duration::from_secs(3600), Standing::new(Instant::now()));
    host.leadership = Leadership::new(Options { clusters, window, standing });
    let run = |number| RunId(uuid::Uuid::from_u128(number));
    let bulky = bytes::Bytes::from(vec![b' '; 900 * 1024]);
    let to = TopicPartition { topic: "long".to_owned(), partition: 0 };
    for number in 0..100 {
        let timestamp_ms = host.clock.now().timestamp_millis();
        let key = Some(run(number).to_string().into());
        let records = vec![Record { key, value: Some(bulky.clone()), timestamp_ms }];
        let batch = ProduceBatch { to: to.clone(), records };
        host.client.produce(&[batch], soon(&host.clock)).remove(0).unwrap();
    }
    assert!(leads(&host.step()));
    let (mut begun, mut counts) = (Vec::new(), Vec::new());
    while begun.len() < 2 {
        let effects = host.step();
        let what_else =
            |effect: &&Effect| matches!(effect, Effect::Failed(_) | Effect::End | Effect::GiveWay(_));
        assert!(!effects.iter().any(|effect| what_else(&effect)), "{effects:?}");
        for effect in effects {
            if let Effect::Start { cluster, start, .. } = effect {
                begun.push((cluster, start.published));
            }
        }
        assert_eq!(host.leadership.is_taking_over(), begun.len() < 2);
        counts.extend(host.leadership.reading().map(|(topic, count)| {
            assert_eq!(topic, "long");
            count
        }));
    }
    assert!(counts.len() > 1 && counts.is_sorted() && counts.last() < Some(&100), "{counts:?}");
    assert_eq!(begun.iter().map(|(cluster, _)| *cluster).collect::<Vec<_>>(), [1, 0]);
    let (_, published) = &begun[1];
    let places: Vec<_> = (0..100).map(|number| published.runs.place_of(run(number))).collect();
    assert_eq!(places, (0..100).map(|offset| Some((0, offset))).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_while_it_is_read_is_read_anew() {
    let mut host = Host::new(TimeDelta::zero());
    let bulky = bytes::Bytes::from(vec![b' '; 900 * 1024]);
    host.broker.faults().grow_topic("c", 2);
    for number in 0..50 {
        let to = TopicPartition { topic: "c".to_owned(), partition: i32::from(number > 44) };
        let timestamp_ms = host.clock.now().timestamp_millis();
        let records = vec![Record { key: None, value: Some(bulky.clone()), timestamp_ms }];
        let batch = ProduceBatch { to, records };
        host.client.produce(&[batch], soon(&host.clock)).remove(0).unwrap();
    }
    assert!(leads(&host.step()));
    host.step();
    assert!(host.leadership.reading().is_some_and(|(_, count)| count > 0));
    host.broker.faults().delete_topic("c");
    for spec in topics::all(&["c".parse().unwrap()], 1, 1) {
        drop(host.client.create_topic(&spec, soon(&host.clock)));
    }
    let is_begun = |effect: &Effect| matches!(effect, Effect::Start { .. });
    let passed = host.pass(5);
    assert!(passed.iter().flat_map(|(_, effects)| effects).any(is_begun), "{passed:?}");
}

#[test]
fn what_was_read_stays_read_where_a_broker_does_not_answer() {
    let mut host = Host::new(TimeDelta::zero());
    let bulky = bytes::Bytes::from(vec![b' '; 900 * 1024]);
    let to = TopicPartition { topic: "c".to_owned(), partition: 0 };
    for number in 0..60 {
        let timestamp_ms = host.clock.now().timestamp_millis();
        let key = Some(RunId(uuid::Uuid::from_u128(number)).to_string().into());
        let records = vec![Record { key, value: Some(bulky.clone()), timestamp_ms }];
        let batch = ProduceBatch { to: to.clone(), records };
        host.client.produce(&[batch], soon(&host.clock)).remove(0).unwrap();
    }
    assert!(leads(&host.step()));
    host.step();
    let before = host.leadership.reading().unwrap().1;
    host.broker.faults().next(Call::Fetch, Fate::RequestLost);
    let effects = host.step();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Failed(_))), "{effects:?}");
    assert_eq!(host.leadership.reading().unwrap().1, before);
    host.clock.turn(Duration::from_secs(1));
    let mut steps = 0;
    while !host.step().iter().any(|effect| matches!(effect, Effect::Start { .. })) {
        steps += 1;
        assert!(steps < 3, "it is not read from the beginning");
    }
    assert!(before > 0 && !host.leadership.is_taking_over());
}

//! The assignor: even shares, and partitions stay where they are as far as that allows.
//!
//! It runs on the member that the coordinator made the group's leader (KIP-54 describes the idea of sticky shares).

use std::collections::{BTreeMap, BTreeSet};

use crate::common::broker::{Member, Owned, TopicPartition};

/// Its name in the protocol: all members of a group must speak the same.
pub const NAME: &str = "kafka-cron";

/// Shares out `partitions` (topic → number of partitions) among the members that subscribe to each topic. No share
/// of a topic's partitions is larger than another's by more than one; within that, what a member owned it keeps. Of
/// two that claim to own a partition the one of the later generation counts.
///
/// The answer has one entry for each member, in the order of their ids, and depends on nothing but the arguments.
pub fn assign(members: &[Member], partitions: &BTreeMap<String, i32>) -> Vec<(String, Vec<Owned>)> {
    let mut shares: BTreeMap<&str, Vec<Owned>> =
        members.iter().map(|m| (m.id.as_str(), Vec::new())).collect();
    for (topic, count) in partitions {
        for (member, mine) in share_topic(members, topic, *count) {
            if let (Some(share), false) = (shares.get_mut(member), mine.is_empty()) {
                share.push(Owned { topic: topic.clone(), partitions: mine.into_iter().collect() });
            }
        }
    }
    shares.into_iter().map(|(id, share)| (id.to_owned(), share)).collect()
}

fn share_topic<'a>(members: &'a [Member], topic: &str, count: i32) -> BTreeMap<&'a str, BTreeSet<i32>> {
    let subscribed = |m: &&Member| m.subscription.topics.iter().any(|t| t == topic);
    let mut shares: BTreeMap<&str, BTreeSet<i32>> =
        members.iter().filter(subscribed).map(|m| (m.id.as_str(), BTreeSet::new())).collect();
    if shares.is_empty() {
        return shares;
    }
    let mut free: BTreeSet<i32> = (0..count).collect();
    let size = usize::try_from(count).unwrap_or(0);
    let (least, mut larger) = (size / shares.len(), size % shares.len());

    // The longest list first, so that those shares that may be larger by one go to who can keep the most.
    let mut owners: Vec<(&str, Vec<i32>)> = owned(members, topic)
        .into_iter()
        .filter(|(member, _)| shares.contains_key(member))
        .map(|(member, list)| (member, list.into_iter().filter(|p| (0..count).contains(p)).collect()))
        .collect();
    owners.sort_by_key(|(member, list): &(&str, Vec<i32>)| (std::cmp::Reverse(list.len()), *member));
    for (member, list) in owners {
        let keeps = if list.len() > least && larger > 0 { least + 1 } else { least };
        larger -= usize::from(keeps > least);
        for partition in list.into_iter().take(keeps) {
            if free.remove(&partition)
                && let Some(share) = shares.get_mut(member)
            {
                share.insert(partition);
            }
        }
    }
    for partition in free {
        if let Some(share) = shares.values_mut().min_by_key(|share| share.len()) {
            share.insert(partition);
        }
    }
    shares
}

/// What each member owns of a topic, where each partition has one owner at most.
fn owned<'a>(members: &'a [Member], topic: &str) -> BTreeMap<&'a str, Vec<i32>> {
    let mut owner: BTreeMap<i32, (i32, &str)> = BTreeMap::new();
    for member in members {
        let lists = member.subscription.owned.iter().filter(|owned| owned.topic == topic);
        for partition in lists.flat_map(|owned| &owned.partitions) {
            let claim = (member.subscription.owned_generation, member.id.as_str());
            let best = owner.entry(*partition).or_insert(claim);
            *best = (*best).max(claim);
        }
    }
    let mut lists: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (partition, (_, member)) in owner {
        lists.entry(member).or_default().push(partition);
    }
    lists
}

/// The partitions of a share, one by one.
pub fn flatten(share: &[Owned]) -> Vec<TopicPartition> {
    let each = |owned: &Owned| {
        let topic = owned.topic.clone();
        owned
            .partitions
            .iter()
            .map(move |p| TopicPartition { topic: topic.clone(), partition: *p })
            .collect::<Vec<_>>()
    };
    share.iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::broker::Subscription;

    fn member(id: &str, generation: i32, owned: &[i32]) -> Member {
        let owned = vec![Owned { topic: "t".to_owned(), partitions: owned.to_vec() }];
        let subscription = Subscription { topics: vec!["t".to_owned()], owned, owned_generation: generation };
        Member { id: id.to_owned(), instance_id: None, subscription }
    }

    /// Shares `count` partitions and returns each member's, after checking that they are even and complete.
    fn check(members: &[Member], count: i32) -> Vec<Vec<i32>> {
        let shares = assign(members, &BTreeMap::from([("t".to_owned(), count)]));
        let lists: Vec<Vec<i32>> =
            shares.iter().map(|(_, s)| flatten(s).iter().map(|p| p.partition).collect()).collect();
        let mut all: Vec<i32> = lists.concat();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "each partition once");
        let sizes = || lists.iter().map(Vec::len);
        assert!(sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0) <= 1, "even: {lists:?}");
        lists
    }

    #[test]
    fn shares_are_even() {
        assert_eq!(check(&[member("a", -1, &[]), member("b", -1, &[])], 1), [vec![0], vec![]]);
        assert_eq!(check(&[member("a", -1, &[]), member("b", -1, &[])], 3), [vec![0, 2], vec![1]]);
        assert_eq!(check(&[member("a", -1, &[])], 3), [vec![0, 1, 2]]);
    }

    #[test]
    fn partitions_stay_with_their_owner_where_fairness_allows() {
        assert_eq!(check(&[member("a", 1, &[1]), member("b", 1, &[0])], 2), [vec![1], vec![0]]);
        assert_eq!(check(&[member("a", -1, &[]), member("b", 1, &[0, 1, 2])], 3), [vec![2], vec![0, 1]]);
        assert_eq!(check(&[member("a", 1, &[0]), member("b", 1, &[1, 2])], 4), [vec![0, 3], vec![1, 2]]);
        assert_eq!(
            check(&[member("a", 1, &[0, 2]), member("b", 1, &[1, 3]), member("c", -1, &[])], 4)
                .concat()
                .len(),
            4
        );
    }

    #[test]
    fn the_later_generation_owns_what_two_claim() {
        assert_eq!(check(&[member("a", 3, &[0]), member("b", 4, &[0])], 2), [vec![1], vec![0]]);
    }

    #[test]
    fn foreign_claims_do_no_harm() {
        check(&[member("a", 9, &[-1, 0, 0, 77]), member("b", 2, &[i32::MAX])], 5);
        assert_eq!(assign(&[], &BTreeMap::from([("t".to_owned(), 2)])), []);
    }

    #[test]
    fn random_histories_stay_even_and_keep_what_they_can() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = move |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            i32::try_from(seed % n).unwrap()
        };
        for _ in 0..300 {
            let count = below(12);
            let mut members = Vec::new();
            for id in 0..=below(5) {
                let owned: Vec<i32> = (0..below(6)).map(|_| below(12)).collect();
                members.push(member(&format!("m{id}"), below(3), &owned));
            }
            let first = check(&members, count);
            // What was just shared out is shared out the same again.
            let again: Vec<Member> =
                members.iter().zip(&first).map(|(m, owned)| member(&m.id, 9, owned)).collect();
            assert_eq!(check(&again, count), first);
        }
    }
}

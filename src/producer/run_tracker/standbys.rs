//! The producers that stand by, and whether their job files are the leader's. Pure.
//!
//! Each says on `cron-runs` every ten seconds which job file it has. The group's own metadata could carry the revision
//! too, but a member can change that only by joining anew: each reload would be a rebalance, and a rebalance may move
//! the lead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::model::Event;

/// How often a producer that stands by says which job file it has.
pub const SAY: Duration = Duration::from_secs(10);
/// Silence after which a producer is taken for gone.
const GONE: Duration = Duration::from_secs(35);
/// A difference counts when it was heard of for so long: a deploy replaces all files within seconds.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is told again.
const AGAIN: Duration = Duration::from_secs(300);

/// What is compared between the producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The revisions of their job files.
    File,
    /// The versions of their time-zone data.
    Zones,
}

/// The producers of a group that stand by.
#[derive(Debug)]
pub struct Standbys {
    /// Our name: what we said of ourselves before we led does not count.
    name: String,
    group: String,
    compared: Compared,
    heard: BTreeMap<String, Standby>,
    /// When it was last told that files differ; `None` where they do not.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Standby {
    revision: String,
    heard: Instant,
    /// Since when it is known to have a file other than ours, while we lead.
    differs: Option<Instant>,
}

/// The news for the log.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These producers have another file than the leader, and its revision.
    Differ(Vec<(String, String)>),
    /// No producer has another file any more.
    Same,
}

impl Standbys {
    /// Creates the standbys, none heard of yet, for the producer of that name in the group.
    pub fn new(name: String, group: String, compared: Compared) -> Self {
        Self { name, group, compared, heard: BTreeMap::new(), told: None }
    }

    /// Takes an event that was read at `now`.
    pub fn take(&mut self, event: &Event, now: Instant) {
        let Event::Standby { producer, group, revision, tzdata, .. } = event else { return };
        let said = match self.compared {
            Compared::File => Some(revision),
            Compared::Zones => tzdata.as_ref(),
        };
        if *group != self.group || *producer == self.name {
            return;
        }
        // An older producer, which tells no versions, says nothing about its zones.
        let Some(revision) = said else { return };
        let differs = self.heard.get(producer).and_then(|peer| peer.differs);
        self.heard.insert(producer.clone(), Standby { revision: revision.clone(), heard: now, differs });
    }

    /// Compares with our file, where we lead, and returns what is to be told.
    pub fn compare(&mut self, ours: &str, leads: bool, now: Instant) -> Option<News> {
        self.heard.retain(|_, peer| now.saturating_duration_since(peer.heard) < GONE);
        for peer in self.heard.values_mut() {
            peer.differs = (leads && peer.revision != ours).then(|| peer.differs.unwrap_or(now));
        }
        if !leads {
            self.told = None;
            return None;
        }
        let differ: Vec<(String, String)> =
            self.differing().map(|(name, peer)| (name.clone(), peer.revision.clone())).collect();
        if differ.is_empty() {
            return self.told.take().map(|_| News::Same);
        }
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < AGAIN) {
            return None;
        }
        self.told = Some(now);
        Some(News::Differ(differ))
    }

    /// How many have another file than the leader, for long enough to count. None where we do not lead.
    pub fn differing_count(&self) -> usize {
        self.differing().count()
    }

    fn differing(&self) -> impl Iterator<Item = (&String, &Standby)> {
        let lasts = |peer: &Standby| {
            peer.differs.is_some_and(|since| peer.heard.saturating_duration_since(since) >= LASTS)
        };
        self.heard.iter().filter(move |(_, peer)| lasts(peer))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn says(producer: &str, group: &str, revision: &str) -> Event {
        let (producer, group, revision) = (producer.to_owned(), group.to_owned(), revision.to_owned());
        Event::Standby {
            producer,
            group,
            tzdata: Some(format!("of {revision}")),
            revision,
            at: DateTime::UNIX_EPOCH,
        }
    }

    /// For ten minutes, by the second: what the others say every ten seconds, our own revision, and whether we lead.
    /// Returns what is told, and at which second.
    fn told<'a>(
        others: impl Fn(u64) -> Vec<(&'a str, &'a str)>,
        ours: impl Fn(u64) -> &'a str,
        leads: impl Fn(u64) -> bool,
    ) -> Vec<(u64, usize)> {
        let zero = Instant::now();
        let mut standbys = Standbys::new("me".to_owned(), "g".to_owned(), Compared::File);
        let mut all = Vec::new();
        for second in 0..600 {
            let now = zero + Duration::from_secs(second);
            if second % SAY.as_secs() == 0 {
                for (producer, revision) in others(second) {
                    standbys.take(&says(producer, "g", revision), now);
                }
            }
            let news = standbys.compare(ours(second), leads(second), now);
            let differing = standbys.differing_count();
            all.extend(news.map(|news| match news {
                News::Differ(who) => {
                    assert_eq!(who.len(), differing);
                    (second, who.len())
                }
                News::Same => (second, 0),
            }));
        }
        all
    }

    #[test]
    fn files_that_differ_are_told_when_that_has_lasted_and_again_now_and_then() {
        let check = |others: &dyn Fn(u64) -> Vec<(&'static str, &'static str)>, expected: &[(u64, usize)]| {
            assert_eq!(told(others, |_| "new", |_| true), expected);
        };
        check(&|_| vec![("a", "new"), ("b", "new")], &[]);
        check(&|_| vec![("a", "old"), ("b", "new")], &[(30, 1), (330, 1)]);
        check(&|_| vec![("a", "old"), ("b", "older")], &[(30, 2), (330, 2)]);
        // A deploy: replaced a few seconds later there than here.
        check(&|second| vec![("a", if second < 25 { "old" } else { "new" })], &[]);
        check(&|second| vec![("a", if second < 95 { "old" } else { "new" })], &[(30, 1), (100, 0)]);
        // Each time another one, never that of the leader.
        check(&|second| vec![("a", if second % 20 == 0 { "old" } else { "older" })], &[(30, 1), (330, 1)]);
    }

    #[test]
    fn a_producer_that_is_gone_differs_no_more_and_one_that_was_heard_of_once_never_did() {
        let while_there = |until: u64| {
            told(|second| if second < until { vec![("a", "old")] } else { Vec::new() }, |_| "new", |_| true)
        };
        assert_eq!(while_there(1), []);
        assert_eq!(while_there(21), []);
        assert_eq!(while_there(91), [(30, 1), (125, 0)]);
    }

    #[test]
    fn only_the_leader_compares_with_its_own_file_and_others_of_its_group() {
        let old = |_| vec![("a", "old"), ("me", "other")];
        assert_eq!(told(old, |_| "new", |_| false), []);
        assert_eq!(told(old, |_| "new", |second| second >= 100), [(130, 1), (430, 1)]);
        assert_eq!(
            told(old, |second| if second < 100 { "new" } else { "old" }, |_| true),
            [(30, 1), (100, 0)]
        );
        let mut standbys = Standbys::new("me".to_owned(), "g".to_owned(), Compared::File);
        standbys.take(&says("a", "another", "old"), Instant::now());
        assert!(standbys.heard.is_empty());
    }

    #[test]
    fn zone_data_that_differs_is_told_like_files_that_differ() {
        let zero = Instant::now();
        let mut zones = Standbys::new("me".to_owned(), "g".to_owned(), Compared::Zones);
        let told: Vec<Option<News>> = (0..60)
            .map(|second| {
                let now = zero + Duration::from_secs(second);
                zones.take(&says("a", "g", "2025b"), now);
                let silent = Event::Standby {
                    producer: "b".to_owned(),
                    group: "g".to_owned(),
                    revision: "r".to_owned(),
                    tzdata: None,
                    at: DateTime::UNIX_EPOCH,
                };
                zones.take(&silent, now);
                zones.compare("of 2026f", true, now)
            })
            .collect();
        let told: Vec<News> = told.into_iter().flatten().collect();
        assert_eq!(told, [News::Differ(vec![("a".to_owned(), "of 2025b".to_owned())])]);
        assert_eq!(zones.differing_count(), 1);
    }
}

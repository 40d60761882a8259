//! Where a topic differs from what it should be, what breaks by it, and how to change it. A pure rule.
//!
//! A setting is judged by what it does, and not by being the same: what keeps more, or takes more, breaks nothing.

use crate::common::broker::TopicState;
use crate::common::topics::{LEADER, ORDERS, RUNS, TopicSpec};

/// A setting of a topic by which a promise is broken, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Kafka's name of the setting.
    pub setting: &'static str,
    /// What it is, and what breaks: `retention.bytes=1024: letters are deleted ...`.
    pub breaks: String,
    /// The command that changes it, or what to do.
    pub cure: String,
    /// The topic refuses our records, or loses what we cannot do without.
    pub is_fatal: bool,
}

/// What Kafka asks for by itself, of records whose time is the writer's.
const TIMES: [&str; 2] = ["message.timestamp.before.max.ms", "message.timestamp.after.max.ms"];

/// Clocks of healthy hosts, and answers of healthy brokers, differ by less.
const CLOCKS_MS: i64 = 60_000;

/// No write arrives within less for sure.
const WRITING_MS: i64 = 1_000;

/// No event, attempt or letter is smaller than some hundreds of bytes.
const SMALLEST_MESSAGE_BYTES: i64 = 1_024;

/// The settings that are compared.
pub fn names(spec: &TopicSpec) -> Vec<&'static str> {
    spec.settings.iter().map(|(name, _)| *name).chain(TIMES).collect()
}

/// Compares a topic with what it should be; `settings` are those of [`names`] that the broker told.
pub fn compare(spec: &TopicSpec, state: &TopicState, settings: &[(String, String)]) -> Vec<Difference> {
    let topic = Topic { spec, state, settings };
    let compared = names(spec).into_iter().filter_map(|name| topic.judge(name));
    compared.chain(topic.judge_copies()).chain(topic.judge_partitions()).collect()
}

struct Topic<'a> {
    spec: &'a TopicSpec,
    state: &'a TopicState,
    settings: &'a [(String, String)],
}

/// What a topic holds, for people.
fn content(topic: &str) -> &'static str {
    match topic {
        RUNS => "events",
        ORDERS => "orders",
        _ if topic.ends_with("-dead") => "letters",
        _ if topic.ends_with("-retry") => "retries",
        _ => "runs",
    }
}

impl Topic<'_> {
    /// Whether anything is written to it.
    fn is_written(&self) -> bool {
        self.spec.name != LEADER
    }

    fn have(&self, setting: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == setting).map(|(_, value)| value.as_str())
    }

    fn want(&self, setting: &str) -> &str {
        self.spec.settings.iter().find(|(name, _)| *name == setting).map_or("", |(_, value)| value)
    }

    fn number(&self, setting: &str) -> Option<i64> {
        self.have(setting)?.parse().ok()
    }

    fn wanted_number(&self, setting: &str) -> i64 {
        self.want(setting).parse().unwrap_or(0)
    }

    /// The fewest copies that one of its partitions should have.
    fn copies(&self) -> usize {
        self.state.partitions.iter().map(|partition| partition.replicas).min().unwrap_or(0)
    }

    /// What breaks by a setting, and whether that is fatal.
    fn judge(&self, setting: &'static str) -> Option<Difference> {
        let have = self.have(setting)?;
        let (breaks, is_fatal) = if self.is_written() { self.breaks(setting, have)? } else { return None };
        let want = match setting {
            _ if TIMES.contains(&setting) => "9223372036854775807",
            // By the copies that there are, for more of them come later, if at all.
            "min.insync.replicas" if self.copies() < 3 => "1",
            _ => self.want(setting),
        };
        Some(Difference {
            setting,
            breaks: format!("{setting}={have}: {breaks}"),
            cure: format!(
                "kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {setting}={want}",
                self.spec.name
            ),
            is_fatal,
        })
    }

    fn breaks(&self, setting: &str, have: &str) -> Option<(String, bool)> {
        let what = content(&self.spec.name);
        let number = self.number(setting);
        let risk = |text: String| Some((text, false));
        match setting {
            "cleanup.policy" if have.contains("compact") => {
                let text =
                    "of each key only the newest record is kept, and records without a key are refused";
                // Of a run the newest event alone says neither who claimed it nor whether it has been passed on.
                Some((format!("{text}, so {what} vanish"), self.spec.name == RUNS))
            }
            "max.message.bytes" => {
                let number = number.filter(|have| *have < self.wanted_number(setting))?;
                let text = format!("{what} that are larger are refused");
                Some((text, number < SMALLEST_MESSAGE_BYTES))
            }
            "message.timestamp.type" if have != self.want(setting) => risk(format!(
                "{what} have the time of the host that wrote them; what a host writes whose clock is off is refused, or \
                 deleted too early"
            )),
            "message.timestamp.before.max.ms" | "message.timestamp.after.max.ms" => {
                let is_by_writer = self.have("message.timestamp.type") == Some("CreateTime");
                let number = number.filter(|have| is_by_writer && *have < CLOCKS_MS)?;
                Some((
                    format!("{what} are refused whose writer's clock differs by {number} ms"),
                    number < WRITING_MS,
                ))
            }
            "min.insync.replicas" => self.breaks_confirming(number?),
            "retention.bytes" if number? >= 0 => {
                risk(format!("{what} are deleted, read or not, when a partition holds {have} bytes"))
            }
            "retention.ms" => {
                let (have, want) = (number?, self.wanted_number(setting));
                let keeps_enough = have < 0 || (want >= 0 && have >= want);
                let instead = if want < 0 { "kept for ever".to_owned() } else { format!("after {want} ms") };
                (!keeps_enough)
                    .then(|| (format!("{what} are deleted after {have} ms instead of {instead}"), false))
            }
            // The largest batch must fit into a segment; a few bytes less than a round number are no matter.
            "segment.bytes" if number? < self.wanted_number("max.message.bytes") / 1_024 * 1_024 => {
                risk(format!("{what} that are larger are refused"))
            }
            "segment.ms" if number? < CLOCKS_MS => {
                risk("the brokers open a new file each time, until they have no descriptor left".to_owned())
            }
            "unclean.leader.election.enable" if have == "true" => {
                risk(format!("an election may throw away {what} that were confirmed"))
            }
            _ => None,
        }
    }

    fn breaks_confirming(&self, confirming: i64) -> Option<(String, bool)> {
        let copies = i64::try_from(self.copies()).unwrap_or(i64::MAX);
        if confirming > copies {
            // Kafka 4 asks for no more copies than there are; where writes are refused, the publisher says so itself.
            return Some((format!("with {copies} copies some versions of Kafka refuse every write"), false));
        }
        if confirming == copies && copies > 1 {
            return Some(("while one broker is down every write is refused".to_owned(), false));
        }
        let is_too_few = copies >= 3 && confirming < 2;
        is_too_few.then(|| ("a write may be confirmed that is lost with one broker's disk".to_owned(), false))
    }

    /// A topic that was created while a broker was down keeps its few copies for ever.
    fn judge_copies(&self) -> Option<Difference> {
        let (have, want) = (self.copies(), usize::try_from(self.spec.replication_factor).unwrap_or(0));
        let lost = if have == 1 { "one broker's disk".to_owned() } else { format!("{have} brokers' disks") };
        (self.is_written() && have < want).then(|| Difference {
            setting: "replication.factor",
            breaks: format!(
                "{have} of {want} copies: what it holds is lost with {lost}, and stands still with its brokers"
            ),
            cure: format!(
                "kafka-reassign-partitions.sh gives it {want}: see \"Too few copies\" in docs/OPERATIONS.md"
            ),
            is_fatal: false,
        })
    }

    fn judge_partitions(&self) -> Option<Difference> {
        let have = i32::try_from(self.state.partitions.len()).unwrap_or(i32::MAX);
        let (want, name) = (self.spec.partitions, &self.spec.name);
        (have < want).then(|| Difference {
            setting: "partitions",
            breaks: format!("{have} of {want} partitions: fewer consumers can share the work"),
            cure: format!(
                "kafka-topics.sh --alter --topic {name} --partitions {want}; see Scaling in docs/OPERATIONS.md"
            ),
            is_fatal: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::common::broker::PartitionState;
    use crate::common::topics;

    /// The differences of a topic of cluster `c` on three brokers, created as it should be but for what is given:
    /// setting, what breaks (a part of it), and whether it is fatal.
    fn check(topic: &str, changed: &[(&str, &str)], expected: &[(&str, &str, bool)]) {
        check_copies(topic, 3, changed, expected);
    }

    fn check_copies(topic: &str, replicas: usize, changed: &[(&str, &str)], expected: &[(&str, &str, bool)]) {
        let specs = topics::all(&["c".parse().unwrap()], 2, 3);
        let spec = specs.iter().find(|spec| spec.name == topic).unwrap();
        let partition = |partition| PartitionState { partition, leader: Some(1), replicas };
        let state = TopicState { id: Uuid::nil(), partitions: (0..spec.partitions).map(partition).collect() };
        let value = |name: &str| {
            let by_us = spec.settings.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
            changed.iter().find(|(n, _)| *n == name).map(|(_, value)| *value).or(by_us)
        };
        let settings: Vec<(String, String)> = names(spec)
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), value(name)?.to_owned())))
            .collect();
        let found = compare(spec, &state, &settings);
        let short: Vec<(&str, bool)> = found.iter().map(|d| (d.setting, d.is_fatal)).collect();
        let wanted: Vec<(&str, bool)> =
            expected.iter().map(|(setting, _, fatal)| (*setting, *fatal)).collect();
        assert_eq!(short, wanted, "{topic} {changed:?}: {found:?}");
        for (difference, (_, part, _)) in found.iter().zip(expected) {
            assert!(difference.breaks.contains(part), "{difference:?}");
            let names_it = difference.cure.contains(topic) || difference.setting == "replication.factor";
            assert!(names_it, "{difference:?}");
        }
    }

    #[test]
    fn what_is_as_created_differs_nowhere_and_what_keeps_or_takes_more_breaks_nothing() {
        for topic in ["c", "c-retry", "c-dead", RUNS, ORDERS, LEADER] {
            check(topic, &[], &[]);
            let more = [
                ("retention.ms", "-1"),
                ("max.message.bytes", "8388608"),
                ("compression.type", "producer"),
                ("segment.bytes", "2147483647"),
                ("segment.ms", "86400000"),
            ];
            check(topic, &more, &[]);
        }
        check("c", &[("retention.ms", "9999999999")], &[]);
        check("c", &[("segment.bytes", "1048576")], &[]);
    }

    #[test]
    fn what_deletes_too_early_is_a_risk() {
        let ceiling = [("retention.bytes", "1073741824")];
        check(
            "c-dead",
            &ceiling,
            &[(
                "retention.bytes",
                "letters are deleted, read or not, when a partition holds 1073741824 bytes",
                false,
            )],
        );
        check("c", &ceiling, &[("retention.bytes", "runs are deleted", false)]);
        check(
            "c-dead",
            &[("retention.ms", "604800000")],
            &[("retention.ms", "instead of kept for ever", false)],
        );
        check("c-retry", &[("retention.ms", "3600000")], &[("retention.ms", "retries are deleted", false)]);
        check(RUNS, &[("retention.ms", "604800000")], &[("retention.ms", "events", false)]);
        check(LEADER, &[("retention.ms", "1"), ("retention.bytes", "1")], &[]);
    }

    #[test]
    fn compaction_of_events_is_fatal_and_of_anything_else_a_risk() {
        for policy in ["compact", "compact,delete"] {
            check(RUNS, &[("cleanup.policy", policy)], &[("cleanup.policy", "newest record", true)]);
            check("c-retry", &[("cleanup.policy", policy)], &[("cleanup.policy", "retries vanish", false)]);
            check(LEADER, &[("cleanup.policy", policy)], &[]);
        }
    }

    #[test]
    fn what_refuses_writes_is_told_and_fatal_where_it_refuses_all() {
        check("c", &[("max.message.bytes", "16384")], &[("max.message.bytes", "larger are refused", false)]);
        check(RUNS, &[("max.message.bytes", "100")], &[("max.message.bytes", "events", true)]);
        check("c-dead", &[("segment.bytes", "1048576")], &[("segment.bytes", "letters", false)]);
        check("c", &[("min.insync.replicas", "4")], &[("min.insync.replicas", "every write", false)]);
        check("c", &[("min.insync.replicas", "3")], &[("min.insync.replicas", "one broker is down", false)]);
        check("c", &[("min.insync.replicas", "1")], &[("min.insync.replicas", "lost", false)]);
    }

    #[test]
    fn times_of_writers_are_a_risk_and_narrow_limits_on_them_are_fatal() {
        let by_writer = ("message.timestamp.type", "CreateTime");
        let whose = ("message.timestamp.type", "clock is off", false);
        check("c", &[by_writer], &[whose]);
        let limit = ("message.timestamp.after.max.ms", "500");
        check("c", &[limit], &[]);
        check("c", &[by_writer, limit], &[whose, ("message.timestamp.after.max.ms", "500 ms", true)]);
        let limit = ("message.timestamp.before.max.ms", "30000");
        check("c", &[by_writer, limit], &[whose, ("message.timestamp.before.max.ms", "30000 ms", false)]);
        let usual =
            [("message.timestamp.after.max.ms", "3600000"), ("message.timestamp.before.max.ms", "86400000")];
        check("c", &[&[by_writer], usual.as_slice()].concat(), &[whose]);
    }

    #[test]
    fn a_topic_that_was_created_while_brokers_were_down_has_too_few_copies() {
        let one = ("min.insync.replicas", "1");
        check_copies("c", 1, &[one], &[("replication.factor", "1 of 3 copies", false)]);
        check_copies("c", 2, &[one], &[("replication.factor", "lost with 2 brokers' disks", false)]);
        check_copies(LEADER, 1, &[one], &[]);
        let every = ("min.insync.replicas", "with 1 copies some versions of Kafka refuse", false);
        check_copies("c", 1, &[], &[every, ("replication.factor", "1 of 3", false)]);
    }

    #[test]
    fn other_risks_are_told_by_name() {
        check(
            "c",
            &[("unclean.leader.election.enable", "true")],
            &[("unclean.leader.election.enable", "throw away runs", false)],
        );
        check("c", &[("segment.ms", "1000")], &[("segment.ms", "descriptor", false)]);
    }
}

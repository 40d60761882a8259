//! Claims under way: what was written and committed, and not yet answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::answers::{Answer, may_arrive_late, to_partition};
use crate::common::broker::{BrokerError, Commit, ErrorCode, Holder};

/// One commit request with the claims that it carries. It is sent unchanged until every partition of it is granted or
/// refused.
#[derive(Debug)]
pub struct Pending {
    /// In whose name: the generation under which the messages were held.
    pub holder: Holder,
    /// What is still to be answered.
    pub commits: Vec<Commit>,
    /// Which offsets each partition's commit claims; none where it only moves past what is settled.
    pub claims: BTreeMap<i32, Vec<i64>>,
    /// When `claimed` was sent; a lease runs from here at the earliest.
    pub claimed_sent: Instant,
    /// Whether a copy of it may still arrive after a later commit.
    pub may_arrive_late: bool,
    /// How often it was sent to no avail.
    failures: u32,
}

/// What came of sending a commit once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// What is decided by it.
    pub decided: Vec<Decided>,
    /// Why the rest is not, where that is to be told: the first time, and then once in a while, for an outage is one thing,
    /// not a thousand.
    pub tell: Option<String>,
}

/// What an answer decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The partition.
    pub partition: i32,
    /// What its commit claims.
    pub offsets: Vec<i64>,
    /// How long the text beside the offset was, in bytes.
    pub text_bytes: usize,
    /// What was decided.
    pub outcome: ClaimOutcome,
}

/// How the claim of a partition's messages ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is ours to start.
    Granted,
    /// Our membership is over.
    Refused,
    /// This commit will not be let through, and nothing of it is started; the partition is still ours.
    Rejected(ErrorCode),
}

/// The instant before which an attempt must have been started, where its claim was sent at `claimed_sent`: a quarter of the
/// lease before the leader may take it for lost.
pub fn start_by(claimed_sent: Instant, lease: Duration) -> Instant {
    claimed_sent + (lease - lease / 4)
}

/// Whether a confirmation came in time: later than the lease less a quarter after `claimed` was sent, the run is the
/// leader's.
pub fn in_time(claimed_sent: Instant, now: Instant, lease: Duration) -> bool {
    now < start_by(claimed_sent, lease)
}

impl Pending {
    /// A commit that is about to be sent, `claimed` having been sent at an instant.
    pub fn new(
        holder: Holder,
        commits: Vec<Commit>,
        claims: BTreeMap<i32, Vec<i64>>,
        claimed_sent: Instant,
    ) -> Self {
        Self { holder, commits, claims, claimed_sent, may_arrive_late: false, failures: 0 }
    }

    /// Takes the answer to one sending. What it does not decide stays to be sent again.
    pub fn answered(&mut self, answer: Result<Vec<Option<ErrorCode>>, BrokerError>) -> Answered {
        let codes = match answer {
            Ok(codes) => codes,
            Err(error) => {
                self.may_arrive_late |= may_arrive_late(&error);
                return Answered { decided: Vec::new(), tell: self.failed(&error) };
            }
        };
        let mut decided = Vec::new();
        let mut undecided = Vec::new();
        for (i, commit) in std::mem::take(&mut self.commits).into_iter().enumerate() {
            // An answer that leaves a partition out says nothing about it.
            let answer = codes.get(i).map_or(Answer::Unknown, |code| to_partition(*code));
            match answer {
                Answer::NotApplied | Answer::Unknown => undecided.push(commit),
                Answer::Granted => decided.push(self.decide(&commit, ClaimOutcome::Granted)),
                Answer::Refused => decided.push(self.decide(&commit, ClaimOutcome::Refused)),
                Answer::Rejected(code) => decided.push(self.decide(&commit, ClaimOutcome::Rejected(code))),
            }
        }
        self.commits = undecided;
        let of = self.commits.first().map(|commit| &commit.of).zip(codes.iter().flatten().next());
        let of = of.map(|(of, code)| format!("{}/{}: {code}", of.topic, of.partition));
        Answered { decided, tell: of.and_then(|of| self.failed(&of)) }
    }

    fn decide(&mut self, commit: &Commit, outcome: ClaimOutcome) -> Decided {
        let partition = commit.of.partition;
        let offsets = self.claims.remove(&partition).unwrap_or_default();
        Decided { partition, offsets, text_bytes: commit.metadata.len(), outcome }
    }

    /// Counts a failure, and returns what is to be told of it.
    fn failed(&mut self, why: &dyn std::fmt::Display) -> Option<String> {
        let is_told = self.failures.is_multiple_of(50);
        self.failures = self.failures.saturating_add(1);
        is_told.then(|| why.to_string())
    }

    /// Whether nothing is left to be answered.
    pub fn is_settled(&self) -> bool {
        self.commits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::broker::TopicPartition;

    fn pending(partitions: &[i32]) -> Pending {
        let commit = |partition: &i32| Commit {
            of: TopicPartition { topic: "t".to_owned(), partition: *partition },
            offset: 1,
            metadata: String::new(),
        };
        let (group, member_id) = ("g".to_owned(), "m".to_owned());
        let holder = Holder { group, member_id, instance_id: None, generation: 1 };
        let claims = partitions.iter().map(|p| (*p, vec![0])).collect();
        Pending::new(holder, partitions.iter().map(commit).collect(), claims, Instant::now())
    }

    fn check(codes: &[i16], granted: &[i32], refused: &[i32], again: &[i32]) {
        let partitions: Vec<i32> = (0..3).collect();
        let mut pending = pending(&partitions);
        let codes = codes.iter().map(|code| ErrorCode::from_wire(*code)).collect();
        let decided = pending.answered(Ok(codes)).decided;
        let of = |granted| {
            let is = |d: &&Decided| (d.outcome == ClaimOutcome::Granted) == granted;
            decided.iter().filter(is).map(|d| d.partition).collect::<Vec<_>>()
        };
        assert_eq!((of(true), of(false)), (granted.to_vec(), refused.to_vec()));
        assert_eq!(pending.commits.iter().map(|c| c.of.partition).collect::<Vec<_>>(), again);
        assert_eq!(pending.is_settled(), again.is_empty());
    }

    #[test]
    fn what_is_neither_granted_nor_refused_is_sent_again() {
        check(&[0, 0, 0], &[0, 1, 2], &[], &[]);
        check(&[0, 22, 27], &[0], &[1], &[2]);
        check(&[15, 16, 25], &[], &[2], &[0, 1]);
        check(&[0], &[0], &[], &[1, 2]);
        check(&[0, 12, 7], &[0], &[1], &[2]);
    }

    #[test]
    fn a_lost_connection_decides_nothing_and_is_remembered() {
        let mut lost = pending(&[0]);
        let tell = |pending: &mut Pending, error| {
            let Answered { decided, tell } = pending.answered(Err(error));
            assert_eq!(decided, []);
            tell
        };
        let cut = || BrokerError::NoAnswer("cut".to_owned());
        assert_eq!(tell(&mut lost, cut()), Some(cut().to_string()));
        assert_eq!(tell(&mut lost, cut()), None, "an outage is told once in a while");
        assert!(lost.may_arrive_late && !lost.is_settled());
        assert_eq!(lost.answered(Ok(vec![None])).decided.len(), 1);
        assert!(lost.may_arrive_late, "the first copy may still be under way");
        let mut unsent = pending(&[0]);
        assert!(tell(&mut unsent, BrokerError::NotSent("refused".to_owned())).is_some());
        assert!(!unsent.may_arrive_late);
    }

    #[test]
    fn a_confirmation_that_comes_after_the_lease_starts_nothing() {
        let (sent, lease) = (Instant::now(), Duration::from_secs(60));
        assert!(in_time(sent, sent + Duration::from_secs(44), lease));
        assert!(!in_time(sent, sent + Duration::from_secs(45), lease));
    }
}

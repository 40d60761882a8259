//! Keeping the cursors: the newest that the timer told, at most once a second, all clusters in one request.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{AFTER_FAILURE, Act, CALL, COMMIT_EVERY, Keep, Leadership, Now, Stage, cursor};
use crate::common::broker::{BrokerError, Client, Commit, ErrorCode, TopicPartition};
use crate::common::topics;

impl Leadership {
    /// What the timer wants kept; the newest counts.
    pub fn keep(&mut self, keep: Keep) {
        if keep.epoch == self.epoch && self.stage == Stage::Leading {
            self.keep = Some(keep);
        }
    }

    /// Commits what is still to be kept, before we leave.
    pub fn finish(&mut self, client: &mut dyn Client, now: Now) {
        self.next_commit = None;
        if self.keep.is_some()
            && let Err(error) = self.commit(client, now, &mut Vec::new())
        {
            log::warn!("the last cursors are not kept: {error}");
        }
    }

    /// The commit of a cluster's cursor.
    pub(super) fn commit_of(&self, number: usize, cursor: DateTime<Utc>) -> Commit {
        let offset = cursor.timestamp_millis().max(0);
        let gap = self.gaps.get(&number).copied().filter(|gap| *gap >= cursor);
        Commit { of: self.cursor_of(number), offset, metadata: cursor::metadata(self.reboot, gap) }
    }

    /// Commits the newest cursors, at most once a while.
    pub(super) fn commit(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<Duration, BrokerError> {
        if let Some(at) = self.next_commit.filter(|at| now.mono < *at) {
            return Ok(at - now.mono);
        }
        let (Some(keep), Some(holder)) = (self.keep.take(), &self.holder) else { return Ok(COMMIT_EVERY) };
        let cursors = keep.cursors.iter().enumerate();
        let mut commits: Vec<Commit> =
            cursors.filter_map(|(number, cursor)| Some(self.commit_of(number, (*cursor)?))).collect();
        commits.extend(keep.reads.iter().map(|(partition, offset)| Commit {
            of: TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition },
            offset: *offset,
            metadata: String::new(),
        }));
        let answer = client.commit(holder, &commits, now.mono + CALL);
        // The cursor of a topic that was deleted is nobody's; the others are kept all the same.
        let refusal = |code: &ErrorCode| *code != ErrorCode::UnknownTopicOrPartition;
        let refused = answer.as_ref().ok().and_then(|codes| codes.iter().flatten().copied().find(refusal));
        match (answer, refused) {
            (Ok(_), None) => {
                self.next_commit = Some(now.mono + COMMIT_EVERY);
                acts.push(Act::Kept(keep.cursors));
                Ok(COMMIT_EVERY)
            }
            // Newer ones come every few milliseconds, and are no reason to ask at once.
            (Err(error), _) => {
                self.next_commit = Some(now.mono + AFTER_FAILURE);
                self.keep.get_or_insert(keep);
                Err(error)
            }
            // The group gathers: the membership is about to tell who leads now.
            (_, Some(ErrorCode::RebalanceInProgress)) => {
                self.next_commit = Some(now.mono + AFTER_FAILURE);
                self.keep.get_or_insert(keep);
                Ok(AFTER_FAILURE)
            }
            (_, Some(code)) => {
                self.keep.get_or_insert(keep);
                Err(BrokerError::Refused(code))
            }
        }
    }
}

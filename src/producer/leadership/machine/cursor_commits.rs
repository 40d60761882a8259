//! Commits the cursors: the newest that the scheduler told, at most once a second, all clusters in one request.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::cursor;
use super::{AFTER_FAILURE, CALL, COMMIT_EVERY, Call, CursorCommit, Effect, Failure, Leadership, Now, Stage};
use crate::common::broker::{BrokerError, Client, Commit, ErrorCode, TopicPartition};
use crate::common::topics;

impl Leadership {
    /// The cursors that the scheduler wants committed; the newest counts.
    pub(super) fn keep(&mut self, keep: CursorCommit) {
        if keep.term == self.term && self.stage == Stage::Leading {
            self.keep = Some(keep);
        }
    }

    /// Commits what is still to be kept, before we leave.
    ///
    /// # Errors
    /// Why the last cursors are not kept.
    pub fn finish(&mut self, client: &mut dyn Client, now: Now) -> Result<(), Failure> {
        self.next_commit = None;
        self.after_commits.succeeded();
        if self.keep.is_some() {
            self.commit(client, now, &mut Vec::new())?;
        }
        Ok(())
    }

    /// The commit of a cluster's cursor.
    pub(in crate::producer::leadership) fn commit_of(&self, number: usize, cursor: DateTime<Utc>) -> Commit {
        let offset = cursor.timestamp_millis().max(0);
        let gap = self.gaps.get(&number).copied().filter(|gap| *gap >= cursor);
        Commit { of: self.cursor_of(number), offset, metadata: cursor::metadata(self.reboot, gap) }
    }

    /// Commits the newest cursors, at most once a while. Those of a topic that is refused are tried again after a rest,
    /// together with all others.
    pub(in crate::producer::leadership) fn commit(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Duration, Failure> {
        if let Some(at) = self.next_commit.filter(|at| now.mono < *at) {
            return Ok(at - now.mono);
        }
        let (Some(keep), Some(holder)) = (self.keep.take(), &self.holder) else { return Ok(COMMIT_EVERY) };
        let cursors = keep.cursors.iter().enumerate();
        let mut commits: Vec<Commit> =
            cursors.filter_map(|(number, cursor)| Some(self.commit_of(number, (*cursor)?))).collect();
        let copies = keep.cursors.iter().enumerate().filter_map(|(number, cursor)| {
            let commit = self.commit_of(number, (*cursor)?);
            Some(Commit { of: self.copy_of(number), ..commit })
        });
        commits.extend(copies.collect::<Vec<_>>());
        commits.extend(keep.reads.iter().map(|(partition, offset)| Commit {
            of: TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition },
            offset: *offset,
            metadata: String::new(),
        }));
        let codes = match client.commit(holder, &commits, now.mono + CALL * 3) {
            Ok(codes) => codes,
            Err(error) => return Err(self.not_kept(keep, Call::CursorCommit.failed(error), now)),
        };
        let refusals = || commits.iter().zip(&codes).filter_map(|(commit, code)| Some((commit, (*code)?)));
        // The cursor of a deleted topic is not committed; the others are committed all the same. No promise rests on a
        // copy as long as its cursor is there.
        let is_copy = |of: &TopicPartition| (0..keep.cursors.len()).any(|number| *of == self.copy_of(number));
        let is_harmless = |commit: &Commit, code: ErrorCode| match code {
            ErrorCode::UnknownTopicOrPartition => true,
            ErrorCode::TopicAuthorizationFailed => is_copy(&commit.of),
            _ => false,
        };
        let refused = refusals().find(|(commit, code)| !is_harmless(commit, *code));
        let Some((commit, code)) = refused else {
            self.next_commit = Some(now.mono + COMMIT_EVERY);
            self.after_commits.succeeded();
            effects.push(Effect::Kept(keep.cursors));
            return Ok(COMMIT_EVERY);
        };
        // The group gathers: the membership is about to tell who leads now.
        if code == ErrorCode::RebalanceInProgress {
            self.next_commit = Some(now.mono + AFTER_FAILURE);
            self.keep.get_or_insert(keep);
            return Ok(AFTER_FAILURE);
        }
        let topic = commit.of.topic.clone();
        if refusals().count() < commits.len() {
            let is_kept = |number: usize| refusals().all(|(commit, _)| commit.of != self.cursor_of(number));
            let kept = keep.cursors.iter().enumerate();
            let kept = kept.map(|(number, cursor)| cursor.filter(|_| is_kept(number))).collect();
            effects.push(Effect::Kept(kept));
        }
        Err(self.not_kept(keep, Call::CursorCommit.failed_for(topic, BrokerError::Refused(code)), now))
    }

    /// Puts back what could not be committed, until after a rest. Newer cursors, which come every few milliseconds, are
    /// no reason to ask sooner.
    fn not_kept(&mut self, keep: CursorCommit, failure: Failure, now: Now) -> Failure {
        self.next_commit = Some(now.mono + self.after_commits.failed(now.mono));
        self.keep.get_or_insert(keep);
        failure
    }
}

//! The verdict: from what the ledger knows of each tick and run it concludes what is wrong.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Audit, Ended};
use crate::common::model::{EndReason, MissedReason, RunId};
use crate::common::topics;
use crate::cronctl::instant::shown;
use crate::cronctl::runs::run_detail::{RunDetail, Stage};
use crate::cronctl::verify::report::Item;
use crate::cronctl::verify::tick_ledger::{Fate, Marks, TickNo};

/// A run that has no time-out is unfinished for a long time after this.
const LONG: Duration = Duration::from_secs(60 * 60);

/// How long a leader may take to publish a tick that waited, once nothing stands in its way.
const RELEASE: TimeDelta = TimeDelta::seconds(60);

impl Audit<'_, '_> {
    /// Adds to the findings what is wrong with the ticks of these jobs; `now` is when the topics were read.
    pub fn finish(mut self, now: DateTime<Utc>) {
        self.found.report.ticks.named += self.ledger.numbers().len();
        self.lost_retries =
            std::mem::take(&mut self.awaited).into_values().map(|awaited| awaited.tick).collect();
        for tick in self.ledger.numbers() {
            self.judge(tick, now);
            self.judge_run(tick, now);
            self.judge_skip(tick);
        }
        self.judge_intervals();
        let by_operators = self.ended.values().filter(|ended| ended.reason == EndReason::Operator);
        self.found.ended_by_operators += by_operators.count();
    }

    fn item(&self, tick: TickNo, why: String) -> Item {
        let (job, scheduled_at) = self.ledger.tick(tick);
        Item { job: job.name.clone(), scheduled_at, run: RunId::of(&job.name, scheduled_at), why }
    }

    /// The one fate of a tick: *published* outranks all others. Where messages are deleted, by retention or with their topic,
    /// what was said of a run shows that it was published.
    fn judge(&mut self, tick: TickNo, now: DateTime<Utc>) {
        let marks = self.ledger.marks[tick];
        let elsewhere = marks.has(Marks::OTHER_FILE) || self.is_of_another_file(tick);
        let waits = marks.has(Marks::QUEUED) && !self.is_free(tick, now);
        let (job, at) = self.ledger.tick(tick);
        let is_unknown = self.is_by_unknown_zones(&job.name, at);
        let topic = topics::first(&job.cluster);
        let may_be_deleted = self.found.begins.may_be_deleted(&topic, at);
        let was_begun = !matches!(self.ledger.fates[tick], Fate::Silent);
        // The leader has looked for its message, and put on record that there is none.
        let was_ended = self.ended.contains_key(&tick);
        let ticks = &mut self.found.report.ticks;
        if marks.has(Marks::PUBLISHED) {
            ticks.published += 1;
            ticks.queued_first += usize::from(marks.has(Marks::QUEUED));
        } else if elsewhere {
            ticks.not_checked += 1;
        } else if (may_be_deleted || marks.has(Marks::TOPIC_DELETED) || was_ended) && was_begun {
            ticks.published += 1;
            ticks.message_deleted += 1;
            self.ledger.marks[tick].add(Marks::DELETED);
        } else if marks.has(Marks::SKIPPED) {
            ticks.skipped += 1;
        } else if marks.has(Marks::MISSED) {
            ticks.missed += 1;
            let reason = marks.reason().map_or("unknown", MissedReason::word);
            *self.found.report.missed_by_reason.entry(reason).or_default() += 1;
        } else if waits {
            ticks.queued += 1;
        } else if is_unknown {
            ticks.not_checked += 1;
        } else if may_be_deleted && (marks.has(Marks::SAID_PUBLISHED) || self.found.unread.take(&topic)) {
            ticks.deleted_unread += 1;
            self.ledger.marks[tick].add(Marks::DELETED);
            let item =
                self.item(tick, format!("its message was deleted from {topic} before a consumer claimed it"));
            self.found.report.deleted_unread.add(item);
        } else {
            ticks.unaccounted += 1;
            let why = match (&self.ledger.fates[tick], marks.has(Marks::QUEUED)) {
                (Fate::Silent, true) => {
                    "it waited, the run before it is over, and it was not published".to_owned()
                }
                (Fate::Silent, false) if marks.has(Marks::SAID_PUBLISHED) => {
                    "it was published, but its message is not in the topic".to_owned()
                }
                (Fate::Silent, false) if may_be_deleted => format!(
                    "neither a message nor an event; retention has deleted messages of {topic}, and no consumer says \
                     that one of them was unread"
                ),
                (Fate::Silent, false) if self.found.made_anew.contains(&topic) => format!(
                    "neither a message nor an event; {topic} was deleted and made again, and its message may have been deleted \
                     with it before a consumer claimed it"
                ),
                (Fate::Silent, false) => "neither a message nor an event".to_owned(),
                _ => "it was run, but its message is not in the topic".to_owned(),
            };
            let item = self.item(tick, why);
            self.found.report.unaccounted.add(item);
        }
    }

    fn is_of_another_file(&self, tick: TickNo) -> bool {
        let at = self.ledger.tick(tick).1;
        match self.found.history.of(at) {
            Some(of) => of != self.found.revision,
            None => self.found.other_file_until.is_some_and(|until| at <= until),
        }
    }

    /// Whether what a tick waited for has been over for so long that the tick should have been published.
    fn is_free(&self, tick: TickNo, now: DateTime<Utc>) -> bool {
        let blocking = self.blocked.get(&tick).and_then(|run| self.ledger.tick_of(*run));
        blocking.and_then(|run| self.over_since(run)).is_some_and(|ended| ended + RELEASE < now)
    }

    /// When the run of a tick was over, where it is.
    fn over_since(&self, tick: TickNo) -> Option<DateTime<Utc>> {
        match &self.ledger.fates[tick] {
            Fate::Silent => None,
            Fate::Done { ended_ms, .. } => DateTime::from_timestamp_millis(*ended_ms),
            Fate::Told(detail) if detail.stage() == Stage::Ended => {
                self.ended.get(&tick).map(|ended| ended.at)
            }
            Fate::Told(detail) => detail.quiet_since().filter(|_| detail.stage().is_over()),
        }
    }

    /// A tick is rightly skipped for a run that was published, and was not over when the tick was due.
    fn judge_skip(&mut self, tick: TickNo) {
        let marks = self.ledger.marks[tick];
        if !marks.has(Marks::SKIPPED) || marks.has(Marks::PUBLISHED) {
            return;
        }
        let Some(run) = self.blocked.get(&tick).copied() else { return };
        let Some(blocking) = self.ledger.tick_of(run) else { return };
        let of_blocking = self.ledger.marks[blocking];
        let was_none = !of_blocking.has(Marks::PUBLISHED)
            && !of_blocking.has(Marks::OTHER_FILE)
            && (of_blocking.has(Marks::SKIPPED) || of_blocking.has(Marks::MISSED))
            && matches!(self.ledger.fates[blocking], Fate::Silent);
        let due = self.ledger.tick(tick).1;
        let was_over = self.over_since(blocking).is_some_and(|ended| ended + RELEASE < due);
        let why = match (was_none, was_over) {
            (true, _) => format!("skipped for run {run}, which was never published"),
            (_, true) => format!("skipped for run {run}, which was over"),
            _ => return,
        };
        let item = self.item(tick, why);
        self.found.report.held_back.add(item);
    }

    /// Since when an attempt of a tick could have been begun that no consumer has begun; with its number.
    fn waits_since(&self, tick: TickNo, detail: &RunDetail) -> Option<(u32, DateTime<Utc>)> {
        let retry = &self.ledger.tick(tick).0.retry;
        match detail.stage() {
            Stage::Waiting => {
                let published = DateTime::from_timestamp(i64::from(self.ledger.published[tick]), 0)?;
                Some((1, published.max(self.ledger.tick(tick).1)))
            }
            Stage::Retrying => {
                let (number, _) = detail.attempts.last()?;
                let doubled = 2_u64.saturating_pow(number.saturating_sub(1));
                let wait_ms = retry.backoff_ms.saturating_mul(doubled).min(retry.backoff_max_ms);
                // A fifth more at most.
                let wait = Duration::from_millis(wait_ms.saturating_add(wait_ms / 5));
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                Some((number + 1, detail.quiet_since()?.checked_add_signed(wait)?))
            }
            _ => None,
        }
    }

    /// What became of the run of a tick.
    fn judge_run(&mut self, tick: TickNo, now: DateTime<Utc>) {
        let nothing = RunDetail::default();
        let detail = match &self.ledger.fates[tick] {
            Fate::Done { .. } => return,
            Fate::Told(detail) => &**detail,
            Fate::Silent if self.ledger.marks[tick].has(Marks::PUBLISHED) => &nothing,
            Fate::Silent => return,
        };
        let twice: Vec<String> = detail
            .started_twice()
            .map(|(number, tried)| {
                let by: Vec<&str> = tried.ends.iter().map(|end| end.consumer.as_str()).collect();
                format!("attempt {number} by {}", by.join(" and by "))
            })
            .collect();
        let (job, scheduled_at) = self.ledger.tick(tick);
        let worker = detail.worker().unwrap_or("an unknown consumer").to_owned();
        let stage = detail.stage();
        let abandoned = detail.is_abandoned(now);
        let dated_ahead = detail.was_dated_ahead();
        let limits = job.limits;
        let limit = limits.timeout_ms.map(|timeout| Duration::from_millis(timeout + limits.grace_ms));
        let long = scheduled_at + limit.filter(|_| stage == Stage::Running).unwrap_or(LONG) < now;
        let waits = self.waits_since(tick, detail);
        let limit = TimeDelta::from_std(self.found.begun_within).unwrap_or(TimeDelta::MAX);
        let forgotten =
            waits.filter(|(_, since)| since.checked_add_signed(limit).is_some_and(|late| late < now));
        self.found.report.ticks.not_begun += usize::from(stage == Stage::Waiting);
        for why in twice {
            let item = self.item(tick, why);
            self.found.report.doubled.add(item);
        }
        if stage == Stage::Ended
            && let Some(Ended { reason: EndReason::Unclaimable, detail, .. }) = self.ended.get(&tick)
        {
            let item = self.item(tick, format!("no consumer will run it: {detail}"));
            self.found.report.not_begun.add(item);
        } else if self.lost_retries.contains(&tick) {
            let item = self.item(tick, self.why_lost(tick));
            self.found.report.lost_retries.add(item);
        } else if let Some((number, since)) = forgotten {
            let mut why = format!("attempt {number} could begin since {}", shown(since));
            if let Some(seconds) = dated_ahead.map(|ahead| ahead.num_seconds()) {
                why =
                    format!("{why}, and waits: the clock of {worker}, which dated it, was {seconds} s ahead");
            }
            let item = self.item(tick, why);
            self.found.report.not_begun.add(item);
        } else if abandoned {
            let item = self.item(tick, format!("claimed by {worker}"));
            self.found.report.abandoned.add(item);
        } else if long && !stage.is_over() {
            let item = self.item(tick, format!("{} ({worker})", stage.word()));
            self.found.report.unfinished.add(item);
        }
    }

    /// An interval says how many ticks it stands for. Those that were published all the same need not be among them;
    /// more than the schedule names cannot be.
    fn judge_intervals(&mut self) {
        for mut interval in std::mem::take(&mut self.missed) {
            let whole = self.found.period.has(interval.from) && self.found.period.has(interval.to);
            let other = [interval.from, interval.to]
                .iter()
                .any(|at| self.found.history.of(*at).is_some_and(|of| of != self.found.revision));
            let unknown = |at: &DateTime<Utc>| self.is_by_unknown_zones(&interval.job, *at);
            let is_unknown = [interval.from, interval.to].iter().any(unknown);
            if !whole || other || is_unknown {
                continue;
            }
            let ticks = self.ledger.between(&interval.job, interval.from, interval.to);
            let elsewhere = |marks: &&Marks| {
                [Marks::PUBLISHED, Marks::DELETED, Marks::SKIPPED, Marks::OTHER_FILE]
                    .iter()
                    .any(|other| marks.has(*other))
            };
            interval.named = ticks.len();
            interval.open = interval.named - self.ledger.marks[ticks].iter().filter(elsewhere).count();
            let count = usize::try_from(interval.count).unwrap_or(usize::MAX);
            if !(interval.open..=interval.named).contains(&count) {
                self.found.report.miscounted.add(interval);
            }
        }
    }
}

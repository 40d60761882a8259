//! Checks that every published attempt has its fate, and finds what is overdue.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_cron::common::model::{AttemptRef, Place};

use super::{Message, Oracle, of};

/// How long it may take beside a lease until a lost attempt is found. The leader that sees the whole lease may have to be
/// found first: the session of the one before ends, the others join, and the new one reads to the ends of the logs.
const TO_FIND: Duration = Duration::from_secs(20);

impl Oracle {
    /// Something that was published and has no fate yet, or whose fate breaks a promise.
    pub fn unaccounted(&self) -> Option<String> {
        let mut unstarted: BTreeMap<&str, u64> = BTreeMap::new();
        for (of, attempts) in &self.attempts {
            for (offset, message) in &attempts.messages {
                let at = |what: &str| {
                    let (committed, told) = (&attempts.committed, &attempts.told_deleted);
                    let (claims, start) = (attempts.claims.get(offset), attempts.start);
                    Some(format!(
                        "{of:?} offset {offset} {what}: {:?}, committed {committed:?}, begins at {start}, told as deleted \
                         {told:?}, claims {claims:?}",
                        message.name
                    ))
                };
                if attempts.is_unclaimed(*offset) {
                    if attempts.deleted.is_some() {
                        continue;
                    }
                    return at("is still unclaimed");
                }
                let is_started = self.places.contains(&(*of, *offset));
                let told = attempts.told_deleted.iter().any(|(from, to)| (*from..*to).contains(offset));
                if attempts.is_copy(message) || attempts.letters.contains(offset) || is_started || told {
                    continue;
                }
                let Some(claims) = attempts.claims.get(offset) else {
                    return at("was neither claimed nor told as deleted");
                };
                if self.has_producers {
                    // Where retention has deleted the first of two copies, the second one is run.
                    let is_over = |name| self.lost.contains(name) || self.finished.contains_key(name);
                    if message.name.as_ref().is_some_and(|name| !is_over(name)) {
                        return at("was claimed, and neither started nor found to be lost");
                    }
                    continue;
                }
                let is_over = |by: &str| self.consumers.get(by).is_some_and(|known| known.gone || known.left);
                if !claims.iter().any(|(by, _)| is_over(by)) {
                    *unstarted.entry(&claims[0].0).or_default() += 1;
                }
            }
        }
        for (consumer, count) in unstarted {
            let counts = self.consumers.get(consumer).map(|known| known.counts).unwrap_or_default();
            if count > counts.refused + counts.too_late {
                return Some(format!("{consumer}: {count} claims were never started, {counts:?}"));
            }
        }
        let gone = |by: &String| self.consumers.get(by).is_some_and(|known| known.gone);
        let is_over = |attempt: &AttemptRef, by: &String| {
            let excused = if self.has_producers { self.lost.contains(attempt) } else { gone(by) };
            self.finished.contains_key(attempt) || excused
        };
        let is_owed = |attempt, place, by| !is_over(attempt, by) && !self.is_outlived(attempt, place);
        let unfinished = self.started.iter().find(|(attempt, (place, by))| is_owed(attempt, place, by));
        unfinished.map(|(attempt, (_, by))| format!("{attempt:?} was started by {by} and is not finished"))
    }

    /// Retention has deleted the message, and a copy of it stands elsewhere: who claims that cannot know, and what is
    /// known of the attempt is then known of the copy. The documented limit.
    fn is_outlived(&self, attempt: &AttemptRef, place: &Place) -> bool {
        let of = of(place);
        let is_copy =
            |log, offset, copy: &Message| (log, offset) != (of, place.offset) && copy.name == Some(*attempt);
        place.offset < self.attempts[&of].start
            && self.attempts.iter().any(|(log, attempts)| {
                attempts.messages.iter().any(|(offset, copy)| is_copy(*log, *offset, copy))
            })
    }

    /// Whether a message of an attempt waits to be claimed.
    fn has_unclaimed(&self, name: AttemptRef) -> bool {
        self.attempts.values().any(|attempts| {
            let left = attempts.messages.range(attempts.start..);
            left.into_iter()
                .any(|(offset, message)| message.name == Some(name) && attempts.is_unclaimed(*offset))
        })
    }

    /// An attempt of which nothing was heard for longer than a leader needs to find it when nothing goes wrong any more.
    pub fn overdue(&self, calm_since: Instant, now: Instant) -> Option<String> {
        if !self.has_producers {
            return None;
        }
        let limit = self.lease + TO_FIND;
        let is_over = |name: &AttemptRef| self.lost.contains(name) || self.finished.contains_key(name);
        for (of, attempts) in &self.attempts {
            // What retention has deleted may have been outlived by a copy.
            let from = if attempts.deleted.is_some() { 0 } else { attempts.start };
            for (offset, passed) in attempts.passed.range(from..) {
                let message = &attempts.messages[offset];
                let Some(name) = message.name.filter(|name| !is_over(name) && !attempts.is_copy(message))
                else {
                    continue;
                };
                // Its topic was made anew, and a copy of it is still to be claimed there.
                if attempts.deleted.is_some() && self.has_unclaimed(name) {
                    continue;
                }
                let Some(sign) = self.heard.get(&name).and_then(|signs| signs.last()) else { continue };
                let silent = now.saturating_duration_since(*sign.max(passed).max(&calm_since));
                if silent > limit {
                    return Some(format!(
                        "{name:?} at {of:?} offset {offset}: nobody finds it lost after {silent:?}"
                    ));
                }
            }
        }
        None
    }
}

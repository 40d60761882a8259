//! Schedules that many jobs have: each is parsed and kept once for its words and zone.

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::producer::schedule::{Schedule, ScheduleError};

/// The schedules seen so far.
#[derive(Debug, Default)]
pub(super) struct Schedules(HashMap<Tz, HashMap<String, Arc<Schedule>>>);

impl Schedules {
    /// The schedule of these words, one blank between them, in this zone.
    ///
    /// # Errors
    /// What the words are not.
    pub(super) fn get(&mut self, words: &str, zone: Tz) -> Result<Arc<Schedule>, ScheduleError> {
        let of_zone = self.0.entry(zone).or_default();
        if let Some(known) = of_zone.get(words) {
            return Ok(Arc::clone(known));
        }
        let schedule = Arc::new(Schedule::parse(words, zone)?);
        of_zone.insert(words.to_owned(), Arc::clone(&schedule));
        Ok(schedule)
    }
}

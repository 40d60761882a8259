//! Schedules that many jobs have: each is parsed and kept once for its words and zone.

use std::collections::HashMap;
use std::sync::Arc;

use super::Written;
use crate::producer::schedule::{Schedule, ScheduleError};
use crate::producer::zone::Zone;

/// The schedules seen so far.
#[derive(Debug, Default)]
pub(super) struct Schedules(HashMap<Zone, HashMap<String, Arc<Schedule>>>);

impl Schedules {
    /// The schedule of these words, one blank between them, in this zone.
    ///
    /// # Errors
    /// What the words are not.
    pub(super) fn get(&mut self, words: &str, zone: &Zone) -> Result<Arc<Schedule>, ScheduleError> {
        let of_zone = self.0.entry(zone.clone()).or_default();
        if let Some(known) = of_zone.get(words) {
            return Ok(Arc::clone(known));
        }
        let schedule = Arc::new(Schedule::parse(words, zone)?);
        of_zone.insert(words.to_owned(), Arc::clone(&schedule));
        Ok(schedule)
    }

    /// The schedules as they were written.
    pub(super) fn into_written(self) -> Vec<Written> {
        let of_zone = |(zone, schedules): (Zone, HashMap<String, Arc<Schedule>>)| {
            schedules.into_iter().map(move |(words, schedule)| Written {
                schedule,
                words,
                zone: zone.clone(),
            })
        };
        self.0.into_iter().flat_map(of_zone).collect()
    }
}

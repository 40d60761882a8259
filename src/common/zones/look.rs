//! Looks whether the host's zone data has changed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Zones, host};

/// How often the host's directory is looked at: some 600 files, of which nothing is read while nothing changes.
pub const LOOK: Duration = Duration::from_secs(5);

/// What a look sees without reading.
type Stamp = Vec<(PathBuf, u64, u64, i64, i64)>;

/// What was seen so far.
#[derive(Debug)]
pub struct Look {
    directory: Option<PathBuf>,
    zones: Zones,
    /// When `zones` were read, the directory looked like this.
    read: Stamp,
    /// At the last look.
    last: Stamp,
    next: Option<Instant>,
}

impl Look {
    /// `zones` were read from the directory before.
    pub fn new(directory: Option<PathBuf>, zones: Zones) -> Self {
        Self { directory, zones, read: Stamp::new(), last: Stamp::new(), next: None }
    }

    /// The zones as they are known.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// One look. Returns the zones if they are others than before. A package is unpacked file by file, so that a change
    /// counts when the directory looks the same at two looks. Where the first look sees a change since the zones were read
    /// cannot be told: it reads.
    pub fn look(&mut self, now: Instant) -> Option<Zones> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOOK);
        let directory = self.directory.as_deref()?;
        let stamp = host::stamp(directory);
        let rests = stamp == self.last;
        self.last = stamp;
        if !rests || self.last == self.read {
            return None;
        }
        let zones = Zones::choose(Some(directory));
        // It changed while it was read: the next look begins anew.
        if host::stamp(directory) != self.last {
            return None;
        }
        self.read = self.last.clone();
        if zones == self.zones {
            return None;
        }
        self.zones = zones.clone();
        Some(zones)
    }
}

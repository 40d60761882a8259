//! A look at the job file: what is there, and whether it is another one than before.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::debounce::{Debounce, Stamp, Step};
use super::messages::Options;
use crate::common::zones::{Look, Zones};
use crate::producer::jobfile;
use crate::producer::jobfile::{JobFile, Problem};

/// What has been found where something was to be found.
#[derive(Debug)]
pub(super) enum Found {
    /// A file without problems.
    Right {
        /// Its revision.
        revision: Arc<str>,
        /// The file, if it is another than the last one without problems.
        file: Option<JobFile>,
    },
    /// A file that is not used.
    Wrong {
        /// Its revision.
        revision: Arc<str>,
        /// What is wrong; never empty.
        problems: Arc<[Problem]>,
    },
    /// No file, or none that can be read, and not for a moment only.
    Unreadable(String),
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct JobFileLook {
    options: Options,
    debounce: Debounce,
    zones: Look,
    /// The revision of the last file without problems.
    right: Arc<str>,
    /// The zones that it was read by.
    right_zones: Zones,
    /// The last file, while it is one with problems.
    wrong: Option<(Arc<str>, Arc<[Problem]>)>,
}

impl JobFileLook {
    /// The watch has not looked yet; the caller has read the file of `revision`.
    pub(super) fn new(options: Options, revision: &Arc<str>) -> Self {
        let (directory, zones) = (options.zone_directory.clone(), options.zones.clone());
        Self {
            zones: Look::new(directory, zones.clone()),
            options,
            debounce: Debounce::default(),
            right: Arc::clone(revision),
            right_zones: zones,
            wrong: None,
        }
    }

    /// The time zones as they are known.
    pub(super) fn zones(&self) -> &Zones {
        self.zones.zones()
    }

    /// One look. `None` where there was nothing to read, or it is not the time to believe it.
    pub(super) fn look(&mut self, now: Instant) -> Option<Found> {
        if self.zones.look(now).is_some() {
            // What was wrong by the old zones may be right by the new ones.
            self.wrong = None;
            self.debounce.read_again();
        }
        match self.content(now) {
            Ok(content) => content.map(|content| self.judge(&content)),
            Err(error) => self.debounce.failed(now).then(|| Found::Unreadable(error.to_string())),
        }
    }

    fn content(&mut self, now: Instant) -> io::Result<Option<Vec<u8>>> {
        let path = &self.options.path;
        let before = stamp(path)?;
        if self.debounce.see(before.clone(), now) == Step::Wait {
            return Ok(None);
        }
        let content = read(path)?;
        let after = stamp(path)?;
        Ok(self.debounce.have_read(before, &after, now).then_some(content))
    }

    fn judge(&mut self, content: &[u8]) -> Found {
        let revision = jobfile::revision(content);
        if revision == self.right && self.right_zones == *self.zones() {
            self.wrong = None;
            return Found::Right { revision, file: None };
        }
        if let Some((_, problems)) = self.wrong.as_ref().filter(|(known, _)| *known == revision) {
            return Found::Wrong { revision, problems: Arc::clone(problems) };
        }
        let name = self.options.path.display().to_string();
        match jobfile::parse_in(&name, content, &self.options.clusters, self.zones()) {
            Ok(file) => {
                (self.right, self.wrong) = (Arc::clone(&revision), None);
                self.right_zones = self.zones().clone();
                Found::Right { revision, file: Some(file) }
            }
            Err(problems) => {
                let problems: Arc<[Problem]> = problems.into();
                self.wrong = Some((Arc::clone(&revision), Arc::clone(&problems)));
                Found::Wrong { revision, problems }
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let resolved = fs::canonicalize(path)?;
    let found = fs::metadata(&resolved)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(Stamp {
        resolved,
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // If the path has become a pipe since the look, this open must not wait for the other end of the pipe.
    jobfile::read(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

#[cfg(test)]
mod tests;

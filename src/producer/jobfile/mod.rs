//! The job file: lines to jobs, with every problem of a file reported at once.
//!
//! [`reader`] goes from line to line and keeps what holds there; each other file knows one thing that stands in a line.
//! `docs/jobfile.md` is the reference for those who write job files.
//!
//! Nothing here opens a file or asks a clock, and memory is bounded by the content, whatever it is: what a line can
//! ask for, what a message quotes and how many problems are listed have bounds of their own.

mod assignment;
mod derived;
mod environment;
#[cfg(test)]
mod fuzz;
mod header;
mod interned;
mod lines;
mod lookalikes;
mod options;
mod reader;
mod report;
mod resources;
mod settings;
mod shell;
#[cfg(test)]
mod tests;
mod useless;
mod values;
mod variables;
mod zones;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use uuid::{Uuid, uuid};

use self::reader::Reader;
use super::job::Job;
use super::schedule::Schedule;
use super::zone::Zone;
use crate::common::model::ClusterName;
use crate::common::zones::Zones;

pub use self::environment::{MAX_ENVIRONMENT_BYTES, MAX_ENVIRONMENTS_BYTES};
pub use self::lines::MAX_LINE_BYTES;
pub use self::report::MAX_PROBLEMS;
pub use self::values::MAX_JITTER;
pub use self::zones::{ZoneError, zone};

/// The size of the largest file: a million jobs with long lines. A reader that has read this much may stop.
pub const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// The content of a job file, or so much of it that it is seen to be too much: the path may be one that never ends.
///
/// # Errors
/// It cannot be read.
pub fn read(file: impl Read) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// The name space of revisions. Fixed, so that one content has one revision wherever it is read.
const REVISIONS: Uuid = uuid!("0d8e1c52-7c0b-5b1e-9a54-2f6e8f5b7a10");

/// Hexadecimal digits of a revision, as many as people compare by eye.
const REVISION_DIGITS: usize = 12;

/// A job file without problems.
#[derive(Debug, Clone)]
pub struct JobFile {
    /// Its jobs, in the order of their lines.
    pub jobs: Vec<Arc<Job>>,
    /// The schedules of the jobs as they were written, in no order, for callers that read the words themselves.
    pub written: Vec<Written>,
    /// What is legal and probably not meant.
    pub warnings: Vec<Problem>,
    /// The first 12 hexadecimal digits of a hash of its content.
    pub revision: Arc<str>,
    /// The version of the zone data that its schedules follow.
    pub tzdata: Arc<str>,
}

/// A schedule as it was written. Jobs that have it hold the same [`Schedule`].
#[derive(Debug, Clone)]
pub struct Written {
    /// What the jobs hold.
    pub schedule: Arc<Schedule>,
    /// The words, one blank between them.
    pub words: String,
    /// The zone.
    pub zone: Zone,
}

/// Something wrong with a line. Prints as `file:line: what is wrong (what would be right)`, a warning as
/// `file:line: warning: what is odd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// 1 for the first line.
    pub line: usize,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// Legal, and probably not meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}:{}: {kind}{}", self.file, self.line, self.what)
    }
}

/// Reads a job file by the zones of the program, whatever zones the host has, so that the result is the same on each
/// host.
///
/// # Errors
/// As [`parse_in`].
pub fn parse(file: &str, content: &[u8], clusters: &[ClusterName]) -> Result<JobFile, Vec<Problem>> {
    parse_in(file, content, clusters, &Zones::bundled())
}

/// Reads a job file; `file` is how problems name it.
///
/// # Errors
/// Every problem of the file and every warning, in the order of its lines; of a file with more than [`MAX_PROBLEMS`]
/// errors those first ones.
pub fn parse_in(
    file: &str,
    content: &[u8],
    clusters: &[ClusterName],
    zones: &Zones,
) -> Result<JobFile, Vec<Problem>> {
    let mut reader = Reader::new(file, clusters, zones);
    if content.len() > MAX_FILE_BYTES {
        reader.report.problem(1, &format!("the file has more than {MAX_FILE_BYTES} bytes"));
    } else if lines::is_utf16(content) {
        reader.report.problem(1, "the file is in UTF-16 (save it as UTF-8)");
    } else {
        reader.read(content);
    }
    let warnings = reader.report.finish()?;
    let written = reader.schedules.into_written();
    Ok(JobFile {
        jobs: reader.jobs,
        written,
        warnings,
        revision: revision(content),
        tzdata: Arc::from(zones.version()),
    })
}

/// The revision of a content, good or bad.
pub fn revision(content: &[u8]) -> Arc<str> {
    let hash = Uuid::new_v5(&REVISIONS, content).simple().to_string();
    Arc::from(&hash[..REVISION_DIGITS])
}

//! Admission: a consumer whose host is drowning takes nothing new until the host has recovered. What runs is left alone.
//!
//! The measure is the kernel's pressure stall information (`/proc/pressure`, "PSI"): the share of the last ten seconds in
//! which some process waited for a processor, or for memory.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::common::nearest::nearest;

/// Where the kernel tells it.
pub const DIRECTORY: &str = "/proc/pressure";

/// What share of a limit the pressure must fall below before the consumer takes attempts again. Without this distance it
/// would stop and go with each attempt.
const RECOVERED: f64 = 0.75;

/// How much a host stalls, in percent of the last ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Some process waited for a processor.
    pub cpu: f64,
    /// Some process waited for memory.
    pub memory: f64,
}

impl Stall {
    /// Reads what the kernel tells of this host.
    ///
    /// # Errors
    /// Where the kernel keeps no such account (before 4.20, or with `psi=0`).
    pub fn read(directory: &Path) -> io::Result<Self> {
        let read = |name: &str| {
            let text = fs::read_to_string(directory.join(name))?;
            some_avg10(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
        };
        Ok(Self { cpu: read("cpu")?, memory: read("memory")? })
    }
}

/// The number in `some avg10=1.23 avg60=…` (Linux, Documentation/accounting/psi.rst).
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// From which pressure on the consumer takes nothing new, in percent: `--pressure cpu=80,memory=10`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// For the processors.
    pub cpu: Option<f64>,
    /// For memory.
    pub memory: Option<f64>,
}

/// Why a text is no limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotLimits(String);

impl FromStr for Limits {
    type Err = NotLimits;
    fn from_str(text: &str) -> Result<Self, NotLimits> {
        let mut limits = Self::default();
        for part in text.split(',').map(str::trim) {
            let wrong = |why: String| NotLimits(format!("`{part}` {why}"));
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| wrong("is not RESOURCE=PERCENT (as in `cpu=80,memory=10`)".to_owned()))?;
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let number =
                value.parse::<u8>().ok().filter(|_| digits).filter(|percent| (1..=100).contains(percent));
            let percent =
                number.ok_or_else(|| wrong("has no whole number of percent (1 to 100)".to_owned()))?;
            let place = match name {
                "cpu" => &mut limits.cpu,
                "memory" => &mut limits.memory,
                _ => {
                    let hint = nearest(name, ["cpu", "memory"])
                        .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                    return Err(wrong(format!("names neither `cpu` nor `memory`{hint}")));
                }
            };
            if place.replace(f64::from(percent)).is_some() {
                return Err(wrong("gives a limit twice".to_owned()));
            }
        }
        Ok(limits)
    }
}

/// Whether the consumer takes new attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Admission {
    limits: Limits,
    is_open: bool,
}

/// A change of mind, and the resource that is behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// It takes nothing new, because the pressure on this resource has reached its limit.
    Closed(&'static str),
    /// It takes new attempts again.
    Opened,
}

impl Admission {
    /// Creates one that takes attempts.
    pub fn new(limits: Limits) -> Self {
        Self { limits, is_open: true }
    }

    /// Whether new attempts are taken.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Judges a reading.
    pub fn judge(&mut self, stall: Stall) -> Option<Turn> {
        let each = [("cpu", stall.cpu, self.limits.cpu), ("memory", stall.memory, self.limits.memory)];
        let reaches = |share: f64| {
            each.iter().find(|(_, seen, limit)| limit.is_some_and(|limit| *seen >= limit * share))
        };
        if self.is_open {
            let (resource, ..) = reaches(1.0)?;
            self.is_open = false;
            return Some(Turn::Closed(resource));
        }
        if reaches(RECOVERED).is_some() {
            return None;
        }
        self.is_open = true;
        Some(Turn::Opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        assert!(Stall::read(directory.path()).is_err());
        write(
            "cpu",
            "some avg10=91.53 avg60=43.94 avg300=21.00 total=128193224\nfull avg10=0.00 avg60=0.00\n",
        );
        write("memory", "some avg10=0.10 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.05 avg60=0.00\n");
        assert_eq!(Stall::read(directory.path()).unwrap(), Stall { cpu: 91.53, memory: 0.1 });
        write("memory", "none");
        assert!(Stall::read(directory.path()).is_err());
    }

    #[test]
    fn limits_are_percentages_of_resources() {
        let check = |text: &str, cpu: Option<f64>, memory: Option<f64>| {
            assert_eq!(text.parse(), Ok(Limits { cpu, memory }), "{text}");
        };
        check("cpu=80,memory=10", Some(80.0), Some(10.0));
        check("memory=100", None, Some(100.0));
        let check_wrong = |text: &str, part: &str| {
            let error = text.parse::<Limits>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check_wrong("", "`` is not RESOURCE=PERCENT");
        check_wrong("80", "`80` is not RESOURCE=PERCENT");
        check_wrong("cpu=0", "has no whole number of percent (1 to 100)");
        check_wrong("cpu=101", "has no whole number of percent");
        check("cpu=80, memory=10", Some(80.0), Some(10.0));
        check_wrong("cpu=+80", "has no whole number of percent");
        check_wrong("cpu=80%", "has no whole number of percent");
        check_wrong("mem=10", "names neither `cpu` nor `memory`");
        check_wrong("memori=10", "did you mean `memory`?");
        check_wrong("cpu=80,cpu=70", "gives a limit twice");
    }

    #[test]
    fn it_closes_at_a_limit_and_opens_well_below_it() {
        let limits = Limits { cpu: Some(80.0), memory: Some(10.0) };
        let mut admission = Admission::new(limits);
        let mut check = |cpu: f64, memory: f64, turn: Option<Turn>, is_open: bool| {
            assert_eq!(admission.judge(Stall { cpu, memory }), turn, "{cpu} {memory}");
            assert_eq!(admission.is_open(), is_open);
        };
        check(79.9, 9.9, None, true);
        check(80.0, 0.0, Some(Turn::Closed("cpu")), false);
        check(60.0, 0.0, None, false);
        check(59.9, 9.0, None, false);
        check(59.9, 7.4, Some(Turn::Opened), true);
        check(0.0, 10.0, Some(Turn::Closed("memory")), false);
        check(0.0, 0.0, Some(Turn::Opened), true);
    }

    #[test]
    fn what_has_no_limit_closes_nothing() {
        let mut admission = Admission::new(Limits::default());
        assert_eq!(admission.judge(Stall { cpu: 100.0, memory: 100.0 }), None);
        assert!(admission.is_open());
    }
}

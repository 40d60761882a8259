//! What the fields of a run may be: each rule stands here once, and holds for the options of the job file, for a consumer's
//! flags, and for messages, whichever program wrote them.

use std::fmt::Display;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};

use super::run::{Attempt, Limits, RetryPolicy, Run};
use super::{JobName, Resources};
use crate::common::duration;

/// Attempts after the first. At the longest default wait the most of them take six weeks.
pub const RETRIES: RangeInclusive<u32> = 0..=1_000;

/// Milliseconds of a wait that may be none: the backoff, its longest, and the time between TERM and KILL.
pub const WAIT_MS: RangeInclusive<u64> = 0..=LONGEST_MS;

/// Milliseconds of a wait that must not be none: the time limit and the deadline.
pub const LIMIT_MS: RangeInclusive<u64> = 1..=LONGEST_MS;

/// Bytes of memory: less would not even hold the program that starts the command, and Linux counts no more.
pub const MEMORY_BYTES: RangeInclusive<u64> = 4 * 1024 * 1024..=i64::MAX as u64;

/// Seconds of CPU time.
pub const CPU_S: RangeInclusive<u64> = 1..=LONGEST_MS / 1000;

/// Processes and threads. Linux numbers no more on any host (proc(5), `pid_max`).
pub const PIDS: RangeInclusive<u64> = 1..=4_194_304;

/// Descriptors: a command has three at its start, and its shell opens one more. Linux allows no more than the most unless
/// it is told (proc(5), `nr_open`).
pub const NOFILE: RangeInclusive<u64> = 8..=1_048_576;

/// Nice values (nice(2)).
pub const NICE: RangeInclusive<i32> = -20..=19;

/// The longest user name; Linux allows no longer ones.
const MAX_USER_BYTES: usize = 32;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the longest duration has far fewer milliseconds than fit"
)]
const LONGEST_MS: u64 = duration::MAX.as_millis() as u64;

/// Which rule a field of a message breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct RuleError {
    field: String,
    why: String,
}

impl RuleError {
    fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// Whether a text is a user's name.
pub fn is_user(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    name.chars().all(fits) && (1..=MAX_USER_BYTES).contains(&name.len()) && !name.starts_with('-')
}

/// Whether a text is an absolute path.
pub fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

/// Whether a text names a variable.
pub fn is_variable(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    letters && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

impl Attempt {
    /// Checks what its fields may be, whichever program wrote it.
    ///
    /// # Errors
    /// The first field that breaks a rule, and which.
    pub fn check(&self) -> Result<(), RuleError> {
        let Self { run, attempt, attempts_left, not_before } = self;
        if *attempt == 0 {
            return Err(RuleError::new("attempt", "is 0, and numbers start at 1"));
        }
        within("attempts_left", *attempts_left, &RETRIES)?;
        if attempt.checked_add(*attempts_left).is_none() {
            let why =
                format!("is {attempt} and attempts_left is {attempts_left}: the last one has no number");
            return Err(RuleError::new("attempt", why));
        }
        not_before.map_or(Ok(()), |at| has_four_digits("not_before", at))?;
        run.check()
    }
}

impl Run {
    fn check(&self) -> Result<(), RuleError> {
        if self.job == JobName::any() {
            return Err(RuleError::new("job", "is `*`, which stands for all jobs of a cluster"));
        }
        has_four_digits("scheduled_at", self.scheduled_at)?;
        has_no_nul("command", &self.command)?;
        for (name, value) in self.environment.iter() {
            let field = || format!("environment: {}", name.escape_default());
            if !is_variable(name) {
                return Err(RuleError::new(field(), "is not an environment name"));
            }
            has_no_nul(&field(), value)?;
        }
        if let Some(cwd) = &self.cwd {
            if !is_absolute(cwd) {
                return Err(RuleError::new("cwd", "is not an absolute path"));
            }
            has_no_nul("cwd", cwd)?;
        }
        if self.user.as_ref().is_some_and(|user| !is_user(user)) {
            return Err(RuleError::new("user", "is not a user name"));
        }
        let Limits { timeout_ms, grace_ms, deadline_ms } = self.limits;
        optional("timeout_ms", timeout_ms, &LIMIT_MS)?;
        within("grace_ms", grace_ms, &WAIT_MS)?;
        optional("deadline_ms", deadline_ms, &LIMIT_MS)?;
        let Resources { memory_bytes, cpu_s, pids, nofile, nice } = self.resources;
        optional("memory_bytes", memory_bytes, &MEMORY_BYTES)?;
        optional("cpu_s", cpu_s, &CPU_S)?;
        optional("pids", pids, &PIDS)?;
        optional("nofile", nofile, &NOFILE)?;
        optional("nice", nice, &NICE)?;
        let RetryPolicy { retries, backoff_ms, backoff_max_ms } = self.retry;
        within("retries", retries, &RETRIES)?;
        within("backoff_ms", backoff_ms, &WAIT_MS)?;
        within("backoff_max_ms", backoff_max_ms, &WAIT_MS)
    }
}

fn within<T: Copy + PartialOrd + Display>(
    field: &str,
    found: T,
    range: &RangeInclusive<T>,
) -> Result<(), RuleError> {
    if range.contains(&found) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(RuleError::new(field, format!("is {found}, and may be {least} to {most}")))
}

fn optional<T: Copy + PartialOrd + Display>(
    field: &str,
    found: Option<T>,
    range: &RangeInclusive<T>,
) -> Result<(), RuleError> {
    found.map_or(Ok(()), |found| within(field, found, range))
}

/// RFC 3339, section 1, writes the years 0 to 9999 and no others.
fn has_four_digits(field: &str, at: DateTime<Utc>) -> Result<(), RuleError> {
    if (0..=9999).contains(&at.year()) {
        return Ok(());
    }
    Err(RuleError::new(field, format!("is in the year {}, which RFC 3339 cannot write", at.year())))
}

/// No program can be given such a text (execve(2)).
fn has_no_nul(field: &str, text: &str) -> Result<(), RuleError> {
    if text.contains('\0') { Err(RuleError::new(field, "has a NUL byte")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::common::model::RunId;

    /// The first rule that a run breaks which differs in one way from one that breaks none.
    fn of(change: impl FnOnce(&mut Run)) -> String {
        let mut run = Run::sample(RunId(Uuid::nil()), "j".parse().unwrap(), "c".parse().unwrap());
        change(&mut run);
        let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None };
        attempt.check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn texts_that_the_job_file_refuses_are_refused_in_a_message_too() {
        let environment = |name: &str, value: &str| {
            let environment = Arc::new(BTreeMap::from([(name.to_owned(), value.to_owned())]));
            of(|run| run.environment = environment)
        };
        assert_eq!(of(|_| ()), "");
        assert_eq!(of(|run| run.job = JobName::any()), "job is `*`, which stands for all jobs of a cluster");
        assert_eq!(of(|run| run.command = "a\0b".to_owned()), "command has a NUL byte");
        assert_eq!(of(|run| run.command = "a\nb".to_owned()), "");
        assert_eq!(of(|run| run.cwd = Some("srv".to_owned())), "cwd is not an absolute path");
        assert_eq!(of(|run| run.cwd = Some("/s\0v".to_owned())), "cwd has a NUL byte");
        assert_eq!(of(|run| run.cwd = Some("/srv".to_owned())), "");
        assert_eq!(of(|run| run.user = Some("a:b".to_owned())), "user is not a user name");
        assert_eq!(of(|run| run.user = Some("a".repeat(33))), "user is not a user name");
        assert_eq!(of(|run| run.user = Some("www-data".to_owned())), "");
        assert_eq!(environment("A_1", "a b"), "");
        assert_eq!(environment("A=B", ""), "environment: A=B is not an environment name");
        assert_eq!(environment("1A", ""), "environment: 1A is not an environment name");
        assert_eq!(environment("", ""), "environment:  is not an environment name");
        assert_eq!(environment("A\n", ""), "environment: A\\n is not an environment name");
        assert_eq!(environment("A", "\0"), "environment: A has a NUL byte");
    }

    #[test]
    fn instants_are_those_that_rfc_3339_can_write() {
        let check = |text: &str, is_right: bool| {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(of(|run| run.scheduled_at = at).is_empty(), is_right, "{text}");
        };
        check("0000-01-01T00:00:00Z", true);
        check("9999-12-31T23:59:59Z", true);
        check("+10000-01-01T00:00:00Z", false);
        check("-0001-12-31T23:59:59Z", false);
    }

    #[test]
    fn an_attempt_whose_last_one_has_no_number_is_refused() {
        let run = Run::sample(RunId(Uuid::nil()), "j".parse().unwrap(), "c".parse().unwrap());
        let run = Arc::new(run);
        let check = |attempt: u32, attempts_left: u32, is_right: bool| {
            let of = Attempt { run: Arc::clone(&run), attempt, attempts_left, not_before: None };
            assert_eq!(of.check().is_ok(), is_right, "{attempt} and {attempts_left} left");
        };
        check(0, 1, false);
        check(u32::MAX - 1_000, 1_000, true);
        check(u32::MAX - 999, 1_000, false);
        check(u32::MAX, 0, true);
        check(u32::MAX, 1, false);
        let late = Some("+10000-01-01T00:00:00Z".parse().unwrap());
        let attempt = Attempt { run, attempt: 2, attempts_left: 0, not_before: late };
        let why = "not_before is in the year 10000, which RFC 3339 cannot write";
        assert_eq!(attempt.check().unwrap_err().to_string(), why);
    }
}

//! What the values of options may be: each reads one, or says what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::quoted;
use crate::common::duration;
use crate::common::glyphs::{Glyph, Looks, mistaken};
use crate::common::model::{JobName, rules};
use crate::common::nearest::nearest;
use crate::producer::job::{CatchUpPolicy, Overlap};

/// The values of `overlap`.
pub(super) const OVERLAPS: [(&str, Overlap); 4] = [
    ("allow", Overlap::Allow),
    ("skip", Overlap::Skip),
    ("queue", Overlap::Queue),
    ("replace", Overlap::Replace),
];

/// The values of `catchup`.
pub(super) const CATCH_UPS: [(&str, CatchUpPolicy); 3] =
    [("last", CatchUpPolicy::Last), ("all", CatchUpPolicy::All), ("none", CatchUpPolicy::None)];

/// The longest jitter. Who starts anew reads the topics from that far before, to know what is published.
pub const MAX_JITTER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn name(value: &str) -> Result<JobName, String> {
    if value == JobName::any().as_str() {
        return Err(format!("option `name`: {} stands for all jobs of a cluster", quoted(value)));
    }
    let unseen = |glyph: &Glyph| glyph.looks == Looks::Unseen;
    if let Some(glyph) = mistaken(value).map(|(_, glyph)| glyph).find(unseen) {
        return Err(format!("option `name`: {}", glyph.said("")));
    }
    JobName::new(value).map_err(|_| {
        let rule = "1 to 128 characters, none of them white space or control";
        format!("option `name`: {} is not a job name ({rule})", quoted(value))
    })
}

pub(super) fn retries(value: &str) -> Result<u32, String> {
    number("retries", value, "number of retries", &rules::RETRIES)
}

/// A number in a range.
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    word: &str,
    value: &str,
    what: &str,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("option `{word}`: {} is not a {what} ({least} to {most})", quoted(value))
    })
}

fn duration(word: &str, value: &str) -> Result<Duration, String> {
    duration::parse(value).map_err(|error| format!("option `{word}`: {error}"))
}

pub(super) fn millis(word: &str, value: &str) -> Result<u64, String> {
    // The longest duration has far fewer milliseconds than fit.
    Ok(u64::try_from(duration(word, value)?.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn timeout(value: &str) -> Result<u64, String> {
    let millis = millis("timeout", value)?;
    if !rules::LIMIT_MS.contains(&millis) {
        return Err(
            "option `timeout`: 0 leaves no time to run (without a limit, leave the option out)".to_owned()
        );
    }
    Ok(millis)
}

/// One of a few words by its name.
pub(super) fn one_of<T, const N: usize>(word: &str, value: &str, known: [(&str, T); N]) -> Result<T, String> {
    let names: [&str; N] = known.each_ref().map(|(name, _)| *name);
    let meant = nearest(value, names);
    let hint = meant.map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"));
    let wrong = || {
        let (last, others) = names.split_last().map_or(("", &names[..]), |(last, others)| (*last, others));
        format!("option `{word}`: {} is not {} or {last}{hint}", quoted(value), others.join(", "))
    };
    known.into_iter().find(|(name, _)| *name == value).map(|(_, meaning)| meaning).ok_or_else(wrong)
}

pub(super) fn window(value: &str) -> Result<Duration, String> {
    let window = duration("catchup_window", value)?;
    if window.is_zero() {
        return Err(
            "option `catchup_window`: 0 leaves nothing to catch up (`catchup=none` says it)".to_owned()
        );
    }
    Ok(window)
}

pub(super) fn deadline(value: &str) -> Result<u64, String> {
    let millis = millis("deadline", value)?;
    if !rules::LIMIT_MS.contains(&millis) {
        return Err(
            "option `deadline`: 0 leaves no time to start (without a limit, leave the option out)".to_owned()
        );
    }
    Ok(millis)
}

pub(super) fn jitter(value: &str) -> Result<Duration, String> {
    let jitter = duration("jitter", value)?;
    if jitter > MAX_JITTER {
        return Err(format!("option `jitter`: {} is too long (at most 24h)", quoted(value)));
    }
    if jitter.subsec_millis() != 0 {
        return Err(format!("option `jitter`: {} is not whole seconds (as in `30s`)", quoted(value)));
    }
    Ok(jitter)
}

pub(super) fn instant(word: &str, value: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(value).map(|instant| instant.to_utc()).map_err(|_| {
        let right = "RFC 3339 with its zone, as in `2026-03-01T00:15:00Z` or `2026-03-01T01:15:00+01:00`";
        format!("option `{word}`: {} is not an instant ({right})", quoted(value))
    })
}

pub(super) fn cwd(value: &str) -> Result<String, String> {
    if rules::is_absolute(value) {
        return Ok(value.to_owned());
    }
    Err(format!("option `cwd`: {} is not an absolute path (it begins with `/`)", quoted(value)))
}

pub(super) fn user(value: &str) -> Result<String, String> {
    if rules::is_user(value) {
        return Ok(value.to_owned());
    }
    let rule = "1 to 32 letters, digits, `_`, `-`, `.`, `$`, not starting with `-`";
    Err(format!("option `user`: {} is not a user name ({rule})", quoted(value)))
}

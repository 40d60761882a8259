//! The options of a job: which there are, and what holds where one is left out.

use std::collections::HashSet;
use std::time::Duration;

use super::report::quoted;
use super::resources;
use super::values::{
    CATCH_UPS, OVERLAPS, cwd, deadline, instant, jitter, millis, name, one_of, retries, timeout, user, window,
};
use super::zones::Known;
use crate::common::duration;
use crate::common::model::{JobName, Limits, Resources, RetryPolicy};
use crate::common::nearest::nearest;
use crate::producer::job::{CatchUp, Overlap};
use crate::producer::window::Window;
use crate::producer::zone::Zone;

/// The options, as messages list them.
pub(super) const KNOWN: [&str; 21] = [
    "name",
    "retries",
    "backoff",
    "backoff_max",
    "timeout",
    "grace",
    "overlap",
    "catchup",
    "catchup_window",
    "deadline",
    "jitter",
    "from",
    "until",
    "cwd",
    "user",
    "memory",
    "cpu",
    "pids",
    "nofile",
    "nice",
    "tz",
];

/// What a line's options say, with the defaults for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) name: Option<JobName>,
    pub(super) retry: RetryPolicy,
    pub(super) limits: Limits,
    pub(super) resources: Resources,
    pub(super) overlap: Overlap,
    pub(super) catch_up: CatchUp,
    pub(super) jitter: Duration,
    pub(super) window: Window,
    pub(super) cwd: Option<String>,
    pub(super) user: Option<String>,
    pub(super) zone: Option<Zone>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            retry: RetryPolicy { retries: 0, backoff_ms: 10_000, backoff_max_ms: 60 * 60 * 1000 },
            limits: Limits { timeout_ms: None, grace_ms: 10_000, deadline_ms: None },
            resources: Resources::default(),
            overlap: Overlap::default(),
            catch_up: CatchUp::default(),
            jitter: Duration::ZERO,
            window: Window::default(),
            cwd: None,
            user: None,
            zone: None,
        }
    }
}

impl Settings {
    /// Checks a list of options; what is wrong with one does not hide what is wrong with another.
    pub(super) fn read(options: &[(&str, &str)], zones: &mut Known<'_>) -> (Self, Vec<String>) {
        let mut settings = Self::default();
        let mut wrong = Vec::new();
        let mut seen = HashSet::new();
        for (word, value) in options {
            if !seen.insert(*word) {
                wrong.push(format!("option {} is given twice", quoted(word)));
            } else if let Err(what) = settings.set(word, value, zones) {
                wrong.push(what);
            }
        }
        if seen.contains("backoff")
            && wrong.is_empty()
            && settings.retry.backoff_ms > settings.retry.backoff_max_ms
        {
            let backoff = duration::format(Duration::from_millis(settings.retry.backoff_ms));
            let most = duration::format(Duration::from_millis(settings.retry.backoff_max_ms));
            wrong.push(format!("option `backoff`: {backoff} is longer than `backoff_max`, which is {most}"));
        }
        if let Window { from: Some(from), until: Some(until) } = settings.window
            && until <= from
        {
            wrong.push("option `until`: it is not after `from`, so that the job is never due".to_owned());
        }
        (settings, wrong)
    }

    fn set(&mut self, word: &str, value: &str, zones: &mut Known<'_>) -> Result<(), String> {
        match word {
            "name" => self.name = Some(name(value)?),
            "retries" => self.retry.retries = retries(value)?,
            "backoff" => self.retry.backoff_ms = millis(word, value)?,
            "backoff_max" => self.retry.backoff_max_ms = millis(word, value)?,
            "timeout" => self.limits.timeout_ms = Some(timeout(value)?),
            "grace" => self.limits.grace_ms = millis(word, value)?,
            "overlap" => self.overlap = one_of(word, value, OVERLAPS)?,
            "catchup" => self.catch_up.policy = one_of(word, value, CATCH_UPS)?,
            "catchup_window" => self.catch_up.window = window(value)?,
            "deadline" => self.limits.deadline_ms = Some(deadline(value)?),
            "jitter" => self.jitter = jitter(value)?,
            "from" => self.window.from = Some(instant(word, value)?),
            "until" => self.window.until = Some(instant(word, value)?),
            "cwd" => self.cwd = Some(cwd(value)?),
            "user" => self.user = Some(user(value)?),
            "memory" => self.resources.memory_bytes = Some(resources::memory(value)?),
            "cpu" => self.resources.cpu_s = Some(resources::cpu(value)?),
            "pids" => self.resources.pids = Some(resources::pids(value)?),
            "nofile" => self.resources.nofile = Some(resources::nofile(value)?),
            "nice" => self.resources.nice = Some(resources::nice(value)?),
            "tz" => self.zone = Some(zones.get(value).map_err(|error| format!("option `tz`: {error}"))?),
            _ => return Err(unknown(word)),
        }
        Ok(())
    }
}

fn unknown(word: &str) -> String {
    match nearest(word, KNOWN) {
        Some(meant) => format!("unknown option {} (did you mean `{meant}`?)", quoted(word)),
        None => format!("unknown option {} (the options are {})", quoted(word), KNOWN.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use chrono::DateTime;

    use super::super::values::MAX_JITTER;
    use super::*;
    use crate::common::model::rules;
    use crate::common::zones::Zones;
    use crate::producer::job::CatchUpPolicy;

    fn check(options: &[(&str, &str)], change: impl Fn(&mut Settings)) {
        let mut expected = Settings::default();
        change(&mut expected);
        assert_eq!(
            Settings::read(options, &mut Known::new(&Zones::bundled())),
            (expected, Vec::new()),
            "{options:?}"
        );
    }

    fn check_wrong(options: &[(&str, &str)], parts: &[&str]) {
        let (_, wrong) = Settings::read(options, &mut Known::new(&Zones::bundled()));
        assert_eq!(wrong.len(), parts.len(), "{options:?}: {wrong:?}");
        for (wrong, part) in wrong.iter().zip(parts) {
            assert!(wrong.contains(part), "{options:?}: {wrong}");
        }
    }

    #[test]
    fn every_option_sets_what_it_names() {
        check(&[], |_| {});
        check(&[("name", "büro:1")], |s| s.name = JobName::new("büro:1").ok());
        check(&[("retries", "3")], |s| s.retry.retries = 3);
        check(&[("retries", "1000")], |s| s.retry.retries = 1_000);
        check(&[("backoff", "0s")], |s| s.retry.backoff_ms = 0);
        check(&[("backoff", "1m30s")], |s| s.retry.backoff_ms = 90_000);
        check(&[("backoff_max", "5s")], |s| s.retry.backoff_max_ms = 5_000);
        check(&[("timeout", "2h")], |s| s.limits.timeout_ms = Some(7_200_000));
        check(&[("grace", "500ms")], |s| s.limits.grace_ms = 500);
        for (word, overlap) in OVERLAPS {
            check(&[("overlap", word)], |s| s.overlap = overlap);
        }
        for (word, policy) in CATCH_UPS {
            check(&[("catchup", word)], |s| s.catch_up.policy = policy);
        }
        check(&[("catchup_window", "7d")], |s| s.catch_up.window = Duration::from_secs(7 * 24 * 60 * 60));
        check(&[("deadline", "5m")], |s| s.limits.deadline_ms = Some(300_000));
        check(&[("jitter", "24h")], |s| s.jitter = MAX_JITTER);
        let instant = DateTime::from_timestamp(1_772_323_200, 0);
        check(&[("from", "2026-03-01T00:00:00Z")], |s| s.window.from = instant);
        check(&[("until", "2026-03-01T01:00:00+01:00")], |s| s.window.until = instant);
        check(&[("cwd", "/srv/a b")], |s| s.cwd = Some("/srv/a b".to_owned()));
        check(&[("user", "www-data")], |s| s.user = Some("www-data".to_owned()));
        check(&[("memory", "512m")], |s| s.resources.memory_bytes = Some(512 * 1024 * 1024));
        check(&[("cpu", "90s")], |s| s.resources.cpu_s = Some(90));
        check(&[("pids", "64")], |s| s.resources.pids = Some(64));
        check(&[("nofile", "1024")], |s| s.resources.nofile = Some(1_024));
        check(&[("nice", "-5")], |s| s.resources.nice = Some(-5));
        check(&[("tz", "Europe/London")], |s| s.zone = "Europe/London".parse().ok());
        check(&[("tz", "UTC"), ("retries", "1")], |s| {
            s.zone = Some(Zone::utc());
            s.retry.retries = 1;
        });
    }

    #[test]
    fn an_option_takes_the_numbers_that_a_message_may_have() {
        fn both<T: Copy + Into<i128>>(range: &RangeInclusive<T>) -> (i128, i128) {
            ((*range.start()).into(), (*range.end()).into())
        }
        let check = |word: &str, unit: &str, (least, most): (i128, i128)| {
            for (number, is_right) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
                let value = format!("{number}{unit}");
                let (_, wrong) = Settings::read(&[(word, &value)], &mut Known::new(&Zones::bundled()));
                // A first wait that is longer than the longest one is another matter.
                let others = wrong.iter().filter(|wrong| !wrong.contains("is longer than")).count();
                assert_eq!(others == 0, is_right, "{word}={value}: {wrong:?}");
            }
        };
        check("retries", "", both(&rules::RETRIES));
        check("backoff", "ms", both(&rules::WAIT_MS));
        check("backoff_max", "ms", both(&rules::WAIT_MS));
        check("grace", "ms", both(&rules::WAIT_MS));
        check("timeout", "ms", both(&rules::LIMIT_MS));
        check("deadline", "ms", both(&rules::LIMIT_MS));
        check("cpu", "s", both(&rules::CPU_S));
        check("pids", "", both(&rules::PIDS));
        check("nofile", "", both(&rules::NOFILE));
        check("nice", "", both(&rules::NICE));
        let (least, most) = both(&rules::MEMORY_BYTES);
        check("memory", "k", (least / 1024, most / 1024));
    }

    #[test]
    fn the_defaults_are_those_of_the_reference() {
        let defaults = Settings::default();
        assert_eq!(defaults.retry, RetryPolicy { retries: 0, backoff_ms: 10_000, backoff_max_ms: 3_600_000 });
        assert_eq!(defaults.limits, Limits { timeout_ms: None, grace_ms: 10_000, deadline_ms: None });
        assert_eq!(defaults.jitter, Duration::ZERO);
        assert_eq!(defaults.overlap, Overlap::Allow);
        assert_eq!(defaults.window, Window::default());
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(defaults.catch_up, CatchUp { policy: CatchUpPolicy::Last, window: day });
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        check_wrong(&[("name", "")], &["option `name`: `` is not a job name (1 to 128"]);
        check_wrong(&[("name", "a b")], &["none of them white space"]);
        check_wrong(&[("name", "*")], &["option `name`: `*` stands for all jobs of a cluster"]);
        for value in ["", "-1", "+1", "3x", "1001", "99999999999"] {
            check_wrong(&[("retries", value)], &["is not a number of retries (0 to 1000)"]);
        }
        check_wrong(&[("backoff", "10")], &["option `backoff`: `10` is not a duration: `10` has no unit"]);
        check_wrong(&[("backoff_max", "x")], &["option `backoff_max`"]);
        check_wrong(&[("grace", "-1s")], &["option `grace`"]);
        check_wrong(&[("timeout", "0s")], &["leave the option out"]);
        check_wrong(&[("overlap", "")], &["option `overlap`: `` is not allow, skip, queue or replace"]);
        check_wrong(
            &[("overlap", "skipp")],
            &["`skipp` is not allow, skip, queue or replace (did you mean `skip`?)"],
        );
        check_wrong(&[("overlap", "Skip")], &["did you mean `skip`?"]);
        check_wrong(&[("catchup", "1h")], &["option `catchup`: `1h` is not last, all or none"]);
        check_wrong(&[("catchup", "non")], &["did you mean `none`?"]);
        check_wrong(&[("catchup_window", "0s")], &["0 leaves nothing to catch up (`catchup=none` says it)"]);
        check_wrong(&[("catchup_window", "all")], &["option `catchup_window`: `all` is not a duration"]);
        check_wrong(&[("deadline", "0s")], &["option `deadline`: 0 leaves no time to start"]);
        check_wrong(&[("deadline", "300")], &["option `deadline`: `300` is not a duration"]);
        check_wrong(&[("jitter", "1500ms")], &["is not whole seconds"]);
        check_wrong(&[("jitter", "25h")], &["at most 24h"]);
        for value in ["", "2026-03-01", "2026-03-01T00:00:00", "tomorrow"] {
            check_wrong(&[("from", value)], &["is not an instant (RFC 3339 with its zone"]);
        }
        let never = [("until", "2026-03-01T00:00:00Z"), ("from", "2026-03-01T01:00:00+01:00")];
        check_wrong(&never, &["option `until`: it is not after `from`"]);
        check_wrong(&[("cwd", "srv")], &["not an absolute path"]);
        for value in ["", "a b", "a:b", "-a", "a/b", "é"] {
            check_wrong(&[("user", value)], &["is not a user name"]);
        }
        check_wrong(
            &[("tz", "Europe/Lodnon")],
            &["option `tz`: unknown time zone `Europe/Lodnon` (did you mean"],
        );
    }

    #[test]
    fn a_wait_longer_than_the_longest_is_an_error_only_where_it_was_asked_for() {
        check_wrong(&[("backoff", "2h")], &["2h is longer than `backoff_max`, which is 1h"]);
        check_wrong(
            &[("backoff_max", "1s"), ("backoff", "2s")],
            &["2s is longer than `backoff_max`, which is 1s"],
        );
        check(&[("backoff", "2h"), ("backoff_max", "2h")], |s| {
            s.retry.backoff_ms = 7_200_000;
            s.retry.backoff_max_ms = 7_200_000;
        });
    }

    #[test]
    fn an_unknown_option_is_answered_with_the_nearest_or_with_all() {
        check_wrong(&[("retrys", "3")], &["unknown option `retrys` (did you mean `retries`?)"]);
        check_wrong(&[("Name", "x")], &["did you mean `name`?"]);
        check_wrong(&[("parallel", "3")], &["the options are name, retries, backoff, backoff_max, timeout"]);
        check_wrong(&[("overlapp", "skip")], &["did you mean `overlap`?"]);
        check_wrong(&[("catchup-window", "1h")], &["did you mean `catchup_window`?"]);
    }

    #[test]
    fn an_option_given_twice_is_an_error_beside_the_others() {
        check_wrong(
            &[("retries", "x"), ("tz", "x"), ("retries", "1")],
            &["option `retries`: `x`", "option `tz`", "option `retries` is given twice"],
        );
    }
}

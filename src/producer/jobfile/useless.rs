//! Options that are legal but change no run. The reader warns about them, because their author expected an effect.

use super::settings::Settings;
use crate::producer::job::{CatchUpPolicy, Overlap};
use crate::producer::schedule::Schedule;

/// What options say without any effect. `options` are those that were written, `settings` what they mean.
pub(super) fn useless(
    options: &[(&str, &str)],
    settings: &Settings,
    schedule: &Schedule,
) -> Vec<&'static str> {
    let given = |word: &str| options.iter().any(|(given, _)| *given == word);
    let mut useless = Vec::new();
    let mut note = |holds: bool, what: &'static str| useless.extend(holds.then_some(what));
    note(
        (given("backoff") || given("backoff_max")) && !given("retries"),
        "back-off without retries has no effect (add `retries=`)",
    );
    note(
        settings.retry.retries > 0 && no_retry_in_time(settings),
        "no retry would start before the `deadline`: even the first waits longer (`backoff`)",
    );
    if schedule.is_reboot() {
        note(given("tz"), "a zone has no effect on `@reboot` (it names no time of day)");
        note(given("jitter"), "`jitter` has no effect on `@reboot` (there is no schedule to spread)");
        note(
            given("from") || given("until"),
            "`from` and `until` have no effect on `@reboot` (there is no schedule to bound)",
        );
        note(
            given("catchup") || given("catchup_window"),
            "there is nothing to catch up for `@reboot` (it is due when the producers start)",
        );
        return useless;
    }
    let policy = settings.catch_up.policy;
    note(
        given("catchup_window") && policy == CatchUpPolicy::None,
        "`catchup_window` has no effect with `catchup=none`",
    );
    note(
        given("catchup_window") && policy != CatchUpPolicy::None && deadline_is_shorter(settings),
        "`catchup_window` has no effect with a `deadline` that is not longer",
    );
    note(
        policy == CatchUpPolicy::All && settings.overlap == Overlap::Skip,
        "`overlap=skip` skips what `catchup=all` asks for: of ticks caught up together only the first is run",
    );
    note(
        policy == CatchUpPolicy::All && settings.overlap == Overlap::Queue,
        "`overlap=queue` skips what `catchup=all` asks for: of ticks caught up together one is run and one waits",
    );
    note(
        policy == CatchUpPolicy::All && settings.overlap == Overlap::Replace,
        "`overlap=replace` skips what `catchup=all` asks for: of ticks caught up together only the last is run to its end",
    );
    useless
}

/// Whether the shortest wait before the second attempt, which is a fifth less than the back-off, is too long.
fn no_retry_in_time(settings: &Settings) -> bool {
    let wait_ms = settings.retry.backoff_ms.min(settings.retry.backoff_max_ms);
    settings.limits.deadline_ms.is_some_and(|deadline_ms| deadline_ms < wait_ms / 5 * 4)
}

fn deadline_is_shorter(settings: &Settings) -> bool {
    let window_ms = settings.catch_up.window.as_millis();
    settings.limits.deadline_ms.is_some_and(|deadline_ms| u128::from(deadline_ms) <= window_ms)
}

#[cfg(test)]
mod tests {
    use super::super::zones::Known;
    use super::*;
    use crate::common::zones::Zones;
    use crate::producer::zone::Zone;

    fn check(schedule: &str, options: &[(&str, &str)], part: Option<&str>) {
        let (settings, wrong) = Settings::read(options, &mut Known::new(&Zones::bundled()));
        assert_eq!(wrong, [""; 0], "{options:?}");
        let found = useless(options, &settings, &Schedule::parse(schedule, &Zone::utc()).expect(schedule));
        assert_eq!(found.len(), usize::from(part.is_some()), "{schedule} {options:?}: {found:?}");
        assert!(found.iter().all(|what| what.contains(part.unwrap())), "{schedule} {options:?}: {found:?}");
    }

    #[test]
    fn a_back_off_without_retries_is_noticed() {
        check("@daily", &[], None);
        check("@daily", &[("backoff", "1s")], Some("without retries"));
        check("@daily", &[("backoff_max", "1s")], Some("without retries"));
        check("@daily", &[("backoff", "1s"), ("retries", "1")], None);
    }

    #[test]
    fn retries_that_come_after_the_deadline_are_noticed() {
        let late = Some("no retry would start before the `deadline`");
        check("@daily", &[("retries", "1"), ("deadline", "7s")], late);
        check("@daily", &[("retries", "1"), ("deadline", "8s")], None);
        check("@daily", &[("retries", "1"), ("deadline", "7s"), ("backoff", "1s")], None);
        check("@daily", &[("retries", "1"), ("deadline", "7s"), ("backoff_max", "1s")], None);
        check("@daily", &[("deadline", "1s")], None);
    }

    #[test]
    fn a_window_that_bounds_nothing_is_noticed() {
        let window = ("catchup_window", "1h");
        check("@daily", &[window], None);
        check("@daily", &[window, ("catchup", "all")], None);
        check("@daily", &[window, ("catchup", "none")], Some("no effect with `catchup=none`"));
        check("@daily", &[window, ("deadline", "1h")], Some("with a `deadline` that is not longer"));
        check("@daily", &[window, ("deadline", "1h1s")], None);
        check("@daily", &[window, ("deadline", "1m"), ("catchup", "none")], Some("`catchup=none`"));
        check("@daily", &[("deadline", "1m")], None);
    }

    #[test]
    fn catching_up_what_is_skipped_at_once_is_noticed() {
        check("@hourly", &[("catchup", "all"), ("overlap", "skip")], Some("only the first is run"));
        check("@hourly", &[("catchup", "all"), ("overlap", "queue")], Some("one is run and one waits"));
        check(
            "@hourly",
            &[("catchup", "all"), ("overlap", "replace")],
            Some("only the last is run to its end"),
        );
        check("@hourly", &[("catchup", "all"), ("overlap", "allow")], None);
        check("@hourly", &[("catchup", "last"), ("overlap", "skip")], None);
    }

    #[test]
    fn what_needs_a_time_of_day_is_noticed_beside_a_reboot() {
        check("@reboot", &[("overlap", "skip"), ("deadline", "1h"), ("retries", "1")], None);
        check("@reboot", &[("tz", "UTC")], Some("a zone has no effect"));
        check("@reboot", &[("from", "2026-03-01T00:00:00Z")], Some("no schedule to bound"));
        check("@reboot", &[("jitter", "1m")], Some("`jitter` has no effect"));
        check("@reboot", &[("catchup", "none"), ("catchup_window", "1h")], Some("nothing to catch up"));
        check("@every 1h", &[("tz", "UTC"), ("jitter", "1m")], None);
    }
}

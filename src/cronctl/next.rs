//! `cronctl next` prints when a schedule is due.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args as Arguments;

use super::screen::{Answer, Screen};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::glyphs::{glyph, visible};
use crate::common::zones::Zones;
use crate::producer::jobfile::{self, ZoneError};
use crate::producer::schedule::{Schedule, odd_steps};
use crate::producer::zone::Zone;

/// When is a schedule due?
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// Five fields, six with seconds first, or an @ word; in quotes, so that the shell leaves `*` alone
    #[arg(required = true, num_args = 1.., value_name = "SCHEDULE")]
    pub schedule: Vec<String>,

    /// Zone of the schedule, by its IANA name
    #[arg(long, env = "KAFKA_CRON_TZ", default_value = "UTC", value_name = "ZONE", value_parser = zone)]
    pub tz: Zone,

    /// Show ticks after this instant, as in 2026-03-01T00:00:00Z [default: now]
    #[arg(long, env = "KAFKA_CRON_AFTER", value_name = "RFC3339", value_parser = instant)]
    pub after: Option<DateTime<Utc>>,

    /// How many ticks to show
    #[arg(long, env = "KAFKA_CRON_COUNT", default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
}

/// A zone as a producer on this host would know it.
fn zone(word: &str) -> Result<Zone, ZoneError> {
    jobfile::zone(word, &Zones::of_host())
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|error| format!("{error} (as in `2026-03-01T00:00:00Z` or `2026-03-01T01:00:00+01:00`)"))
}

/// A line for each tick: the instant in UTC, a blank, and the local time of the zone.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let words = args.schedule.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(glyph) = words.chars().find_map(glyph) {
        screen.complain(format_args!("`{}`: {}", visible(&words), glyph.said("")))?;
        return Ok(Exit::Usage);
    }
    let schedule = match Schedule::parse(&words, &args.tz) {
        Ok(schedule) => schedule,
        Err(error) => {
            screen.complain(format_args!("`{words}`: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    if schedule.is_reboot() {
        screen.complain(
            "`@reboot` names no instant: its jobs are run once when the first producer starts, with no other running",
        )?;
        return Ok(Exit::Done);
    }
    for warning in odd_steps(&words) {
        screen.complain(format_args!("warning: {warning}"))?;
    }
    let mut after = args.after.unwrap_or_else(|| clock.now());
    for shown in 0..args.count {
        let Some(tick) = schedule.next(after) else {
            screen.complain(format_args!("{shown} ticks and no more: the calendar ends"))?;
            break;
        };
        screen.say(line(tick, &args.tz))?;
        if !screen.is_heard() {
            break;
        }
        after = tick;
    }
    Ok(Exit::Done)
}

fn line(tick: DateTime<Utc>, zone: &Zone) -> String {
    let local = zone.with_offset(tick).format("%Y-%m-%dT%H:%M:%S%:z");
    format!("{} {local}", tick.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_shown_in_utc_and_in_local_time_with_its_offset() {
        let check = |tick: &str, zone: &str, expected: &str| {
            assert_eq!(line(tick.parse().unwrap(), &zone.parse().unwrap()), expected);
        };
        check("2026-03-01T00:15:00Z", "UTC", "2026-03-01T00:15:00Z 2026-03-01T00:15:00+00:00");
        check("2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T00:30:00Z 2026-10-25T02:30:00+02:00");
        check("2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T01:30:00Z 2026-10-25T02:30:00+01:00");
        check("2026-03-01T00:00:00Z", "Asia/Kolkata", "2026-03-01T00:00:00Z 2026-03-01T05:30:00+05:30");
    }

    #[test]
    fn instants_are_read_with_any_offset() {
        let expected = "2026-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(instant("2026-03-01T01:00:00+01:00"), Ok(expected));
        assert!(instant("2026-03-01").unwrap_err().contains("as in `2026-03-01T00:00:00Z`"));
    }
}

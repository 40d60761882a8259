//! The words of a schedule, read into sets of numbers.

use super::error::{ScheduleError, shown};
use super::every::Every;
use super::field::{DAY, HOUR, MINUTE, MONTH, Numbers, SECOND, WEEKDAY};
use super::foreign;
use crate::common::nearest::nearest;

/// What an `@` word stands for.
const SHORTHANDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Days of the months in the longest of years.
const MONTH_DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What the words of a schedule are.
pub(super) enum Words {
    /// `@reboot`.
    Reboot,
    /// `@every`.
    Every(Every),
    /// Everything else.
    Local(Expression),
}

/// The local times of a schedule, as sets of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Expression {
    pub(super) seconds: Numbers,
    pub(super) minutes: Numbers,
    pub(super) hours: Numbers,
    pub(super) days: Numbers,
    pub(super) months: Numbers,
    /// 0 for Sunday to 6.
    pub(super) weekdays: Numbers,
    pub(super) day_rule: DayRule,
    pub(super) pace: Pace,
}

/// How the two day fields go together (crontab(5), "The day of a command's execution").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DayRule {
    /// A field starts with `*`: both must match.
    Both,
    /// Both fields are restricted: one that matches is enough.
    Either,
}

/// What a schedule does when the clock is changed (cron(8), "daylight saving time").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pace {
    /// The minute or hour field starts with `*`: it runs whenever the clock shows a time that matches.
    Elapsed,
    /// It runs once for each local time that matches, shown or not.
    Fixed,
}

/// Reads a schedule's words.
pub(super) fn read(words: &str) -> Result<Words, ScheduleError> {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    match words[..] {
        [] => Err(ScheduleError::Empty),
        ["@reboot"] => Ok(Words::Reboot),
        ["@reboot", extra, ..] => Err(ScheduleError::TooMuch("@reboot".to_owned(), shown(extra))),
        ["@every"] => Err(ScheduleError::EveryWhat),
        ["@every", duration] => Ok(Words::Every(Every::parse(duration)?)),
        ["@every", duration, extra, ..] => {
            Err(ScheduleError::TooMuch(format!("@every {}", shown(duration)), shown(extra)))
        }
        [word, ref rest @ ..] if word.starts_with('@') => match (expand(word)?, rest) {
            (fields, []) => Expression::parse(fields),
            (_, [extra, ..]) => Err(ScheduleError::TooMuch(word.to_owned(), shown(extra))),
        }
        .map(Words::Local),
        ref fields => Expression::of(fields).map(Words::Local),
    }
}

fn expand(word: &str) -> Result<&'static str, ScheduleError> {
    if let Some((_, fields)) = SHORTHANDS.iter().find(|(known, _)| *known == word) {
        return Ok(fields);
    }
    if let Some(instead) = foreign::word_instead(word) {
        return Err(ScheduleError::UnknownWord { word: shown(word), instead });
    }
    let known: Vec<&str> = SHORTHANDS.iter().map(|(word, _)| *word).chain(["@every", "@reboot"]).collect();
    let instead = match nearest(word, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the words are {}", known.join(", ")),
    };
    Err(ScheduleError::UnknownWord { word: shown(word), instead })
}

/// What is legal in the words of a schedule and probably not meant: steps that leave one number.
pub fn odd_steps(words: &str) -> Vec<String> {
    if !words.contains('/') {
        return Vec::new();
    }
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let fields = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY];
    let skipped = fields.len().saturating_sub(words.len());
    words.iter().zip(&fields[skipped..]).flat_map(|(word, field)| field.odd_steps(word)).collect()
}

impl Expression {
    fn parse(fields: &str) -> Result<Self, ScheduleError> {
        Self::of(&fields.split(' ').collect::<Vec<_>>())
    }

    fn of(fields: &[&str]) -> Result<Self, ScheduleError> {
        let (second, [minute, hour, day, month, weekday]) = match *fields {
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday]),
            _ => return Err(ScheduleError::Count(fields.len())),
        };
        let starred = |one: &str, other: &str| one.starts_with('*') || other.starts_with('*');
        let expression = Self {
            seconds: SECOND.parse(second)?,
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays: WEEKDAY.parse(weekday).map(one_sunday)?,
            day_rule: if starred(day, weekday) { DayRule::Both } else { DayRule::Either },
            pace: if starred(minute, hour) { Pace::Elapsed } else { Pace::Fixed },
        };
        // Each day of a month falls on each weekday in some year, 29 February too.
        if expression.day_rule == DayRule::Both && !expression.has_dates() {
            return Err(ScheduleError::Never);
        }
        Ok(expression)
    }

    /// Whether one of the months has one of the days, the weekday aside.
    pub(super) fn has_dates(&self) -> bool {
        (1..)
            .zip(MONTH_DAYS)
            .any(|(month, days)| self.months & (1 << month) != 0 && self.days & ((1 << (days + 1)) - 1) != 0)
    }
}

/// Sunday's two numbers made one.
fn one_sunday(weekdays: Numbers) -> Numbers {
    (weekdays | weekdays >> 7) & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(words: &str, message: &str) {
        let Err(error) = read(words) else { panic!("{words} was read") };
        assert_eq!(error.to_string(), message, "{words}");
    }

    fn check(words: &str, day_rule: DayRule, pace: Pace) {
        let Ok(Words::Local(expression)) = read(words) else { panic!("{words} was not read") };
        assert_eq!((expression.day_rule, expression.pace), (day_rule, pace), "{words}");
    }

    #[test]
    fn a_leading_star_decides_the_day_rule_and_the_pace() {
        check("0 0 1 * 1", DayRule::Either, Pace::Fixed);
        check("0 0 1 * *", DayRule::Both, Pace::Fixed);
        check("0 0 */2 * 1", DayRule::Both, Pace::Fixed);
        check("0 0 1 * *,1", DayRule::Both, Pace::Fixed);
        check("0 0 1 * 1,*", DayRule::Either, Pace::Fixed);
        check("* 0 1-31 * 0-7", DayRule::Either, Pace::Elapsed);
        check("0 */2 1 * *", DayRule::Both, Pace::Elapsed);
        check("0-59 0-23 * * *", DayRule::Both, Pace::Fixed);
        check("* 0 0 * * *", DayRule::Both, Pace::Fixed);
        check("0 * 0 * * *", DayRule::Both, Pace::Elapsed);
        check(" 0\t0  * * * ", DayRule::Both, Pace::Fixed);
        check("0 0 31 2 0", DayRule::Either, Pace::Fixed);
        check("0 0 29 2 *", DayRule::Both, Pace::Fixed);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        const COUNT: &str =
            "a schedule has five fields (minute hour day month weekday), or six with the second first, not";
        check_error(
            "",
            "the schedule is empty (five fields, six with seconds first, or a word like `@daily`)",
        );
        check_error("* * * *", &format!("{COUNT} 4"));
        check_error("* * * * * * *", &format!("{COUNT} 7"));
        check_error("0 24 * * *", "hour 24 is out of range 0-23");
        check_error("60 0 0 * * *", "second 60 is out of range 0-59");
        check_error("@dayly", "`@dayly` is not known (did you mean `@daily`?)");
        check_error("@Daily", "`@Daily` is not known (did you mean `@daily`?)");
        check_error("@evry 5m", "`@evry` is not known (did you mean `@every`?)");
        check_error(
            "@",
            "`@` is not known (the words are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, \
             @every, @reboot)",
        );
        check_error("@every_minute", "`@every_minute` is not known (`* * * * *` says it)");
        check_error("@600", "`@600` is not known (`@every 600s` says it)");
        check_error("@quarterly", "`@quarterly` is not known (`0 0 1 */3 *` says it)");
        check_error("@daily 5m", "`@daily` stands alone, `5m` is one word too many");
        check_error("@every 5m *", "`@every 5m` stands alone, `*` is one word too many");
        check_error("@reboot 5m", "`@reboot` stands alone, `5m` is one word too many");
        check_error("@rebot", "`@rebot` is not known (did you mean `@reboot`?)");
        check_error("@every", "`@every` needs a duration, as in `@every 90s`");
        check_error(
            "@every 90",
            "`@every`: `90` is not a duration: `90` has no unit (seconds would be `90s`)",
        );
        check_error("@every 0s", "`@every 0s` is not possible (whole seconds, at least `1s`)");
    }

    #[test]
    fn a_schedule_that_would_never_run_is_an_error() {
        const NEVER: &str = "it would never run: no month that it names has such a day";
        check_error("0 0 30 2 *", NEVER);
        check_error("0 0 31 4,6,9,11 *", NEVER);
        check_error("0 0 30-31 2 */2", NEVER);
        check_error("0 0 0 31 jun *", NEVER);
    }
}

//! One field of an expression: text to a set of numbers. The grammar is crontab(5)'s.

use super::error::{ScheduleError, shown};
use super::foreign;
use crate::common::nearest::nearest;

/// A set of numbers below 64, a bit a number.
pub(super) type Numbers = u64;

/// What a field may hold.
#[derive(Debug)]
pub(super) struct Field {
    /// What errors call it.
    pub(super) name: &'static str,
    pub(super) low: u32,
    pub(super) high: u32,
    /// Names for the numbers from `low` on.
    names: &'static [&'static str],
}

pub(super) const SECOND: Field = Field { name: "second", low: 0, high: 59, names: &[] };
pub(super) const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day", low: 1, high: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7, as the text has it: `*/2` counts to 7, and `5-7` is no reversed range.
pub(super) const WEEKDAY: Field =
    Field { name: "weekday", low: 0, high: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Field {
    /// The numbers that the text names: a list of `*`, numbers, names and ranges, the last two with a step if wanted.
    pub(super) fn parse(&self, text: &str) -> Result<Numbers, ScheduleError> {
        text.split(',').try_fold(0, |numbers, part| match part {
            "" => Err(ScheduleError::EmptyPart { field: self.name, list: shown(text) }),
            _ => Ok(numbers | self.part(part)?),
        })
    }

    /// Every number that the field may hold.
    pub(super) fn all(&self) -> Numbers {
        numbers(self.low, self.high, 1)
    }

    /// Steps of the text that are longer than their range, so that only its first number is left.
    pub(super) fn odd_steps(&self, text: &str) -> Vec<String> {
        let odd = |part: &str| {
            let (range, step) = part.split_once('/')?;
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.low, self.high),
                Some((from, to)) => (self.number(from, part).ok()?, self.number(to, part).ok()?),
                None => return None,
            };
            let too_long = step.parse::<u32>().map_or(true, |step| step > to.saturating_sub(from));
            (too_long && from < to).then(|| {
                let unit = match self.name {
                    "second" => "s",
                    "minute" => "m",
                    "hour" => "h",
                    _ => "",
                };
                let step = shown(step);
                let every = match (range, unit) {
                    (_, "") => String::new(),
                    ("*", unit) => format!(" (every {step}{unit} is `@every {step}{unit}`)"),
                    _ => String::new(),
                };
                format!(
                    "{} `{}` means {from} alone: the step is longer than the range{every}",
                    self.name,
                    shown(part)
                )
            })
        };
        text.split(',').filter_map(odd).collect()
    }

    fn part(&self, part: &str) -> Result<Numbers, ScheduleError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((from, to)) => (self.number(from, part)?, self.number(to, part)?),
            None => {
                let number = self.number(range, part)?;
                if step.is_some() {
                    return Err(self.step_without_range(part, number));
                }
                (number, number)
            }
        };
        if from > to {
            return Err(self.reversed(range, from, to));
        }
        Ok(numbers(from, to, step.unwrap_or(1)))
    }

    /// A step may be longer than its range, as in Debian's cron: it takes the range's first number alone.
    fn step(&self, text: &str) -> Result<usize, ScheduleError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse().unwrap_or(usize::MAX) {
            step if digits && step > 0 => Ok(step),
            _ => Err(ScheduleError::Step { field: self.name, step: shown(text) }),
        }
    }

    fn number(&self, text: &str, part: &str) -> Result<u32, ScheduleError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return self.in_range(text);
        }
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named.and_then(|index| u32::try_from(index).ok()) {
            Some(index) => Ok(self.low + index),
            None => Err(self.unknown(if text.is_empty() { part } else { text })),
        }
    }

    fn in_range(&self, digits: &str) -> Result<u32, ScheduleError> {
        match digits.parse() {
            Ok(number) if (self.low..=self.high).contains(&number) => Ok(number),
            _ => Err(ScheduleError::OutOfRange {
                field: self.name,
                value: shown(digits),
                low: self.low,
                high: self.high,
            }),
        }
    }

    fn unknown(&self, text: &str) -> ScheduleError {
        let Self { low, high, .. } = self;
        if let Some(instead) = foreign::instead(self.name, text) {
            return ScheduleError::UnknownValue { field: self.name, value: shown(text), instead };
        }
        let instead = match (nearest(text, self.names.iter().copied()), self.names) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, [first, .., last]) => format!("numbers {low}-{high}, or {first} to {last}"),
            (None, _) => format!("numbers {low}-{high}"),
        };
        ScheduleError::UnknownValue { field: self.name, value: shown(text), instead }
    }

    fn reversed(&self, range: &str, from: u32, to: u32) -> ScheduleError {
        let span = |from, to| if from == to { format!("{from}") } else { format!("{from}-{to}") };
        let instead = match (self.high == WEEKDAY.high, from, to) {
            (true, from, 0) => span(from, 7),
            (true, 7, to) => span(0, to),
            (true, from, to) => format!("{},{}", span(from, 6), span(0, to)),
            (false, from, to) => format!("{},{}", span(from, self.high), span(self.low, to)),
        };
        ScheduleError::Reversed { field: self.name, range: shown(range), instead }
    }

    fn step_without_range(&self, part: &str, from: u32) -> ScheduleError {
        let step = part.split_once('/').map_or("", |(_, step)| step);
        let instead = format!("{from}-{}/{}", self.high, shown(step));
        ScheduleError::StepWithoutRange { field: self.name, part: shown(part), instead }
    }
}

fn numbers(from: u32, to: u32, step: usize) -> Numbers {
    (from..=to).step_by(step).fold(0, |set, number| set | 1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &Field, text: &str, expected: &[u32]) {
        let set = expected.iter().fold(0, |set, number| set | 1 << number);
        assert_eq!(field.parse(text), Ok(set), "{} {text}", field.name);
    }

    fn check_error(field: &Field, text: &str, message: &str) {
        let error = field.parse(text).expect_err(text).to_string();
        assert_eq!(error, message, "{} {text}", field.name);
    }

    #[test]
    fn fields_are_read_as_crontab_has_them() {
        check(&MINUTE, "5", &[5]);
        check(&MINUTE, "007", &[7]);
        check(&MINUTE, "1,2,50-52", &[1, 2, 50, 51, 52]);
        check(&MINUTE, "*/25", &[0, 25, 50]);
        check(&MINUTE, "10-30/10,59", &[10, 20, 30, 59]);
        check(&MINUTE, "5-5/15", &[5]);
        check(&HOUR, "*/100", &[0]);
        check(&HOUR, "3-9/99999999999999999999999", &[3]);
        check(&DAY, "*/10", &[1, 11, 21, 31]);
        check(&MONTH, "JAN,mar-May,12", &[1, 3, 4, 5, 12]);
        check(&MONTH, "jan-dec/6", &[1, 7]);
        check(&WEEKDAY, "0,7,sUn", &[0, 7]);
        check(&WEEKDAY, "*/2", &[0, 2, 4, 6]);
        check(&WEEKDAY, "fri-7", &[5, 6, 7]);
        check(&WEEKDAY, "4-thu", &[4]);
        assert_eq!(SECOND.parse("*"), Ok(SECOND.all()));
    }

    fn check_part(field: &Field, text: &str, part: &str) {
        let error = field.parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{} {text}: {error}", field.name);
    }

    #[test]
    fn a_step_that_is_longer_than_its_range_is_noticed() {
        let check = |field: &Field, text: &str, expected: &[&str]| {
            assert_eq!(field.odd_steps(text), expected, "{} {text}", field.name);
        };
        const EVERY: &str =
            "minute `*/90` means 0 alone: the step is longer than the range (every 90m is `@every 90m`)";
        check(&MINUTE, "*/90", &[EVERY]);
        check(
            &MINUTE,
            "*/60",
            &["minute `*/60` means 0 alone: the step is longer than the range (every 60m is `@every 60m`)"],
        );
        check(&HOUR, "9-17/12,*/6", &["hour `9-17/12` means 9 alone: the step is longer than the range"]);
        check(&DAY, "*/31", &["day `*/31` means 1 alone: the step is longer than the range"]);
        check(&MINUTE, "*/59", &[]);
        check(&MINUTE, "*/15,7,1-5", &[]);
        check(&MINUTE, "5-5/15", &[]);
        assert_eq!(HOUR.odd_steps("*/99999999999999999999").len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        check_error(&HOUR, "24", "hour 24 is out of range 0-23");
        check_error(&DAY, "0", "day 0 is out of range 1-31");
        check_error(&MINUTE, "99999999999", "minute 99999999999 is out of range 0-59");
        check_error(&WEEKDAY, "8", "weekday 8 is out of range 0-7");
        check_error(&MONTH, "janury", "month `janury` is not known (did you mean `jan`?)");
        check_error(&MONTH, "agu", "month `agu` is not known (did you mean `aug`?)");
        check_error(&WEEKDAY, "Thursday", "weekday `Thursday` is not known (did you mean `thu`?)");
        check_error(
            &WEEKDAY,
            "5L",
            "weekday `5L` is not known (for Quartz it is the last one of the month; a test in the command says it)",
        );
        check_error(&HOUR, "mon", "hour `mon` is not known (numbers 0-23)");
        check_error(&HOUR, "-5", "hour `-5` is not known (numbers 0-23)");
        check_error(&HOUR, "5-", "hour `5-` is not known (numbers 0-23)");
        check_error(&HOUR, "+5", "hour `+5` is not known (numbers 0-23)");
        check_error(&HOUR, "1-2-3", "hour `2-3` is not known (numbers 0-23)");
        check_error(&HOUR, "*-3", "hour `*` is not known (numbers 0-23)");
        check_error(&HOUR, "?", "hour `?` is not known (for Quartz it is any day; here `*` says it)");
        check_error(
            &HOUR,
            "0~23",
            "hour `0~23` is not known (random times are those of cronie and OpenBSD; the option `jitter` spreads jobs, as in \
             `[jitter=30m]`)",
        );
        for text in ["H", "H/15", "H(0-29)/10"] {
            check_part(&MINUTE, text, "(Jenkins spreads jobs by it; write a number");
        }
        check_part(&DAY, "L", "the days 28-31 with a test in the command");
        check_part(&DAY, "L-3", "`L` is not known (for Quartz it is the last day");
        check_part(&DAY, "LW", "the last day");
        check_part(&DAY, "15W", "the nearest working day");
        check_part(&WEEKDAY, "mon#2", "one mon of the month; the days 8-14 with a test of the weekday");
        check_part(&WEEKDAY, "L", "the last one of the month");
        check_error(&HOUR, "\u{7}", "hour `\\u{7}` is not known (numbers 0-23)");
        check_error(&HOUR, "22-2", "hour range 22-2 is reversed (`22-23,0-2` says it)");
        check_error(&MONTH, "dec-jan", "month range dec-jan is reversed (`12,1` says it)");
        check_error(&WEEKDAY, "sat-sun", "weekday range sat-sun is reversed (`6-7` says it)");
        check_error(&WEEKDAY, "fri-mon", "weekday range fri-mon is reversed (`5-6,0-1` says it)");
        check_error(&WEEKDAY, "sun-sat/0", "weekday step `0` is not a number of 1 or more (as in `*/5`)");
        check_error(&WEEKDAY, "7-mon", "weekday range 7-mon is reversed (`0-1` says it)");
        check_error(&WEEKDAY, "7-0", "weekday range 7-0 is reversed (`7` says it)");
        check_error(&MINUTE, "5/15", "minute `5/15` has a step without a range (`5-59/15` would be one)");
        check_error(&MINUTE, "*/0", "minute step `0` is not a number of 1 or more (as in `*/5`)");
        check_error(&MINUTE, "*/", "minute step `` is not a number of 1 or more (as in `*/5`)");
        check_error(&MINUTE, "*/5/5", "minute step `5/5` is not a number of 1 or more (as in `*/5`)");
        check_error(&MINUTE, "*/-1", "minute step `-1` is not a number of 1 or more (as in `*/5`)");
        check_error(&MINUTE, "1,,2", "minute list `1,,2` has an empty part (as in `1,2`)");
        check_error(&MINUTE, ",", "minute list `,` has an empty part (as in `1,2`)");
        check_error(&MINUTE, "1,", "minute list `1,` has an empty part (as in `1,2`)");
    }

    #[test]
    fn a_long_word_makes_no_long_error() {
        let error = HOUR.parse(&"9".repeat(60_000)).expect_err("out of range").to_string();
        assert!(error.len() < 100, "{error}");
    }
}

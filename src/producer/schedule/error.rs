//! What can be wrong with the words of a schedule, said with what would be right.

use crate::common::duration::DurationError;
use crate::common::glyphs::visible;

/// Why words are not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There are no words.
    #[error("the schedule is empty (five fields, six with seconds first, or a word like `@daily`)")]
    Empty,
    /// Neither five fields nor six.
    #[error(
        "a schedule has five fields (minute hour day month weekday), or six with the second first, not {0}"
    )]
    Count(usize),
    /// An `@` word that is none of ours.
    #[error("`{word}` is not known ({instead})")]
    UnknownWord {
        /// What was written, cut short.
        word: String,
        /// What may have been meant.
        instead: String,
    },
    /// Words after an `@` word that takes none.
    #[error("`{0}` stands alone, `{1}` is one word too many")]
    TooMuch(String, String),
    /// `@every` alone.
    #[error("`@every` needs a duration, as in `@every 90s`")]
    EveryWhat,
    /// `@every` with something that is not a duration.
    #[error("`@every`: {0}")]
    EveryDuration(#[from] DurationError),
    /// `@every` with a duration that is not whole seconds, or none.
    #[error("`@every {0}` is not possible (whole seconds, at least `1s`)")]
    EverySeconds(String),
    /// A number outside a field's range.
    #[error("{field} {value} is out of range {low}-{high}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was written, cut short.
        value: String,
        /// The least number allowed.
        low: u32,
        /// The greatest.
        high: u32,
    },
    /// Neither a number nor a name that the field knows.
    #[error("{field} `{value}` is not known ({instead})")]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// What was written, cut short.
        value: String,
        /// What may have been meant, or what is allowed.
        instead: String,
    },
    /// A range whose end comes before its start.
    #[error("{field} range {range} is reversed (`{instead}` says it)")]
    Reversed {
        /// The field.
        field: &'static str,
        /// What was written.
        range: String,
        /// The same as a list or as a range that is not reversed.
        instead: String,
    },
    /// A step after a single number.
    #[error("{field} `{part}` has a step without a range (`{instead}` would be one)")]
    StepWithoutRange {
        /// The field.
        field: &'static str,
        /// What was written, cut short.
        part: String,
        /// What other crons take it to mean.
        instead: String,
    },
    /// A step that is no number of 1 or more.
    #[error("{field} step `{step}` is not a number of 1 or more (as in `*/5`)")]
    Step {
        /// The field.
        field: &'static str,
        /// What was written after the `/`, cut short.
        step: String,
    },
    /// Nothing before, between or after the commas of a list.
    #[error("{field} list `{list}` has an empty part (as in `1,2`)")]
    EmptyPart {
        /// The field.
        field: &'static str,
        /// What was written, cut short.
        list: String,
    },
    /// A date that no year has.
    #[error("it would never run: no month that it names has such a day")]
    Never,
}

/// The text as an error shows it: short, and without what would garble a terminal or cannot be seen.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let short: String = text.chars().take(LONGEST).collect();
    let cut = text.chars().nth(LONGEST).map_or("", |_| "…");
    visible(&short) + cut
}

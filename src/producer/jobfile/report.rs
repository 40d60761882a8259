//! What is found in a file, kept within bounds: a file that is no job file at all must not fill the memory.

use std::sync::Arc;

use super::{Problem, Severity};
use crate::common::glyphs::{Glyph, Looks, mistaken, visible};

/// How many problems the reader lists before it stops reading the file: an author mends no more in one go.
pub const MAX_PROBLEMS: usize = 1_000;

/// Characters of one message; the rest is cut.
const MAX_CHARS: usize = 600;

/// Characters of a word that a message quotes.
const QUOTED_CHARS: usize = 60;

/// A word as messages show it. What is unseen is shown by its number, and what is taken for something else is named.
pub(super) fn quoted(word: &str) -> String {
    let word = cut(word, QUOTED_CHARS);
    let like = |glyph: &Glyph| matches!(glyph.looks, Looks::Like(_));
    match mistaken(&word).map(|(_, glyph)| glyph).find(like) {
        Some(glyph) => format!("`{}` with {}", visible(&word), glyph.code()),
        None => format!("`{}`", visible(&word)),
    }
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The problems and warnings of a file, in the order in which they were found.
#[derive(Debug)]
pub(super) struct Report {
    file: Arc<str>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// The line of the first warning that found no room, and how many there were.
    unlisted: Option<(usize, usize)>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.into(), problems: Vec::new(), warnings: Vec::new(), unlisted: None }
    }

    /// Records a problem; after [`Self::is_full`] nothing more is.
    pub(super) fn problem(&mut self, line: usize, what: &str) {
        let problem = self.entry(line, what, Severity::Error);
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// Records what is legal and probably not meant.
    pub(super) fn warning(&mut self, line: usize, what: &str) {
        if self.warnings.len() < MAX_PROBLEMS {
            self.warnings.push(self.entry(line, what, Severity::Warning));
        } else {
            let (first, count) = self.unlisted.unwrap_or((line, 0));
            self.unlisted = Some((first, count + 1));
        }
    }

    /// Whether reading on would find nothing that is listed.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// The warnings of a file without errors.
    ///
    /// # Errors
    /// Errors and warnings in the order of their lines, when there is an error: a warning is often its reason.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        if let Some(last) = self.problems.last().filter(|_| self.is_full()) {
            let what = format!("{MAX_PROBLEMS} problems up to here; what follows was not read");
            self.problems.push(self.entry(last.line, &what, Severity::Error));
        }
        if let Some((line, count)) = self.unlisted {
            let what = format!("{count} more warnings from here on");
            self.warnings.push(self.entry(line, &what, Severity::Warning));
        }
        if self.problems.is_empty() {
            return Ok(self.warnings);
        }
        self.problems.append(&mut self.warnings);
        // Stable: the errors of a line come before its warnings.
        self.problems.sort_by_key(|problem| problem.line);
        Err(self.problems)
    }

    fn entry(&self, line: usize, what: &str, severity: Severity) -> Problem {
        Problem { file: Arc::clone(&self.file), line, severity, what: cut(what, MAX_CHARS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_and_warnings_stay_within_their_bounds() {
        let mut report = Report::new("jobs");
        for line in 1..=MAX_PROBLEMS + 5 {
            report.warning(line, "odd");
        }
        let warnings = report.finish().unwrap();
        assert_eq!(warnings.len(), MAX_PROBLEMS + 1);
        assert_eq!(warnings.last().unwrap().to_string(), "jobs:1001: warning: 5 more warnings from here on");

        let mut report = Report::new("jobs");
        for line in 1..=MAX_PROBLEMS + 5 {
            assert_eq!(report.is_full(), line > MAX_PROBLEMS);
            report.problem(line, &"é".repeat(10_000));
        }
        let problems = report.finish().unwrap_err();
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(
            problems.last().unwrap().to_string(),
            "jobs:1000: 1000 problems up to here; what follows was not read"
        );
        assert_eq!(problems[0].what.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_file_with_errors_shows_its_warnings_too() {
        let mut report = Report::new("jobs");
        report.warning(2, "odd");
        report.warning(3, "odd too");
        report.problem(3, "wrong");
        let told: Vec<String> = report.finish().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["jobs:2: warning: odd", "jobs:3: wrong", "jobs:3: warning: odd too"]);
    }

    #[test]
    fn a_quoted_word_hides_nothing() {
        assert_eq!(quoted("büro"), "`büro`");
        assert_eq!(quoted("a\u{200b}b\u{a0}c"), "`a\\u{200b}b\\u{a0}c`");
        assert_eq!(quoted("３"), "`３` with U+FF13 (full-width character)");
        assert_eq!(quoted("сlustr"), "`сlustr` with U+0441 (Cyrillic letter)");
    }
}

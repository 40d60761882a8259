//! `NAME=value` lines, as crontab(5) has them: blanks around the `=` do not count, a value in quotes keeps its blanks
//! and may be empty, nothing is expanded, and what follows a value belongs to it.

use super::lines::is_blank;
use super::report::quoted;
use crate::common::model::rules;

/// A line of the form `NAME=value`, its value still as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    value: &'a str,
}

/// A value without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) text: &'a str,
    /// What is legal and probably not meant.
    pub(super) warning: Option<&'static str>,
}

impl<'a> Assignment<'a> {
    /// The line as an assignment; `None` when blanks stand between words before its first `=`, or it has none.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let (name, value) = line.split_once('=')?;
        let name = name.trim_matches(is_blank);
        (!name.contains(is_blank)).then_some(Self { name, value: value.trim_matches(is_blank) })
    }

    /// Whether nothing stands after the `=`, not even quotes.
    pub(super) fn is_bare_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// What is wrong with the name as a variable of the commands.
    pub(super) fn check_name(&self) -> Result<(), String> {
        let name = self.name;
        if name.starts_with("CRON_") {
            return Err(format!(
                "{} cannot be set (names that start with `CRON_` tell a command about its run; only `CRON_TZ` is a \
                 setting)",
                quoted(name)
            ));
        }
        if !rules::is_variable(name) {
            return Err(format!(
                "{} is not an environment name (letters, digits and `_`, not starting with a digit)",
                quoted(name)
            ));
        }
        Ok(())
    }

    /// The value of a variable.
    pub(super) fn value(&self) -> Result<Value<'a>, String> {
        let Some(quote) = self.quote() else { return self.bare() };
        let (text, after) = self.between(quote)?;
        if !after.is_empty() {
            return Err(format!(
                "{} follows the closing {quote} of `{}` (quotes stand around the whole value; no comment follows it)",
                quoted(after),
                self.name
            ));
        }
        Ok(Value { text, warning: if quote == '"' { expansion(text) } else { None } })
    }

    /// The value of a setting of ours, which a comment may follow.
    pub(super) fn setting(&self) -> Result<&'a str, String> {
        let comment = |text: &'a str| text.starts_with('#') || text.is_empty();
        if let Some(quote) = self.quote() {
            let (text, after) = self.between(quote)?;
            return if comment(after) { Ok(text) } else { Err(self.one_word(after)) };
        }
        let end = self.value.find(is_blank).unwrap_or(self.value.len());
        let (text, after) = self.value.split_at(end);
        match after.trim_start_matches(is_blank) {
            _ if comment(text) => Err(format!("`{}=` has no value", self.name)),
            after if comment(after) => Ok(text),
            after => Err(self.one_word(after)),
        }
    }

    fn one_word(&self, after: &str) -> String {
        format!("{} follows the value of `{}` (one word, then at most a comment)", quoted(after), self.name)
    }

    fn quote(&self) -> Option<char> {
        self.value.chars().next().filter(|c| matches!(c, '"' | '\''))
    }

    /// What stands between the quotes, and what follows them.
    fn between(&self, quote: char) -> Result<(&'a str, &'a str), String> {
        let unclosed = || format!("the value of {} has no closing {quote}", quoted(self.name));
        let (text, after) = self.value[1..].split_once(quote).ok_or_else(unclosed)?;
        Ok((text, after.trim_start_matches(is_blank)))
    }

    fn bare(&self) -> Result<Value<'a>, String> {
        let text = self.value;
        if text.is_empty() {
            return Err(format!("`{0}=` has no value (an empty one is `{0}=\"\"`)", self.name));
        }
        let comment = text.contains(" #") || text.contains("\t#");
        let continued = text.ends_with('\\');
        let warning = comment.then_some("the `#` belongs to the value (a comment has a line of its own)");
        let warning = warning.or(continued.then_some("a `\\` at the end of a line does not continue it"));
        Ok(Value { text, warning: warning.or_else(|| expansion(text)) })
    }
}

fn expansion(text: &str) -> Option<&'static str> {
    let home = |entry: &str| entry == "~" || entry.starts_with("~/");
    if text.split(':').any(home) {
        return Some(
            "`~` is not expanded here (write the directory out; single quotes say that it is meant)",
        );
    }
    let name = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{'));
    let expands = text.split('$').skip(1).any(name);
    expands.then_some(
        "`$` is not expanded here (the value is taken as it stands; single quotes say that it is meant)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, name: &str, value: Result<&str, &str>) {
        let assignment = Assignment::read(line).expect(line);
        assert_eq!(assignment.name, name, "{line}");
        match (assignment.value(), value) {
            (Ok(got), Ok(expected)) => assert_eq!(got.text, expected, "{line}"),
            (Err(got), Err(part)) => assert!(got.contains(part), "{line}: {got}"),
            (got, expected) => panic!("{line}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn values_are_those_of_crontab() {
        check("PATH=/bin:/usr/bin", "PATH", Ok("/bin:/usr/bin"));
        check("A = b c ", "A", Ok("b c"));
        check("A\t=\tb", "A", Ok("b"));
        check("A=b=c", "A", Ok("b=c"));
        check("A=\" b \"", "A", Ok(" b "));
        check("A='it is \"b\"'", "A", Ok("it is \"b\""));
        check("A=\"\"", "A", Ok(""));
        check("A=b\"c\"", "A", Ok("b\"c\""));
        check("A=b # c", "A", Ok("b # c"));
        check("A=", "A", Err("an empty one is `A=\"\"`"));
        check("A=\"b", "A", Err("no closing \""));
        check("A='b' c", "A", Err("`c` follows the closing '"));
    }

    #[test]
    fn a_line_with_words_before_its_equals_sign_is_none() {
        for line in ["* * * * * a X=1 y", "@daily a [name=x] y", "export A=b", "A"] {
            assert_eq!(Assignment::read(line), None, "{line}");
        }
    }

    #[test]
    fn names_are_those_a_shell_can_use_and_not_ours() {
        let check = |name: &str, expected: Result<(), &str>| {
            let line = format!("{name}=x");
            match (Assignment::read(&line).expect(name).check_name(), expected) {
                (Ok(()), Ok(())) => {}
                (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
                (got, expected) => panic!("{name}: {got:?} instead of {expected:?}"),
            }
        };
        check("A", Ok(()));
        check("_a9", Ok(()));
        check("KAFKA_CRON_X", Ok(()));
        for name in ["", "9A", "A-B", "A.B", "É", "\"A\""] {
            check(name, Err("is not an environment name (letters, digits and `_`"));
        }
        check("CRON_JOB", Err("`CRON_JOB` cannot be set"));
        check("CRON_tz", Err("only `CRON_TZ` is a setting"));
    }

    #[test]
    fn a_comment_may_follow_a_setting() {
        let check = |value: &str, expected: Result<&str, &str>| {
            let line = format!("CRON_TZ={value}");
            match (Assignment::read(&line).expect(value).setting(), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
                (got, expected) => panic!("{value}: {got:?} instead of {expected:?}"),
            }
        };
        check("UTC", Ok("UTC"));
        check(" Europe/London   # zone", Ok("Europe/London"));
        check("'UTC' # zone", Ok("UTC"));
        check("\"UTC\"", Ok("UTC"));
        check("", Err("`CRON_TZ=` has no value"));
        check(" # zone", Err("`CRON_TZ=` has no value"));
        check("UTC or so", Err("`or so` follows the value"));
        check("'UTC' or so", Err("`or so` follows the value"));
        check("'UTC", Err("no closing '"));
    }

    #[test]
    fn what_looks_expanded_or_commented_and_is_not_is_a_warning() {
        let check = |value: &str, part: Option<&str>| {
            let line = format!("A={value}");
            let warning = Assignment::read(&line).expect(value).value().expect(value).warning;
            assert_eq!(warning.is_some(), part.is_some(), "{value}");
            assert!(warning.unwrap_or("").contains(part.unwrap_or("")), "{warning:?}");
        };
        check("$HOME/bin:/bin", Some("`$` is not expanded"));
        check("\"${HOME}/bin\"", Some("`$` is not expanded"));
        check("'$HOME/bin'", None);
        check("5$", None);
        check("~/bin:/bin", Some("`~` is not expanded"));
        check("/bin:~/bin", Some("`~` is not expanded"));
        check("'~/bin'", None);
        check("/srv/~x", None);
        check("b \\", Some("does not continue it"));
        check("b # c", Some("the `#` belongs to the value"));
        check("b#c", None);
    }
}

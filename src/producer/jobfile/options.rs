//! Option lists as text: `[word=value word="a value" …]`, told from the commands that begin with a bracket.

use super::lines::{is_blank, word};
use super::lookalikes;
use super::report::quoted;
use super::settings::KNOWN;

/// What stands between cluster and command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List<'a> {
    /// Words and their values, as they stand there.
    pub(super) options: Vec<(&'a str, &'a str)>,
    /// What is wrong with single options.
    pub(super) wrong: Vec<String>,
}

/// Takes the option list off a text, if one stands there: a `[` directly followed by `word=`. So `[ -f x ] && y` is a
/// command, and `[retrys=3]` is not.
///
/// # Errors
/// Where the list ends cannot be told, or another one follows.
pub(super) fn take(text: &str) -> Result<(List<'_>, &str), String> {
    let mut list = List::default();
    let Some(mut left) = text.strip_prefix('[').filter(|_| is_list(text)) else {
        return Ok((list, text));
    };
    loop {
        left = left.trim_start_matches(is_blank);
        if let Some(after) = left.strip_prefix(']') {
            let command = end(after)?;
            if is_list(command) {
                let second = word(command).map_or("", |(second, _)| second);
                return Err(format!(
                    "{} begins a second option list (one holds all options)",
                    quoted(second)
                ));
            }
            return Ok((list, command));
        }
        if left.is_empty() {
            return Err("the option list has no end (a `]` before the command)".to_owned());
        }
        left = list.option(left)?;
    }
}

/// Whether a text begins with an option list, right or wrong.
pub(super) fn is_list(text: &str) -> bool {
    text.strip_prefix('[').is_some_and(|inside| option_word(inside).is_some())
}

/// An option that begins a command, because its list has no brackets or others: `name=x`, `{name=x}`, `"[name=x]"`.
pub(super) fn without_brackets(command: &str) -> Option<&str> {
    let inside = command.trim_start_matches(['{', '(', '<', '"', '\'', ',', ';']);
    let inside = if inside.len() < command.len() { inside.trim_start_matches('[') } else { inside };
    option_word(inside).filter(|word| KNOWN.contains(word))
}

/// Whether a command begins like an option list that is none for its blanks: `[retries 3]`, `[ retries=3 ]`.
pub(super) fn looks_like_a_list(command: &str, known: &[&str]) -> bool {
    let Some(inside) = command.strip_prefix('[') else { return false };
    let spaced =
        || option_word(inside.trim_start_matches(is_blank)).is_some_and(|word| known.contains(&word));
    inside.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, ']' | ',' | ';' | '"' | '\''))
        || spaced()
}

/// Why a value without quotes holds what was meant to stand behind it.
fn swallowed(value: &str) -> Option<String> {
    if let Some(mark @ (',' | ';')) = value.chars().next_back() {
        return Some(format!(
            "it ends with `{mark}` (options are separated by blanks; a value that is meant so is quoted)"
        ));
    }
    value.char_indices().find_map(|(at, mark)| {
        let next = option_word(&value[at + mark.len_utf8()..])?;
        let separates = match mark {
            ',' | ';' => true,
            '|' | '&' | '+' | ':' => KNOWN.contains(&next),
            _ => false,
        };
        separates.then(|| {
            format!("`{mark}` before `{next}=` does not end it (options are separated by blanks; a value that is meant so is quoted)")
        })
    })
}

/// The word of `word=…`.
fn option_word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))?;
    (end > 0 && text[end..].starts_with('=')).then(|| &text[..end])
}

/// The command after a list's `]`.
fn end(after: &str) -> Result<&str, String> {
    if after.is_empty() || after.starts_with(is_blank) {
        return Ok(after.trim_start_matches(is_blank));
    }
    let next = after.split(is_blank).next().unwrap_or(after);
    Err(format!(
        "{} follows the `]` of the option list (a blank comes before the command, and a value that holds `]` is quoted)",
        quoted(next)
    ))
}

impl<'a> List<'a> {
    /// Reads one option and returns what follows it.
    fn option(&mut self, text: &'a str) -> Result<&'a str, String> {
        let Some(word) = option_word(text) else {
            let end = bare_end(text).max(1);
            // One is enough: after a forgotten `]` every word of the command would be another.
            if self.wrong.is_empty() {
                let what = quoted(&text[..end]);
                self.wrong.push(format!(
                    "{what} is not an option (`word=value` without blanks around the `=`; `]` ends the list)"
                ));
            }
            return Ok(&text[end..]);
        };
        let value = &text[word.len() + 1..];
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..]
                .split_once(quote)
                .ok_or_else(|| format!("the value of option {} has no closing {quote}", quoted(word)))?,
            _ => {
                let (value, after) = value.split_at(bare_end(value));
                if let Some(why) = swallowed(value) {
                    self.wrong.push(format!("option {}: {why}", quoted(word)));
                    return Ok(after);
                }
                if let Some(glyph) = lookalikes::in_option(value) {
                    self.wrong.push(format!("option {}: {}", quoted(word), glyph.said("")));
                    return Ok(after);
                }
                (value, after)
            }
        };
        if !(after.is_empty() || after.starts_with(is_blank) || after.starts_with(']')) {
            self.wrong.push(format!(
                "{} follows the closing quote of option {} (quotes stand around the whole value, and a blank between options)",
                quoted(&after[..bare_end(after).max(1)]),
                quoted(word)
            ));
            return Ok(&after[bare_end(after)..]);
        }
        self.options.push((word, value));
        Ok(after)
    }
}

/// Where a value without quotes ends.
fn bare_end(text: &str) -> usize {
    text.find(|c| is_blank(c) || c == ']').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, options: &[(&str, &str)], command: &str) {
        let (list, rest) = take(text).expect(text);
        assert_eq!(
            (list.options.as_slice(), list.wrong.as_slice(), rest),
            (options, &[][..], command),
            "{text}"
        );
    }

    fn check_wrong(text: &str, part: &str) {
        let wrong = match take(text) {
            Ok((list, _)) => list.wrong.join("\n"),
            Err(wrong) => wrong,
        };
        assert!(wrong.contains(part) && !wrong.contains('\n'), "{text}: {wrong}");
    }

    #[test]
    fn an_option_list_is_a_bracket_and_a_word_and_an_equals_sign() {
        check("[name=x] cmd", &[("name", "x")], "cmd");
        check("[a=1 b=2\tc=3 ]\t cmd ", &[("a", "1"), ("b", "2"), ("c", "3")], "cmd ");
        check("[retrys=3]", &[("retrys", "3")], "");
        check("[ -f x ] && y", &[], "[ -f x ] && y");
        check("[[ -f x ]] && y", &[], "[[ -f x ]] && y");
        check("[ a=b ] && y", &[], "[ a=b ] && y");
        check("[a b=c] x", &[], "[a b=c] x");
        check("[=1] x", &[], "[=1] x");
        check("[", &[], "[");
        check("cmd [name=x]", &[], "cmd [name=x]");
    }

    #[test]
    fn values_with_blanks_and_brackets_are_quoted() {
        check("[cwd=\"/a b]\"] x", &[("cwd", "/a b]")], "x");
        check("[cwd='/a \"b\"' user=c] x", &[("cwd", "/a \"b\""), ("user", "c")], "x");
        check("[name=\"\"] x", &[("name", "")], "x");
        check("[name=a=b name=it's] x", &[("name", "a=b"), ("name", "it's")], "x");
    }

    #[test]
    fn an_option_that_a_value_would_swallow_is_an_error() {
        check_wrong("[name=a,retries=3] x", "option `name`: `,` before `retries=` does not end it");
        check_wrong("[name=a;retries=3;timeout=2h] x", "option `name`: `;` before `retries=`");
        check_wrong(
            "[name=a, retries=3] x",
            "option `name`: it ends with `,` (options are separated by blanks",
        );
        check_wrong("[cwd=/srv/app,retrys=3] x", "option `cwd`: `,` before `retrys=`");
        check_wrong("[name=a|retries=3] x", "option `name`: `|` before `retries=`");
        check_wrong("[name=\"a\",retries=3] x", "`,retries=3` follows the closing quote");
        check_wrong("[name=a , retries=3] x", "`,` is not an option");
        check_wrong("[name=a][retries=3] x", "`[retries=3]` follows the `]`");
        check_wrong("[name=a] [retries=3] x", "`[retries=3]` begins a second option list");
        check_wrong(
            "[name=“e”] x",
            "option `name`: U+201C (typographic quotation mark) only looks like `\"`",
        );
        check_wrong(
            "[name=e\u{a0}retries=3] x",
            "option `name`: U+00A0 (no-break space) only looks like a space",
        );
        check_wrong("[name=e\u{200b}] x", "option `name`: U+200B (zero width space) cannot be seen");
        check(
            "[name=a,b cwd=/x/tz=1 user=b:c=d] x",
            &[("name", "a,b"), ("cwd", "/x/tz=1"), ("user", "b:c=d")],
            "x",
        );
        check("[name=\"a,retries=3\" cwd='/b,'] x", &[("name", "a,retries=3"), ("cwd", "/b,")], "x");
    }

    #[test]
    fn options_without_their_brackets_are_noticed() {
        let check = |command: &str, expected: Option<&str>| {
            assert_eq!(without_brackets(command), expected, "{command}");
        };
        check("name=a retries=3 /opt/x", Some("name"));
        check("{name=a retries=3} /opt/x", Some("name"));
        check("(retries=3) /opt/x", Some("retries"));
        check("\"[name=a]\" /opt/x", Some("name"));
        check("NAME=a /opt/x", None);
        check("{ name=a; }", None);
        check("[ name=a ] && x", None);
        check("x name=a", None);
    }

    #[test]
    fn a_broken_list_is_an_error_and_no_command() {
        check_wrong("[name=x cmd", "the option list has no end");
        check_wrong("[name=x", "the option list has no end");
        check_wrong("[name=\"x] cmd", "the value of option `name` has no closing \"");
        check_wrong("[name=x]cmd y", "`cmd` follows the `]`");
        check_wrong("[name=a]b] y", "`b]` follows the `]`");
        check_wrong("[name=\"x\"y] cmd", "`y` follows the closing quote of option `name`");
        check_wrong("[name=x quiet] cmd", "`quiet` is not an option");
        check_wrong("[name=x retries = 3] cmd", "`retries` is not an option");
        check_wrong("[name=x [ -f y ] && z", "`[` is not an option");
    }

    #[test]
    fn a_list_that_is_none_for_its_blanks_is_noticed() {
        let check = |command: &str, expected: bool| {
            assert_eq!(looks_like_a_list(command, &["name", "tz"]), expected, "{command}");
        };
        check("[retries 3] x", true);
        check("[name = x] y", true);
        check("[] x", true);
        check("[ name=x ] y", true);
        check("[ a=b ] && y", false);
        check("[ -f x ] && y", false);
        check("[[ -f x ]] && y", false);
        check("x [name = y]", false);
    }
}

//! Characters of a line that are taken for others or cannot be seen. The head of a line is ASCII, so that each of them is
//! wrong there; a command and a value may hold any text, and what is probably not meant in one is a warning.

use super::lines::{is_blank, word};
use super::shell::{Bare, bare};
use crate::common::glyphs::{Glyph, Looks, glyph, mistaken};

/// How many different characters of a line are told of.
const TOLD: usize = 3;

/// Words of a head whose end cannot be told: at most six fields and a cluster.
const HEAD_WORDS: usize = 7;

/// A line as its author sees it: each mistaken character is the one that it looks like.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    line: &'a str,
    pub(super) text: String,
}

fn as_seen(c: char) -> Option<char> {
    match glyph(c).map(|glyph| glyph.looks) {
        None => Some(c),
        Some(Looks::Like(like)) => Some(like),
        Some(Looks::Blank) => Some(' '),
        Some(Looks::Unseen) => None,
    }
}

impl<'a> Seen<'a> {
    /// The line, if it holds anything that is mistaken.
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let differs = !line.is_ascii() && line.chars().any(|c| glyph(c).is_some());
        differs.then(|| Self { line, text: line.chars().filter_map(as_seen).collect() })
    }

    /// Takes the line apart where `rest` begins, which is an end of [`Self::text`]. Unseen characters before it belong to
    /// the head. Where there is none, the head is as long as a head can be.
    pub(super) fn split(&self, rest: Option<&str>) -> (&'a str, &'a str) {
        let length = rest.map_or_else(|| head_length(&self.text), |rest| self.text.len() - rest.len());
        let mut seen = 0;
        for (at, c) in self.line.char_indices() {
            let next = as_seen(c);
            if seen >= length && next.is_some() {
                return self.line.split_at(at);
            }
            seen += next.map_or(0, char::len_utf8);
        }
        (self.line, "")
    }
}

/// Where the words end that may be a head.
fn head_length(text: &str) -> usize {
    let mut left = text;
    for _ in 0..HEAD_WORDS {
        match word(left) {
            Some((_, rest)) => left = rest,
            None => return text.len(),
        }
    }
    text.len() - left.len()
}

/// What is wrong with the head of a line, or another part of it that is ASCII.
pub(super) fn wrong(line: &str, text: &str) -> Vec<String> {
    let found = text.char_indices().filter_map(|(at, c)| glyph(c).map(|glyph| (at, glyph)));
    told(line, line.find(text), found)
}

/// What is probably not meant in a command, which ends the line.
pub(super) fn in_command(line: &str, command: &str) -> Vec<String> {
    if command.is_ascii() {
        return Vec::new();
    }
    let bare = bare(command);
    let odd = |at: usize, glyph: &Glyph| {
        let Ok(place) = bare.binary_search_by_key(&at, |bare| bare.at) else {
            return glyph.looks == Looks::Unseen;
        };
        let Bare { before, after, .. } = bare[place];
        let begins = is_blank(before) || matches!(before, '=' | ';' | '|' | '&' | '(');
        match glyph.looks {
            Looks::Unseen | Looks::Blank => true,
            Looks::Like('"' | '\'') => begins || is_blank(after),
            Looks::Like(_) => glyph.is_letter() || (begins && !is_blank(after)),
        }
    };
    let told = told(line, line.rfind(command), mistaken(command).filter(|(at, glyph)| odd(*at, glyph)));
    told.into_iter().map(|what| format!("{what}: to the shell it is a letter like others")).collect()
}

/// What is probably not meant in the value of an environment line, which ends it.
pub(super) fn in_value(line: &str, value: &str) -> Vec<String> {
    let is_edge = |at: usize, glyph: &Glyph| at == 0 || at + glyph.c.len_utf8() == value.len();
    let odd = |at: usize, glyph: &Glyph| match glyph.looks {
        Looks::Unseen => true,
        Looks::Blank | Looks::Like('"' | '\'') => is_edge(at, glyph),
        Looks::Like(_) => glyph.is_letter(),
    };
    told(line, line.rfind(value), mistaken(value).filter(|(at, glyph)| odd(*at, glyph)))
}

/// What cannot be meant in the value of an option that stands without quotes.
pub(super) fn in_option(value: &str) -> Option<Glyph> {
    let odd = |glyph: &Glyph| matches!(glyph.looks, Looks::Unseen | Looks::Blank | Looks::Like('"' | '\''));
    mistaken(value).map(|(_, glyph)| glyph).find(odd)
}

/// What is probably not meant in the value of an option, quoted or not.
pub(super) fn odd_in_option(word: &str, value: &str) -> Option<String> {
    let (_, glyph) = mistaken(value).next()?;
    Some(format!("option `{word}`: {}", glyph.said("")))
}

/// Sentences about the first of each different character of a text, which begins at `start` in the line.
fn told(line: &str, start: Option<usize>, found: impl Iterator<Item = (usize, Glyph)>) -> Vec<String> {
    let mut first: Vec<(usize, Glyph)> = Vec::new();
    for (at, glyph) in found {
        if first.iter().all(|(_, known)| known.c != glyph.c) {
            first.push((at, glyph));
        }
        if first.len() == TOLD {
            break;
        }
    }
    let column = |at: usize| line[..start.unwrap_or(0) + at].chars().count() + 1;
    first.iter().map(|(at, glyph)| glyph.said(&format!(" in column {}", column(*at)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_ends_where_the_rest_begins() {
        let check = |line: &str, rest: Option<&str>, head: &str| {
            let seen = Seen::of(line).unwrap();
            let rest = rest.map(|rest| &seen.text[seen.text.find(rest).unwrap()..]);
            assert_eq!(seen.split(rest).0, head, "{line}");
        };
        check("* * * * *\u{a0}a x–y", Some("x-y"), "* * * * *\u{a0}a ");
        check("* * * * * a \u{200b}x", Some("x"), "* * * * * a \u{200b}");
        check("* * * * * a x\u{200b}", Some("x"), "* * * * * a ");
        check("1–5 b c d e f g h", None, "1–5 b c d e f g");
        check("1–5", None, "1–5");
        assert!(Seen::of("größe").is_none() && Seen::of("x").is_none());
    }

    #[test]
    fn what_a_command_rightly_holds_is_not_told_of() {
        let check = |command: &str, parts: &[&str]| {
            let line = format!("@daily cluster-a {command}");
            let told = in_command(&line, command);
            assert_eq!(told.len(), parts.len(), "{command}: {told:?}");
            told.iter().zip(parts).for_each(|(told, part)| assert!(told.starts_with(part), "{told}"));
        };
        check("x –full", &["U+2013 (en dash) in column 20 only looks like `-` (write `-`)"]);
        check("x “a b”", &["U+201C", "U+201D"]);
        check("x\u{a0}y", &["U+00A0 (no-break space) in column 19 only looks like a space"]);
        check("x\u{200b}", &["U+200B (zero width space) in column 19 cannot be seen (delete it)"]);
        check("/opt/сlean", &["U+0441 (Cyrillic letter)"]);
        check("x '\u{202e}'", &["U+202E"]);
        check("echo “a” “b” –c —d \u{200b}", &["U+201C", "U+201D", "U+2013"]);
        check("echo 'it’s – “done”\u{a0}!'", &[]);
        check("echo \"Größe – 5 €\" → /srv/бюро it’s", &[]);
        check("echo a – b", &[]);
    }

    #[test]
    fn what_a_value_rightly_holds_is_not_told_of() {
        let check = |value: &str, count: usize| {
            assert_eq!(in_value(&format!("A={value}"), value).len(), count, "{value}");
        };
        check("“x”", 2);
        check("x\u{a0}", 1);
        check("/usr/bin\u{200b}:/bin", 1);
        check("/оpt", 1);
        check("it’s „so“ – 5\u{a0}€", 0);
        assert_eq!(in_option("бюро"), None);
        assert_eq!(in_option("a‐b"), None);
        assert_eq!(in_option("“e”").map(|glyph| glyph.c), Some('“'));
    }
}

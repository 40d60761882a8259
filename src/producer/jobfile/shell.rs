//! What of a command stands outside of quotes, as a shell reads it (POSIX.1-2024, XCU 2.2): enough to warn of what is
//! probably not meant, and not a parser.

/// A character outside of quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bare {
    /// Its byte offset.
    pub(super) at: usize,
    pub(super) c: char,
    /// The character before it, quotes included; a blank at the beginning.
    pub(super) before: char,
    /// The character behind it; a blank at the end.
    pub(super) after: char,
}

/// The characters of a command that stand neither in quotes nor behind a backslash nor in a comment.
pub(super) fn bare(command: &str) -> Vec<Bare> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut escaped = false;
    let mut before = ' ';
    for (at, c) in command.char_indices() {
        let after = command[at + c.len_utf8()..].chars().next().unwrap_or(' ');
        match quote {
            _ if escaped => escaped = false,
            Some(open) if c == open => quote = None,
            Some(open) => escaped = open == '"' && c == '\\',
            None if c == '\\' => escaped = true,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c == '#' && before.is_ascii_whitespace() => return found,
            None => found.push(Bare { at, c, before, after }),
        }
        before = c;
    }
    found
}

/// Whether a command leaves something in the background, and neither waits for it nor takes it out of its group.
pub(super) fn leaves_something_behind(command: &str) -> bool {
    let mut arithmetic = 0_u32;
    let mut starts = false;
    for Bare { c, before, after, .. } in bare(command) {
        match c {
            '(' if before == '(' => arithmetic += 1,
            ')' if before == ')' => arithmetic = arithmetic.saturating_sub(1),
            '&' if arithmetic == 0 => {
                starts |= !matches!(before, '&' | '>' | '<' | '|') && !matches!(after, '&' | '>');
            }
            _ => {}
        }
    }
    let words = command.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
    starts && !words.into_iter().any(|word| matches!(word, "wait" | "setsid" | "systemd-run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_hide_what_stands_in_them() {
        let check = |command: &str, expected: &str| {
            let found: String = bare(command).iter().map(|bare| bare.c).collect();
            assert_eq!(found, expected, "{command}");
        };
        check("a 'b \" c' d", "a  d");
        check("a \"b ' \\\" c\" d", "a  d");
        check("a\\&b # c & d", "ab ");
        check("a#b", "a#b");
        check("'a", "");
    }

    #[test]
    fn what_is_left_in_the_background_is_seen() {
        let check = |command: &str, expected: bool| {
            assert_eq!(leaves_something_behind(command), expected, "{command}");
        };
        check("./server &", true);
        check("nohup ./server > /dev/null 2>&1 &", true);
        check("(./server &)", true);
        check("./a & ./b", true);
        check("curl http://x/?a=1&b=2", true);
        check("./server & # runs on", true);
        check("a && b || c", false);
        check("a > x 2>&1", false);
        check("a &> x", false);
        check("a |& b", false);
        check("curl 'http://x/?a=1&b=2'", false);
        check("echo $(( 5 & 3 ))", false);
        check("a \\& b", false);
        check("a & b & wait", false);
        check("setsid ./server &", false);
        check("a # b & c", false);
    }
}

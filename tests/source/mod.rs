//! The source of `src/` as tests read it: whole files without their tests, and which file imports which.

pub mod graph;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A file of `src/`.
pub struct Source {
    /// Its path below `src/`.
    pub name: String,
    /// Its text, with blanks where its tests stand.
    pub text: String,
    /// [`Self::text`] with blanks also where comments and literals stand.
    pub code: String,
    /// The modules of it that are made for tests alone and have files of their own.
    pub test_modules: Vec<String>,
}

/// The files below a path of `src/`, without those that are made for tests alone.
pub fn sources(below: &str) -> impl Iterator<Item = &'static Source> {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(read_all);
    let found = ALL.iter().filter(move |source| Path::new(&source.name).starts_with(below));
    assert!(found.clone().next().is_some(), "nothing below src/{below}");
    found
}

fn read_all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut to_look: Vec<PathBuf> = vec![root.clone()];
    while let Some(path) = to_look.pop() {
        if path.is_dir() {
            to_look.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            found.push(Source::new(name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    let for_tests: Vec<String> = found.iter().flat_map(Source::files_for_tests).collect();
    found.retain(|source| {
        let is_of = |file: &String| {
            source.name.strip_prefix(file.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        !for_tests.iter().any(is_of)
    });
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

impl Source {
    fn new(name: String, mut text: String) -> Self {
        let mut code = without_comments_and_literals(&text);
        let mut test_modules = Vec::new();
        while let Some(start) = code.find("#[cfg(test)]") {
            let end = end_of_item(&code, start);
            let words: Vec<&str> = code[start..end].split_whitespace().collect();
            if let Some(module) =
                words.windows(2).find(|pair| pair[0] == "mod").and_then(|pair| pair[1].strip_suffix(';'))
            {
                test_modules.push(module.to_owned());
            }
            code.replace_range(start..end, &blank(&code[start..end]));
            text.replace_range(start..end, &blank(&text[start..end]));
        }
        Self { name, text, code, test_modules }
    }

    /// The path of its module.
    pub fn module(&self) -> Vec<String> {
        let path = self.name.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").or(path.strip_suffix("lib")).unwrap_or(path);
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn files_for_tests(&self) -> Vec<String> {
        let below = |module: &String| [self.module(), vec![module.clone()]].concat().join("/");
        self.test_modules.iter().map(below).collect()
    }
}

/// As many bytes, with the ends of lines where they were.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Where the item ends that has the attribute at `start`: at its `;`, or with its last brace.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0;
    let mut in_body = false;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b'{' => {
                in_body |= depth == 0;
                depth += 1;
            }
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 && in_body {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The text with blanks in place of comments, strings and characters.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.find(['/', '"', '\'', 'b', 'r']).unwrap_or(rest.len());
        code.push_str(&rest[..plain]);
        rest = &rest[plain..];
        let before = code.chars().next_back();
        if let Some(end) = comment(rest).or_else(|| literal(rest, before)) {
            code.push_str(&blank(&rest[..end]));
            rest = &rest[end..];
        } else if !rest.is_empty() {
            code.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

fn literal(text: &str, before: Option<char>) -> Option<usize> {
    let is_in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if let Some(raw) = text.strip_prefix("br").or(text.strip_prefix('r')).filter(|_| !is_in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(body) = raw[hashes..].strip_prefix('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let begins = text.len() - body.len();
            return Some(body.find(&close).map_or(text.len(), |end| begins + end + close.len()));
        }
    }
    if let Some(body) = text.strip_prefix('"') {
        let mut is_escaped = false;
        let end = body.find(|found| {
            let ends = found == '"' && !is_escaped;
            is_escaped = found == '\\' && !is_escaped;
            ends
        });
        return Some(end.map_or(text.len(), |end| end + 2));
    }
    // A character, and not a lifetime.
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let from = if first == '\\' { 2 } else { first.len_utf8() };
    let end = body.get(from..)?.find('\'')?;
    (first == '\\' || end == 0).then_some(1 + from + end + 1)
}

#[test]
fn what_stands_behind_a_test_module_is_read_and_the_tests_are_not() {
    let text = r##"
#[cfg(test)]
mod rows;
#[cfg(test)]
use first::Thing;
fn before() -> &'static str { "}" }
#[cfg(test)]
#[expect(clippy::panic, reason = "[a test]")]
mod tests { fn of(c: char) { if c == '}' || c == '\'' { "{" } else { r#"{""# } } /* { */ }
fn behind<'a>(x: &'a u8) { forbidden() }
"##;
    let source = Source::new("a/b.rs".to_owned(), text.to_owned());
    assert_eq!(source.test_modules, ["rows"]);
    for (word, is_there) in
        [("before", true), ("behind", true), ("forbidden", true), ("of(", false), ("Thing", false)]
    {
        assert_eq!(source.code.contains(word), is_there, "{word}: {}", source.code);
    }
    assert_eq!(source.text.lines().count(), text.lines().count());
    assert!(source.text.contains(r#""}""#) && !source.code.contains(r#""}""#));
}

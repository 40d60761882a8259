//! Which file of `src/` imports which. A name that a module passes on (`pub use`) counts as an import of the file that
//! defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

type Path = Vec<String>;

/// A name that a `use` brings into a module, and the path that it stands for.
struct Brought {
    name: String,
    path: Path,
}

struct Module {
    file: String,
    brings: Vec<Brought>,
    /// All paths that its code mentions.
    mentions: Vec<Path>,
}

/// The modules of a crate.
pub struct Graph {
    modules: BTreeMap<Path, Module>,
}

impl Graph {
    /// Reads the imports of the files.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let library = sources.into_iter().filter(|source| !source.name.starts_with("bin/"));
        let modules = library.map(|source| (source.module(), Module::read(source))).collect();
        Self { modules }
    }

    /// Circles of files that import each other, each in the order of its imports. A module's file and one that it
    /// declares may do so: `super` is how a part of a module reaches it.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut imports: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let of: BTreeSet<&Path> =
                module.mentions.iter().filter_map(|to| self.defines(path, to, 0)).collect();
            let parent = &path[..path.len().saturating_sub(1)];
            imports
                .insert(path, of.into_iter().filter(|to| *to != path && to.as_slice() != parent).collect());
        }
        let mut circles = Vec::new();
        let mut seen = BTreeSet::new();
        for start in imports.keys() {
            if let Some(circle) =
                way_back(&imports, start).filter(|circle| circle.iter().all(|path| !seen.contains(path)))
            {
                seen.extend(circle.iter().copied());
                circles.push(circle.iter().map(|path| self.modules[*path].file.clone()).collect());
            }
        }
        circles
    }

    /// The module that defines what a path means in the module `at`; `None` where that is no part of the crate.
    fn defines(&self, at: &Path, path: &[String], depth: usize) -> Option<&Path> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let whole: Path = match path.first()?.as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [at, &path[1..]].concat(),
            "super" => [at.get(..at.len().checked_sub(ups)?)?, &path[ups..]].concat(),
            first => {
                let child = [at.as_slice(), &[first.to_owned()]].concat();
                self.modules.get(&child)?;
                [at, path].concat()
            }
        };
        let known =
            (0..=whole.len()).rev().find_map(|length| self.modules.get_key_value(&whole[..length]))?;
        let rest = &whole[known.0.len()..];
        let passed_on = known.1.brings.iter().find(|brought| rest.first() == Some(&brought.name));
        if let Some(brought) = passed_on.filter(|_| depth < 8) {
            let on = [brought.path.as_slice(), &rest[1..]].concat();
            return self.defines(known.0, &on, depth + 1).or(Some(known.0));
        }
        Some(known.0)
    }
}

/// The shortest way from a module back to itself.
fn way_back<'a>(imports: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, start: &'a Path) -> Option<Vec<&'a Path>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| imports.get(last)).into_iter().flatten() {
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push([way.as_slice(), &[*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

impl Module {
    fn read(source: &Source) -> Self {
        let tokens = tokens(&source.code);
        let mut module = Self { file: source.name.clone(), brings: Vec::new(), mentions: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            // `impl Fn() + use<>` says what is captured, and imports nothing.
            if tokens[at] == "use" && tokens.get(at + 1) != Some(&"<") {
                at = module.take_use(&tokens, at + 1, &[]);
                continue;
            }
            // `pub(in crate::a)` says who may see something, and imports nothing.
            if tokens[at..].starts_with(&["pub", "("]) {
                at += tokens[at..].iter().take_while(|token| **token != ")").count();
                continue;
            }
            let mut path = Path::new();
            while at < tokens.len() && is_word(tokens[at]) && tokens[at] != "use" {
                path.push(tokens[at].to_owned());
                at += 1;
                if tokens.get(at) != Some(&"::") || !tokens.get(at + 1).is_some_and(|next| is_word(next)) {
                    break;
                }
                at += 1;
            }
            if path.len() > 1 {
                module.mentions.push(path);
            } else if path.is_empty() {
                at += 1;
            }
        }
        module
    }

    /// Takes a tree of a `use` that begins at a token, and returns the place behind it.
    fn take_use(&mut self, tokens: &[&str], mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        let mut name = None;
        while let Some(token) = tokens.get(at) {
            match *token {
                "{" => {
                    at += 1;
                    while tokens.get(at).is_some_and(|token| *token != "}") {
                        at = self.take_use(tokens, at, &path);
                        at += usize::from(tokens.get(at) == Some(&","));
                    }
                    return at + 1;
                }
                "," | "}" | ";" => break,
                "as" => {
                    name = tokens.get(at + 1).map(|name| (*name).to_owned());
                    at += 1;
                }
                "self" if path.len() > before.len() || !before.is_empty() => {}
                word if is_word(word) => path.push(word.to_owned()),
                _ => {}
            }
            at += 1;
        }
        let name = name.or_else(|| path.last().cloned());
        self.mentions.push(path.clone());
        self.brings.extend(name.map(|name| Brought { name, path }));
        at
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Words, `::`, and every other sign by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn files_that_import_each_other_are_found_whatever_way_the_import_goes() {
    let check = |files: &[(&str, &str)], circles: &[&[&str]]| {
        let sources: Vec<Source> =
            files.iter().map(|(name, text)| Source::new((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(Graph::new(&sources).circles(), circles, "{files:?}");
    };
    let (one, two) = (("a/one.rs", "use super::two::Two;"), ("a/two.rs", "fn f(of: crate::a::one::One) {}"));
    check(&[("a/mod.rs", ""), one, two], &[&["a/one.rs", "a/two.rs"]]);
    check(
        &[("a/mod.rs", "pub use one::One;"), one, ("a/two.rs", "use super::{One, x};")],
        &[&["a/one.rs", "a/two.rs"]],
    );
    check(&[("a/mod.rs", ""), one, ("a/two.rs", "use std::{self, one::One}; // use super::one::One;")], &[]);
    check(
        &[("a/mod.rs", ""), one, ("a/two.rs", "#[cfg(test)] mod tests { use super::super::one::One; }")],
        &[],
    );
    check(&[("a/mod.rs", ""), one, ("a/two.rs", "pub(in crate::a::one) struct Two;")], &[]);
    let captures = ("a/two.rs", "fn f() -> impl Fn() + use<> { crate::a::one::f(); || () }");
    check(&[("a/mod.rs", ""), one, captures], &[&["a/one.rs", "a/two.rs"]]);
    // A module and what it declares are one.
    check(&[("a.rs", "use self::part::Part;"), ("a/part.rs", "use super::Whole;")], &[]);
    check(
        &[("a.rs", "use b::B;"), ("a/b.rs", "use self::c::C;"), ("a/b/c.rs", "use crate::a::A;")],
        &[&["a.rs", "a/b.rs", "a/b/c.rs"]],
    );
}

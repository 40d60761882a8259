//! The head of a job's line: its schedule and its cluster. The clusters are a known set, so the word after the schedule
//! tells five fields from six – and where it is missing, what stands in its place tells what is wrong.

use super::lines::{is_blank, word};
use super::report::quoted;
use crate::common::duration;
use crate::common::model::ClusterName;
use crate::common::nearest::nearest;
use crate::producer::schedule::Schedule;

/// Words of a line that are looked at to say what is wrong with its head.
const LOOKED_AT: usize = 12;

/// Clusters that a message lists.
const LISTED: usize = 10;

const FORM: &str = "five fields, or six with seconds first, then the cluster";

/// The head of a line, as far as it could be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a, 'c> {
    /// The schedule, its words one blank apart, where it is clear which they are.
    pub(super) schedule: Option<String>,
    /// The cluster, or what is wrong with the head.
    pub(super) cluster: Result<&'c ClusterName, String>,
    /// The options and the command, where it is clear where they begin.
    pub(super) rest: Option<&'a str>,
}

impl<'a, 'c> Header<'a, 'c> {
    /// Takes the head off a line, which is not empty.
    pub(super) fn read(line: &'a str, clusters: &'c [ClusterName]) -> Self {
        let head = Head::of(line, clusters);
        let first = head.words.first().copied().unwrap_or("");
        match Schedule::widths(first) {
            [1] => head.after(1),
            [2] => head.every(),
            _ => head.fields(),
        }
    }
}

/// The first words of a line.
struct Head<'a, 'c> {
    line: &'a str,
    words: Vec<&'a str>,
    /// What follows each of the words.
    rests: Vec<&'a str>,
    clusters: &'c [ClusterName],
}

impl<'a, 'c> Head<'a, 'c> {
    fn of(line: &'a str, clusters: &'c [ClusterName]) -> Self {
        let mut head = Self { line, words: Vec::new(), rests: Vec::new(), clusters };
        let mut left = line;
        while let Some((next, rest)) = word(left).filter(|_| head.words.len() < LOOKED_AT) {
            head.words.push(next);
            head.rests.push(rest.trim_start_matches(is_blank));
            left = rest;
        }
        head
    }

    fn known(&self, at: usize) -> Option<&'c ClusterName> {
        let word = self.words.get(at)?;
        self.clusters.iter().find(|cluster| cluster.as_str() == *word)
    }

    fn every(&self) -> Header<'a, 'c> {
        if self.words.len() < 2 || self.known(1).is_some() {
            return Header {
                schedule: None,
                cluster: Err("`@every` needs a duration (as in `@every 90s`)".to_owned()),
                rest: self.known(1).map(|_| self.rests[1]),
            };
        }
        let mut header = self.after(2);
        if let (Err(wrong), Some(third)) = (&mut header.cluster, self.words.get(2))
            && duration::parse(third).is_ok()
        {
            *wrong = format!(
                "{} follows the duration (durations are written together, as in `1m30s`)",
                quoted(third)
            );
            header.rest = None;
        }
        header
    }

    fn fields(&self) -> Header<'a, 'c> {
        let fields = self.words.iter().take_while(|word| looks_like_a_field(word)).count();
        if self.known(fields).is_some() && !matches!(fields, 5 | 6) {
            return self.wrong_number(fields);
        }
        if fields < 5 && self.words.get(fields).is_some_and(|word| begins_a_path(word)) {
            return self.no_field(fields);
        }
        if self.known(5).is_some() {
            return self.after(5);
        }
        if self.known(6).is_some() && !(fields == 5 && self.stands_for_a_cluster(self.words[5])) {
            return self.after(6);
        }
        match fields {
            5 | 6 => self.after(fields),
            7.. => self.wrong_number(fields),
            0 => self.no_job(),
            _ => self.no_field(fields),
        }
    }

    /// Whether a word between five fields and a cluster is rather a mistaken cluster than a mistaken sixth field.
    fn stands_for_a_cluster(&self, word: &str) -> bool {
        begins_a_command(word) || is_login(word) || self.meant(word).is_some()
    }

    /// The schedule is the first `count` words: a cluster comes next.
    fn after(&self, count: usize) -> Header<'a, 'c> {
        let schedule = Some(self.words[..count.min(self.words.len())].join(" "));
        let cluster = self.known(count).ok_or_else(|| self.no_cluster(count));
        let rest = match self.words.get(count) {
            Some(word) if begins_a_command(word) => Some(self.rests[count - 1]),
            Some(_) => Some(self.rests[count]),
            None => None,
        };
        Header { schedule, cluster, rest }
    }

    fn no_cluster(&self, at: usize) -> String {
        let known = listed(self.clusters);
        let Some(word) = self.words.get(at) else {
            return format!("the line ends after the schedule (then come a cluster and a command; {known})");
        };
        let quoted = quoted(word);
        if begins_a_command(word) {
            return format!("the cluster is missing before {quoted} ({known})");
        }
        if let Some(meant) = self.meant(word) {
            return format!("unknown cluster {quoted} (did you mean `{meant}`? {known})");
        }
        match is_user(word) {
            true => format!("unknown cluster {quoted} ({known}; a user is an option, as in `[user={word}]`)"),
            false => format!("unknown cluster {quoted} ({known})"),
        }
    }

    fn meant(&self, word: &str) -> Option<&'c str> {
        nearest(word, self.clusters.iter().map(ClusterName::as_str))
    }

    fn wrong_number(&self, fields: usize) -> Header<'a, 'c> {
        let wrong = match fields {
            0 => format!("the schedule is missing before the cluster ({FORM})"),
            1 => format!("the schedule has 1 field ({FORM})"),
            7 if is_year(self.words[6]) => {
                format!(
                    "the schedule has 7 fields ({FORM}; the options `from` and `until` bound a job to a year)"
                )
            }
            _ => format!("the schedule has {fields} fields ({FORM})"),
        };
        let rest = self.known(fields).map(|_| self.rests[fields]);
        Header { schedule: None, cluster: Err(wrong), rest }
    }

    fn no_job(&self) -> Header<'a, 'c> {
        let wrong = match self.words.first() {
            Some(&"export" | &"set") if self.line.contains('=') => {
                "environment lines have no word before the name (`NAME=value`)".to_owned()
            }
            first => format!(
                "{} begins neither a schedule nor an environment line (`NAME=value`) nor a comment (`#`)",
                quoted(first.unwrap_or(&""))
            ),
        };
        Header { schedule: None, cluster: Err(wrong), rest: None }
    }

    fn no_field(&self, fields: usize) -> Header<'a, 'c> {
        let known = listed(self.clusters);
        let wrong = match self.words.get(fields) {
            Some(word) => {
                format!("field {} of the schedule cannot be {} ({FORM}; {known})", fields + 1, quoted(word))
            }
            None => format!("the line ends within the schedule ({FORM}; {known})"),
        };
        Header { schedule: None, cluster: Err(wrong), rest: None }
    }
}

fn listed(clusters: &[ClusterName]) -> String {
    let mut names: Vec<String> = clusters.iter().take(LISTED).map(|name| quoted(name.as_str())).collect();
    if clusters.len() > LISTED {
        names.push(format!("and {} more", clusters.len() - LISTED));
    }
    match names.as_slice() {
        [] => "no cluster is known".to_owned(),
        [one] => format!("the known cluster is {one}"),
        _ => format!("the known clusters are {}", names.join(", ")),
    }
}

/// Whether a word may be the year of a Quartz schedule.
fn is_year(word: &str) -> bool {
    word == "*" || (word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a word may have been meant as a field of a schedule, also as one of other schedulers (`?`, `L`).
fn looks_like_a_field(word: &str) -> bool {
    let mut pieces = word.split([',', '-', '/', '#', '~']).filter(|piece| !piece.is_empty()).peekable();
    pieces.peek().is_some() && pieces.all(is_piece)
}

fn is_piece(piece: &str) -> bool {
    const NAMES: [&str; 19] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let number = piece.trim_end_matches(['L', 'W']);
    let lower = piece.to_ascii_lowercase();
    matches!(piece, "*" | "?" | "L")
        || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        || (lower.len() >= 3 && NAMES.iter().any(|name| name.starts_with(&lower)))
}

/// Whether a word is rather the beginning of a command than a mistyped cluster.
fn begins_a_command(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_punctuation()) || word.contains(['/', '=', ';', '|', '&', '('])
}

/// Whether a word cannot even be a mistyped field.
fn begins_a_path(word: &str) -> bool {
    word.starts_with(['/', '.', '~', '$', '"', '\'', '('])
}

/// Users that the sixth column of /etc/crontab commonly names. Commands of these names are not in use.
pub(super) fn is_login(word: &str) -> bool {
    matches!(word, "root" | "nobody" | "www-data")
}

fn is_user(word: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    word.len() <= 32 && word.bytes().all(fits) && !word.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests;

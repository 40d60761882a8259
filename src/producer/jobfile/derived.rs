//! The name of a job that was given none: readable, and the same wherever in the file its line stands.
//!
//! It is derived from what is run (command, working directory, user), where (cluster) and when (schedule, zone): lines
//! that differ in one of these are two jobs. What supervises the job (retries, back-off, limits, jitter) is left out:
//! tuning a job does not make it another, and a job that changed its name would run the ticks around the change
//! twice. The environment is left out for the same reason, and because it is not on the line: a new `PATH` at the top
//! of the file, or a job moved above it, must not rename anything. Lines that differ in nothing else are reported, and
//! then want names.
//!
//! Only the program's name is shown, never its arguments: they may hold secrets, and names go to metrics and logs.

use uuid::{Uuid, uuid};

use super::lines::{is_blank, word};
use crate::common::model::{ClusterName, JobName};

/// The name space of the hash. Fixed: another one would rename every job without a name.
const NAMESPACE: Uuid = uuid!("4b6c8f0e-2f0d-5d0b-8f0a-93a5a1c6d2e7");

/// Hexadecimal digits of the hash: with 48 bits, a million jobs collide once in five hundred files.
const HASH_DIGITS: usize = 12;

/// Characters of the program's name that are shown.
const SLUG_CHARS: usize = 32;

/// What makes a job this one and not another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    /// One blank between its words.
    pub(super) schedule: &'a str,
    pub(super) zone: &'a str,
    pub(super) cluster: &'a ClusterName,
    pub(super) user: Option<&'a str>,
    pub(super) cwd: Option<&'a str>,
    pub(super) command: &'a str,
}

impl Identity<'_> {
    /// The name, as in `backup-3f2a90cc41d7`.
    pub(super) fn name(&self) -> JobName {
        let parts = [
            self.schedule,
            self.zone,
            self.cluster.as_str(),
            self.user.unwrap_or(""),
            self.cwd.unwrap_or(""),
            self.command.trim_end_matches(is_blank),
        ];
        // Lines hold no control characters, so that NUL keeps the parts apart.
        let hash = Uuid::new_v5(&NAMESPACE, parts.join("\0").as_bytes()).simple().to_string();
        let name = format!("{}-{}", slug(self.command), &hash[..HASH_DIGITS]);
        #[expect(clippy::expect_used, reason = "at most 45 characters of which none is white space")]
        JobName::new(&name).expect("a slug and digits are a job name")
    }
}

/// The name of the program that the command seems to start, or `job` where that is not plain to see.
fn slug(command: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let mut left = command;
    while let Some((first, rest)) = word(left) {
        // `NAME=value` before a command: skipped where it is one word for sure.
        match first.split_once('=') {
            Some((name, value)) if name.chars().all(plain) && value.chars().all(|c| plain(c) || c == ':') => {
                left = rest;
            }
            None if first.chars().all(plain) => return program(first),
            _ => break,
        }
    }
    "job".to_owned()
}

fn program(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let slug: String = file.trim_start_matches(['.', '-']).chars().take(SLUG_CHARS).collect();
    if slug.is_empty() { "job".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_slug(command: &str, expected: &str) {
        assert_eq!(slug(command), expected, "{command}");
    }

    #[test]
    fn the_program_is_shown_and_its_arguments_are_not() {
        check_slug("/opt/backup --full", "backup");
        check_slug("curl -u me:secret https://example.org", "curl");
        check_slug("./poll.sh", "poll.sh");
        check_slug("LANG=C TZ=:UTC /bin/date", "date");
        check_slug("TOKEN=a/b+c== run", "job");
        check_slug("TOKEN='a secret' run", "job");
        check_slug("TOKEN=secret; run", "job");
        check_slug("(TOKEN=secret run)", "job");
        check_slug("$(secret)", "job");
        check_slug("[ -f x ] && y", "job");
        check_slug("/", "job");
        check_slug("größe", "job");
        check_slug(&"x".repeat(1_000), &"x".repeat(SLUG_CHARS));
    }

    #[test]
    fn a_name_is_fixed_for_ever_and_differs_with_what_makes_the_job() {
        let (a, b) = (ClusterName::new("a").unwrap(), ClusterName::new("b").unwrap());
        let job = Identity {
            schedule: "0 3 * * *",
            zone: "UTC",
            cluster: &a,
            user: None,
            cwd: None,
            command: "/opt/backup --full",
        };
        assert_eq!(job.name().as_str(), "backup-5da4ed476b16");
        assert_eq!(job.name(), Identity { command: "/opt/backup --full \t", ..job }.name());
        let others = [
            Identity { schedule: "0 4 * * *", ..job },
            Identity { zone: "Europe/London", ..job },
            Identity { cluster: &b, ..job },
            Identity { user: Some("x"), ..job },
            Identity { cwd: Some("x"), ..job },
            Identity { command: "/opt/backup", ..job },
            Identity { command: "/opt/backup  --full", ..job },
        ];
        let mut names: Vec<JobName> = others.iter().map(Identity::name).collect();
        names.push(job.name());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), others.len() + 1);
    }
}

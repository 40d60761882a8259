//! What a command finds in its environment: built from nothing, so that nothing of the consumer's own gets there,
//! least of all its passwords.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use chrono::SecondsFormat;

use super::user::User;
use super::{StartError, StartError::NotAnEnvironment};
use crate::common::model::Attempt;

/// The variables by which every process of an attempt can be found, also outside its process group
/// ([`super::mark`]).
pub const RUN_ID: &str = "CRON_RUN_ID";
/// See [`RUN_ID`].
pub const CLUSTER: &str = "CRON_CLUSTER";
/// See [`RUN_ID`].
pub const ATTEMPT: &str = "CRON_ATTEMPT";

/// The shell, unless the job file names one.
pub const SHELL: &str = "/bin/sh";

/// Where commands are looked for, unless the job file says. An administrator's shell finds the same; the classic
/// `/usr/bin:/bin` is where "it works when I type it" comes from.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables by name. What stands in the attempt already is not copied.
pub type Environment<'a> = BTreeMap<&'a str, Cow<'a, OsStr>>;

/// The variables of an attempt.
///
/// The job file's lines stand above `HOME`, `SHELL`, `PATH` and `LANG`; `USER` and `LOGNAME` are facts, which they
/// cannot change (crontab(5)), and the five `CRON_` names are ours.
///
/// # Errors
/// When a name or a value is one that no environment can hold.
pub fn of<'a>(attempt: &'a Attempt, user: &'a User, lang: &'a OsStr) -> Result<Environment<'a>, StartError> {
    let run = &attempt.run;
    let mut all = Environment::new();
    let mut set = |name: &'a str, value: &'a OsStr| drop(all.insert(name, value.into()));
    set("HOME", &user.home);
    set("SHELL", SHELL.as_ref());
    set("PATH", PATH.as_ref());
    set("LANG", lang);
    for (name, value) in run.environment.iter() {
        let why = match (name.as_str(), value.as_str()) {
            (name, _) if name.is_empty() || name.contains(['=', '\0']) => "cannot be a name",
            (_, value) if value.contains('\0') => "has a value with a NUL byte",
            _ => {
                set(name, value.as_ref());
                continue;
            }
        };
        return Err(NotAnEnvironment(name.escape_default().to_string(), why));
    }
    set("USER", user.name.as_ref());
    set("LOGNAME", user.name.as_ref());
    set("CRON_JOB", run.job.as_str().as_ref());
    set(CLUSTER, run.cluster.as_str().as_ref());
    let mut make = |name, value: String| drop(all.insert(name, OsString::from(value).into()));
    make(RUN_ID, run.id.to_string());
    make(ATTEMPT, attempt.attempt.to_string());
    make("CRON_SCHEDULED_AT", run.scheduled_at.to_rfc3339_opts(SecondsFormat::Secs, true));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owned, because the attempt goes.
    fn environment(lines: &str) -> Result<BTreeMap<String, OsString>, StartError> {
        let text = format!(
            r#"{{"v":1,"run":{{"id":"00000000-0000-0000-0000-000000000001","job":"j","cluster":"a",
            "scheduled_at":"2026-11-23T17:00:00.250Z","command":"true","environment":{lines},
            "limits":{{"grace_ms":1}},"retry":{{"retries":0,"backoff_ms":1,"backoff_max_ms":1}},"revision":"r"}},
            "attempt":3,"attempts_left":0}}"#
        );
        let user = User { name: "ann".to_owned(), uid: 7, gid: 7, home: "/home/ann".into() };
        // Not as messages are read, which refuses what no environment can hold.
        let attempt = serde_json::from_str(&text).unwrap();
        let all = of(&attempt, &user, OsStr::new("C.UTF-8"))?;
        Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect())
    }

    fn check(lines: &str, expected: &[(&str, &str)]) {
        let mut all: BTreeMap<String, OsString> = [
            ("HOME", "/home/ann"),
            ("SHELL", SHELL),
            ("PATH", PATH),
            ("LANG", "C.UTF-8"),
            ("USER", "ann"),
            ("LOGNAME", "ann"),
            ("CRON_JOB", "j"),
            ("CRON_CLUSTER", "a"),
            ("CRON_RUN_ID", "00000000-0000-0000-0000-000000000001"),
            ("CRON_ATTEMPT", "3"),
            ("CRON_SCHEDULED_AT", "2026-11-23T17:00:00Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
        all.extend(expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        assert_eq!(environment(lines).unwrap(), all, "{lines}");
    }

    fn check_error(lines: &str, part: &str) {
        let error = environment(lines).expect_err(lines).to_string();
        assert!(error.contains(part), "{lines}: {error}");
    }

    #[test]
    fn the_job_files_lines_are_added_but_who_runs_and_which_run_it_is_are_facts() {
        check("{}", &[]);
        check(r#"{"A":"1","EMPTY":"","CRON_TZ":"x"}"#, &[("A", "1"), ("EMPTY", ""), ("CRON_TZ", "x")]);
        check(r#"{"PATH":"/x","HOME":"/y","LANG":"C"}"#, &[("PATH", "/x"), ("HOME", "/y"), ("LANG", "C")]);
        check(r#"{"SHELL":"/bin/bash"}"#, &[("SHELL", "/bin/bash")]);
        check(r#"{"USER":"root","LOGNAME":"root","CRON_RUN_ID":"other","CRON_ATTEMPT":"1"}"#, &[]);
    }

    #[test]
    fn what_no_environment_can_hold_is_named() {
        check_error(r#"{"A":"x\u0000y"}"#, "`A` has a value with a NUL byte");
        check_error(r#"{"A\u0000":"x"}"#, r"`A\u{0}` cannot be a name");
        check_error(r#"{"A=B":"x"}"#, "`A=B` cannot be a name");
        check_error(r#"{"":"x"}"#, "`` cannot be a name");
    }
}

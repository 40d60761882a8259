//! The start of an attempt's command: by [`launch`], and through the starter ([`prepared`]) where the attempt asks for more than
//! the command itself, which has to be in place before that begins.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;

use super::environment::Environment;
use super::launch::{Child, Launch, Strings, launch};
use super::mark::Mark;
use super::outcome::Limited;
use super::output::Recorder;
use super::running::Running;
use super::starter::{Failed, Step};
use super::user::{self, User};
use super::{Host, StartError, direct, environment, is_exhausted, prepared};
use crate::common::descriptors::with_high_number;
use crate::common::model::{Attempt, Run};

/// Starts an attempt's command, and tells the guard before and after.
///
/// # Errors
/// What was attempted and what the system said; then nothing runs.
pub fn start(host: &Host, attempt: &Attempt) -> Result<Running, StartError> {
    let run = &attempt.run;
    if run.command.contains('\0') {
        return Err(StartError::NulInCommand);
    }
    let resources = host.settings.ceilings.resolve(&run.resources)?;
    let user = match &run.user {
        Some(name) => Cow::Owned(find(name)?),
        None => Cow::Borrowed(&host.me),
    };
    let environment = environment::of(attempt, &user, &host.lang)?;
    let shell = environment.get("SHELL").map_or(OsStr::new(environment::SHELL), |shell| shell);
    if !Path::new(shell).is_absolute() {
        let why = "not an absolute path".to_owned();
        return Err(StartError::Refused { what: format!("shell {}", shell.display()), why });
    }
    let mark = Mark::of(attempt);
    let mut entry = host.guard.enter(mark.clone()).map_err(|error| StartError::refused("guard", &error))?;
    let mut leaf = None;
    let (child, output) = if resources.is_empty() && user.uid == host.me.uid {
        as_we_are(host, run, (shell, &environment), entry.pipe())?
    } else {
        leaf = prepared::leaf(&host.settings, &mark, &resources)?;
        let (output, writer) = pipe()?;
        let limits = (&resources, leaf.as_ref());
        (prepared::spawn(host, run, &user, limits, (shell, &environment), (writer, entry.pipe()))?, output)
    };
    let since = Instant::now();
    entry.runs(child.pid());
    let recorder = Recorder::new(&host.settings.output, attempt, &host.keeping);
    let limited = Limited { resources, leaf };
    Ok(Running::new(attempt, since, child, (output, recorder), limited, entry))
}

/// A pipe for the output and the errors of a command, so that the lines stay in the order in which they were written: the end
/// to read, and the one that the command gets. No other process may keep that, or the output would never end.
fn pipe() -> Result<(PipeReader, PipeWriter), StartError> {
    let (output, writer) = io::pipe().map_err(|error| StartError::refused("pipe", &error))?;
    Ok((with_high_number(output), writer))
}

/// Starts a command that asks for nothing but a directory: as our own user, with our own limits.
fn as_we_are(
    host: &Host,
    run: &Run,
    (shell, environment): (&OsStr, &Environment<'_>),
    guard: Option<BorrowedFd<'_>>,
) -> Result<(Child, PipeReader), StartError> {
    let started = |words: &[&OsStr], pwd: Option<&OsStr>| {
        let (output, writer) = pipe()?;
        let launched = launched(host, run, words, (environment, pwd), (writer, guard));
        Ok(launched.map(|child| (child, output)))
    };
    if let Some((words, directory)) = without_shell(host, run, environment) {
        match started(&words, Some(&directory))? {
            // What cannot be executed so is the shell's to interpret, or to complain about.
            Err(Failed { step: Step::Execute, error }) if !is_exhausted(&error) => {}
            other => return other.map_err(|failed| diagnose(&failed, run, words[0])),
        }
    }
    let words = [shell, OsStr::new("-c"), OsStr::new(&run.command)];
    started(&words, None)?.map_err(|failed| diagnose(&failed, run, shell))
}

fn launched(
    host: &Host,
    run: &Run,
    words: &[&OsStr],
    (environment, pwd): (&Environment<'_>, Option<&OsStr>),
    (output, guard): (PipeWriter, Option<BorrowedFd<'_>>),
) -> Result<Child, Failed> {
    let (mut all, mut variables) = (Strings::default(), Strings::default());
    words.iter().try_for_each(|word| all.push(&[word])).map_err(Failed::at(Step::Execute))?;
    let environment = environment.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in environment.chain(pwd.map(|directory| (direct::PWD, directory))) {
        variables.push(&[name.as_ref(), "=".as_ref(), value]).map_err(Failed::at(Step::Execute))?;
    }
    launch(Launch {
        words: all,
        environment: variables,
        cwd: run.cwd.as_ref().map(Path::new),
        stdin: None,
        output,
        nofile: host.settings.descriptors.of_jobs(),
        guard,
    })
}

/// The words of the program itself, and the directory that the shell would name to it, where the command cannot tell that there is no
/// shell between it and us.
fn without_shell<'a>(
    host: &Host,
    run: &'a Run,
    environment: &Environment<'_>,
) -> Option<(Vec<&'a OsStr>, OsString)> {
    if !host.shell_is_transparent {
        return None;
    }
    let words = direct::words(&run.command, environment)?;
    // As the shell would say it: by its only name.
    let directory = match &run.cwd {
        Some(cwd) => fs::canonicalize(cwd),
        None => std::env::current_dir(),
    };
    Some((words.into_iter().map(OsStr::new).collect(), directory.ok()?.into()))
}

fn find(name: &str) -> Result<User, StartError> {
    let what = || format!("user {name}");
    let found = user::named(name).map_err(|error| StartError::refused(what(), &error))?;
    found.ok_or_else(|| StartError::Refused { what: what(), why: "no such user".to_owned() })
}

fn diagnose(failed: &Failed, run: &Run, program: &OsStr) -> StartError {
    let what = match failed.step {
        Step::Directory => format!("cwd {}", run.cwd.as_deref().unwrap_or(".")),
        Step::Execute if !is_exhausted(&failed.error) => format!("shell {}", program.display()),
        _ => "process".to_owned(),
    };
    StartError::refused(what, &failed.error)
}

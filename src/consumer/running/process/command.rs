//! The start of an attempt's command. It is always posix_spawn(3), which is why nothing is set here that makes std's
//! `Command` fork instead. What has to happen between the two is the starter's ([`prepared`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::Pid;

use super::mark::Mark;
use super::outcome::Limited;
use super::output::Recorder;
use super::running::Running;
use super::user::{self, User};
use super::{Host, StartError, direct, environment, is_exhausted, prepared};
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
    let shell = environment.get("SHELL").cloned().unwrap_or_else(|| environment::SHELL.into());
    if !Path::new(&shell).is_absolute() {
        let why = "not an absolute path".to_owned();
        return Err(StartError::Refused { what: format!("shell {}", shell.display()), why });
    }
    let mark = Mark::of(attempt);
    let mut entry = host.guard.enter(mark.clone()).map_err(|error| StartError::refused("guard", &error))?;
    let mut leaf = None;
    let (child, output) = if resources.is_empty() && user.uid == host.me.uid {
        as_we_are(host, run, &shell, &environment)?
    } else {
        leaf = prepared::leaf(&host.settings, &mark, &resources)?;
        let (output, ends) = pipe()?;
        let limits = (&resources, leaf.as_ref());
        (prepared::spawn(host, run, &user, limits, (&shell, &environment), ends)?, output)
    };
    let since = Instant::now();
    let group = leader(&child)?;
    entry.runs(group);
    let recorder = Recorder::new(&host.settings.output, attempt, &host.keeping);
    let limited = Limited { resources, leaf };
    Ok(Running::new(attempt, since, child, group, (output, recorder), limited, entry))
}

/// A pipe for the output and the errors of a command, so that the lines stay in the order in which they were written: the end
/// to read, and the two that the command gets. Nobody else may keep one of those, or the output would never end.
fn pipe() -> Result<(PipeReader, (PipeWriter, PipeWriter)), StartError> {
    let refused = |error| StartError::refused("pipe", &error);
    let (output, writer) = io::pipe().map_err(refused)?;
    let errors = writer.try_clone().map_err(refused)?;
    Ok((output, (writer, errors)))
}

/// Starts a command that asks for nothing but a directory: as our own user, with our own limits.
fn as_we_are(
    host: &Host,
    run: &Run,
    shell: &OsStr,
    environment: &BTreeMap<String, OsString>,
) -> Result<(Child, PipeReader), StartError> {
    if let Some(mut command) = without_shell(host, run, environment) {
        let (output, ends) = pipe()?;
        match outfit(&mut command, host, environment, ends).spawn() {
            Ok(child) => return Ok((child, output)),
            Err(error) if is_exhausted(&error) => return Err(StartError::refused("process", &error)),
            // What cannot be started so is the shell's to interpret, or to complain about.
            Err(_) => {}
        }
    }
    let mut command = Command::new(shell);
    command.env_clear().arg("-c").arg(&run.command);
    if let Some(cwd) = &run.cwd {
        command.current_dir(cwd);
    }
    let (output, ends) = pipe()?;
    let spawned = outfit(&mut command, host, environment, ends).spawn();
    spawned.map(|child| (child, output)).map_err(|error| diagnose(&error, run, shell))
}

/// The program itself, where the command cannot tell that there is no shell between it and us.
fn without_shell(host: &Host, run: &Run, environment: &BTreeMap<String, OsString>) -> Option<Command> {
    if !host.shell_is_transparent {
        return None;
    }
    let words = direct::words(&run.command, environment)?;
    let (program, arguments) = words.split_first()?;
    // As the shell would say it: by its only name.
    let directory = match &run.cwd {
        Some(cwd) => fs::canonicalize(cwd),
        None => std::env::current_dir(),
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env(direct::PWD, directory.ok()?);
    if let Some(cwd) = &run.cwd {
        command.current_dir(cwd);
    }
    Some(command)
}

/// What a command and a shell have in common.
fn outfit<'a>(
    command: &'a mut Command,
    host: &Host,
    environment: &BTreeMap<String, OsString>,
    (output, errors): (PipeWriter, PipeWriter),
) -> &'a mut Command {
    command.envs(environment).process_group(0);
    host.settings.descriptors.give_back(command);
    command.stdin(Stdio::null()).stdout(output).stderr(errors)
}

fn find(name: &str) -> Result<User, StartError> {
    let what = || format!("user {name}");
    let found = user::named(name).map_err(|error| StartError::refused(what(), &error))?;
    found.ok_or_else(|| StartError::Refused { what: what(), why: "no such user".to_owned() })
}

/// `spawn` says what the system said, and little about where. Whatever can be looked at is looked at afterwards, so
/// that the ordinary case pays nothing for it.
fn diagnose(error: &io::Error, run: &Run, shell: &OsStr) -> StartError {
    let cwd = run.cwd.as_deref();
    let at_cwd = |error: &io::Error| StartError::refused(format!("cwd {}", cwd.unwrap_or(".")), error);
    if let Some(directory) = cwd {
        match fs::metadata(directory) {
            Err(error) => return at_cwd(&error),
            Ok(found) if !found.is_dir() => return at_cwd(&io::Error::from_raw_os_error(libc::ENOTDIR)),
            // The system does not say which of the two may not be used.
            Ok(_) if error.kind() == io::ErrorKind::PermissionDenied => {
                let what = format!("cwd {directory} or shell {}", shell.display());
                return StartError::refused(what, error);
            }
            Ok(_) => {}
        }
    }
    StartError::refused(format!("shell {}", shell.display()), error)
}

fn leader(child: &Child) -> Result<Pid, StartError> {
    let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    number
        .ok_or_else(|| StartError::Refused { what: "process".to_owned(), why: "it has no number".to_owned() })
}

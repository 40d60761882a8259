//! Starting a command through the [`starter`]: what an attempt asks for that has to be in place before it begins.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeWriter};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::ceilings::Ceilings;
use super::census::pause;
use super::cgroup::Leaf;
use super::environment::{Environment, SHELL};
use super::guard::THIS_PROGRAM;
use super::launch::{Child, Launch, Strings, launch};
use super::mark::Mark;
use super::starter::{Failed, Orders, Step, await_command, send};
use super::user::{self, User};
use super::{Host, Settings, StartError};
use crate::common::byte_size;
use crate::common::clock::monotonic;
use crate::common::model::{Resources, Run};

/// How long a starter may take to become the command, or to take the environment of that. Where it stands still, the file system
/// of its directory or of the shell does not answer, and a worker must not wait for that without end.
const STARTING: Duration = Duration::from_secs(60);

/// How long it is waited for after KILL.
const KILLED: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Makes the control group of an attempt, if what it asks for takes one.
///
/// # Errors
/// Where no control group can be had here: the limit is refused, and not ignored. Where there was one when the consumer
/// began, and none can be made in it now (another process has removed it), that is a trouble of this host and no fault of
/// the job, so it may be tried again.
pub fn leaf(settings: &Settings, mark: &Mark, resources: &Resources) -> Result<Option<Leaf>, StartError> {
    if !resources.needs_cgroup() {
        return Ok(None);
    }
    let asked = [
        resources.memory_bytes.map(|bytes| format!("memory={}", byte_size::format(bytes))),
        resources.pids.map(|pids| format!("pids={pids}")),
    ];
    let what = || asked.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    let why =
        |error| format!("needs a writable control group (docs/OPERATIONS.md, \"Limits for jobs\"): {error}");
    let groups = settings.cgroups.as_ref().map_err(Clone::clone);
    let groups = groups.and_then(|groups| groups.has_what_it_takes(resources).map(|()| groups));
    let groups = groups.map_err(|error| StartError::Refused { what: what(), why: why(error) })?;
    let leaf = groups.leaf(mark, resources);
    leaf.map(Some).map_err(|error| StartError::Exhausted { what: what(), why: why(error) })
}

/// Starts the shell of an attempt through the starter.
///
/// # Errors
/// The step that failed and what the system said there; then nothing runs.
pub fn spawn(
    host: &Host,
    run: &Run,
    user: &User,
    (resources, leaf): (&Resources, Option<&Leaf>),
    (shell, environment): (&OsStr, &Environment<'_>),
    ends: (PipeWriter, Option<BorrowedFd<'_>>),
) -> Result<Child, StartError> {
    let orders = orders(host, run, user, resources, leaf)?;
    let words = [shell, OsStr::new("-c"), OsStr::new(&run.command)];
    let started = begin(&host.settings.program, &orders, words, environment, ends);
    started.map_err(|failed| diagnose(&failed, run.cwd.as_deref(), user, resources, shell))
}

/// Whether attempts could be started here that ask for nothing: as this consumer's own limits want it. Otherwise each of them
/// would fail.
///
/// # Errors
/// The step that failed and what the system said there.
pub fn trial(settings: &Settings) -> Result<(), StartError> {
    let Ceilings(resources) = &settings.ceilings;
    if resources.is_empty() {
        return Ok(());
    }
    let leaf = leaf(settings, &Mark::of_a_trial(), resources)?;
    let orders = Orders {
        cgroup: leaf.as_ref().map(Leaf::entrance),
        nofile: resources.nofile.map(|most| (most, most)),
        cpu_s: resources.cpu_s,
        nice: resources.nice,
        ..Orders::default()
    };
    let shell = OsStr::new(SHELL);
    let words = [shell, OsStr::new("-c"), OsStr::new(":")];
    let (_, writer) = io::pipe().map_err(|error| StartError::refused("pipe", &error))?;
    let started = begin(&settings.program, &orders, words, &Environment::new(), (writer, None));
    let child = started.map_err(|failed| diagnose(&failed, None, &user::own(), resources, shell))?;
    let _reaped = child.wait();
    Ok(())
}

/// Starts the starter, gives it the environment, and waits until it has become the command.
fn begin(
    program: &Path,
    orders: &Orders,
    words: [&OsStr; 3],
    environment: &Environment<'_>,
    (output, guard): (PipeWriter, Option<BorrowedFd<'_>>),
) -> Result<Child, Failed> {
    let beginning = |error| Failed { step: Step::Begin, error };
    let (mut ours, theirs) = UnixStream::pair().map_err(beginning)?;
    ours.set_read_timeout(Some(STARTING))
        .and_then(|()| ours.set_write_timeout(Some(STARTING)))
        .map_err(beginning)?;
    let (mut all, mut mark) = (Strings::default(), Strings::default());
    let arguments = orders.arguments();
    let words =
        [program.as_os_str()].into_iter().chain(arguments.iter().map(OsString::as_os_str)).chain(words);
    for word in words {
        all.push(&[word]).map_err(Failed::at(Step::Execute))?;
    }
    // The mark alone, by which the guard finds a starter whose worker has died.
    for (name, value) in environment.iter().filter(|(name, _)| Mark::VARIABLES.contains(name)) {
        mark.push(&[name.as_ref(), "=".as_ref(), value]).map_err(beginning)?;
    }
    // Our copy of their end goes with it, so that the socket ends when theirs does.
    let stdin = Some(OwnedFd::from(theirs));
    let child =
        launch(Launch { words: all, environment: mark, cwd: None, stdin, output, nofile: None, guard })
            .map_err(|failed| beginning(failed.error))?;
    let sent = send(&mut ours, environment);
    let begun = match (await_command(ours), sent) {
        (Err(Failed { step: Step::Begin, error: heard }), Err(error))
            if heard.kind() != io::ErrorKind::TimedOut =>
        {
            Err(beginning(error))
        }
        (begun, _) => begun,
    };
    match begun {
        Ok(()) => Ok(child),
        Err(Failed { step, error }) => {
            end(&child);
            let is_late = error.kind() == io::ErrorKind::TimedOut;
            // Of what it does before the command, the directory is what a file system can hold up.
            let is_directory = is_late && step == Step::Begin && orders.cwd.is_some();
            Err(Failed { step: if is_directory { Step::Directory } else { step }, error })
        }
    }
}

/// Ends a starter that did not become the command. One that a file system holds up may outlive KILL until that answers: then it
/// dies, and is not waited for.
fn end(child: &Child) {
    child.kill();
    let until = monotonic() + KILLED;
    while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
        if monotonic() >= until {
            log::warn!(
                "process {}, which was to start a command, outlives KILL: a file system hangs",
                child.pid()
            );
            return;
        }
        pause(BETWEEN_LOOKS);
    }
}

fn orders(
    host: &Host,
    run: &Run,
    user: &User,
    resources: &Resources,
    leaf: Option<&Leaf>,
) -> Result<Orders, StartError> {
    let user = if user.uid == host.me.uid {
        None
    } else {
        let what = || format!("groups of user {}", user.name);
        let groups = user::groups(user).map_err(|error| StartError::refused(what(), &error))?;
        Some((user.uid, user.gid, groups))
    };
    Ok(Orders {
        cgroup: leaf.map(Leaf::entrance),
        nofile: resources.nofile.map(|most| (most, most)).or(host.settings.descriptors.of_jobs()),
        cpu_s: resources.cpu_s,
        nice: resources.nice,
        user,
        cwd: run.cwd.as_ref().map(Into::into),
    })
}

fn diagnose(
    failed: &Failed,
    cwd: Option<&str>,
    user: &User,
    resources: &Resources,
    shell: &OsStr,
) -> StartError {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let what: Cow<'_, str> = match failed.step {
        Step::Begin => format!("starter {THIS_PROGRAM}").into(),
        Step::Cgroup => {
            "control group (it must hold no processes itself, and its parent must be ours to write)".into()
        }
        Step::Descriptors => {
            let nofile = number(resources.nofile);
            format!("nofile={nofile} (above the hard limit it takes root, or CAP_SYS_RESOURCE)").into()
        }
        Step::Cpu => format!("cpu={}s", number(resources.cpu_s)).into(),
        Step::Nice => {
            let nice = resources.nice.unwrap_or_default();
            format!("nice={nice} (it takes root, or CAP_SYS_NICE, to be served before others)").into()
        }
        Step::User => format!("user {} (it takes root to run as another user)", user.name).into(),
        Step::Directory => format!("cwd {}", cwd.unwrap_or(".")).into(),
        Step::Execute => format!("shell {}", shell.display()).into(),
    };
    let refused = StartError::refused(what, &failed.error);
    match refused {
        // Under limits of its own, a job that lacks something lacks it for good.
        StartError::Exhausted { what, why } if !resources.is_empty() && failed.step != Step::Begin => {
            StartError::Refused { what, why }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::running::process::cgroup::Cgroups;

    #[test]
    fn a_control_group_that_is_gone_is_a_trouble_of_the_host_and_one_that_never_was_refuses_the_job() {
        let resources = Resources { pids: Some(5), ..Resources::default() };
        let mark = Mark::of_a_trial();
        let mut settings = Settings::plain("consumer".into());
        let refused = leaf(&settings, &mark, &resources).unwrap_err();
        assert!(matches!(refused, StartError::Refused { .. }), "{refused:?}");
        let directory = tempfile::tempdir().unwrap().keep();
        settings.cgroups = Ok(Cgroups::pretended(directory.clone()));
        std::fs::remove_dir(&directory).unwrap();
        let gone = leaf(&settings, &mark, &resources).unwrap_err();
        assert!(matches!(gone, StartError::Exhausted { .. }), "{gone:?}");
        assert!(gone.to_string().starts_with("pids=5: needs a writable control group"), "{gone}");
    }
}

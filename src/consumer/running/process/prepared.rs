//! Starting a command through the [`starter`]: what an attempt asks for that has to be in place before it begins.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::PipeWriter;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::cgroup::Leaf;
use super::guard::THIS_PROGRAM;
use super::mark::Mark;
use super::starter::{Failed, Orders, Step, await_command};
use super::user::{self, User};
use super::{Host, StartError};
use crate::common::byte_size;
use crate::common::model::{Resources, Run};

/// Makes the control group of an attempt, if what it asks for takes one.
///
/// # Errors
/// Where no control group can be had here: the limit is refused, and not ignored.
pub fn leaf(host: &Host, mark: &Mark, resources: &Resources) -> Result<Option<Leaf>, StartError> {
    if !resources.needs_cgroup() {
        return Ok(None);
    }
    let asked = [
        resources.memory_bytes.map(|bytes| format!("memory={}", byte_size::format(bytes))),
        resources.pids.map(|pids| format!("pids={pids}")),
    ];
    let leaf =
        host.settings.cgroups.as_ref().map_err(Clone::clone).and_then(|groups| groups.leaf(mark, resources));
    leaf.map(Some).map_err(|error| StartError::Refused {
        what: asked.into_iter().flatten().collect::<Vec<_>>().join(" "),
        why: format!("needs a writable control group (docs/OPERATIONS.md, \"Limits for jobs\"): {error}"),
    })
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
    (shell, environment): (&OsStr, &BTreeMap<String, OsString>),
    (output, errors): (PipeWriter, PipeWriter),
) -> Result<Child, StartError> {
    let orders = orders(host, run, user, resources, leaf)?;
    let socket = |error| StartError::refused("socket", &error);
    let (ours, theirs) = UnixStream::pair().map_err(socket)?;
    let mut command = Command::new(&host.settings.program);
    command.env_clear().args(orders.arguments()).arg(shell).arg("-c").arg(&run.command);
    command.envs(environment).process_group(0);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(output).stderr(errors);
    let spawned = command.spawn();
    // Our copy of their end goes with it, so that the socket ends when theirs does.
    drop(command);
    let mut child =
        spawned.map_err(|error| StartError::refused(format!("starter {THIS_PROGRAM}"), &error))?;
    match await_command(ours) {
        Ok(()) => Ok(child),
        Err(failed) => {
            let _reaped = child.wait();
            Err(diagnose(&failed, run, user, resources, shell))
        }
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

fn diagnose(failed: &Failed, run: &Run, user: &User, resources: &Resources, shell: &OsStr) -> StartError {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let what: Cow<'_, str> = match failed.step {
        Step::Cgroup => "control group".into(),
        Step::Descriptors => format!("nofile={}", number(resources.nofile)).into(),
        Step::Cpu => format!("cpu={}s", number(resources.cpu_s)).into(),
        Step::Nice => {
            let nice = resources.nice.unwrap_or_default();
            format!("nice={nice} (it takes root, or CAP_SYS_NICE, to be served before others)").into()
        }
        Step::User => format!("user {} (it takes root to run as another user)", user.name).into(),
        Step::Directory => format!("cwd {}", run.cwd.as_deref().unwrap_or(".")).into(),
        Step::Execute => format!("shell {}", shell.display()).into(),
    };
    StartError::refused(what, &failed.error)
}

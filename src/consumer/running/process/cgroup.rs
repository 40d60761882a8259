//! Control groups (cgroups(7), version 2): a leaf for each attempt whose memory or processes are limited. The limits hold
//! for all processes of the attempt together, and ending the leaf ends exactly those, `setsid` children too.
//!
//! The leaves lie in a directory that this consumer may write: its own control group where systemd (`Delegate=yes`) or a
//! container has given it one, or the one that `--cgroup` names. The kernel allows no processes beside leaves
//! (cgroups(7), "no internal processes" rule), so in its own group the consumer first moves itself into a leaf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::is_exhausted;
use super::mark::Mark;
use crate::common::model::Resources;

/// Where the kernel shows control groups: alone, or beside those of version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The leaf that the consumer itself moves to.
const OURS: &str = "consumer";

/// How long the kernel may take to let a leaf go whose last process has ended.
const LET_GO: Duration = Duration::from_secs(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// How old an empty leaf is that counts as left behind: a start takes milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Why no leaf can be made here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Unavailable {
    /// Creates the reason for settings of a program that has not looked for a control group.
    pub fn not_looked_for() -> Self {
        Self("no control group was looked for".to_owned())
    }
}

/// The directory in which attempts get their leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    directory: PathBuf,
    has_memory: bool,
    has_pids: bool,
}

#[cfg(test)]
impl Cgroups {
    /// A directory that is taken for one in which leaves can be made.
    pub(super) fn pretended(directory: PathBuf) -> Self {
        Self { directory, has_memory: true, has_pids: true }
    }
}

impl Cgroups {
    /// Prepares the directory: the one that is given, or our own control group. This comes before anything is started,
    /// because a process is born into the group of its parent.
    ///
    /// # Errors
    /// What is missing here.
    pub fn prepare(given: Option<&Path>) -> Result<Self, Unavailable> {
        let directory = match given {
            // The guard looks for it from another directory.
            Some(directory) => fs::canonicalize(directory).map_err(|error| failed(directory, &error))?,
            None => own()?,
        };
        let shown = directory.display();
        let enabled = fs::read_to_string(directory.join("cgroup.controllers"));
        let enabled =
            enabled.map_err(|_| Unavailable(format!("{shown} is not a control group of version 2")))?;
        if given.is_none() {
            move_to_leaf(&directory)?;
        }
        let wanted =
            ["memory", "pids"].map(|name| (name, enabled.split_whitespace().any(|word| word == name)));
        for (name, _) in wanted.iter().filter(|(_, is_there)| *is_there) {
            write(&directory.join("cgroup.subtree_control"), &format!("+{name}"))?;
        }
        let [(_, has_memory), (_, has_pids)] = wanted;
        if !has_memory && !has_pids {
            return Err(Unavailable(format!("{shown} has neither the controller `memory` nor `pids`")));
        }
        let cgroups = Self { directory, has_memory, has_pids };
        cgroups.sweep();
        Ok(cgroups)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the controllers are there that these limits take.
    ///
    /// # Errors
    /// The one that is missing.
    pub fn has_what_it_takes(&self, limits: &Resources) -> Result<(), Unavailable> {
        let memory = ("memory", limits.memory_bytes.is_some(), self.has_memory);
        let pids = ("pids", limits.pids.is_some(), self.has_pids);
        let missing = [memory, pids].into_iter().find(|(_, is_asked, is_there)| *is_asked && !is_there);
        let directory = self.directory.display();
        missing
            .map_or(Ok(()), |(name, ..)| Err(Unavailable(format!("{directory} has no controller `{name}`"))))
    }

    /// Makes the leaf of an attempt, with its limits, for which [`Self::has_what_it_takes`] said yes.
    ///
    /// # Errors
    /// The system's.
    pub fn leaf(&self, mark: &Mark, limits: &Resources) -> Result<Leaf, Unavailable> {
        let path = self.directory.join(leaf_name(mark));
        let made = fs::create_dir(&path).or_else(|error| match error.kind() {
            // What an earlier consumer left, empty or not: nothing of it may live when the attempt starts.
            io::ErrorKind::AlreadyExists => {
                drop(Leaf { path: path.clone() });
                fs::create_dir(&path)
            }
            _ => Err(error),
        });
        made.map_err(|error| failed(&path, &error))?;
        let leaf = Leaf { path };
        if let Some(bytes) = limits.memory_bytes {
            write(&leaf.path.join("memory.max"), &bytes.to_string())?;
            // Otherwise the kernel may choose one process of the attempt and let the others go on without it.
            write(&leaf.path.join("memory.oom.group"), "1")?;
            // Where the kernel does not account for swap there is no such file, and nothing to limit.
            let _no_swap = fs::write(leaf.path.join("memory.swap.max"), "0");
        }
        if let Some(pids) = limits.pids {
            write(&leaf.path.join("pids.max"), &pids.to_string())?;
        }
        Ok(leaf)
    }

    /// Removes the empty leaves that a consumer left that was killed.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            // A young one may be another consumer's, which is about to use it.
            let age = entry.metadata().and_then(|found| found.modified()).map(|made| made.elapsed());
            let is_old = age.is_ok_and(|age| age.is_ok_and(|age| age > LEFT_BEHIND));
            if is_old && entry.file_name().to_str().is_some_and(is_leaf_name) {
                // One that is in use cannot be removed.
                let _in_use = remove(&entry.path());
            }
        }
    }
}

/// Ends everything in the leaf of an attempt of a consumer that has died, if it has one.
pub(super) fn end_leaf(directory: &Path, mark: &Mark) {
    let path = directory.join(leaf_name(mark));
    if path.is_dir() {
        drop(Leaf { path });
    }
}

/// The name of an attempt's leaf. Nothing else in the directory has such a name ([`is_leaf_name`]).
fn leaf_name(mark: &Mark) -> String {
    format!("attempt-{}", mark.to_string().replace('/', "."))
}

fn is_leaf_name(name: &str) -> bool {
    name.strip_prefix("attempt-").is_some_and(|mark| mark.replace('.', "/").parse::<Mark>().is_ok())
}

/// Our own control group, if it was given to us to divide.
fn own() -> Result<PathBuf, Unavailable> {
    let lines = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let none = || Unavailable("this host has no control groups of version 2".to_owned());
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/")).ok_or_else(none)?;
    let mount = MOUNTS.iter().find(|mount| Path::new(mount).join("cgroup.controllers").exists());
    let mut directory = Path::new(mount.ok_or_else(none)?).join(path);
    // A consumer that takes the place of another one in a container is born where that one has moved to.
    if directory.ends_with(OURS) {
        directory.pop();
    } else if let Some(other) = other_member(&directory) {
        let why = format!("{} is not ours alone (process {other} is in it, too)", directory.display());
        return Err(Unavailable(why));
    }
    if is_delegated(&directory) {
        return Ok(directory);
    }
    Err(Unavailable(format!("{} was not given to us to divide (Delegate=yes)", directory.display())))
}

fn other_member(directory: &Path) -> Option<String> {
    let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let me = process::id().to_string();
    members.lines().find(|pid| *pid != me).map(str::to_owned)
}

/// Whether a group is a container's own, or one that systemd has marked as given away (systemd.resource-control(5),
/// `Delegate=`). Others belong to the one that made them, even if root could write them.
fn is_delegated(directory: &Path) -> bool {
    // The root of the host has no such file, and the root that a container sees has one.
    let is_root = MOUNTS.iter().any(|mount| Path::new(mount) == directory);
    if is_root {
        return directory.join("cgroup.type").exists();
    }
    ["trusted.delegate", "user.delegate"].iter().any(|mark| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(directory, *mark, &mut value);
        length.is_ok_and(|length| value[..length] == *b"1")
    })
}

fn move_to_leaf(directory: &Path) -> Result<(), Unavailable> {
    let leaf = directory.join(OURS);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(&leaf, &error)),
        _ => write(&leaf.join("cgroup.procs"), "0"),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Unavailable> {
    fs::write(path, text).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Unavailable {
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or(&why);
    Unavailable(format!("{}: {why}", path.display()))
}

/// What the kernel did to the processes of a leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// It killed one because the memory was at its limit.
    pub killed_for_memory: bool,
    /// It refused one more process or thread.
    pub refused_process: bool,
}

/// The control group of an attempt. Dropping it kills what is in it, and removes it.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
}

impl Leaf {
    /// The file into which a process writes `0` to enter.
    pub fn entrance(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Whether a process lives in it, or there is no descriptor left to look.
    pub fn is_populated(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => counted(&text, "populated") > 0,
            Err(error) => is_exhausted(&error),
        }
    }

    /// What the kernel did to its processes so far.
    pub fn seen(&self) -> Seen {
        Seen {
            killed_for_memory: self.has("memory.events", "oom_kill"),
            refused_process: self.has("pids.events", "max"),
        }
    }

    /// Sends a signal to each process.
    pub fn signal(&self, signal: Signal) {
        signal_all(&self.path, signal);
    }

    /// Kills all at once, those included that are just being forked.
    pub fn kill(&self) {
        // Kernels before 5.14 have no such file.
        if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
            self.signal(Signal::KILL);
        }
    }

    /// Whether a line of a file of counters says more than 0.
    fn has(&self, file: &str, counter: &str) -> bool {
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        counted(&text, counter) > 0
    }
}

/// Sends a signal to each process of a group, and of groups that its processes have made in it.
fn signal_all(group: &Path, signal: Signal) {
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
        let _gone_meanwhile = kill_process(pid, signal);
    }
    groups_in(group).for_each(|inner| signal_all(&inner, signal));
}

/// Removes a group and those in it, if no process is left in them.
fn remove(group: &Path) -> io::Result<()> {
    groups_in(group).try_for_each(|inner| remove(&inner))?;
    fs::remove_dir(group)
}

fn groups_in(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// What a file of lines `NAME NUMBER` says of a name.
fn counted(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.split_once(' ').filter(|(of, _)| *of == name)?.1.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let until = Instant::now() + LET_GO;
        while let Err(error) = remove(&self.path) {
            if error.kind() == io::ErrorKind::NotFound {
                return;
            }
            if Instant::now() >= until {
                log::warn!("control group {} cannot be removed: {error}", self.path.display());
                return;
            }
            self.kill();
            super::census::pause(BETWEEN_TRIES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "low 0\nhigh 3\nmax 12\noom 1\noom_kill 2\n";
        let check = |name: &str, count: u64| assert_eq!(counted(text, name), count, "{name}");
        check("oom_kill", 2);
        check("oom", 1);
        check("low", 0);
        check("kill", 0);
        assert_eq!(counted("populated 1\nfrozen 0\n", "populated"), 1);
        assert_eq!(counted("", "populated"), 0);
    }

    #[test]
    fn a_leaf_is_known_by_its_name() {
        let mark: Mark = "00000000-0000-0000-0000-000000000001/cluster-a/2".parse().unwrap();
        let name = leaf_name(&mark);
        assert_eq!(name, "attempt-00000000-0000-0000-0000-000000000001.cluster-a.2");
        assert!(is_leaf_name(&name));
        for other in ["consumer", "attempt-", "attempt-x.y.z", "attempt-00000000-0000-0000-0000-000000000001"]
        {
            assert!(!is_leaf_name(other), "{other}");
        }
    }

    #[test]
    fn a_directory_that_is_no_control_group_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Cgroups::prepare(Some(directory.path())).unwrap_err().to_string();
        assert_eq!(error, format!("{} is not a control group of version 2", directory.path().display()));
        let error = Cgroups::prepare(Some(Path::new("/nonexistent"))).unwrap_err().to_string();
        assert_eq!(error, "/nonexistent: No such file or directory");
    }
}

//! Keeps the files of `--output DIR` within their bounds: the oldest are removed, and those of attempts under way stay, also
//! where another consumer of the host runs them in the same directory.

use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::output::Output;
use crate::common::byte_size;

/// How much of the output stays, for `--output-keep` and `--output-max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Files that were written to last longer ago than this are removed.
    pub age: Duration,
    /// The oldest files are removed while all of them together have more bytes.
    pub bytes: Option<u64>,
}

impl Default for Keep {
    /// As long as the topics of a cluster are kept.
    fn default() -> Self {
        Self { age: Duration::from_secs(7 * 24 * 60 * 60), bytes: None }
    }
}

/// How often the directory is looked through.
const EVERY: Duration = Duration::from_secs(60);

/// The most files that one look removes. It is a bound on memory and on how long a worker is kept from its next attempt.
const AT_ONCE: usize = 10_000;

/// Looks through the directory from time to time.
#[derive(Debug)]
pub struct Upkeep {
    directory: PathBuf,
    keep: Keep,
    /// Held while one worker looks; others do not wait.
    looking: Mutex<Looking>,
}

/// What the next look must know of those before it.
#[derive(Debug, Default)]
struct Looking {
    /// Not before this instant.
    next: Option<Instant>,
    /// The log has said that the directory cannot be listed, and it could not be listed since.
    is_unlisted_told: bool,
}

/// A file of ours: when it was written to last, its bytes, and its name.
type Kept = (SystemTime, u64, PathBuf);

/// What a look has found and done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    removed: usize,
    bytes: u64,
    /// How many could not be removed, and why the first could not.
    failed: Option<(usize, String)>,
    /// Why the directory cannot be listed, so that nothing can be removed.
    unlisted: Option<String>,
    /// There may be more to remove.
    is_cut: bool,
}

impl Upkeep {
    /// Creates one that looks at once, where the output goes to a directory.
    pub fn of(output: &Output, keep: Keep) -> Option<Self> {
        let Output::Directory(directory) = output else { return None };
        Some(Self { directory: directory.clone(), keep, looking: Mutex::default() })
    }

    /// Looks through the directory if it is time, and tells the log what was removed and what could not be.
    pub fn look(&self, now: Instant) {
        let Ok(mut looking) = self.looking.try_lock() else { return };
        if looking.next.is_some_and(|next| now < next) {
            return;
        }
        looking.next = Some(now + EVERY);
        let directory = self.directory.display();
        match tidy(&self.directory, self.keep, AT_ONCE) {
            Ok(looked) => {
                if looked.removed > 0 {
                    let (count, bytes) = (looked.removed, byte_size::format(looked.bytes));
                    log::info!("removed the oldest {count} files of output in {directory}, {bytes}");
                }
                if let Some(trouble) = looking.trouble(&looked, &self.directory) {
                    log::warn!("{trouble}");
                }
                if looked.is_cut {
                    looking.next = None;
                }
            }
            // A directory that is missing or cannot be written is the duty `output`'s to tell.
            Err(error) => log::debug!("looking for old output in {directory}: {error}"),
        }
    }
}

impl Looking {
    /// What the log must say of a look: files that cannot be removed each time, and a directory that cannot be listed once.
    fn trouble(&mut self, looked: &Looked, directory: &Path) -> Option<String> {
        let directory = directory.display();
        let was_told = std::mem::replace(&mut self.is_unlisted_told, looked.unlisted.is_some());
        if let Some(why) = &looked.unlisted {
            let says = || {
                format!(
                    "old files of output in {directory} cannot be removed, for it cannot be listed: {why}"
                )
            };
            return (!was_told).then(says);
        }
        let (count, why) = looked.failed.as_ref()?;
        Some(format!("{count} files of output in {directory} cannot be removed: {why}"))
    }
}

/// Removes what is too old, and then the oldest while there are too many bytes; at most so many files.
fn tidy(directory: &Path, keep: Keep, at_once: usize) -> io::Result<Looked> {
    let oldest = now_of(directory)?.checked_sub(keep.age).unwrap_or(SystemTime::UNIX_EPOCH);
    match files(directory, at_once) {
        Ok(found) => Ok(remove(found, oldest, keep.bytes)),
        Err(error) => Ok(Looked { unlisted: Some(error.to_string()), ..Looked::default() }),
    }
}

/// What a look has found.
struct Found {
    /// The oldest so many, from the oldest on.
    oldest: Vec<Kept>,
    /// The bytes of all.
    bytes: u64,
    /// There are more.
    is_cut: bool,
}

fn files(directory: &Path, at_once: usize) -> io::Result<Found> {
    // The oldest so many, with the youngest of them on top.
    let mut heap: BinaryHeap<Kept> = BinaryHeap::new();
    let (mut bytes, mut is_cut) = (0_u64, false);
    for entry in fs::read_dir(directory)? {
        let Some(file) = kept(&entry?) else { continue };
        bytes += file.1;
        heap.push(file);
        if heap.len() > at_once {
            is_cut = true;
            heap.pop();
        }
    }
    Ok(Found { oldest: heap.into_sorted_vec(), bytes, is_cut })
}

fn remove(found: Found, oldest: SystemTime, most: Option<u64>) -> Looked {
    let mut looked = Looked::default();
    let mut bytes = found.bytes;
    for (written, size, path) in found.oldest {
        if written >= oldest && most.is_none_or(|most| bytes <= most) {
            return looked;
        }
        let removed = match is_in_use(&path) {
            Ok(true) => continue,
            Ok(false) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                looked.removed += 1;
                looked.bytes += size;
                bytes -= size;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => bytes -= size,
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                let (count, first) = looked.failed.take().unwrap_or((0, why));
                looked.failed = Some((count + 1, first));
            }
        }
    }
    looked.is_cut = found.is_cut && looked.removed > 0;
    looked
}

/// The present instant, by the clock that dates the files.
fn now_of(directory: &Path) -> io::Result<SystemTime> {
    let path = directory.join(format!(".trial-{}", Uuid::new_v4()));
    let now = File::create(&path).and_then(|file| file.metadata()?.modified());
    fs::remove_file(&path)?;
    now
}

/// A file that a recorder has made, by its name: `JOB.RUN-ID.ATTEMPT.log`.
fn kept(entry: &fs::DirEntry) -> Option<Kept> {
    let name = entry.file_name().into_string().ok()?;
    let mut parts = name.strip_suffix(".log")?.rsplitn(3, '.');
    let (attempt, run) = (parts.next()?, parts.next()?);
    parts.next()?;
    attempt.parse::<u32>().ok()?;
    Uuid::try_parse(run).ok()?;
    let is = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    Some((is.modified().ok()?, is.len(), entry.path()))
}

/// Whether an attempt is under way that writes to the file. A consumer of another user may read the file, and not write it;
/// where it may not even read it, it cannot know, and must leave the file alone.
fn is_in_use(path: &Path) -> io::Result<bool> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Where a file system has no locks, it goes by age alone.
    Ok(matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A file of a job that was written to last so many days ago.
    fn write(directory: &Path, name: &str, days: u32, bytes: usize) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let written = now_of(directory).unwrap() - DAY * days;
        OpenOptions::new().write(true).open(&path).unwrap().set_modified(written).unwrap();
        path
    }

    fn of_job(job: &str) -> String {
        format!("{job}.00000000-0000-0000-0000-000000000001.1.log")
    }

    /// The first letters of the names in a directory.
    fn left(directory: &Path) -> String {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<char> =
            names.map(|name| name.to_str().unwrap().chars().next().unwrap()).collect();
        names.into_iter().collect()
    }

    fn tidied(keep: Keep, at_once: usize) -> (String, Looked) {
        let directory = tempfile::tempdir().unwrap();
        for (job, days) in [("a", 9), ("b", 8), ("c", 6), ("d", 1), ("e", 0)] {
            write(directory.path(), &of_job(job), days, 100);
        }
        let looked = tidy(directory.path(), keep, at_once).unwrap();
        (left(directory.path()), looked)
    }

    #[test]
    fn what_is_too_old_is_removed_and_then_the_oldest_of_what_is_too_much() {
        let check = |days: u32, bytes: Option<u64>, at_once: usize, expected: &str, is_cut: bool| {
            let (left, looked) = tidied(Keep { age: DAY * days, bytes }, at_once);
            assert_eq!((left.as_str(), looked.is_cut), (expected, is_cut), "{days} {bytes:?} {at_once}");
            let removed = 5 - expected.len();
            assert_eq!((looked.removed, looked.bytes), (removed, 100 * removed as u64));
        };
        check(7, None, 99, "cde", false);
        check(100, None, 99, "abcde", false);
        check(100, Some(500), 99, "abcde", false);
        check(100, Some(499), 99, "bcde", false);
        check(7, Some(250), 99, "de", false);
        check(7, Some(0), 99, "", false);
        // As many as one look takes, and the rest with the next.
        check(7, None, 1, "bcde", true);
        check(7, Some(0), 3, "de", true);
        check(100, None, 3, "abcde", false);
    }

    #[test]
    fn only_what_a_recorder_has_made_and_no_longer_writes_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["notes.log", "x.1.log", "data.00000000-0000-0000-0000-000000000001.1", "z.no-id.1.log"] {
            write(path, name, 90, 1);
        }
        fs::create_dir(path.join(of_job("folder"))).unwrap();
        let busy = File::options().write(true).open(write(path, &of_job("busy"), 90, 1)).unwrap();
        busy.lock_shared().unwrap();
        write(path, &of_job("a.job.with.dots"), 90, 1);
        let looked = tidy(path, Keep::default(), 99).unwrap();
        assert_eq!((looked.removed, looked.failed, left(path).as_str()), (1, None, "bdfnxz"));
        drop(busy);
        assert_eq!(tidy(path, Keep::default(), 99).unwrap().removed, 1);
    }

    /// Looks through a directory as a user that is not root and owns nothing in it, where this process is root. The thread ends
    /// afterwards.
    fn tidy_as_another_user(directory: &Path) -> Looked {
        let look = || {
            // SAFETY: it changes this thread alone, by whose user files are then opened and removed (setfsuid(2)).
            unsafe { libc::setfsuid(65_534) };
            tidy(directory, Keep::default(), 99).unwrap()
        };
        std::thread::scope(|scope| scope.spawn(look).join().unwrap())
    }

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_consumer_of_another_user_leaves_what_is_written_and_what_it_cannot_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        allow(path, 0o777);
        let [busy, closed, old] = ["busy", "closed", "old"].map(|job| write(path, &of_job(job), 90, 1));
        // No write: another user's, also where this process is not root.
        [&busy, &old].iter().for_each(|file| allow(file, 0o444));
        let writer = File::open(&busy).unwrap();
        writer.lock_shared().unwrap();
        allow(&closed, 0);
        let looked = tidy_as_another_user(path);
        assert_eq!((looked.removed, left(path).as_str()), (1, "bc"));
        let why = format!("{}: Permission denied (os error 13)", closed.display());
        assert_eq!(looked.failed, Some((1, why)));
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path, &of_job("a"), 90, 1);
        let mut looking = Looking::default();
        let mut says = |mode: u32| {
            allow(path, mode);
            let looked = tidy_as_another_user(path);
            allow(path, 0o777);
            looking.trouble(&looked, path)
        };
        let expected = format!(
            "old files of output in {} cannot be removed, for it cannot be listed: Permission denied (os error 13)",
            path.display()
        );
        assert_eq!(says(0o333), Some(expected.clone()));
        assert_eq!(says(0o333), None);
        assert_eq!(left(path), "a");
        assert_eq!(says(0o777), None);
        assert_eq!(left(path), "");
        assert_eq!(says(0o333), Some(expected));
    }

    #[test]
    fn it_looks_once_a_minute_and_survives_a_directory_that_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::Directory(directory.path().to_owned());
        let upkeep = Upkeep::of(&output, Keep::default()).unwrap();
        let now = Instant::now();
        let looks = |upkeep: &Upkeep, at: Instant| {
            let old = write(directory.path(), &of_job("a"), 8, 1);
            upkeep.look(at);
            !old.exists()
        };
        assert!(looks(&upkeep, now));
        assert!(!looks(&upkeep, now + EVERY / 2));
        assert!(looks(&upkeep, now + EVERY));
        fs::remove_dir_all(directory.path()).unwrap();
        upkeep.look(now + EVERY * 2);
        assert!(Upkeep::of(&Output::Tail, Keep::default()).is_none());
    }
}

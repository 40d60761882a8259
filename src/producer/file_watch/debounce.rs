//! When the content of a file is read: once it has stopped changing, and again from time to time although nothing says
//! that it has changed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a file may be away, or be empty, before that is meant: editors and deployments rename, and a shell's `>`
/// empties a file before it is written.
pub(super) const AWAY: Duration = Duration::from_secs(2);

/// How long a file that never rests is waited for. Then it is read as it is.
const RESTLESS: Duration = Duration::from_secs(10);

/// How often a small file is read that does not seem to have changed: times of a coarse file system and inodes that
/// are used again may hide a change.
const AGAIN: Duration = Duration::from_secs(2);

/// What reading again may cost: a large file is read again the later. 512 KiB a second are a thousandth of a core.
const AGAIN_BYTES_A_SECOND: u64 = 512 * 1024;

/// What a look sees without reading. A change of the file changes this, as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The file with all links followed: a ConfigMap changes by swapping one of a directory.
    pub(super) resolved: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds and nanoseconds since the epoch.
    pub(super) modified: (i64, i64),
    /// The same of the inode: set by the system at each write, also where a tool sets `modified` back.
    pub(super) changed: (i64, i64),
}

/// What a look is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Read the content.
    Read,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// At the last look.
    last: Option<Stamp>,
    /// What was read, and when; `None` since it could not be.
    pub(super) read: Option<(Stamp, Instant)>,
    /// Since when the file has been another than what was read.
    unread: Option<Instant>,
    /// Since when it could not be read.
    away: Option<Instant>,
}

impl Debounce {
    /// What was read is to be read again, because it may mean something else now.
    pub(super) fn read_again(&mut self) {
        self.read = None;
    }

    /// The file is there and looks like this.
    pub(super) fn see(&mut self, found: Stamp, now: Instant) -> Step {
        let size = found.size;
        let before = self.last.replace(found);
        let rests = before == self.last;
        let ready = match &self.read {
            Some((read, at)) if self.last.as_ref() == Some(read) => {
                self.unread = None;
                now.duration_since(*at) >= again(size)
            }
            _ => {
                let unread = now.duration_since(*self.unread.get_or_insert(now));
                unread >= RESTLESS || (rests && (size > 0 || unread >= AWAY))
            }
        };
        if ready { Step::Read } else { Step::Wait }
    }

    /// The content was read, between two looks. Returns whether it is to be believed: not where it changed meanwhile.
    pub(super) fn have_read(&mut self, before: Stamp, after: &Stamp, now: Instant) -> bool {
        let patient = self.unread.is_none_or(|since| now.duration_since(since) < RESTLESS);
        if before != *after && patient {
            return false;
        }
        self.read = Some((before, now));
        (self.unread, self.away) = (None, None);
        true
    }

    /// The file could not be looked at or read. Returns whether that has lasted, and is to be said.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        // Whatever comes back is read, even if it is what was there before: only that ends the time away.
        (self.last, self.read, self.unread) = (None, None, None);
        now.duration_since(*self.away.get_or_insert(now)) >= AWAY
    }
}

/// How long after it was read a file of that size is read again.
fn again(size: u64) -> Duration {
    AGAIN.max(Duration::from_millis(size.saturating_mul(1000) / AGAIN_BYTES_A_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of so many bytes in so many versions; looked at twice a second.
    struct Bench {
        debounce: Debounce,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { debounce: Debounce::default(), now: Instant::now() }
        }

        /// A look at a version of a file.
        fn check(&mut self, version: u64, size: u64, step: Step) {
            self.now += Duration::from_millis(500);
            assert_eq!(self.debounce.see(stamp(version, size), self.now), step, "version {version}");
        }

        /// A look that finds the version ready, and reads it.
        fn check_read(&mut self, version: u64, size: u64) {
            self.check(version, size, Step::Read);
            assert!(self.debounce.have_read(stamp(version, size), &stamp(version, size), self.now));
        }

        fn check_failed(&mut self, said: bool) {
            self.now += Duration::from_millis(500);
            assert_eq!(self.debounce.failed(self.now), said);
        }
    }

    fn stamp(inode: u64, size: u64) -> Stamp {
        Stamp { resolved: "/jobs".into(), device: 1, inode, size, modified: (0, 0), changed: (0, 0) }
    }

    #[test]
    fn a_change_is_read_once_it_has_stood_for_one_look() {
        let mut bench = Bench::new();
        bench.check(1, 10, Step::Wait);
        bench.check(2, 10, Step::Wait);
        bench.check_read(2, 10);
        bench.check(2, 10, Step::Wait);
        bench.check(3, 10, Step::Wait);
        bench.check(2, 10, Step::Wait);
        bench.check(3, 10, Step::Wait);
        bench.check_read(3, 10);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again() {
        let mut bench = Bench::new();
        bench.check(1, 10, Step::Wait);
        bench.check(1, 10, Step::Read);
        assert!(!bench.debounce.have_read(stamp(1, 10), &stamp(2, 10), bench.now));
        bench.check(2, 10, Step::Wait);
        bench.check_read(2, 10);
    }

    #[test]
    fn a_file_that_never_rests_is_read_all_the_same() {
        let mut bench = Bench::new();
        (0..20).for_each(|version| bench.check(version, 10, Step::Wait));
        bench.check(20, 10, Step::Read);
        assert!(bench.debounce.have_read(stamp(20, 10), &stamp(21, 10), bench.now));
        bench.check(22, 10, Step::Wait);
    }

    #[test]
    fn a_file_is_read_again_though_it_seems_the_same_and_a_large_one_seldom() {
        let mut bench = Bench::new();
        bench.check(1, 10, Step::Wait);
        for _ in 0..3 {
            bench.check_read(1, 10);
            (0..3).for_each(|_| bench.check(1, 10, Step::Wait));
        }
        assert_eq!(again(0), AGAIN);
        assert_eq!(again(1024 * 1024), AGAIN);
        assert_eq!(again(10 * 1024 * 1024), Duration::from_secs(20));
        assert!(again(u64::MAX) > Duration::from_secs(1_000_000));
    }

    #[test]
    fn an_empty_file_may_be_one_that_is_about_to_be_written() {
        let mut bench = Bench::new();
        (0..4).for_each(|_| bench.check(1, 0, Step::Wait));
        bench.check(2, 10, Step::Wait);
        bench.check_read(2, 10);
        (0..4).for_each(|_| bench.check(3, 0, Step::Wait));
        bench.check_read(3, 0);
    }

    #[test]
    fn a_file_that_is_away_for_a_moment_is_no_news_and_one_that_stays_away_is() {
        let mut bench = Bench::new();
        bench.check(1, 10, Step::Wait);
        bench.check_read(1, 10);
        (0..4).for_each(|_| bench.check_failed(false));
        bench.check(1, 10, Step::Wait);
        bench.check_read(1, 10);
        (0..4).for_each(|_| bench.check_failed(false));
        (0..2).for_each(|_| bench.check_failed(true));
        bench.check(1, 10, Step::Wait);
        bench.check_read(1, 10);
        bench.check_failed(false);
    }

    #[test]
    fn a_file_that_can_be_seen_and_not_read_is_as_good_as_away() {
        let mut bench = Bench::new();
        bench.check(1, 10, Step::Wait);
        bench.check_read(1, 10);
        (0..3).for_each(|_| bench.check(1, 10, Step::Wait));
        bench.check(1, 10, Step::Read);
        assert!(!bench.debounce.failed(bench.now));
        let mut said = false;
        for _ in 0..6 {
            bench.now += Duration::from_millis(500);
            if bench.debounce.see(stamp(1, 10), bench.now) == Step::Read {
                said |= bench.debounce.failed(bench.now);
            }
        }
        assert!(said);
    }
}

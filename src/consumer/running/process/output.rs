//! Where a command's output goes: its end into the event always, and all of it to the log or to a file on request.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use uuid::Uuid;

use super::tail::Tail;
use crate::common::bounds::LOG_LINE_BYTES;
use crate::common::descriptors::with_high_number;
use crate::common::http::{Duty, Trouble};
use crate::common::model::Attempt;

/// What is kept of a command's output besides its end, for `--output tail|log|DIR`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Output {
    /// Nothing.
    #[default]
    Tail,
    /// Every line goes to the log, with job, run and attempt before it.
    Log,
    /// A file for each attempt goes into this directory: `JOB.RUN-ID.ATTEMPT.log`.
    Directory(PathBuf),
}

impl FromStr for Output {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(match word {
            // A variable that is set to nothing would otherwise mean the working directory.
            "" => return Err("it is empty, and may be `tail`, `log` or a directory".to_owned()),
            "tail" => Self::Tail,
            "log" => Self::Log,
            directory => Self::Directory(directory.into()),
        })
    }
}

impl Output {
    /// Writes a file into the directory and removes it: whether output could be kept there is known before any job ends, and
    /// again before the next one when it could not.
    pub fn try_out(&self, keeping: &Duty) {
        let Self::Directory(directory) = self else { return };
        let path = directory.join(format!(".trial-{}", Uuid::new_v4()));
        let written = fs::write(&path, [b'\n'; 4096]);
        let removed = fs::remove_file(&path);
        match written.and(removed) {
            Ok(()) => keeping.done(),
            Err(error) => keeping.failed(trouble(directory, &error)),
        }
    }
}

/// What the duty tells of output that is not kept.
fn trouble(path: &Path, error: &io::Error) -> Trouble {
    let cause = format!("keeping the output of jobs in {}: {error}", path.display());
    Trouble::new(
        "output",
        cause,
        "make room there, or give --output a directory that this consumer can write",
    )
}

/// Takes the output of one attempt. That its file cannot be written fails no job: it is logged for each, and the consumer is
/// not ready until output can be kept again.
#[derive(Debug)]
pub struct Recorder {
    tail: Tail,
    all: All,
    keeping: Duty,
}

#[derive(Debug)]
enum All {
    Nowhere,
    Log { prefix: String, line: Vec<u8> },
    File { path: PathBuf, file: File },
}

impl Recorder {
    /// One for an attempt that is about to start.
    pub fn new(output: &Output, attempt: &Attempt, keeping: &Duty) -> Self {
        if keeping.is_owed() {
            output.try_out(keeping);
        }
        let all = match output {
            Output::Tail => All::Nowhere,
            Output::Log => {
                let prefix = format!("{} {} #{}", attempt.run.job, attempt.run.id, attempt.attempt);
                All::Log { prefix, line: Vec::new() }
            }
            Output::Directory(directory) => open(directory.join(file_name(attempt)), keeping),
        };
        Self { tail: Tail::default(), all, keeping: keeping.clone() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.tail.push(piece);
        match &mut self.all {
            All::Nowhere => {}
            All::Log { prefix, line } => lines(line, piece, |text| log::info!("{prefix}: {text}")),
            All::File { path, file } => {
                if let Err(error) = file.write_all(piece) {
                    self.all = unwritable(path, &error, &self.keeping);
                }
            }
        }
    }

    /// The end of the output, and how many bytes there were.
    pub fn finish(mut self) -> Tail {
        if matches!(&self.all, All::Log { line, .. } if !line.is_empty()) {
            // What has no end of line has one now, in the log alone.
            let tail = std::mem::take(&mut self.tail);
            self.push(b"\n");
            return tail;
        }
        self.tail
    }
}

/// The most that is logged as one line: with what stands before it, the log does not cut it.
const LINE_BYTES: usize = LOG_LINE_BYTES / 2;

/// Takes the next piece of a stream, and says each line that it ends. What knows no line ends is said in parts.
fn lines(line: &mut Vec<u8>, piece: &[u8], mut say: impl FnMut(&str)) {
    for mut rest in piece.split_inclusive(|byte| *byte == b'\n') {
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(LINE_BYTES - line.len()));
            line.extend_from_slice(part);
            rest = after;
            if line.ends_with(b"\n") || line.len() == LINE_BYTES {
                say(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']));
                line.clear();
            }
        }
    }
}

fn open(path: PathBuf, keeping: &Duty) -> All {
    match create(&path) {
        Ok(file) => {
            // What looks for old files sees that this one is in use. Where a file system has no locks, it goes by age alone.
            // Never waited for: any program that may open the file may hold a lock on it, and the command runs already.
            let _is_locked_or_has_no_locks = file.try_lock_shared();
            All::File { path, file: with_high_number(file) }
        }
        Err(error) => unwritable(&path, &error, keeping),
    }
}

/// Makes the file, or empties it. Its name can be foretold, so where others may write to the directory, something else may
/// stand there: a link to another file, or a FIFO, for which an open waits until a process reads it.
fn create(path: &Path) -> io::Result<File> {
    let not_a_file = || io::Error::other("it is not a regular file");
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(is) if !is.is_file() => not_a_file(),
        _ => error,
    })?;
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    file.set_len(0)?;
    Ok(file)
}

fn unwritable(path: &Path, error: &io::Error, keeping: &Duty) -> All {
    log::warn!("the output is not kept in {}: {error}", path.display());
    keeping.failed(trouble(path, error));
    All::Nowhere
}

/// A job's name may hold what a file's may not, or what leads elsewhere.
fn file_name(attempt: &Attempt) -> String {
    let job = attempt.run.job.as_str();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let job: String = job.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    format!("{}.{}.{}.log", job.trim_start_matches('.'), attempt.run.id, attempt.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::http::Health;
    use crate::common::metrics::Metrics;
    use crate::common::wire;

    const ID: &str = "00000000-0000-0000-0000-000000000001";

    fn attempt(job: &str) -> Attempt {
        let text = format!(
            r#"{{"v":1,"run":{{"id":"{ID}","job":"{job}","cluster":"a","scheduled_at":"2026-11-23T17:00:00Z",
            "command":"true","limits":{{"grace_ms":1}},"retry":{{"retries":0,"backoff_ms":1,"backoff_max_ms":1}},
            "revision":"r"}},"attempt":2,"attempts_left":0}}"#
        );
        wire::decode_attempt(text.as_bytes()).unwrap()
    }

    fn duty() -> (Health, Duty) {
        let health = Health::new(&Metrics::new());
        let duty = health.duty("output");
        (health, duty)
    }

    #[test]
    fn a_file_holds_everything_and_stays_in_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let check = |job: &str, file: &str| {
            let output = Output::Directory(directory.path().to_owned());
            let (health, duty) = duty();
            let mut recorder = Recorder::new(&output, &attempt(job), &duty);
            recorder.push(&[b'x'; 20_000]);
            recorder.push(b"end");
            let path = directory.path().join(format!("{file}.{ID}.2.log"));
            let is_in_use = || File::open(&path).unwrap().try_lock().is_err();
            assert!(is_in_use(), "what removes old files sees that it is written");
            assert_eq!((recorder.finish().total(), health.owed()), (20_003, vec![]));
            assert!(!is_in_use());
            let kept = std::fs::read(&path).unwrap();
            assert!(kept.len() == 20_003 && kept.ends_with(b"xend"), "{job}");
        };
        check("backup", "backup");
        check("../../etc/passwd", "_.._etc_passwd");
        check("/päth", "_p_th");
    }

    #[test]
    fn a_directory_that_cannot_be_written_costs_only_the_file_and_is_told_until_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let later = directory.path().join("later");
        let output = Output::Directory(later.clone());
        let (health, duty) = duty();
        let told = |part: &str| {
            let owed = health.owed();
            assert!(owed.len() == 1 && owed[0].contains(part) && owed[0].starts_with("output: "), "{owed:?}");
            duty.done();
        };
        output.try_out(&duty);
        told("later: No such file or directory");
        let mut recorder = Recorder::new(&output, &attempt("j"), &duty);
        recorder.push(b"said");
        assert_eq!(recorder.finish().text(), "said");
        told("No such file or directory");
        let mut full = Recorder::new(&Output::Tail, &attempt("j"), &duty);
        full.all = All::File { path: "/dev/full".into(), file: File::create("/dev/full").unwrap() };
        full.push(b"one");
        full.push(b"two");
        assert!(matches!(full.all, All::Nowhere));
        assert_eq!(full.finish().text(), "onetwo");
        assert!(health.owed()[0].contains("/dev/full: No space left on device"), "{:?}", health.owed());
        // What is left of it is tried before the next attempt, whether that says something or not.
        drop(Recorder::new(&output, &attempt("j"), &duty));
        assert_eq!(health.owed().len(), 1);
        fs::create_dir(&later).unwrap();
        drop(Recorder::new(&output, &attempt("k"), &duty));
        assert_eq!(health.owed(), [""; 0]);
        let left: Vec<_> = fs::read_dir(&later).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_stands_at_the_name_of_a_file_and_is_none_is_neither_followed_nor_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (target, reader) = (directory.path().join("target"), directory.path().join("reader"));
        fs::write(&target, "precious").unwrap();
        let fifo = |path: &Path| {
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: the path ends with a NUL byte.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        };
        fifo(&reader);
        // One that a process reads could be opened.
        let _reads = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&reader).unwrap();
        let check = |job: &str, plant: &dyn Fn(&Path)| {
            let output = Output::Directory(directory.path().to_owned());
            let path = directory.path().join(format!("{job}.{ID}.2.log"));
            plant(&path);
            let (health, duty) = duty();
            let (done, is_done) = std::sync::mpsc::sync_channel(1);
            let attempt = attempt(job);
            let run = move || {
                let mut recorder = Recorder::new(&output, &attempt, &duty);
                recorder.push(b"said");
                done.send(recorder.finish().text()).unwrap();
            };
            // Not joined: if it waits for ever, this test must end all the same.
            std::thread::Builder::new().spawn(run).unwrap();
            let text = is_done.recv_timeout(std::time::Duration::from_secs(10));
            assert_eq!(text.as_deref(), Ok("said"), "{job} holds the worker up");
            let why = format!("{}: it is not a regular file", path.display());
            let owed = health.owed();
            assert!(owed.len() == 1 && owed[0].contains(&why), "{job}: {owed:?}");
        };
        check("link", &|path| std::os::unix::fs::symlink(&target, path).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        check("dangling", &|path| std::os::unix::fs::symlink("nowhere", path).unwrap());
        assert!(!directory.path().join("nowhere").exists());
        check("fifo", &fifo);
        check("read", &|path| fs::rename(&reader, path).unwrap());
        check("directory", &|path| fs::create_dir(path).unwrap());
    }

    #[test]
    fn a_lock_that_another_program_holds_on_the_file_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("locked.{ID}.2.log"));
        let planted = File::create(&path).unwrap();
        planted.lock().unwrap();
        let output = Output::Directory(directory.path().to_owned());
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        // Not joined: if it waits for ever, this test must end all the same.
        std::thread::Builder::new()
            .spawn(move || {
                let mut recorder = Recorder::new(&output, &attempt("locked"), &duty().1);
                recorder.push(b"said");
                done.send(recorder.finish().text()).unwrap();
            })
            .unwrap();
        assert_eq!(is_done.recv_timeout(std::time::Duration::from_secs(10)).as_deref(), Ok("said"));
        assert_eq!(fs::read(&path).unwrap(), b"said");
    }

    #[test]
    fn a_file_that_is_there_already_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "longer than what follows").unwrap();
        create(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn each_line_is_said_once_it_has_ended_and_none_is_endless() {
        let check = |pieces: &[&str], expected: &[&str], left: &str| {
            let (mut line, mut said) = (Vec::new(), Vec::new());
            pieces
                .iter()
                .for_each(|piece| lines(&mut line, piece.as_bytes(), |text| said.push(text.to_owned())));
            assert_eq!((said, line), (expected.iter().map(|text| (*text).to_owned()).collect(), left.into()));
        };
        check(&["one\ntwo\r\n", "th", "ree\n\nfo"], &["one", "two", "three", ""], "fo");
        let long = "x".repeat(LINE_BYTES);
        check(&[&format!("{long}{long}yz\n")], &[&long, &long, "yz"], "");
        check(&[&long[1..], "a", "b"], &[&format!("{}a", &long[1..])], "b");
    }

    #[test]
    fn the_word_says_where_the_output_goes() {
        let check = |word: &str, output: Output| assert_eq!(word.parse(), Ok(output));
        check("tail", Output::Tail);
        check("log", Output::Log);
        check("/var/log/cron", Output::Directory("/var/log/cron".into()));
        check("./log", Output::Directory("./log".into()));
        assert_eq!(
            "".parse::<Output>(),
            Err("it is empty, and may be `tail`, `log` or a directory".to_owned())
        );
    }
}

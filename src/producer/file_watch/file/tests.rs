//! Real files in a directory of their own, changed in all the ways that editors and deployments have.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::common::zones::Zones;

const ONE: &str = "@daily a [name=one] x\n";
const TWO: &str = "@daily a [name=one] x\n@daily a [name=two] x\n";
const WRONG: &str = "@daily a [name=one]\n@daily b [name=two] x\n";

/// A directory, the job file in it, and who looks at it twice a second.
struct Bench {
    dir: TempDir,
    job_file: JobFileLook,
    now: Instant,
}

impl Bench {
    /// A job file that has been read.
    fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        fs::write(&path, content).unwrap();
        let options = Options {
            path,
            clusters: vec!["a".parse().unwrap()],
            zone_directory: None,
            zones: Zones::bundled(),
        };
        let job_file = JobFileLook::new(options, &jobfile::revision(content.as_bytes()));
        Self { dir, job_file, now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, content: &str) {
        fs::write(self.path("jobs"), content).unwrap();
    }

    /// Writes a file beside it and renames that.
    fn replace(&self, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path("jobs")).unwrap();
    }

    /// Looks so many times, and compares what is found, in words.
    fn check(&mut self, looks: usize, expected: &[&str]) {
        let mut found = Vec::new();
        for _ in 0..looks {
            self.now += Duration::from_millis(500);
            found.extend(self.job_file.look(self.now).map(|found| words(&found)));
        }
        assert_eq!(found, expected);
    }
}

fn words(found: &Found) -> String {
    match found {
        Found::Right { file: None, .. } => "the same".to_owned(),
        Found::Right { file: Some(file), revision } => {
            assert_eq!(file.revision, *revision);
            let names: Vec<&str> = file.jobs.iter().map(|job| job.name.as_str()).collect();
            names.join(" ")
        }
        Found::Wrong { problems, .. } => format!("{} problems", problems.len()),
        Found::Unreadable(why) => format!("unreadable: {why}"),
    }
}

#[test]
fn a_file_that_was_touched_is_the_same() {
    let mut bench = Bench::new(ONE);
    bench.check(4, &["the same"]);
    File::options()
        .write(true)
        .open(bench.path("jobs"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    bench.check(4, &["the same"]);
    bench.replace(ONE);
    bench.check(4, &["the same"]);
}

#[test]
fn a_new_content_is_found_once_however_it_got_there() {
    let mut bench = Bench::new(ONE);
    bench.check(2, &["the same"]);
    bench.write(TWO);
    bench.check(2, &["one two"]);
    bench.replace("# none\n");
    bench.check(2, &[""]);
    bench.check(8, &["the same", "the same"]);
}

#[test]
fn what_changed_before_the_first_look_is_found() {
    let mut bench = Bench::new(ONE);
    bench.write(TWO);
    bench.check(2, &["one two"]);
}

#[test]
fn a_link_that_is_swapped_is_followed() {
    // As a ConfigMap has it: jobs → ..data/jobs, and ..data → a directory for each version.
    let mut bench = Bench::new(ONE);
    fs::remove_file(bench.path("jobs")).unwrap();
    let version = |name: &str, content: &str| {
        fs::create_dir(bench.path(name)).unwrap();
        let file = bench.path(name).join("jobs");
        fs::write(&file, content).unwrap();
        File::options().write(true).open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    version("v1", ONE);
    version("v2", &ONE.replace("one", "two"));
    symlink("v1", bench.path("..data")).unwrap();
    symlink("..data/jobs", bench.path("jobs")).unwrap();
    bench.check(2, &["the same"]);
    symlink("v2", bench.path("..new")).unwrap();
    fs::rename(bench.path("..new"), bench.path("..data")).unwrap();
    bench.check(2, &["two"]);
}

#[test]
fn a_change_that_no_time_and_no_size_shows_is_found_within_seconds() {
    let mut bench = Bench::new(ONE);
    bench.check(2, &["the same"]);
    bench.write(&ONE.replace("one", "two"));
    // As on a file system that keeps whole seconds.
    bench.job_file.debounce.read = Some((stamp(&bench.path("jobs")).unwrap(), bench.now));
    bench.check(3, &[]);
    bench.check(1, &["two"]);
}

#[test]
fn a_file_that_is_gone_for_a_moment_is_no_news() {
    let mut bench = Bench::new(ONE);
    bench.check(2, &["the same"]);
    fs::rename(bench.path("jobs"), bench.path("jobs~")).unwrap();
    bench.check(4, &[]);
    bench.write(TWO);
    bench.check(2, &["one two"]);
    fs::remove_file(bench.path("jobs")).unwrap();
    bench.check(4, &[]);
    bench.check(1, &["unreadable: No such file or directory (os error 2)"]);
    bench.write(TWO);
    bench.check(2, &["the same"]);
}

#[test]
fn what_cannot_be_a_job_file_is_said_to_be_none() {
    let mut bench = Bench::new(ONE);
    fs::remove_file(bench.path("jobs")).unwrap();
    fs::create_dir(bench.path("jobs")).unwrap();
    bench.check(5, &["unreadable: it is no regular file"]);
    fs::remove_dir(bench.path("jobs")).unwrap();
    symlink("jobs", bench.path("jobs")).unwrap();
    bench.check(1, &["unreadable: Too many levels of symbolic links (os error 40)"]);
}

#[test]
fn a_file_that_is_being_written_is_waited_for() {
    let mut bench = Bench::new(ONE);
    bench.check(2, &["the same"]);
    bench.write("");
    bench.check(2, &[]);
    for end in [10, 20, 30] {
        bench.write(&TWO[..end]);
        bench.check(1, &[]);
    }
    bench.write(TWO);
    bench.check(2, &["one two"]);
}

#[test]
fn a_file_with_problems_is_none_until_it_has_none() {
    let mut bench = Bench::new(ONE);
    bench.write(WRONG);
    bench.check(2, &["2 problems"]);
    bench.check(4, &["2 problems"]);
    bench.write(&TWO[..40]);
    bench.check(2, &["1 problems"]);
    bench.write(ONE);
    bench.check(2, &["the same"]);
    bench.write(WRONG);
    bench.check(2, &["2 problems"]);
    bench.write(TWO);
    bench.check(2, &["one two"]);
    bench.write(ONE);
    bench.check(2, &["one"]);
}

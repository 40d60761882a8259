//! Tells operators how the job file stands: in the log, as a metric, on `/readyz`.

use std::path::Path;
use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec};

use super::file::Found;
use crate::common::http::{Fact, Health};
use crate::common::metrics::Metrics;
use crate::producer::jobfile::{Problem, Severity};

/// The fact's name on `/readyz`.
pub const FACT: &str = "job-file";

/// What is measured of the job file.
#[derive(Debug, Clone)]
pub struct FileMetrics {
    good: IntGauge,
    info: IntGaugeVec,
}

impl FileMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            good: metrics
                .gauge("cron_job_file_good", "1 while the job file can be read and has no problems, else 0."),
            info: metrics.gauges(
                "cron_job_file_info",
                "Always 1; the revision of the last job file without problems is in the label.",
                &["revision"],
            ),
        }
    }
}

/// How it stands. What is the same is not told twice.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Right(Arc<str>),
    Wrong(Arc<str>),
    Unreadable(String),
}

/// What was shown last.
#[derive(Debug)]
pub(super) struct FileStatus {
    name: String,
    standing: Standing,
    /// The revision of the last file without problems.
    right: Arc<str>,
    measures: FileMetrics,
    health: Health,
}

impl FileStatus {
    /// Shows that the file was right when it was read at the start.
    pub(super) fn new(path: &Path, revision: &Arc<str>, measures: FileMetrics, health: Health) -> Self {
        let standing = Standing::Right(Arc::clone(revision));
        let right = Arc::clone(revision);
        let mut shown = Self { name: path.display().to_string(), standing, right, measures, health };
        shown.right(revision);
        shown
    }

    /// Shows what was found, and returns whether it is news.
    pub(super) fn show(&mut self, found: &Found) -> bool {
        let standing = match found {
            Found::Right { revision, .. } => Standing::Right(Arc::clone(revision)),
            Found::Wrong { revision, .. } => Standing::Wrong(Arc::clone(revision)),
            Found::Unreadable(why) => Standing::Unreadable(why.clone()),
        };
        if standing == self.standing {
            return false;
        }
        self.standing = standing;
        match found {
            Found::Right { revision, file } => {
                let warnings = file.iter().flat_map(|file| &file.warnings);
                warnings.for_each(|warning| log::warn!("{warning}"));
                match file {
                    Some(file) => log::info!("{}: {} jobs, revision {revision}", self.name, file.jobs.len()),
                    None => log::info!("{} is right again: revision {revision}, as before", self.name),
                }
                self.right(revision);
            }
            Found::Wrong { revision, problems } => {
                for problem in &**problems {
                    match problem.severity {
                        Severity::Error => log::error!("{problem}"),
                        Severity::Warning => log::warn!("{problem}"),
                    }
                }
                log::error!("revision {revision} of {} is not used", self.name);
                self.not_used(&summary(problems));
            }
            Found::Unreadable(why) => {
                let what = format!("{} cannot be read: {why}", self.name);
                log::error!("{what}");
                self.not_used(&what);
            }
        }
        true
    }

    fn right(&mut self, revision: &Arc<str>) {
        // One series at a time: revisions have no bound.
        self.measures.info.reset();
        self.measures.info.with_label_values(&[revision]).set(1);
        self.measures.good.set(1);
        self.health.set(FACT, Fact::Ready);
        self.right = Arc::clone(revision);
    }

    fn not_used(&self, why: &str) {
        self.measures.good.set(0);
        self.health
            .set(FACT, Fact::NotReady(format!("{why}; the jobs stay those of revision {}", self.right)));
    }
}

/// The first error, which is often the cause of the others.
fn summary(problems: &[Problem]) -> String {
    let Some(first) = problems.iter().find(|problem| problem.severity == Severity::Error) else {
        return "problems without a name".to_owned();
    };
    match problems.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} (and {more} more, which the log lists)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::jobfile;

    /// What is shown, and what was found.
    struct Bench {
        metrics: Metrics,
        shown: FileStatus,
    }

    impl Bench {
        fn new() -> Self {
            let metrics = Metrics::new();
            let (measures, health) = (FileMetrics::new(&metrics), Health::new(&metrics));
            let shown = FileStatus::new(Path::new("jobs"), &Arc::from("one"), measures, health);
            Self { metrics, shown }
        }

        fn check(&mut self, found: &Found, news: bool, good: i32, revision: &str) {
            assert_eq!(self.shown.show(found), news, "{found:?}");
            let page = String::from_utf8(self.metrics.page().unwrap()).unwrap();
            let of_file = |line: &&str| line.starts_with("cron_job_file_") || line.starts_with("cron_ready");
            let expected = [
                format!("cron_job_file_good {good}"),
                format!("cron_job_file_info{{revision=\"{revision}\"}} 1"),
                format!("cron_ready{{fact=\"{FACT}\"}} {good}"),
            ];
            assert_eq!(page.lines().filter(of_file).collect::<Vec<_>>(), expected, "{found:?}");
        }
    }

    fn right(revision: &str) -> Found {
        Found::Right { revision: revision.into(), file: None }
    }

    fn wrong(revision: &str) -> Found {
        let problems = jobfile::parse("jobs", b"x\ny\nz", &[]).unwrap_err();
        Found::Wrong { revision: revision.into(), problems: problems.into() }
    }

    #[test]
    fn what_is_the_same_is_told_once() {
        let mut bench = Bench::new();
        bench.check(&right("one"), false, 1, "one");
        bench.check(&wrong("two"), true, 0, "one");
        bench.check(&wrong("two"), false, 0, "one");
        bench.check(&wrong("three"), true, 0, "one");
        bench.check(&Found::Unreadable("gone".to_owned()), true, 0, "one");
        bench.check(&Found::Unreadable("gone".to_owned()), false, 0, "one");
        bench.check(&right("one"), true, 1, "one");
        bench.check(&right("four"), true, 1, "four");
        bench.check(&wrong("two"), true, 0, "four");
    }

    #[test]
    fn a_summary_has_the_first_problem_and_their_number() {
        let Found::Wrong { problems, .. } = wrong("two") else { panic!("it is wrong") };
        let said = summary(&problems);
        assert!(said.starts_with("jobs:1: `x` begins neither"), "{said}");
        assert!(said.ends_with(" (and 2 more, which the log lists)"), "{said}");
        assert_eq!(summary(&problems[..1]), problems[0].to_string());
    }
}

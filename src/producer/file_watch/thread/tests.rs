//! The real thread on a clock that the test turns.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::common::clock::ManualClock;
use crate::common::metrics::{Beats, Metrics};
use crate::common::zones::Zones;
use crate::producer::jobfile;

const PATIENCE: Duration = Duration::from_secs(30);

/// A file that is watched.
struct Bench {
    dir: TempDir,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    watch: FileWatch,
    files: Receiver<JobFile>,
}

/// A file with one job of that name.
fn content(name: &str) -> String {
    format!("@daily a [name={name}] x\n")
}

fn bench(read: &str, found: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jobs"), content(found)).unwrap();
    let path = dir.path().join("jobs");
    watch(dir, &path, read)
}

fn watch(dir: TempDir, path: &Path, read: &str) -> Bench {
    let clock = Arc::new(ManualClock::new("2026-11-23T17:00:00Z".parse().unwrap()));
    let metrics = Metrics::new();
    let context = Context {
        clock: clock.clone(),
        health: Health::new(&metrics),
        metrics: FileMetrics::new(&metrics),
        zones: ZoneMetrics::new(&metrics),
        due: DueMetrics::new(&metrics),
        beat: Beats::new(&metrics).thread("jobs-watch"),
    };
    let clusters = vec!["a".parse().unwrap()];
    let current = jobfile::parse("jobs", content(read).as_bytes(), &clusters).unwrap();
    let zone_directory = Some(dir.path().join("zoneinfo"));
    let zones = Zones::choose(zone_directory.as_deref());
    let options = Options { path: path.to_owned(), clusters, zone_directory, zones };
    let (watch, files) = FileWatch::start(options, &current, context).unwrap();
    Bench { dir, clock, metrics, watch, files }
}

impl Bench {
    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("jobs"), text).unwrap();
    }

    /// Turns the clock to the next look; the one before it is over.
    fn look(&self) {
        assert!(self.clock.ring_next(PATIENCE), "the thread does not look any more");
    }

    /// Looks until the page of metrics has a line.
    fn look_until(&self, line: &str) {
        let shows = || String::from_utf8(self.metrics.page().unwrap()).unwrap().lines().any(|l| l == line);
        let seen = (0..30).any(|_| {
            self.look();
            shows()
        });
        assert!(seen, "{line}");
        // And what was to be sent after that has been sent.
        (0..2).for_each(|_| self.look());
    }

    fn look_until_revision(&self, name: &str) {
        let revision = jobfile::revision(content(name).as_bytes());
        self.look_until(&format!("cron_job_file_info{{revision=\"{revision}\"}} 1"));
    }

    fn check(&self, expected: &[&str]) {
        let files: Vec<JobFile> = self.files.try_iter().collect();
        let names: Vec<&str> = files.iter().map(|file| file.jobs[0].name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn a_new_file_is_offered_and_the_same_is_not() {
    let bench = bench("one", "one");
    (0..20).for_each(|_| bench.look());
    bench.check(&[]);
    bench.write(&content("second"));
    bench.look_until_revision("second");
    bench.check(&["second"]);
    (0..20).for_each(|_| bench.look());
    bench.check(&[]);
    assert!(!bench.watch.is_over());
}

#[test]
fn what_changed_between_reading_and_watching_is_offered() {
    let bench = bench("one", "second");
    bench.look_until_revision("second");
    bench.check(&["second"]);
}

#[test]
fn a_newer_file_replaces_one_that_nobody_took() {
    let bench = bench("one", "one");
    for name in ["second", "the-third"] {
        bench.write(&content(name));
        bench.look_until_revision(name);
    }
    bench.check(&["the-third"]);
}

#[test]
fn a_file_with_a_problem_is_shown_and_not_offered() {
    let bench = bench("one", "one");
    bench.write("nonsense\n");
    bench.look_until("cron_job_file_good 0");
    bench.look_until("cron_ready{fact=\"job-file\"} 0");
    bench.check(&[]);
    bench.write(&content("one"));
    bench.look_until("cron_job_file_good 1");
    bench.check(&[]);
}

#[test]
fn what_is_no_regular_file_is_not_watched() {
    let bench = watch(tempfile::tempdir().unwrap(), Path::new("/dev/null"), "one");
    (0..20).for_each(|_| bench.look());
    bench.check(&[]);
    bench.look_until("cron_job_file_good 1");
}

#[test]
fn the_thread_ends_with_its_handle_and_the_channel_with_it() {
    let Bench { watch, files, .. } = bench("one", "one");
    drop(watch);
    assert!(files.recv_timeout(PATIENCE).is_err_and(|error| error.is_disconnected()));
}

#[test]
fn ticks_are_counted_by_the_newest_good_file_whoever_leads() {
    let bench = bench("one", "one");
    bench.look();
    let due = || {
        let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("cron_ticks_due_total{cluster=\"a\"} "));
        line.map(|count| count.parse::<u64>().unwrap())
    };
    assert_eq!(due(), Some(0), "a count that is there from the start can rise");
    bench.write("* * * * * * a [name=often] x\n* * * * * * a [name=too] x\n");
    let revision = jobfile::revision("* * * * * * a [name=often] x\n* * * * * * a [name=too] x\n".as_bytes());
    bench.look_until(&format!("cron_job_file_info{{revision=\"{revision}\"}} 1"));
    let before = due().unwrap();
    // Ten seconds, at half a second a look; neither the look before nor the last one need be over.
    (0..20).for_each(|_| bench.look());
    let counted = due().unwrap() - before;
    assert!((18..=22).contains(&counted), "{counted}");
    bench.write("nonsense\n");
    bench.look_until("cron_job_file_good 0");
    let before = due().unwrap();
    (0..20).for_each(|_| bench.look());
    assert!(due().unwrap() >= before + 18, "the jobs of before are still active");
}

/// The zone data of another zone of the program, laid out as a host does, in a version.
fn install(bench: &Bench, version: &str, like: &str) {
    let directory = bench.dir.path().join("zoneinfo/Europe");
    std::fs::create_dir_all(&directory).unwrap();
    let bundled = Zones::bundled();
    std::fs::write(directory.join("Berlin"), bundled.get(like).unwrap().bytes()).unwrap();
    std::fs::write(directory.with_file_name("tzdata.zi"), format!("# version {version}\n")).unwrap();
}

#[test]
fn new_zone_data_of_the_host_is_taken_up_without_a_restart() {
    let content = "CRON_TZ=Europe/Berlin\n0 12 * * * a [name=noon] x\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs");
    std::fs::write(&path, content).unwrap();
    let bench = watch(dir, &path, "other");
    let noon = |file: &JobFile| file.jobs[0].next(bench.clock.now()).unwrap().to_rfc3339();
    bench.look_until(&format!(
        "cron_job_file_info{{revision=\"{}\"}} 1",
        jobfile::revision(content.as_bytes())
    ));
    let file = bench.files.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*file.tzdata, &*noon(&file)), ("2026f", "2026-11-24T11:00:00+00:00"));
    install(&bench, "2025b", "Asia/Tokyo");
    (0..40).for_each(|_| bench.look());
    assert!(bench.files.is_empty(), "what is older changes nothing");
    install(&bench, "2030a", "Asia/Tokyo");
    bench.look_until("cron_tzdata_info{source=\"host\",version=\"2030a\"} 1");
    let again = bench.files.recv_timeout(PATIENCE).unwrap();
    assert_eq!(again.revision, file.revision);
    assert_eq!((&*again.tzdata, &*noon(&again)), ("2030a", "2026-11-24T03:00:00+00:00"));
    install(&bench, "2030a", "Europe/London");
    (0..40).for_each(|_| bench.look());
    let last = bench.files.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*last.tzdata, &*noon(&last)), ("2030a", "2026-11-24T12:00:00+00:00"));
    std::fs::remove_dir_all(bench.dir.path().join("zoneinfo")).unwrap();
    bench.look_until("cron_tzdata_info{source=\"program\",version=\"2026f\"} 1");
    assert_eq!(noon(&bench.files.recv_timeout(PATIENCE).unwrap()), "2026-11-24T11:00:00+00:00");
}

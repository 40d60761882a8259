//! `docs/METRICS.md` beside the live pages of real programs, in both directions, while all is well and while Kafka is away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kafka_cron::common::topics;
use kafka_cron::consumer::pressure::{DIRECTORY, Stall};

use crate::support::broker::{OwnBroker, version};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::wait_until;

/// How long a page may take, whatever happens.
const SOON: Duration = Duration::from_secs(1);

/// What none of this test's doings brings about: a tick that is missed takes more than a minute, and a commit must be
/// under way in the very moment in which Kafka goes. Topics are as they should be and stay, and each run has its consumer.
const NOT_HERE: [&str; 5] = [
    "cron_ticks_missed_total",
    "cron_commit_failures_total",
    "cron_topic_settings_differ",
    "cron_runs_unclaimable_total",
    "cron_messages_gone_total",
];

/// A metric: its type, and the names of its labels.
type Metric = (String, BTreeSet<String>);

/// What the list says about the metrics of a program (`Producer`, `Consumer`).
fn listed(program: &str) -> BTreeMap<String, Metric> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let text = std::fs::read_to_string(list).unwrap();
    let mut listed = BTreeMap::new();
    let mut section = "";
    for line in text.lines() {
        section = line.strip_prefix("## ").unwrap_or(section);
        let Some(row) = line.strip_prefix("| `").filter(|_| section == "Both" || section == program) else {
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, kind, labels, _alert, what] = cells[..] else { panic!("five cells: {line}") };
        assert!(what.len() > 2, "{line}");
        let labels = labels.split(", ").filter(|label| *label != "–").map(str::to_owned).collect();
        let before = listed.insert(name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels));
        assert_eq!(before, None, "listed twice: {line}");
    }
    assert!(listed.len() > 20, "{listed:?}");
    listed
}

/// What a page says about the metrics that are ours.
fn shown(page: &str) -> BTreeMap<String, Metric> {
    let mut shown: BTreeMap<String, Metric> = BTreeMap::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            shown.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        }
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let labels: BTreeSet<String> = labels
            .map(|label| label.split('=').next().unwrap().to_owned())
            .filter(|label| label != "le")
            .collect();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let family = family.filter(|family| shown.get(*family).is_some_and(|(kind, _)| kind == "histogram"));
        let metric =
            shown.get_mut(family.unwrap_or(name)).unwrap_or_else(|| panic!("without a type: {line}"));
        metric.1 = labels;
    }
    shown.retain(|name, _| !name.starts_with("process_"));
    shown
}

/// Scrapes a program: everything on its page is listed as it is. Returns the names.
fn scrape(program: &Program, kind: &str) -> BTreeSet<String> {
    let began = Instant::now();
    let (code, page) = program.get("/metrics").expect("an answer");
    assert!(code == 200 && began.elapsed() < SOON, "{kind}: {code} after {:?}", began.elapsed());
    let (shown, listed) = (shown(&page), listed(kind));
    for (name, metric) in &shown {
        assert_eq!(Some(metric), listed.get(name), "{kind}: {name}, the page beside the list");
    }
    assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
    lint(&page);
    shown.into_keys().collect()
}

/// Has `promtool` read the page: it must have nothing to say.
fn lint(page: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return eprintln!(
                "skipped: promtool is not here (Debian has it in the package prometheus), so no page is linted"
            );
        }
        promtool => promtool.unwrap(),
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}\n{page}", output.status);
}

/// Scrapes again and again until all that is listed, but for what is excepted, has been on the page of one of the
/// programs of a kind.
fn await_shown(programs: &[&Program], kind: &str, except: &[&str]) {
    let wanted: BTreeSet<String> =
        listed(kind).into_keys().filter(|name| !except.contains(&name.as_str())).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let shown: BTreeSet<String> = programs.iter().flat_map(|program| scrape(program, kind)).collect();
        let missing: Vec<&String> = wanted.difference(&shown).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{kind}: listed, and not on the page: {missing:?}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

#[test]
fn the_list_and_the_live_pages_agree_also_while_kafka_is_away() {
    const FAILURES: [&str; 8] = [
        "cron_failing",
        "cron_cursor_commit_failures_total",
        "cron_runs_tail_failures_total",
        "cron_publish_failures_total",
        "cron_fetch_failures_total",
        "cron_claim_failures_total",
        "cron_report_failures_total",
        "cron_http_connections_refused_total",
    ];
    const LOST: [&str; 2] = ["cron_attempts_lost_total", "cron_runs_given_up_total"];
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    // Some retries of the bad job wait at any time, so that one is claimed in the first seconds in which Kafka is away.
    let jobs = world.jobs(
        "* * * * * *    {a}  [name=every]  {note}\n\
         */2 * * * * *  {a}  [name=bad retries=1 backoff=8s]  false\n\
         * * * * * *    {a}  [name=slow overlap=skip]  {note}; sleep 5\n\
         @every 36500d  {b}  [name=once]  {note}\n\
         @reboot        {b}  [name=long]  {note}; sleep 600\n",
    );
    let short = ["--lease", "12s", "--session-timeout", "6s"];
    let with = |more: &[&'static str]| [&short[..], more].concat();
    let producer = world.producer(&jobs, &short);
    let retry = topics::retry(&world.a);
    let consumers = [
        world.consumer(world.a.as_str(), &with(&["--workers", "6", "--pressure", "memory=100"])),
        world.consumer(&retry, &with(&["--workers", "2"])),
    ];
    let [first, again] = &consumers;
    let doomed = world.consumer(world.b.as_str(), &with(&["--workers", "1"]));
    world.await_ledger("a long job", |ledger| ledger.iter().any(|entry| entry.job == "long"));
    doomed.kill();
    let not_yet = [&FAILURES[..], &LOST, &NOT_HERE].concat();
    await_shown(&[&producer], "Producer", &not_yet);
    // A kernel that keeps no account of its pressure has nothing to show.
    let told = Stall::read(Path::new(DIRECTORY)).is_ok();
    let pressure: &[&str] = if told { &[] } else { &["cron_pressure_percent"] };
    await_shown(&[first, again], "Consumer", &[&not_yet[..], pressure].concat());
    wait_until("the long job is lost with its consumer", PATIENCE, || {
        (producer.metric("cron_runs_given_up_total", &[]) == 1.0).then_some(())
    });
    let letters = format!("cluster=\"{}\"", world.b);
    wait_until("its letter lies there", PATIENCE, || {
        (producer.metric("cron_dead_letters_stored", &[&letters]) == 1.0).then_some(())
    });
    // One that is under way will have something to report.
    let slow = || world.ledger().iter().filter(|entry| entry.job == "slow").count();
    let before = slow();
    wait_until("a slow job begins", PATIENCE, || (slow() > before).then_some(()));
    own.freeze();
    for program in [&producer, first, again] {
        assert_eq!(program.get("/metrics").map(|(code, _)| code), Some(200));
        assert_eq!(program.garbage(), Some(400));
    }
    // Nobody leads by now, and only a leader shows how many letters there are.
    await_shown(&[&producer], "Producer", &[&NOT_HERE[..], &["cron_dead_letters_stored"]].concat());
    await_shown(&[first, again], "Consumer", &[&NOT_HERE[..], pressure].concat());
    own.kill();
    for _ in 0..20 {
        scrape(&producer, "Producer");
        consumers.iter().for_each(|consumer| drop(scrape(consumer, "Consumer")));
    }
}

#[test]
fn every_producer_counts_what_is_due_and_only_the_leader_what_it_publishes() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  true\n");
    let producers = [world.producer(&jobs, &[]), world.producer(&jobs, &[])];
    let sum = |name: &str| producers.iter().map(|producer| producer.metric(name, &[])).collect::<Vec<f64>>();
    wait_until("one leads and has published", PATIENCE, || {
        (sum("cron_ticks_published_total").iter().sum::<f64>() >= 10.0).then_some(())
    });
    let due = sum("cron_ticks_due_total");
    assert!(due.iter().all(|due| *due >= 8.0), "{due:?}");
    // The one that leads first loses that again, for a moment, where the other one joins after it.
    let (leads, published) = (sum("cron_leads_total"), sum("cron_ticks_published_total"));
    let have_led = leads.iter().zip(&published).all(|(leads, published)| *leads > 0.0 || *published == 0.0);
    assert!(have_led, "led {leads:?} times and published {published:?}");
}

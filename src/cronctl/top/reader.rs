//! The thread `top-reader`: looks at Kafka every few seconds, and tells what it has read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::messages::{Event, Failure, Look, Told};
use super::next_ticks::NextTicks;
use super::sources::{self, Sources};
use crate::common::bounds::{TOP_EVENTS, TOP_QUESTIONS, TOP_RECORDS};
use crate::common::broker::{BrokerError, Client};
use crate::common::clock::Clock;
use crate::common::model::{ClusterName, JobName, Place, RunId};
use crate::common::thread::{Joined, spawn};
use crate::common::zones::Zones;
use crate::producer::jobfile;

/// Attempts whose messages are to be looked for.
pub type Wanted = Vec<(RunId, Place)>;

/// The thread, and the channels to and from it.
#[derive(Debug)]
pub struct Reader {
    /// What it is asked to look for.
    pub wanted: Sender<Wanted>,
    /// What it tells. Disconnected when it has ended.
    pub events: Receiver<Event>,
    /// The thread itself.
    _thread: Joined,
}

/// A job file that is read again when it has changed.
#[derive(Debug)]
pub struct FollowedFile {
    path: PathBuf,
    clusters: Vec<ClusterName>,
    content: Vec<u8>,
    ticks: NextTicks,
    trouble: Option<String>,
}

/// What the thread works with.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How often it looks.
    pub interval: Duration,
    /// What it reads.
    pub sources: Sources,
    /// The job file, where there is one.
    pub file: Option<FollowedFile>,
}

impl Reader {
    /// Starts the thread. It ends when the view is gone.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(context: Context) -> io::Result<Self> {
        let (wanted, asked) = bounded(TOP_QUESTIONS);
        let (tell, events) = bounded(TOP_EVENTS);
        let thread = spawn("top-reader", move || context.run(&asked, &tell))?;
        Ok(Self { wanted, events, _thread: thread })
    }
}

impl Context {
    fn run(mut self, asked: &Receiver<Wanted>, tell: &Sender<Event>) {
        let mut wanted = Wanted::new();
        loop {
            let event = match self.look(&mut wanted, tell) {
                Ok(look) => Event::Looked(Box::new(look)),
                Err(error) => Event::Failed(Failure::of(&error)),
            };
            if tell.send(event).is_err() {
                return;
            }
            select! {
                recv(asked) -> more => match more {
                    Ok(more) => wanted.extend(more),
                    Err(_) => return,
                },
                recv(self.clock.alarm(self.interval)) -> _ => {}
            }
        }
    }

    fn look(&mut self, wanted: &mut Wanted, tell: &Sender<Event>) -> Result<Look, BrokerError> {
        let client = self.client.as_mut();
        let mut outbox = Outbox { told: Vec::new(), tell };
        while let Some((run, place)) = wanted.last() {
            outbox.put(sources::find(client, *run, place)?);
            wanted.pop();
        }
        self.sources.read(client, |told| outbox.put(told))?;
        let mut clusters = self.sources.stand(client, |told| outbox.put(told))?;
        outbox.send();
        let file_trouble = self.file.as_mut().and_then(|file| {
            for (cluster, next) in file.next(self.clock.now()) {
                if let Some(standing) = clusters.get_mut(&cluster) {
                    standing.next = Some(next);
                }
            }
            file.trouble.clone()
        });
        Ok(Look { clusters, file_trouble })
    }
}

/// Records on their way, some at a time.
struct Outbox<'a> {
    told: Vec<Told>,
    tell: &'a Sender<Event>,
}

impl Outbox<'_> {
    fn put(&mut self, told: Told) {
        self.told.push(told);
        if self.told.len() >= TOP_RECORDS {
            self.send();
        }
    }

    fn send(&mut self) {
        if !self.told.is_empty() {
            // Where the view is gone, the thread ends after this look.
            let _gone = self.tell.send(Event::Told(std::mem::take(&mut self.told)));
        }
    }
}

impl Drop for Outbox<'_> {
    /// What was read before a failure is not read again.
    fn drop(&mut self) {
        self.send();
    }
}

impl Failure {
    fn of(error: &BrokerError) -> Self {
        Self {
            error: error.to_string(),
            cure: error.cure().to_owned(),
            is_refusal: matches!(error, BrokerError::Refused(_)),
        }
    }
}

impl FollowedFile {
    /// A file that has not been read yet.
    pub fn new(path: PathBuf, clusters: Vec<ClusterName>) -> Self {
        Self { path, clusters, content: Vec::new(), ticks: NextTicks::default(), trouble: None }
    }

    /// The next ticks by the newest content that was right.
    fn next(&mut self, now: DateTime<Utc>) -> BTreeMap<ClusterName, (DateTime<Utc>, JobName)> {
        let name = self.path.display().to_string();
        match File::open(&self.path).and_then(jobfile::read) {
            Err(error) => {
                self.trouble = Some(format!("{name} cannot be read: {error}"));
                self.content.clear();
            }
            Ok(content) if content == self.content => {}
            Ok(content) => {
                match jobfile::parse_in(&name, &content, &self.clusters, &Zones::of_host()) {
                    Ok(file) => (self.ticks, self.trouble) = (NextTicks::of(file.jobs, now), None),
                    Err(problems) => self.trouble = problems.first().map(ToString::to_string),
                }
                self.content = content;
            }
        }
        self.ticks.after(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cronctl::top::sample::{at, cluster};

    #[test]
    fn a_job_file_that_changes_is_read_again_and_one_that_is_wrong_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jobs");
        let mut file = FollowedFile::new(path.clone(), vec![cluster()]);
        let mut check = |content: Option<&str>, expected: Option<i64>, trouble: &str| {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => drop(std::fs::remove_file(&path)),
            }
            let next = file.next(at(0)).remove(&cluster());
            assert_eq!(next.map(|(at, _)| at.timestamp()), expected, "{content:?}");
            assert!(file.trouble.clone().unwrap_or_default().contains(trouble), "{:?}", file.trouble);
            assert_eq!(file.trouble.is_none(), trouble.is_empty(), "{:?}", file.trouble);
        };
        check(Some("*/5 * * * * * c x\n"), Some(5), "");
        check(Some("*/7 * * * * * c x\n"), Some(7), "");
        check(Some("*/8 * * * * * d x\n"), Some(7), "unknown cluster");
        check(None, Some(7), "cannot be read");
        check(Some("*/9 * * * * * c x\n"), Some(9), "");
        check(None, Some(9), "cannot be read");
        // It is back as it was.
        check(Some("*/9 * * * * * c x\n"), Some(9), "");
    }
}

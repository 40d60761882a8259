//! The thread `membership` steps a [`Member`] and passes on what changes.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::{Change, Event, Failing, Member, Options, Report, Rounds, Standing};
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::Clock;
use crate::common::http::{Duty, Trouble};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};

/// The handle. Dropping it leaves the group and ends the thread; the field order matters for that.
#[derive(Debug)]
pub struct Membership {
    asks: Sender<Event>,
    _thread: Joined,
}

impl Membership {
    /// Starts the thread. Changes arrive on the receiver, of which only the newest counts.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        mut client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        duty: Duty,
        beat: Beat,
    ) -> io::Result<(Self, Receiver<Change>, Standing)> {
        // Two may be asked for the same at once (full: it is asked for already); one change waits to be taken.
        // One of each kind.
        let (asks, asked) = bounded(4);
        let (changes, changed) = bounded(1);
        let standing = Standing::new(clock.monotonic());
        let proof = standing.clone();
        let thread = spawn("membership", move || {
            let mut member = Member::new(options.clone());
            duty.owed();
            let tell = |member: &mut Member| {
                proof.tell(member.proven_holder());
                report(&duty, member, &options);
                say(member, &options);
            };
            run(&mut member, client.as_mut(), clock.as_ref(), &asked, &changes, &tell, &beat);
            proof.set(None);
            member.leave(client.as_mut(), clock.monotonic());
            say(&mut member, &options);
        })?;
        Ok((Self { asks, _thread: thread }, changed, standing))
    }

    /// Has the member leave and come back under a new member id, see [`Member::join_as_new`]. Returns at once.
    pub fn join_as_new(&self) {
        self.ask(Event::JoinAsNew);
    }

    /// Has the member leave its share to others when this handle is dropped, see [`Member::hand_over`]. Returns at once.
    pub fn hand_over(&self) {
        self.ask(Event::HandOver);
    }

    /// Asks the member for something. Returns at once.
    pub fn ask(&self, event: Event) {
        match self.asks.try_send(event) {
            // Full: the same is asked for already. Disconnected: the thread ends, and with it the membership.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn run(
    member: &mut Member,
    client: &mut dyn Client,
    clock: &dyn Clock,
    asked: &Receiver<Event>,
    changes: &Sender<Change>,
    tell: &dyn Fn(&mut Member),
    beat: &Beat,
) {
    let mut rounds = Rounds::default();
    while rounds.send(changes) {
        select! {
            recv(asked) -> event => match event {
                // What the end will do calls for no step now: a step might join once more.
                Ok(event @ Event::HandOver) => member.handle(event),
                Ok(event) => {
                    member.handle(event);
                    rounds.is_asked();
                }
                Err(_) => return,
            },
            recv(clock.alarm(rounds.wait(clock.monotonic()))) -> _ => {}
        }
        beat.touch(clock.now());
        if rounds.is_due(clock.monotonic()) {
            let (change, wait) = member.step(client, clock.monotonic());
            tell(member);
            rounds.stepped(change, clock.monotonic(), wait);
        }
    }
}

/// Writes to the log what there is to say of a step.
fn say(member: &mut Member, options: &Options) {
    let group = &options.group;
    for report in member.take_reports() {
        match report {
            Report::NotLeft(error) => log::debug!("leaving group {group}: {error}"),
            Report::TryingAgain(what, error) => log::warn!("{what} {group}: {error}; trying again"),
            Report::JoiningAnew(what, error) => log::info!("{what} {group}: {error}; joining anew"),
            Report::Fenced => {
                let instance = options.instance_id.as_deref().unwrap_or("");
                log::error!("group {group}: another process uses instance id `{instance}`");
            }
        }
    }
}

/// Reports how it stands with our membership.
fn report(duty: &Duty, member: &Member, options: &Options) {
    match member.failing() {
        Some(failing) => duty.failed(trouble(failing, options)),
        None if member.is_missing() => duty.owed(),
        None => duty.done(),
    }
}

const UNKNOWN_SERVER_ERROR: i16 = -1;

fn trouble(failing: &Failing, options: &Options) -> Trouble {
    let Options { group, topic, .. } = options;
    match failing {
        Failing::Call { error: error @ BrokerError::Refused(ErrorCode::InvalidSessionTimeout), .. } => {
            let timeout = options.session_timeout;
            Trouble::of(&format!("joining group {group} with --session-timeout {timeout:?}"), error)
        }
        // What a coordinator says to us where consumers of the newer protocol (KIP-848) were in the group first.
        Failing::Call {
            attempt,
            error: error @ BrokerError::Refused(ErrorCode::Other(UNKNOWN_SERVER_ERROR)),
        } => Trouble::new(
            error.word(),
            format!("{attempt} {group}: {error}"),
            "consumers of another program (group.protocol=consumer) may be in the group: stop them, or see the \
                 broker's log",
        ),
        Failing::Call { attempt, error } => Trouble::of(&format!("{attempt} {group}"), error),
        Failing::Strangers => Trouble::new(
            "strangers",
            format!("a member of group {group} that is another program's has shared out its partitions"),
            "stop that program, or give it another group",
        ),
        Failing::NoTopic => Trouble::new(
            "no_topic",
            format!("topic {topic} does not exist"),
            "create it: a running producer does that for its --clusters, if it may; or correct the name",
        ),
        Failing::Fenced => Trouble::new(
            "fenced_instance_id",
            format!(
                "another process uses the instance id {} in group {group}",
                options.instance_id.as_deref().unwrap_or_default()
            ),
            "give each process its own --instance-id",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_names_the_group_and_what_an_operator_can_change() {
        let check = |failing: Failing, words: &[&str]| {
            let options = Options {
                group: "cluster-a".to_owned(),
                topic: "clutser-a".to_owned(),
                instance_id: Some("pod-0".to_owned()),
                session_timeout: std::time::Duration::from_secs(2),
                counts_once_taken_up: false,
            };
            let text = trouble(&failing, &options).to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
        };
        let joining = |code| Failing::Call { attempt: "joining group", error: BrokerError::Refused(code) };
        check(
            joining(ErrorCode::InvalidSessionTimeout),
            &["group cluster-a with --session-timeout 2s", "group.min.session.timeout.ms"],
        );
        check(joining(ErrorCode::GroupAuthorizationFailed), &["joining group cluster-a: ", "grant"]);
        check(joining(ErrorCode::InconsistentGroupProtocol), &["joining group cluster-a: ", "stop them"]);
        check(joining(ErrorCode::GroupMaxSizeReached), &["group.max.size"]);
        check(joining(ErrorCode::Other(-1)), &["joining group cluster-a: ", "group.protocol=consumer"]);
        check(Failing::NoTopic, &["clutser-a does not exist"]);
        check(Failing::Strangers, &["cluster-a", "stop that program"]);
        check(Failing::Fenced, &["pod-0", "--instance-id"]);
    }
}

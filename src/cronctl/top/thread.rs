//! The loop of the view: waits for one event, hands it to the machine, and carries out what follows.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};

use super::machine::Machine;
use super::messages::{Effect, Event};
use super::opener::Opener;
use super::picture::Picture;
use super::plain;
use super::reader::Reader;
use super::terminal::{Keys, Surface};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::cronctl::screen::{Answer, Screen};

/// Ages that are shown grow by the second.
const SECOND: Duration = Duration::from_secs(1);

/// Where the view is shown.
pub enum Shown {
    /// In a terminal, with keys from it.
    Terminal(Surface, Keys),
    /// As lines.
    Lines,
}

impl Shown {
    fn surface(&mut self) -> Option<&mut Surface> {
        match self {
            Self::Terminal(surface, _) => Some(surface),
            Self::Lines => None,
        }
    }
}

/// What the loop waits for and asks.
pub struct Channels<'a> {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Signals that ask for the end.
    pub signals: &'a Receiver<u32>,
    /// The thread that reads the topics.
    pub reader: Reader,
    /// The thread that reads about a run.
    pub opener: Opener,
}

/// Shows the view until it ends.
///
/// # Errors
/// The output cannot be written.
pub fn run(mut machine: Machine, channels: Channels<'_>, mut shown: Shown, screen: &mut Screen) -> Answer {
    let ended = follow(&mut machine, &channels, &mut shown, screen);
    // The terminal is given back before anything else is said or waited for. The thread that reads keys is not waited for: where
    // the terminal has hung up, crossterm takes its end for an input that is still to come, and never returns.
    if let Shown::Terminal(surface, keys) = shown {
        std::mem::forget(keys);
        drop(surface);
    }
    if matches!(ended, Ok(Exit::System)) {
        screen.complain("the terminal cannot be read any more, or a thread of the view has failed")?;
    }
    // These two may be within a call to Kafka that takes its time; they only read, and the process ends now.
    std::mem::forget((channels.reader, channels.opener));
    ended
}

fn follow(machine: &mut Machine, channels: &Channels<'_>, shown: &mut Shown, screen: &mut Screen) -> Answer {
    let keys = match shown {
        Shown::Terminal(_, keys) => keys.events.clone(),
        Shown::Lines => never(),
    };
    let gone = |_| Event::Stop(Exit::System);
    loop {
        let event = select! {
            recv(channels.signals) -> _ => Event::Stop(Exit::Done),
            recv(keys) -> key => key.unwrap_or_else(gone),
            recv(channels.reader.events) -> event => event.unwrap_or_else(gone),
            recv(channels.opener.events) -> event => event.unwrap_or_else(gone),
            recv(channels.clock.alarm(SECOND)) -> _ => Event::Redraw,
        };
        for effect in machine.handle(event, channels.clock.now()) {
            match effect {
                Effect::Draw => machine.draw(channels, shown)?,
                Effect::Repaint => {
                    shown.surface().map_or(Ok(()), Surface::clear)?;
                    machine.draw(channels, shown)?;
                }
                Effect::Suspend => shown.surface().map_or(Ok(()), Surface::suspend)?,
                Effect::Snapshot => machine.print(channels, shown, screen)?,
                Effect::Complain(what) if matches!(shown, Shown::Lines) => screen.complain(what)?,
                Effect::Complain(_) => {}
                Effect::Find(wanted) => drop(channels.reader.wanted.try_send(wanted)),
                Effect::Open(run, since) => drop(channels.opener.runs.try_send((run, since))),
                Effect::Quit(exit) => return Ok(exit),
            }
        }
        if !screen.is_heard() {
            return Ok(Exit::Done);
        }
    }
}

impl Machine {
    fn draw(&self, channels: &Channels<'_>, shown: &mut Shown) -> io::Result<()> {
        match shown {
            Shown::Terminal(surface, _) => surface.show(&Picture::of(self, channels.clock.now())),
            Shown::Lines => Ok(()),
        }
    }

    fn print(&self, channels: &Channels<'_>, shown: &Shown, screen: &mut Screen) -> io::Result<()> {
        if matches!(shown, Shown::Lines) {
            let picture = Picture::of(self, channels.clock.now());
            plain::lines(&picture).iter().try_for_each(|line| screen.say(line))?;
            screen.flush()?;
        }
        Ok(())
    }
}

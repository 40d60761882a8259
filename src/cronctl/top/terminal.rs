//! The terminal: taken over for the view, and given back however the program ends; and the thread `top-keys`, which reads from it.

use std::io::{self, Stdout, Write};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::{Hide, Show};
use ratatui_crossterm::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::{Signal, kill_current_process_group};

use super::messages::{Event, Key};
use super::picture::Picture;
use super::view;
use crate::common::bounds::TOP_EVENTS;
use crate::common::thread::{Joined, spawn};

/// How often the thread asks whether it is to end.
const ASK: Duration = Duration::from_millis(100);

/// Whether the terminal is ours at the moment.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is ours.
pub struct Surface {
    /// Never dropped: it would write to a terminal that may be gone, and complain to stderr, which may be that terminal.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    has_colours: bool,
}

impl Surface {
    /// Takes the terminal over: raw mode, and a screen of its own.
    ///
    /// # Errors
    /// The terminal's.
    pub fn open(has_colours: bool) -> io::Result<Self> {
        // The message of a panic would be lost with our screen.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        let opened = take_over().and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal), has_colours }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Clears the screen, and has the next picture drawn as a whole. (`Terminal::clear` would ask where the cursor is, and another
    /// thread reads what the terminal answers.)
    ///
    /// # Errors
    /// The terminal's.
    pub fn clear(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(io::stdout()))?);
        Ok(())
    }

    /// Gives the terminal back and stops the program, as a terminal does with Ctrl-Z that is not in raw mode: all of its
    /// process group. When the shell has it go on, it takes the terminal over again.
    ///
    /// # Errors
    /// The terminal's.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_current_process_group(Signal::TSTP)?;
        take_over()
    }

    /// Shows a picture, in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show(&mut self, picture: &Picture) -> io::Result<()> {
        let has_colours = self.has_colours;
        self.terminal.draw(|frame| view::draw(picture, frame.area(), has_colours, frame.buffer_mut()))?;
        Ok(())
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        give_back();
    }
}

/// Raw mode, and a screen of our own.
fn take_over() -> io::Result<()> {
    enable_raw_mode()?;
    IS_OURS.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// Gives the terminal back as it was found. Also called by a thread that panics; what fails here cannot be told.
fn give_back() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        let _gone = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _gone = disable_raw_mode();
        let _gone = io::stdout().flush();
    }
}

/// The thread that reads keys. Dropping it ends the thread, unless the terminal has hung up.
#[derive(Debug)]
pub struct Keys {
    /// Keys, and changes of the terminal's size. Disconnected when the terminal is gone.
    pub events: Receiver<Event>,
    _stop: Sender<()>,
    _thread: Joined,
}

impl Keys {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start() -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (tell, events) = bounded(TOP_EVENTS);
        let thread = spawn("top-keys", move || read(&stopped, &tell))?;
        Ok(Self { events, _stop: stop, _thread: thread })
    }
}

fn read(stopped: &Receiver<()>, tell: &Sender<Event>) {
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        let event = match event::poll(ASK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let Ok(event) = event else { return };
        let told = match event {
            event::Event::Key(key) => key_of(key).map(Event::Key),
            event::Event::Resize(..) => Some(Event::Redraw),
            _ => None,
        };
        // A view that is slow or gone is asked again whether it wants more.
        if let Some(told) = told
            && tell.send_timeout(told, ASK).is_err_and(|error| error.is_disconnected())
        {
            return;
        }
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char('z') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Suspend,
        KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Repaint,
        KeyCode::Char('h') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Backspace,
        KeyCode::Char(_) if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            return None;
        }
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

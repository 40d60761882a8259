//! `cronctl top` in a terminal: what it draws, which keys and signals end it, and that the terminal is as before afterwards. The
//! terminal is a pseudo-terminal (pty(7)), and Kafka is away, so that no broker is needed.
#![cfg(test)] // it is, and this tells the lints

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use kafka_cron::cronctl::top::terminal::Surface;

const PATIENCE: Duration = Duration::from_secs(60);

/// The view in a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    /// Kept, so that its settings can be asked for when the program has ended.
    line: OwnedFd,
    said: Receiver<Vec<u8>>,
    /// All that was written to the terminal.
    screen: String,
    before: Settings,
}

/// The settings of a terminal that a program may leave changed (termios(3)).
#[derive(Debug, PartialEq, Eq)]
struct Settings(libc::tcflag_t, libc::tcflag_t, libc::tcflag_t);

fn settings(of: &OwnedFd) -> Settings {
    // SAFETY: a structure of numbers, for which zero is a value; the descriptor is open.
    let (answer, found) = unsafe {
        let mut found: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(of.as_raw_fd(), &raw mut found), found)
    };
    assert_eq!(answer, 0);
    Settings(found.c_iflag, found.c_oflag, found.c_lflag)
}

fn size(rows: u16, columns: u16) -> libc::winsize {
    libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A test that opens a terminal and starts a command holds this, so that no command is started between the opening of another
/// terminal and its being closed to commands.
static OPENS: Mutex<()> = Mutex::new(());

/// Both ends of a new terminal.
fn open() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let size = size(24, 80);
    // SAFETY: the places outlive the call; no name and no settings are asked for.
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    for fd in [master, slave] {
        // The commands of other tests must not have them: a terminal is gone when all have closed it.
        // SAFETY: fcntl(2) on a descriptor that is open.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    // SAFETY: both are new, and no other part of the program has them.
    unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// `cronctl top`, with Kafka away.
fn top(environment: &[(&str, &str)]) -> Command {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cronctl"));
    command.args(["top", "--interval", "200ms", "--brokers", &free]);
    command.env_clear().env("TERM", "xterm").envs(environment.iter().copied());
    command
}

impl Terminal {
    fn start(environment: &[(&str, &str)]) -> Self {
        Self::of(top(environment))
    }

    fn of(mut command: Command) -> Self {
        let _opens = OPENS.lock();
        let (master, line) = open();
        let before = settings(&line);
        let copy = || line.try_clone().unwrap();
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: signal(2), setsid(2) and ioctl(2) are async-signal-safe, and descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                // Whoever runs the tests may have them ignored.
                for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (tell, said) = sync_channel(1_000);
        std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                let mut bytes = [0; 65_536];
                while let Ok(count @ 1..) = reader.read(&mut bytes) {
                    if tell.send(bytes[..count].to_vec()).is_err() {
                        return;
                    }
                }
            })
            .unwrap();
        Self { child, keyboard, line, said, screen: String::new(), before }
    }

    /// Waits until something is written that was not there before.
    #[track_caller]
    fn await_text(&mut self, part: &str) {
        let from = self.screen.len();
        let end = Instant::now() + PATIENCE;
        while !self.screen[from..].contains(part) {
            assert!(Instant::now() < end, "no {part:?}: {:?}", self.screen);
            if let Ok(more) = self.said.recv_timeout(Duration::from_millis(50)) {
                self.screen.push_str(&String::from_utf8_lossy(&more));
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), signal) }, 0);
    }

    /// Waits for the end. The terminal must be as it was, and everything that was written is there.
    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            while let Ok(more) = self.said.recv_timeout(Duration::from_millis(20)) {
                self.screen.push_str(&String::from_utf8_lossy(&more));
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end: {:?}", self.screen);
        };
        while let Ok(more) = self.said.recv_timeout(Duration::from_millis(200)) {
            self.screen.push_str(&String::from_utf8_lossy(&more));
        }
        assert_eq!(settings(&self.line), self.before, "the terminal's settings");
        let (entered, left) = (self.screen.rfind(ENTERED), self.screen.rfind(LEFT));
        assert!(entered < left, "the screen is still that of the view: {:?}", self.screen);
        assert!(self.screen.rfind(HIDDEN) < self.screen.rfind(SHOWN), "the cursor: {:?}", self.screen);
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What xterm takes for: a screen of the program's own and back, and the cursor hidden and shown.
const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?1049l";
const HIDDEN: &str = "\x1b[?25l";
const SHOWN: &str = "\x1b[?25h";

#[test]
fn keys_and_signals_end_the_view_and_give_the_terminal_back() {
    let check = |end: &dyn Fn(&mut Terminal)| {
        let mut terminal = Terminal::start(&[]);
        terminal.await_text("away");
        assert_ne!(settings(&terminal.line), terminal.before, "raw mode");
        end(&mut terminal);
        assert_eq!(terminal.ended().code(), Some(0));
    };
    check(&|terminal| terminal.press("q"));
    check(&|terminal| terminal.press("\x1b"));
    check(&|terminal| terminal.press("\x03"));
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        check(&|terminal| terminal.signal(signal));
    }
    // A q within a filter is a letter.
    check(&|terminal| {
        terminal.press("/q");
        terminal.await_text("q_");
        terminal.press("\rq");
    });
}

/// A shell starts the view as a job of its own, because a program without one cannot be stopped.
#[test]
fn ctrl_z_gives_the_terminal_back_and_the_view_goes_on_when_the_shell_says_so() {
    let view = top(&[]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "set -m; \"$@\"; echo it is stopped; read -r _; fg", "sh"]).arg(view.get_program());
    shell.args(view.get_args()).env_clear().env("TERM", "xterm");
    let mut terminal = Terminal::of(shell);
    terminal.await_text("away");
    terminal.press("\x1a");
    terminal.await_text("it is stopped");
    assert_eq!(settings(&terminal.line), terminal.before, "the shell has the terminal");
    assert!(terminal.screen.rfind(ENTERED) < terminal.screen.rfind(LEFT), "{:?}", terminal.screen);
    terminal.press("\n");
    terminal.await_text(ENTERED);
    if !terminal.screen[terminal.screen.rfind(ENTERED).unwrap()..].contains("CLUSTER") {
        terminal.await_text("CLUSTER");
    }
    assert_ne!(settings(&terminal.line), terminal.before, "raw mode");
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

/// A program that is not in the terminal's session is not told by a signal.
#[test]
fn a_terminal_that_is_gone_ends_the_view_without_a_signal_too() {
    let opens = OPENS.lock();
    let (master, line) = open();
    let copy = || line.try_clone().unwrap();
    let mut command = top(&[]);
    let mut child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
    // The command has copies of its own.
    drop((opens, command, line));
    let mut screen = File::from(master);
    let (mut said, mut bytes) = (String::new(), [0; 4096]);
    while !said.contains("away") {
        let count = screen.read(&mut bytes).unwrap();
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    drop(screen);
    let end = Instant::now() + PATIENCE;
    let mut ended = false;
    while !ended && Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(20));
        ended = child.try_wait().unwrap().is_some();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ended, "it does not end");
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    const WITHIN: &str = "KAFKA_CRON_TEST_PANICS";
    if std::env::var_os(WITHIN).is_some() {
        let _surface = Surface::open(true).unwrap();
        panic!("planted");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_panic_gives_the_terminal_back_before_its_message", "--nocapture"]);
    command.env(WITHIN, "1").env("TERM", "xterm");
    let mut terminal = Terminal::of(command);
    assert!(!terminal.ended().success());
    let (left, said) = (terminal.screen.find(LEFT), terminal.screen.find("planted"));
    assert!(left.is_some() && left < said, "{:?}", terminal.screen);
}

#[test]
fn another_size_is_drawn_at_once() {
    let mut terminal = Terminal::start(&[]);
    terminal.await_text("away");
    // The last word of a column that is cut where there are 80; the first of the view; the first of a table.
    for (rows, columns, word) in [(40, 190, "file)"), (1, 1, "c"), (3, 20, "cronctl"), (24, 80, "CLUSTER")] {
        let size = size(rows, columns);
        // SAFETY: the size outlives the call.
        assert_eq!(unsafe { libc::ioctl(terminal.line.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
        terminal.await_text(word);
    }
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let check = |environment: &[(&str, &str)], has_colours: bool| {
        let mut terminal = Terminal::start(environment);
        terminal.await_text("away");
        terminal.press("q");
        terminal.ended();
        // Of the line that says that Kafka is away.
        let is_red = terminal.screen.contains("\x1b[38;5;1");
        assert_eq!(is_red, has_colours, "{environment:?}: {:?}", terminal.screen);
    };
    check(&[], true);
    check(&[("NO_COLOR", "")], true);
    check(&[("NO_COLOR", "1")], false);
}

#[test]
fn a_terminal_that_can_only_print_gets_lines() {
    let mut terminal = Terminal::start(&[("TERM", "dumb")]);
    terminal.await_text("not sent: ");
    assert!(!terminal.screen.contains('\x1b'), "{:?}", terminal.screen);
    terminal.signal(libc::SIGTERM);
    let end = Instant::now() + PATIENCE;
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

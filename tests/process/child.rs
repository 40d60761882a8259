//! Tests that need a process of their own: the test binary runs one of its own tests again, with a part to play.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const PART: &str = "TEST_PART";

/// The variable that names a child's copy of the consumer.
pub const CONSUMER: &str = "TEST_CONSUMER";

/// The part to play, in a child; `None` in the test run itself, where such a test has nothing to do.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// What has a child run the test of that name with a part to play.
pub fn command(test: &str, part: &str) -> Command {
    command_of(&std::env::current_exe().unwrap(), test, part)
}

/// The same with a copy of the test binary.
pub fn command_of(binary: &Path, test: &str, part: &str) -> Command {
    let mut command = Command::new(binary);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(PART, part);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The program that starts and guards commands: in a child, the copy that it was given.
pub fn consumer() -> PathBuf {
    std::env::var_os(CONSUMER).map_or_else(|| env!("CARGO_BIN_EXE_consumer").into(), PathBuf::from)
}

/// Copies a program, by one of its own: of what we have open for writing, a child that another test forks at that moment
/// has a copy, and until it is gone the system runs no such file (`ETXTBSY`, execve(2)).
pub fn copy(program: &Path, to: &Path) {
    let copied = Command::new("cp").arg(program).arg(to).status().unwrap();
    assert!(copied.success(), "{}", to.display());
}

/// Has a child run the test, and fails if it does.
pub fn succeeds(command: &mut Command) {
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{}\n{said}", output.status);
}

/// Has a child run the test of that name, with nothing but it in the process.
pub fn run(test: &str) {
    succeeds(&mut command(test, "alone"));
}

/// The next line of a child's that holds `word`: what follows it.
pub fn line(child: &mut Child, word: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    let mut found = lines.filter_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()));
    found.next().expect(word)
}

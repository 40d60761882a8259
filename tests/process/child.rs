//! Tests that need a process of their own: the test binary runs one of its own tests again, with a part to play.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PART: &str = "TEST_PART";

/// The part to play, in a child; `None` in the test run itself, where such a test has nothing to do.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Has a child run the test of that name with a part to play.
pub fn start(test: &str, part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Has a child run the test to its end, and fails if it does.
pub fn run(test: &str) {
    let output = start(test, "alone").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {}\n{said}", output.status);
}

/// The next line of a child's that begins with `word`, without it.
pub fn line(child: &mut Child, word: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    let mut found = lines.filter_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()));
    found.next().expect(word)
}

//! A command reaches the shell byte for byte as it stands in the job file: through the parser, the wire and `sh -c`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kafka_cron::common::model::Outcome::Succeeded;
use kafka_cron::common::model::{Attempt, ClusterName};
use kafka_cron::common::wire;
use kafka_cron::producer::jobfile;

use crate::bench::Bench;

/// A shell that notes what it was given instead of running it.
fn shell(directory: &Path) -> String {
    let path = directory.join("shell");
    let script = format!("#!/bin/sh\n[ \"$1\" = -c ] && printf %s \"$2\" >{}/given\n", directory.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn clusters() -> [ClusterName; 1] {
    ["a".parse().unwrap()]
}

#[test]
fn a_command_of_every_kind_of_character_that_a_job_file_may_hold_reaches_the_shell_byte_for_byte() {
    let directory = tempfile::Builder::new().prefix("commands").tempdir().unwrap();
    let shell = shell(directory.path());
    // Letters at both ends: blanks there belong to no command, and a first `[` could begin options.
    let is_text = |c: &char| !c.is_control() || *c == '\t';
    // All of two and three bytes, and of those of four bytes one in sixty-four: each first, second and third byte.
    let is_chosen = |c: &char| u32::from(*c) < 0x1_0000 || u32::from(*c) % 64 == 63;
    let all: Vec<char> = ('\0'..=char::MAX).filter(is_text).filter(is_chosen).collect();
    assert_eq!(all.len(), 0x1_0000 - 0x800 - 65 + 1 + 0x10_0000 / 64, "all but 64 control characters");
    let mut commands: Vec<String> = all.chunks(15_000).map(|part| part.iter().collect()).collect();
    commands.extend(
        [
            r#"'a' "b" `c` $(d) $e \f \\ \n % %% \% # $'g' ${h:-i} && j || k; l & m | n > o < p * ? [q] {r,s} ~ !t"#,
            "e\u{301} n\u{303} \u{1100}\u{1161} \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} \u{202E}back\u{202C}",
            "[name=x] is no option here, nor is a=b, nor \"this",
            "\u{FEFF}\u{A0}\u{3000}",
        ]
        .map(str::to_owned),
    );
    let commands: Vec<String> = commands.iter().map(|command| format!("x{command}x")).collect();
    let lines: String = commands.iter().map(|command| format!("* * * * * a {command}\n")).collect();
    let file =
        jobfile::parse("jobs.cron", format!("SHELL={shell}\n{lines}").as_bytes(), &clusters()).unwrap();
    let bench = Bench::new(1);
    for (job, command) in file.jobs.iter().zip(&commands) {
        let run = Arc::new(job.run("2026-11-23T17:00:00Z".parse().unwrap(), &file.revision));
        let attempt = Attempt { run, attempt: 1, attempts_left: 0, not_before: None };
        let attempt = wire::decode_attempt(&wire::encode(&attempt)).unwrap();
        let report = bench.run(attempt);
        assert_eq!(report.outcome, Succeeded, "{}", report.output_tail);
        let given = fs::read(directory.path().join("given")).unwrap();
        assert!(given == command.as_bytes(), "{command:.200}: {:.200}", String::from_utf8_lossy(&given));
    }
}

#[test]
fn each_control_character_but_tab_and_what_is_no_utf_8_is_refused_with_file_and_line() {
    let refused = |line: &[u8], why: &str| {
        let file = [b"* * * * * a true\n* * * * * a x", line, b"x\n"].concat();
        let problems = jobfile::parse("jobs.cron", &file, &clusters()).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.starts_with("jobs.cron:2: ") && told.contains(why)), "{told:?}");
    };
    let controls: Vec<char> =
        ('\0'..=char::MAX).filter(|c| c.is_control() && !matches!(c, '\t' | '\n')).collect();
    assert_eq!(controls.len(), 63);
    for control in controls {
        refused(control.to_string().as_bytes(), &format!("control character U+{:04X}", u32::from(control)));
    }
    // Cut short, overlong, a half of a pair, beyond the last character, bytes that no text has.
    let broken: [&[u8]; 6] =
        [b"\xC3", b"\xC0\xAF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xFF\xFE", b"\x80"];
    broken.into_iter().for_each(|bytes| refused(bytes, "is not UTF-8"));
}

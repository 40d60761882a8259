//! Where no shell stands between us and a command, nobody can tell: the same commands directly and through the shell.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kafka_cron::common::model::Outcome::{Failed, Signalled, Succeeded};
use kafka_cron::common::model::{Outcome, Run};
use kafka_cron::consumer::running::process::probe;

use crate::bench::{run, with};

/// The same command in the two ways: a comment is for the shell alone.
fn both(command: &str, change: impl Fn(&mut Run)) -> [(Outcome, String); 2] {
    [command.to_owned(), format!("{command} # and nothing more")].map(|command| {
        let report = run(with(&command, &change));
        (report.outcome, report.output_tail)
    })
}

fn check(command: &str, change: impl Fn(&mut Run), outcome: &Outcome) {
    let [direct, shell] = both(command, change);
    assert_eq!(direct, shell, "{command}");
    assert_eq!(direct.0, *outcome, "{command}: {}", direct.1);
}

fn file(directory: &Path, name: &str, mode: u32, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn codes_and_output_are_those_that_the_shell_would_give() {
    let directory = tempfile::Builder::new().prefix("plain").tempdir().unwrap();
    let with_shebang = file(directory.path(), "a", 0o755, "#!/bin/sh\necho \"$0 $#\" >&2; exit 7\n");
    let without = file(directory.path(), "b", 0o755, "echo $1; exit 3\n");
    let killed = file(directory.path(), "c", 0o755, "#!/bin/sh\nkill -9 $$\n");
    let no_program = file(directory.path(), "d", 0o644, "#!/bin/sh\n");
    let no_interpreter = file(directory.path(), "e", 0o755, "#!/no/interpreter\n");
    let empty = file(directory.path(), "f", 0o755, "");
    let as_is = |_: &mut Run| {};
    check("/bin/true", as_is, &Succeeded);
    check("/bin/false", as_is, &Failed { code: 1 });
    check("/bin/echo a=1  -n\t50% x", as_is, &Succeeded);
    check(&format!("{with_shebang} one two"), as_is, &Failed { code: 7 });
    check(&format!("{without} one"), as_is, &Failed { code: 3 });
    check(&no_program, as_is, &Failed { code: 126 });
    check(&no_interpreter, as_is, &Failed { code: 127 });
    check(&empty, as_is, &Succeeded);
    check("/no/such/program", as_is, &Failed { code: 127 });
    check(directory.path().to_str().unwrap(), as_is, &Failed { code: 126 });
    check("/bin/pwd", |run| run.cwd = Some("/usr".to_owned()), &Succeeded);
    // A shell that waits for its command turns the signal into a code; without one it is told as what it is.
    assert_eq!(run(with(&killed, as_is)).outcome, Signalled { signal: 9 });
}

#[test]
fn the_environment_is_the_one_that_the_shell_would_hand_on() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/usr", &link).unwrap();
    let same = |change: &dyn Fn(&mut Run)| {
        let [direct, shell] = both("/usr/bin/env", change).map(|(outcome, said)| {
            assert_eq!(outcome, Succeeded);
            // The job's name, and with it the run's id, is another one each time.
            let told =
                said.lines().filter(|line| !line.starts_with("CRON_JOB") && !line.starts_with("CRON_RUN"));
            told.map(str::to_owned).collect::<BTreeSet<_>>()
        });
        assert_eq!(direct, shell);
        direct
    };
    let set = |name: &'static str, value: &'static str| {
        move |run: &mut Run| Arc::make_mut(&mut run.environment).extend([(name.into(), value.into())])
    };
    let here = std::env::current_dir().unwrap();
    assert!(same(&|_| {}).contains(&format!("PWD={}", here.display())));
    assert!(same(&|run| run.cwd = Some("/usr".to_owned())).contains("PWD=/usr"));
    assert!(same(&|run| run.cwd = Some(link.to_str().unwrap().to_owned())).contains("PWD=/usr"));
    same(&set("TZ", "UTC"));
    same(&set("a.b", "1"));
    same(&set("OPTIND", "3"));
    same(&set("PWD", "/nowhere"));
    same(&set("IFS", "x"));
}

#[test]
fn the_shell_is_left_out_only_where_it_was_seen_to_add_nothing() {
    let program = env!("CARGO_BIN_EXE_consumer");
    assert!(probe::shell_is_transparent(Path::new(program)), "the shell of this host");
    assert!(!probe::shell_is_transparent(Path::new("/bin/true")), "one that does not answer");
    assert!(!probe::shell_is_transparent(Path::new(&format!("{program}-is-not-there"))));
    let leader = |command: &str| run(with(command, |_| {})).output_tail;
    let parent = format!("{}\n", std::process::id());
    let directory = tempfile::Builder::new().prefix("plain").tempdir().unwrap();
    let script = file(directory.path(), "parent", 0o755, "#!/bin/sh\necho $PPID\n");
    assert_eq!(leader(&script), parent, "no process stands between us and it");
}

//! `user=`: as root a command becomes that user altogether; without the right to it nothing is started.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kafka_cron::common::model::Attempt;
use kafka_cron::common::model::Outcome::{CouldNotStart, Succeeded};

use crate::bench::{check, run, with};
use crate::child;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: becoming another user takes root");
    }
    root
}

fn as_user(user: &str, command: &str) -> Attempt {
    with(command, |run| run.user = Some(user.to_owned()))
}

#[test]
fn a_command_becomes_its_user_and_keeps_none_of_our_groups() {
    if !is_root() {
        return;
    }
    if child::part().is_none() {
        let mut again =
            child::command("users::a_command_becomes_its_user_and_keeps_none_of_our_groups", "alone");
        let groups = || {
            let groups: [libc::gid_t; 2] = [0, 4];
            // SAFETY: a system call, with as many groups as are said.
            unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
            Ok(())
        };
        // SAFETY: a system call only.
        return child::succeeds(unsafe { again.pre_exec(groups) });
    }
    let id = String::from_utf8(Command::new("id").arg("nobody").output().unwrap().stdout).unwrap();
    check(as_user("nobody", "id"), &Succeeded, &id);
    let environment = "echo $USER $LOGNAME $HOME; grep -c ^CapEff:.0*$ /proc/self/status";
    check(as_user("nobody", environment), &Succeeded, "nobody nobody /nonexistent\n1\n");
    check(as_user("root", "id -u; id -un"), &Succeeded, "0\nroot\n");
    check(
        as_user("nobody", "[ $(ps -o pgid= -p $$) -eq $$ ] && ls /proc/self/fd"),
        &Succeeded,
        "0\n1\n2\n3\n",
    );
}

#[test]
fn the_directory_is_entered_as_the_user() {
    if !is_root() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
    let path = closed.path().to_str().unwrap().to_owned();
    let inside =
        |cwd: &str| with("pwd", |run| (run.user, run.cwd) = (Some("nobody".into()), Some(cwd.into())));
    let reason = format!("cwd {path}: Permission denied");
    check(inside(&path), &CouldNotStart { reason }, "");
    let reason = "cwd /x: No such file or directory".to_owned();
    check(inside("/x"), &CouldNotStart { reason }, "");
    check(inside("/usr"), &Succeeded, "/usr\n");
}

#[test]
fn a_user_job_is_timed_out_like_any_other() {
    if !is_root() {
        return;
    }
    let report = run(with("sleep 1000 & wait", |run| {
        run.user = Some("nobody".to_owned());
        run.limits.timeout_ms = Some(200);
    }));
    assert_eq!(report.outcome.word(), "timed_out");
}

/// Plays a consumer that is not root.
#[test]
fn without_the_right_nothing_is_started() {
    const NOBODY: u32 = 65_534;
    if child::part().is_some() || !rustix::process::geteuid().is_root() {
        let reason = "user root (it takes root to run as another user): Operation not permitted".to_owned();
        return check(as_user("root", "true"), &CouldNotStart { reason }, "");
    }
    // The binaries lie where others may not look, so nobody gets copies.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let mine = directory.path().join("test");
    child::copy(&std::env::current_exe().unwrap(), &mine);
    let consumer = directory.path().join("consumer");
    child::copy(&child::consumer(), &consumer);
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let again = child::command_of(&mine, "users::without_the_right_nothing_is_started", "nobody");
    child::succeeds({ again }.env(child::CONSUMER, consumer).uid(NOBODY).gid(NOBODY));
}

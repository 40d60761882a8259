use std::io::Read;

use super::*;

/// The ways that this system knows.
fn hows() -> impl Iterator<Item = How> {
    [How::OwnTable, How::CopiedTable, How::Plain]
        .into_iter()
        .filter(|how| *how != How::OwnTable || tables_can_be_taken())
}

fn strings(words: &[&str]) -> Strings {
    let mut all = Strings::default();
    words.iter().for_each(|word| all.push(&[OsStr::new(word)]).unwrap());
    all
}

/// What a script writes, where it is started with or without a table of its own, and how it ended.
fn run(script: &str, how: How, change: impl FnOnce(&mut Launch<'_>)) -> Result<(String, ExitStatus), Failed> {
    let (mut reader, output) = io::pipe().unwrap();
    let words = strings(&["/bin/sh", "-c", script]);
    let environment = strings(&["A=b", "C=d e"]);
    let mut what = Launch { words, environment, cwd: None, stdin: None, output, nofile: None, guard: None };
    change(&mut what);
    let child = launch_as(&what, how)?;
    drop(what);
    let mut written = String::new();
    reader.read_to_string(&mut written).unwrap();
    Ok((written, child.wait().unwrap().unwrap()))
}

fn check(script: &str, change: impl Fn(&mut Launch<'_>), expected: &str) {
    for how in hows() {
        let (written, status) = run(script, how, &change).unwrap();
        assert_eq!((written.as_str(), status.code()), (expected, Some(7)), "{script}, {how:?}");
    }
}

#[test]
fn a_process_gets_what_it_was_to_get_and_nothing_else() {
    let nothing = |_: &mut Launch<'_>| {};
    check("echo out; echo err >&2; exit 7", nothing, "out\nerr\n");
    check("readlink /proc/$$/fd/0; cat; exit 7", nothing, "/dev/null\n");
    check("ls /proc/$$/fd; exit 7", nothing, "0\n1\n2\n");
    check("echo $A $C; exit 7", nothing, "b d e\n");
    check("set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo leads; exit 7", nothing, "leads\n");
    check("ulimit -Sn; ulimit -Hn; exit 7", |what| what.nofile = Some((61, 64)), "61\n64\n");
    check("pwd; exit 7", |what| what.cwd = Some(Path::new("/usr")), "/usr\n");
    let given = |what: &mut Launch<'_>| {
        let (stdin, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"given").unwrap();
        // A high number, below which all others would be copied.
        what.stdin = Some(with_high_number(stdin.into()));
    };
    check("cat; ls /proc/$$/fd; exit 7", given, "given0\n1\n2\n");
}

#[test]
fn what_failed_is_told_with_the_step_and_leaves_no_process() {
    for how in hows() {
        let failed = |change: fn(&mut Launch<'_>)| {
            let failed = run("true", how, change).unwrap_err();
            (failed.step, failed.error.raw_os_error())
        };
        let missing = |what: &mut Launch<'_>| what.words = strings(&["/nowhere/program"]);
        assert_eq!(failed(missing), (Step::Execute, Some(libc::ENOENT)));
        let no_program = |what: &mut Launch<'_>| what.words = strings(&["/etc/passwd"]);
        assert_eq!(failed(no_program), (Step::Execute, Some(libc::EACCES)));
        let nowhere = |what: &mut Launch<'_>| what.cwd = Some(Path::new("/nowhere"));
        assert_eq!(failed(nowhere), (Step::Directory, Some(libc::ENOENT)));
        let upside_down = |what: &mut Launch<'_>| what.nofile = Some((2, 1));
        assert_eq!(failed(upside_down), (Step::Descriptors, Some(libc::EINVAL)));
    }
    let no_name = |what: &mut Launch<'_>| what.cwd = Some(Path::new("/a\0b"));
    assert_eq!(run("true", How::Plain, no_name).unwrap_err().step, Step::Directory);
    assert!(Strings::default().push(&[OsStr::new("a"), OsStr::new("\0")]).is_err());
}

#[test]
fn our_handlers_do_not_run_in_it_and_what_we_had_blocked_comes_through() {
    extern "C" fn nothing(_signal: c_int) {}
    // SAFETY: a handler that does nothing, for a signal that no other test sends.
    unsafe { libc::signal(libc::SIGRTMIN() + 5, nothing as *const () as libc::sighandler_t) };
    let masks = |status: &str| -> Vec<u64> {
        let mask = |name| status.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap();
        let mask = |name| u64::from_str_radix(mask(name).trim(), 16).unwrap();
        ["SigBlk:", "SigCgt:", "SigIgn:"].map(mask).to_vec()
    };
    let (written, _) = run("cat /proc/self/status", How::Plain, |_| {}).unwrap();
    // Whoever starts the tests may ignore signals; our runtime ignores one more, for itself.
    let ours = masks(&std::fs::read_to_string("/proc/self/status").unwrap())[2];
    assert_eq!(masks(&written), [0, 0, ours & !(1 << (libc::SIGPIPE - 1))], "{written}");
}

//! Which commands need no shell between us and them: a program by its absolute path and words that the shell would
//! hand on as they are. The shell runs every other command.
//!
//! The shell may be left out only where the command cannot tell. The rule looks at the command's words, the shell that
//! it asks for, and the environment, in which no name may mean something to a shell. What it cannot know is what the
//! shell of this host adds of its own: [`super::probe`] has looked.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::environment::{Environment, SHELL};

/// The one variable that the shell adds to a plain command's environment: the working directory (POSIX.1-2024, `sh`,
/// "Environment variables").
pub const PWD: &str = "PWD";

/// Names that a shell reads, sets or resets (POSIX.1-2024, "Shell Variables", and those of dash, bash and busybox).
/// Where one of them is set by the job file, what the command would find is the shell's to say.
static OF_SHELLS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "_ ATTY COLUMNS ENV EUID FCEDIT FUNCNAME GROUPS HISTFILE HISTSIZE HOSTNAME HOSTTYPE IFS LINENO LINES \
     MACHTYPE MAIL MAILCHECK MAILPATH OLDPWD OPTARG OPTERR OPTIND OSTYPE PPID PS1 PS2 PS3 PS4 PWD RANDOM \
     SECONDS SHELLOPTS SHLVL TERM UID"
        .split(' ')
        .collect()
});

/// Programs that do something else where they lead their process group, as a program without a shell before it does:
/// setsid(1) does not wait then for what it starts.
const NOT_AS_LEADERS: &[&str] = &["setsid"];

/// The words of a command that needs no shell, the program first; `None` where the shell is to run it.
pub fn words<'a>(command: &'a str, environment: &Environment<'_>) -> Option<Vec<&'a str>> {
    let plain = command.starts_with('/') && command.bytes().all(is_plain);
    let usual = environment.get("SHELL").is_some_and(|shell| **shell == *SHELL);
    let ours_alone = environment.keys().all(|name| is_handed_on(name));
    let words: Vec<&str> = command.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let file_name = words.first()?.rsplit('/').next()?;
    (plain && usual && ours_alone && !NOT_AS_LEADERS.contains(&file_name)).then_some(words)
}

/// Whether a byte stands for itself wherever it stands in a word, or separates words and nothing else.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:=@%+,- \t".contains(&byte)
}

/// Whether a shell hands a variable on as it found it. It may drop one whose name it could not use itself.
fn is_handed_on(name: &str) -> bool {
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    is_name && !name.starts_with("BASH") && !OF_SHELLS.contains(name)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn check_in(command: &str, variable: (&str, &str), expected: Option<&[&str]>) {
        let all = [("SHELL", SHELL), ("PATH", "/bin"), ("CRON_JOB", "a b"), variable];
        let environment: Environment<'_> =
            all.into_iter().map(|(name, value)| (name, OsStr::new(value).into())).collect();
        assert_eq!(words(command, &environment).as_deref(), expected, "{command} with {variable:?}");
    }

    fn check(command: &str, expected: Option<&[&str]>) {
        check_in(command, ("A", "1"), expected);
    }

    #[test]
    fn a_program_by_its_path_and_plain_words_need_no_shell() {
        check("/bin/true", Some(&["/bin/true"]));
        check("/opt/backup --full -o /var/b_1.tar", Some(&["/opt/backup", "--full", "-o", "/var/b_1.tar"]));
        check("/bin/a\t x=1  50% me@host:1,2+3 ", Some(&["/bin/a", "x=1", "50%", "me@host:1,2+3"]));
    }

    #[test]
    fn what_means_something_to_a_shell_is_left_to_it() {
        for command in [
            "true",
            "./poll.sh",
            "a=1 /bin/true",
            " /bin/true",
            "exec /bin/true",
            "",
            "/bin/echo $HOME",
            "/bin/echo 'a'",
            "/bin/echo \"a\"",
            "/bin/echo a\\ b",
            "/bin/echo *",
            "/bin/echo a?",
            "/bin/echo [a]",
            "/bin/echo ~",
            "/bin/echo {a,b}",
            "/bin/echo a#b",
            "/bin/echo # no",
            "/bin/a; /bin/b",
            "/bin/a & ",
            "/bin/a | /bin/b",
            "/bin/a > /dev/null",
            "/bin/a < b",
            "/bin/a\n/bin/b",
            "/bin/a `b`",
            "/bin/a (b)",
            "/bin/a !",
            "/usr/bin/setsid /opt/daemon",
            "/bin/a ^b",
            "/bin/ä",
            "/bin/a\u{a0}b",
            "/bin/a\0",
        ] {
            check(command, None);
        }
    }

    #[test]
    fn another_shell_and_names_of_shells_are_left_to_the_shell() {
        for variable in [
            ("SHELL", "/bin/bash"),
            ("PWD", "/"),
            ("OPTIND", "3"),
            ("IFS", "/"),
            ("LINENO", "1"),
            ("_", "x"),
            ("a.b", "1"),
            ("1A", "1"),
            ("BASH_FUNC_f%%", "() { :; }"),
            ("BASHOPTS", "x"),
            ("", "x"),
        ] {
            check_in("/bin/true", variable, None);
        }
        check_in("/bin/true", ("TZ", "UTC"), Some(&["/bin/true"]));
        check_in("/bin/true", ("PATH", "/x"), Some(&["/bin/true"]));
    }
}

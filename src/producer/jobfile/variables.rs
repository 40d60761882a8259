//! Variables that mean something to a cron or to a run, and what is said where a file sets one.

use super::lines::is_blank;
use super::report::quoted;
use crate::common::glyphs::{glyph, visible};

/// Variables that are settings to other crons and nothing here.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    match name {
        "MAILTO" | "MAILFROM" => Some("no mail is sent (the end of a run's output is kept with the run)"),
        "RANDOM_DELAY" => Some("nothing is delayed by this (the option `jitter` spreads jobs)"),
        _ => None,
    }
}

/// What a variable does not do that its name promises. `zoned` says that a `CRON_TZ` line stands above: who wrote that
/// knows the two apart.
pub(super) fn without_effect(name: &str, zoned: bool) -> Option<&'static str> {
    match name {
        "TZ" if !zoned => Some(
            "`TZ` does not change when jobs are due (`CRON_TZ=` does; one above this line says that both are meant)",
        ),
        "USER" | "LOGNAME" => Some(
            "the line has no effect: it is always the name of who the command runs as (`[user=NAME]` sets that)",
        ),
        _ => None,
    }
}

/// Checks the shell that gets the commands. Consumers start it by this path and with no arguments but the command.
///
/// # Errors
/// What would make every run of the jobs below fail.
pub(super) fn check_shell(value: &str) -> Result<(), String> {
    const RIGHT: &str = "the path of a shell and nothing else, as in `/bin/bash`";
    let wrong = |what: String| Err(format!("`SHELL`: {what} ({RIGHT})"));
    if !value.starts_with('/') {
        return wrong(format!("{} is not an absolute path", quoted(value)));
    }
    if let Some((_, arguments)) = value.split_once(is_blank) {
        return wrong(format!("{} follows the path", quoted(arguments.trim_start_matches(is_blank))));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._+-@:=~%".contains(c);
    if let Some(c) = value.chars().find(|c| !fits(*c)) {
        let name = glyph(c).map_or_else(String::new, |glyph| format!(", {}", glyph.name));
        return wrong(format!("`{}` holds U+{:04X}{name}", visible(value), u32::from(c)));
    }
    if value.ends_with('/') {
        return wrong(format!("{} is a directory", quoted(value)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_an_absolute_path_without_arguments() {
        let check = |value: &str, part: Option<&str>| match (check_shell(value), part) {
            (Ok(()), None) => {}
            (Err(wrong), Some(part)) => assert!(wrong.contains(part), "{value}: {wrong}"),
            (got, part) => panic!("{value}: {got:?} instead of {part:?}"),
        };
        check("/bin/bash", None);
        check("/nix/store/0abc-bash-5.2+1/bin/bash", None);
        check("bash", Some("`SHELL`: `bash` is not an absolute path (the path of a shell and nothing else"));
        check("./bash", Some("is not an absolute path"));
        check("~/bin/sh", Some("is not an absolute path"));
        check("", Some("is not an absolute path"));
        check("/bin/bash -e", Some("`-e` follows the path"));
        check("/bin/bash # the best", Some("`# the best` follows the path"));
        check("/bin/bash\u{21b2}", Some("`/bin/bash\u{21b2}` holds U+21B2 ("));
        check("/bin/bash\u{a0}", Some("holds U+00A0, no-break space"));
        check("/bin/bash\u{200b}", Some("`/bin/bash\\u{200b}` holds U+200B, zero width space"));
        check("/bin/bash;", Some("holds U+003B"));
        check("/bin/$X", Some("holds U+0024"));
        check("/bin/", Some("is a directory"));
    }

    #[test]
    fn variables_that_promise_something_else_are_known() {
        assert!(elsewhere("MAILTO").is_some() && elsewhere("PATH").is_none());
        assert!(without_effect("TZ", false).is_some() && without_effect("TZ", true).is_none());
        assert!(without_effect("LOGNAME", true).is_some() && without_effect("HOME", false).is_none());
    }
}

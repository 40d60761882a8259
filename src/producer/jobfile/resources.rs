//! What the values of the options may be that limit what a job may use of its host.

use super::report::quoted;
use crate::common::model::Resources;
use crate::common::{byte_size, duration};

/// The most processes of a job. Linux numbers no more than that on any host (proc(5), `pid_max`).
const MOST_PIDS: u64 = 4_194_304;

/// The most descriptors of a process. Linux allows no more unless it is told (proc(5), `nr_open`).
const MOST_NOFILE: u64 = 1_048_576;

pub(super) fn memory(value: &str) -> Result<u64, String> {
    let bytes = byte_size::parse(value).map_err(|error| format!("option `memory`: {error}"))?;
    if bytes < Resources::LEAST_MEMORY {
        let least = byte_size::format(Resources::LEAST_MEMORY);
        return Err(format!(
            "option `memory`: {} is too little for any command (at least {least})",
            quoted(value)
        ));
    }
    Ok(bytes)
}

pub(super) fn cpu(value: &str) -> Result<u64, String> {
    let time = duration::parse(value).map_err(|error| format!("option `cpu`: {error}"))?;
    if time.subsec_millis() != 0 {
        return Err(format!("option `cpu`: {} is not whole seconds (as in `90s`)", quoted(value)));
    }
    if time.is_zero() {
        return Err(
            "option `cpu`: 0 leaves no time to run (without a limit, leave the option out)".to_owned()
        );
    }
    Ok(time.as_secs())
}

pub(super) fn pids(value: &str) -> Result<u64, String> {
    number("pids", value, "number of processes", 1, MOST_PIDS)
}

pub(super) fn nofile(value: &str) -> Result<u64, String> {
    // A command has three at its start, and its shell opens one more.
    number("nofile", value, "number of descriptors", 8, MOST_NOFILE)
}

pub(super) fn nice(value: &str) -> Result<i32, String> {
    let number = value.parse().ok().filter(|nice| (-20..=19).contains(nice));
    number.ok_or_else(|| {
        format!(
            "option `nice`: {} is not a nice value (-20 to 19; the larger, the more it gives way)",
            quoted(value)
        )
    })
}

fn number(word: &str, value: &str, what: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("option `{word}`: {} is not a {what} ({least} to {most})", quoted(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_taken_and_what_is_not_says_what_would_be() {
        fn check<T: PartialEq + std::fmt::Debug>(found: &Result<T, String>, expected: Result<T, &str>) {
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, expected),
                (Err(wrong), Err(part)) => assert!(wrong.contains(part), "{wrong}"),
                (_, expected) => panic!("{found:?} and not {expected:?}"),
            }
        }
        check(&memory("4m"), Ok(Resources::LEAST_MEMORY));
        check(&memory("4095k"), Err("option `memory`: `4095k` is too little for any command (at least 4m)"));
        check(&memory("512"), Err("option `memory`: `512` is not an amount of memory: its unit is missing"));
        check(&cpu("1s"), Ok(1));
        check(&cpu("1h30m"), Ok(5_400));
        check(&cpu("1500ms"), Err("option `cpu`: `1500ms` is not whole seconds"));
        check(&cpu("0s"), Err("option `cpu`: 0 leaves no time to run"));
        check(&cpu("2"), Err("option `cpu`: `2` is not a duration"));
        check(&pids("1"), Ok(1));
        check(&pids("0"), Err("option `pids`: `0` is not a number of processes (1 to 4194304)"));
        check(&pids("+1"), Err("option `pids`: `+1` is not a number of processes"));
        check(&nofile("8"), Ok(8));
        check(&nofile("7"), Err("option `nofile`: `7` is not a number of descriptors (8 to 1048576)"));
        check(&nice("19"), Ok(19));
        check(&nice("-20"), Ok(-20));
        check(&nice("20"), Err("option `nice`: `20` is not a nice value (-20 to 19"));
        check(&nice("low"), Err("option `nice`: `low` is not a nice value"));
    }
}

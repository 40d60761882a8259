//! What the values of the options may be that limit what a job may use of its host.

use super::report::quoted;
use super::values::number;
use crate::common::model::rules;
use crate::common::{byte_size, duration};

pub(super) fn memory(value: &str) -> Result<u64, String> {
    let bytes = byte_size::parse(value).map_err(|error| format!("option `memory`: {error}"))?;
    if !rules::MEMORY_BYTES.contains(&bytes) {
        let least = byte_size::format(*rules::MEMORY_BYTES.start());
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
    if !rules::CPU_S.contains(&time.as_secs()) {
        return Err(
            "option `cpu`: 0 leaves no time to run (without a limit, leave the option out)".to_owned()
        );
    }
    Ok(time.as_secs())
}

pub(super) fn pids(value: &str) -> Result<u64, String> {
    number("pids", value, "number of processes", &rules::PIDS)
}

pub(super) fn nofile(value: &str) -> Result<u64, String> {
    number("nofile", value, "number of descriptors", &rules::NOFILE)
}

pub(super) fn nice(value: &str) -> Result<i32, String> {
    let number = value.parse().ok().filter(|nice| rules::NICE.contains(nice));
    number.ok_or_else(|| {
        let (least, most) = (rules::NICE.start(), rules::NICE.end());
        format!(
            "option `nice`: {} is not a nice value ({least} to {most}; the larger, the more it gives way)",
            quoted(value)
        )
    })
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
        check(&memory("4m"), Ok(*rules::MEMORY_BYTES.start()));
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

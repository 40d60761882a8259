//! Signs that mean something to other schedulers and nothing to cron: what to write instead.

/// What to write instead of a value of a field, where another scheduler has it.
pub(super) fn instead(field: &str, value: &str) -> Option<String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let says = |text: &str| Some(text.to_owned());
    if value.contains('~') {
        return says(
            "random times are those of cronie and OpenBSD; the option `jitter` spreads jobs, as in `[jitter=30m]`",
        );
    }
    if value == "H" || value.starts_with("H(") {
        return says("Jenkins spreads jobs by it; write a number, and the option `jitter` spreads them");
    }
    if value.contains('?') {
        return says("for Quartz it is any day; here `*` says it");
    }
    if let Some((weekday, number)) = value.split_once('#') {
        let of = |number: u32| format!("{}-{}", 7 * number - 6, 7 * number);
        let days = match number.parse() {
            Ok(number @ 1..=5) => of(number),
            _ => of(1),
        };
        return Some(format!(
            "for Quartz it is one {weekday} of the month; the days {days} with a test of the weekday in the command say it"
        ));
    }
    let last = value == "L" || value == "LW" || value.strip_suffix('L').is_some_and(digits);
    if last && field == "weekday" {
        return says("for Quartz it is the last one of the month; a test in the command says it");
    }
    if last && field == "day" {
        return says(
            "for Quartz it is the last day; the days 28-31 with a test in the command say it, as in \
                     `[ $(date -d tomorrow +%d) = 01 ] && …`",
        );
    }
    if value == "W" || value.strip_suffix('W').is_some_and(digits) {
        return says("for Quartz it is the nearest working day; a test in the command says it");
    }
    None
}

/// What to write instead of an `@` word that another cron has.
pub(super) fn word_instead(word: &str) -> Option<String> {
    let name = word.strip_prefix('@')?;
    let written = match name {
        "every_minute" | "minutely" => "* * * * *".to_owned(),
        "every_second" | "secondly" => "* * * * * *".to_owned(),
        "quarterly" => "0 0 1 */3 *".to_owned(),
        "weekdays" | "workdays" => "0 0 * * 1-5".to_owned(),
        _ if !name.is_empty() && name.len() < 10 && name.bytes().all(|b| b.is_ascii_digit()) => {
            format!("@every {name}s")
        }
        _ => return None,
    };
    Some(format!("`{written}` says it"))
}

//! The schedules of `tests/data/cron.csv`: 468 rows, each with the ticks that the oracles in its last column agree on.

use chrono::{DateTime, Utc};

use super::{Schedule, ScheduleError};
use crate::producer::zone::Zone;

const TABLE: &str = include_str!("../../../tests/data/cron.csv");

/// Rows whose `@every` counts from their `after`. Ours counts from the Unix epoch, so that nothing is kept between
/// two ticks; where `after` is no multiple of the duration both cannot be. With the ticks that we promise instead.
const EVERY_FROM_THE_EPOCH: [(&str, [&str; 3]); 2] = [
    ("2026-03-07T12:00:00-05:00", ["2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z"]),
    ("2026-10-31T12:00:00-04:00", ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"]),
];

#[test]
fn every_row_of_the_table_holds() {
    let rows: Vec<Vec<String>> = TABLE.lines().skip(1).map(columns).collect();
    assert_eq!(rows.len(), 468);
    let failures: Vec<String> = rows.iter().filter_map(|row| check(row).err()).collect();
    assert!(failures.is_empty(), "{} rows fail:\n{}", failures.len(), failures.join("\n"));
}

/// Zones whose rules changed in 2026: data that is a year old is an hour off here.
#[test]
fn the_program_knows_the_rules_of_today() {
    let rows: Vec<Vec<String>> =
        include_str!("../../../tests/data/zones.csv").lines().skip(1).map(columns).collect();
    assert_eq!(rows.len(), 3);
    let failures: Vec<String> = rows.iter().filter_map(|row| check(row).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// `schedule,zone,after,expected1,expected2,expected3,oracle`; without a tick it is a schedule that never runs.
fn check(row: &[String]) -> Result<(), String> {
    let [words, zone, after, expected @ .., _oracle] = row else {
        return Err(format!("{row:?} has too few"));
    };
    let zone: Zone = zone.parse().map_err(|_| format!("{row:?} has no zone"))?;
    let from_epoch =
        EVERY_FROM_THE_EPOCH.iter().find(|(start, _)| words.starts_with("@every") && start == after);
    let expected: Vec<&str> = match from_epoch {
        Some((_, ticks)) => ticks.to_vec(),
        None => expected.iter().map(String::as_str).filter(|tick| !tick.is_empty()).collect(),
    };
    let schedule = match Schedule::parse(words, &zone) {
        Err(ScheduleError::Never) if expected.is_empty() => return Ok(()),
        Err(error) => return Err(format!("{row:?}: {error}")),
        Ok(_) if expected.is_empty() => return Err(format!("{row:?} is not an error")),
        Ok(schedule) => schedule,
    };
    let expected: Vec<DateTime<Utc>> = expected.into_iter().map(instant).collect();
    let first = schedule.next(instant(after));
    let ticks = std::iter::successors(first, |tick| schedule.next(*tick));
    let ticks: Vec<DateTime<Utc>> = ticks.take(expected.len()).collect();
    (ticks == expected).then_some(()).ok_or_else(|| format!("{row:?}: {ticks:?}"))
}

fn instant(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect(text).to_utc()
}

/// The columns of a line: commas part them, except between quotes.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            _ => columns.last_mut().expect("one at least").push(c),
        }
    }
    columns
}

/// What the `cron` crate makes of a row when it is given the zone and the text: the evidence for what stands in front
/// of it (`docs/decisions/2026-11-24-cron-semantics.md`).
fn check_crate_alone(row: &[String]) -> Result<(), &'static str> {
    let [words, zone, after, expected @ .., _oracle] = row else { return Err("too few columns") };
    let zone: chrono_tz::Tz = zone.parse().expect("a zone");
    let source = if words.split(' ').count() == 5 { format!("0 {words}") } else { words.clone() };
    let Ok(schedule) = source.parse::<cron::Schedule>() else { return Err("not read") };
    let expected: Vec<_> =
        expected.iter().filter(|tick| !tick.is_empty()).map(|tick| instant(tick)).collect();
    let mut after = instant(after);
    for expected in expected {
        let Some(next) = schedule.after(&after.with_timezone(&zone)).next() else { return Err("nothing") };
        match next.to_utc() {
            next if next <= after => return Err("an instant that is past"),
            next if next != expected => return Err("another instant"),
            next => after = next,
        }
    }
    Ok(())
}

#[test]
fn the_crate_alone_would_not_do() {
    let mut reasons = std::collections::BTreeMap::new();
    for row in TABLE.lines().skip(1).map(columns) {
        if let Err(reason) = check_crate_alone(&row) {
            *reasons.entry(reason).or_insert(0) += 1;
        }
    }
    let found: Vec<(&str, i32)> = reasons.into_iter().collect();
    let expected =
        [("an instant that is past", 15), ("another instant", 133), ("not read", 54), ("nothing", 1)];
    assert_eq!(found, expected, "another version of the crate? then the decision page needs a look");
}

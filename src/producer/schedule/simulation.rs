//! The same ticks from a clock that is watched: random schedules around random clock changes, against a second
//! implementation that does what Debian's cron does – look at the clock, second by second, and at how far it has ever
//! got – and shares nothing with ours but the zone's offsets.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};

use super::Schedule;
use super::random::Random;
use crate::common::zones::Zones;
use crate::producer::zone::Zone;

/// Longer than any overlap but the day-long ones, which have rows of their own.
const LONGEST_OVERLAP: TimeDelta = TimeDelta::hours(4);

/// Zones whose changes are out of the ordinary come up more often.
const PECULIAR: [&str; 8] = [
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Chatham",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Asia/Tehran",
];

/// A field as it is written, and the numbers that it means.
struct Field {
    text: String,
    numbers: BTreeSet<u32>,
}

impl Field {
    fn random(random: &mut Random, low: u32, high: u32) -> Self {
        let mut field = Self { text: String::new(), numbers: BTreeSet::new() };
        for part in 0..=random.below(2) {
            let from = low + random.below(high - low + 1);
            let to = from + random.below(high - from + 1);
            let step = 1 + random.below(high / 2);
            let (text, from, to, step) = match random.below(5) {
                0 => ("*".to_owned(), low, high, 1),
                1 => (format!("*/{step}"), low, high, step),
                2 => (format!("{from}"), from, from, 1),
                3 => (format!("{from}-{to}"), from, to, 1),
                _ => (format!("{from}-{to}/{step}"), from, to, step),
            };
            field.text += &if part == 0 { text } else { format!(",{text}") };
            field.numbers.extend((from..=to).filter(|number| (number - from) % step == 0));
        }
        field
    }

    fn starred(&self) -> bool {
        self.text.starts_with('*')
    }

    fn has(&self, number: u32) -> bool {
        self.numbers.contains(&number)
    }
}

/// Second, minute, hour, day, month, weekday.
struct Fields([Field; 6]);

impl Fields {
    fn random(random: &mut Random) -> Self {
        let second = match random.below(4) {
            0 => Field::random(random, 0, 59),
            _ => Field { text: "0".to_owned(), numbers: BTreeSet::from([0]) },
        };
        let any = |low, high| Field { text: "*".to_owned(), numbers: (low..=high).collect() };
        // Most clock changes come in the first hours of the day.
        let hours = if random.below(2) == 0 { 4 } else { 23 };
        let (minute, hour) = (Field::random(random, 0, 59), Field::random(random, 0, hours));
        let hour = if hour.text.contains('*') && hours < 23 { any(0, 23) } else { hour };
        let day = if random.below(3) == 0 { Field::random(random, 1, 31) } else { any(1, 31) };
        let weekday = if random.below(3) == 0 { Field::random(random, 0, 7) } else { any(0, 7) };
        Self([second, minute, hour, day, any(1, 12), weekday])
    }

    fn words(&self) -> String {
        self.0.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn names(&self, local: NaiveDateTime) -> bool {
        let [second, minute, hour, ..] = &self.0;
        second.has(local.second())
            && minute.has(local.minute())
            && hour.has(local.hour())
            && self.names_day(local.date())
    }

    fn names_day(&self, date: NaiveDate) -> bool {
        let [.., day, month, weekday] = &self.0;
        let of_week = date.weekday().num_days_from_sunday();
        let days = [day.has(date.day()), weekday.has(of_week) || of_week == 0 && weekday.has(7)];
        let either = !day.starred() && !weekday.starred();
        month.has(date.month()) && if either { days.contains(&true) } else { !days.contains(&false) }
    }

    /// The ticks after `from`, up to `to`, of a clock that is looked at every second.
    fn watch(&self, zone: &Zone, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let elapsed = self.0[1].starred() || self.0[2].starred();
        let mut now = from - LONGEST_OVERLAP;
        let mut furthest = local(zone, now);
        let mut ticks = Vec::new();
        while now < to {
            now += TimeDelta::seconds(1);
            let shown = local(zone, now);
            let due = if elapsed { self.names(shown) } else { self.passed(furthest, shown) };
            if due && now > from {
                ticks.push(now);
            }
            furthest = furthest.max(shown);
        }
        ticks
    }

    /// Whether a time is named that lies after `furthest`, up to `shown`.
    fn passed(&self, furthest: NaiveDateTime, shown: NaiveDateTime) -> bool {
        let second = TimeDelta::seconds(1);
        std::iter::successors(Some(furthest + second), |local| Some(*local + second))
            .take_while(|local| *local <= shown)
            .any(|local| self.names(local))
    }
}

fn local(zone: &Zone, at: DateTime<Utc>) -> NaiveDateTime {
    zone.local(at).unwrap()
}

fn check(fields: &Fields, zone: &Zone, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    let words = fields.words();
    let Ok(schedule) = Schedule::parse(&words, zone) else { return 0 };
    let ticks: Vec<_> = std::iter::successors(schedule.next(from), |tick| schedule.next(*tick))
        .take_while(|at| *at <= to)
        .collect();
    let watched = fields.watch(zone, from, to);
    let differs = ticks.iter().zip(&watched).find(|(ours, watched)| ours != watched);
    assert!(
        ticks == watched,
        "{words} {zone} after {from}: {} ticks, {} watched, {differs:?}",
        ticks.len(),
        watched.len()
    );
    // From any instant between two ticks, the next is the same.
    for tick in &ticks {
        assert_eq!(
            schedule.next(*tick - TimeDelta::nanoseconds(1)),
            Some(*tick),
            "{words} {zone} before {tick}"
        );
    }
    ticks.len()
}

/// A clock change of the zone after `from`, to the second; `from` itself when there is none within two years.
fn change(zone: &Zone, from: DateTime<Utc>) -> DateTime<Utc> {
    let offset = |at: DateTime<Utc>| zone.with_offset(at).offset().local_minus_utc();
    let days = std::iter::successors(Some(from), |at| Some(*at + TimeDelta::days(1))).take(730);
    let Some(mut before) = days.take_while(|at| offset(*at) == offset(from)).last() else { return from };
    let mut after = before + TimeDelta::days(1);
    if offset(after) == offset(before) {
        return from;
    }
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if offset(middle) == offset(before) { before = middle } else { after = middle }
    }
    after
}

#[test]
fn ticks_are_those_of_a_clock_that_is_watched() {
    let rounds = std::env::var("SCHEDULE_ROUNDS").map_or(40, |rounds| rounds.parse().expect("a number"));
    let mut random = Random(2);
    let bundled = Zones::bundled();
    let names: Vec<&str> = bundled.names().collect();
    let mut ticks = 0;
    for round in 0..rounds {
        let name = if round % 2 == 0 { *random.pick(&names) } else { *random.pick(&PECULIAR) };
        let zone: Zone = name.parse().unwrap();
        // 1900 to 2036.
        let start = i64::from(random.below(u32::MAX)) - 2_208_988_800;
        let around = change(&zone, DateTime::from_timestamp(start, 0).expect("an instant"));
        let from = around - TimeDelta::seconds(random.below(14_400).into());
        ticks += check(&Fields::random(&mut random), &zone, from, from + TimeDelta::hours(6));
    }
    assert!(ticks > 400, "only {ticks} ticks");
}

//! Words that no author would write: none may cause a panic, and a schedule that is read from them must go forward.

use chrono::DateTime;

use super::Schedule;
use super::random::Random;
use crate::common::mutation::cases;
use crate::common::zones::Zones;
use crate::producer::zone::Zone;

const PIECES: [&str; 40] = [
    "*",
    "*",
    "*",
    "*",
    "*",
    "*/",
    "0",
    "1",
    "5",
    "7",
    "12",
    "23",
    "24",
    "29",
    "30",
    "31",
    "59",
    "60",
    "99",
    "-",
    "/",
    ",",
    " ",
    " ",
    " ",
    " ",
    "\t",
    "mon",
    "Sun",
    "FEB",
    "jan-",
    "@",
    "@every ",
    "@daily",
    "s",
    "h",
    "?",
    "é",
    "\0",
    "18446744073709551616",
];

#[test]
fn no_words_panic_and_no_schedule_stands_still() {
    let mut random = Random(1);
    let bundled = Zones::bundled();
    let zones: Vec<Zone> = bundled.names().map(|name| name.parse().unwrap()).collect();
    let mut read = 0;
    for round in 0..cases(6_000) {
        let words: String = match round % 2 {
            0 => (0..random.below(14)).map(|_| *random.pick(&PIECES)).collect(),
            // Fields that are mostly right, and near misses.
            _ => {
                let field = |random: &mut Random| match random.below(3) {
                    0 => "*".to_owned(),
                    1 => random.below(34).to_string(),
                    _ => (0..=random.below(3)).map(|_| *random.pick(&PIECES[..22])).collect(),
                };
                (0..5 + random.below(2)).map(|_| field(&mut random)).collect::<Vec<_>>().join(" ")
            }
        };
        let zone = random.pick(&zones);
        let Ok(schedule) = Schedule::parse(&words, zone) else { continue };
        read += 1;
        let mut after =
            DateTime::from_timestamp(i64::from(random.below(u32::MAX)) - 500_000_000, 0).expect("an instant");
        for _ in 0..3 {
            let next = schedule.next(after).expect("one follows before the end of time");
            assert!(next > after, "{words:?} {zone} after {after}: {next}");
            after = next;
        }
    }
    assert!(read > 200, "only {read} were schedules");
}

//! Tests with zone data that the leader followed and that is not at hand.

use super::*;

/// The leader says that it followed zone data of a version.
fn followed(world: &mut World, tzdata: &str, from: &str) {
    let (revision, leader, at) = (world.file.revision.to_string(), "p".to_owned(), at(from));
    let (cluster, tzdata) = (cluster("a"), Some(tzdata.to_owned()));
    world.events.push((at, Event::Revision { cluster, revision, tzdata, leader, from: at, at }));
}

/// The same jobs in a zone, all of their ticks published, but for one that is not and one that no schedule names.
fn world_in(zone: &str) -> World {
    let mut world = World::new();
    let text = format!("CRON_TZ={zone}\n{FILE}");
    let file = jobfile::parse("jobs", text.as_bytes(), &[cluster("a"), cluster("b")]).unwrap();
    world.file = JobFile { revision: world.file.revision.clone(), ..file };
    world.forget("often", at("12:01:40"));
    world.publish("often", at("12:03:30"));
    world
}

#[test]
fn ticks_that_unknown_zone_data_decided_are_not_checked_where_zones_matter() {
    let check = |zone: &str, tzdata: &str, expected: [usize; 3], notes: usize| {
        let mut world = world_in(zone);
        followed(&mut world, tzdata, "11:59:59");
        let report = world.verdict();
        let found = [report.unaccounted.total, report.too_many.total, report.ticks.not_checked];
        assert_eq!(found, expected, "{zone} {tzdata}: {report:?}");
        let told = report.notes.iter().filter(|note| note.contains("2019z, which is not at hand")).count();
        assert_eq!((told, report.ok), (notes, false), "{zone} {tzdata}");
    };
    check("Europe/London", "2026f", [1, 1, 0], 0);
    check("Europe/London", "2019z", [0, 0, 1], 1);
    check("UTC", "2019z", [1, 1, 0], 0);
    check("Etc/GMT+5", "2019z", [1, 1, 0], 0);
}

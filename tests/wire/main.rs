//! The wire format is frozen: samples that are read back for ever, and a page that says what they hold.
//!
//! A test that fails here means that programs of two versions no longer understand each other. A new message gets a
//! new sample; a sample is never changed.

#[cfg(test)] // it is, and this tells the lints
mod page;
#[cfg(test)]
mod samples;

use std::collections::BTreeSet;
use std::path::PathBuf;

use kafka_cron::common::topics;
use kafka_cron::common::wire::WireError;
use kafka_cron::common::words::{ClusterName, JobName, RunId};
use kafka_cron::consumer::holes;
use page::{Field, Page};
use samples::{Message, expected};
use serde_json::{Value, json};
use uuid::Uuid;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire/v1")
}

fn sample(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect(name);
    serde_json::from_str(&text).expect(name)
}

fn read(name: &str, message: &Value) -> Result<Message, WireError> {
    Message::read(name, &serde_json::to_vec(message).unwrap())
}

#[test]
fn every_sample_is_read_as_what_it_meant_when_it_was_frozen() {
    let mut checked = BTreeSet::new();
    for (name, message) in expected() {
        assert_eq!(read(name, &sample(name)), Ok(message), "{name}");
        checked.insert(format!("{name}.json"));
    }
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(checked, files, "each sample has a value spelled out, and each value a sample");
}

#[test]
fn what_is_written_today_is_what_was_written_then() {
    for (name, message) in expected() {
        let written: Value = serde_json::from_slice(&message.write()).unwrap();
        assert_eq!(written, sample(name), "{name}");
    }
}

/// Every object below a value, as JSON pointers. The names of an environment are free, so it is none.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            let fields = fields.iter().filter(|(name, _)| *name != "environment");
            fields.map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => return,
    };
    children.into_iter().for_each(|(name, child)| objects(child, &format!("{at}/{name}"), found));
}

#[test]
fn fields_to_come_are_ignored_wherever_they_stand() {
    for (name, message) in expected() {
        let mut later = sample(name);
        let mut places = Vec::new();
        objects(&later, "", &mut places);
        for place in places {
            let object = later.pointer_mut(&place).unwrap().as_object_mut().unwrap();
            object.insert("signature".to_owned(), json!({ "v": 2, "by": ["somebody", null, 1.5] }));
            object.insert("offset_".to_owned(), json!(-1));
        }
        assert_eq!(read(name, &later), Ok(message), "{name}");
    }
}

#[test]
fn another_version_is_told_apart_from_garbage() {
    for (name, _) in expected() {
        let with = |v: Value| {
            let mut message = sample(name);
            message["v"] = v;
            read(name, &message)
        };
        for version in [0, 2, u64::MAX] {
            assert_eq!(with(json!(version)), Err(WireError::UnknownVersion(version)), "{name}");
        }
        for garbage in [json!("1"), json!(1.5), json!(-1), json!(null), json!([1])] {
            assert!(matches!(with(garbage.clone()), Err(WireError::Malformed(_))), "{name}: {garbage}");
        }
        // Whatever else a newer version holds, it is only newer.
        assert_eq!(read(name, &json!({ "v": 2, "run": 7 })), Err(WireError::UnknownVersion(2)));
    }
}

#[test]
fn an_environment_is_written_by_name_and_may_be_absent() {
    let mut message = sample("attempt-full");
    let order = |value: &Value| {
        let Ok(Message::Attempt(attempt)) = read("attempt-full", value) else { panic!("no attempt") };
        attempt.run.environment.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(order(&message), ["PATH", "SHELL", "TARGET"]);
    // As text, for a value forgets the order.
    let text = String::from_utf8(expected()["attempt-full"].write().to_vec()).unwrap();
    let places: Vec<_> = ["\"PATH\"", "\"SHELL\"", "\"TARGET\""].map(|name| text.find(name)).to_vec();
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
    message["run"].as_object_mut().unwrap().remove("environment");
    assert!(order(&message).is_empty());
}

#[test]
fn the_page_and_the_samples_name_the_same_fields() {
    let page = Page::read();
    let (mut present, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for (name, _) in expected() {
        for (at, section, object) in page.objects_of(&sample(name)) {
            for (field, value) in &object {
                let row = page.field(&section, field);
                row.check_value(value).unwrap_or_else(|why| panic!("{name}{at}/{field}: {value} {why}"));
                present.insert((section.clone(), field.clone()));
            }
            for row in page.fields(&section).iter().filter(|row| !object.contains_key(&row.name)) {
                assert!(row.optional, "{name}{at} lacks {}, which is always there", row.name);
                absent.insert((section.clone(), row.name.clone()));
            }
        }
    }
    let rows = |only: &dyn Fn(&Field) -> bool| -> BTreeSet<(String, String)> {
        page.rows().filter(|(_, row)| only(row)).map(|(s, row)| (s.to_owned(), row.name.clone())).collect()
    };
    assert_eq!(present, rows(&|_| true), "every field of the page stands in a sample");
    assert_eq!(absent, rows(&|row| row.optional), "every optional field is absent from a sample");
}

#[test]
fn the_page_lists_the_words_that_are_used() {
    let page = Page::read();
    let check = |section: &str, field: &str| {
        let all = expected();
        let objects = all.keys().flat_map(|name| page.objects_of(&sample(name)));
        let used = objects.filter(|(_, of, _)| of == section).filter_map(|(.., o)| o.get(field).cloned());
        let used: BTreeSet<String> = used.filter_map(|word| word.as_str().map(str::to_owned)).collect();
        assert_eq!(used, page.field(section, field).words(), "{section} {field}");
    };
    check("outcome", "kind");
    check("finished", "then");
    check("letter", "reason");
    check("missed", "reason");
    let events = ["claimed", "alive", "finished", "missed", "unreadable", "deleted_unread", "truncated"];
    events.iter().for_each(|event| check(event, "event"));
    check("letter", "record");
    check("replayed", "record");
}

#[test]
fn what_the_page_says_is_always_there_is_asked_for() {
    let page = Page::read();
    for (name, _) in expected() {
        let whole = sample(name);
        for (at, section, object) in page.objects_of(&whole) {
            for field in object.keys().filter(|f| !page.field(&section, f).optional && *f != "environment") {
                let mut message = whole.clone();
                message.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(field);
                let read = read(name, &message);
                assert!(
                    matches!(read, Err(WireError::Malformed(_))),
                    "{name} without {at}/{field}: {read:?}"
                );
            }
        }
    }
}

#[test]
fn the_run_id_of_the_page_is_the_one_that_is_computed() {
    let page = Page::read();
    let example = page.line_with("job backup, ");
    let (job, instant) = example.trim().trim_start_matches("job ").split_once(", ").unwrap();
    let id = page.line_with("    id    ").trim().trim_start_matches("id").trim().to_owned();
    assert_eq!(RunId::of(&JobName::new(job).unwrap(), instant.parse().unwrap()).to_string(), id);
    assert!(page.text().contains(&format!("name space `{}`", RunId::NAMESPACE)));
    // By the RFC itself, from the name as the page spells it.
    let name = page.line_with("    name  ").trim().trim_start_matches("name").trim().replace("\\000", "\0");
    let name = name.split_whitespace().next().unwrap();
    assert_eq!(Uuid::new_v5(&RunId::NAMESPACE, name.as_bytes()).to_string(), id);
}

#[test]
fn the_topics_of_the_page_are_the_ones_that_are_created() {
    let page = Page::read();
    let common =
        ["cleanup.policy=delete", "compression.type=uncompressed", "unclean.leader.election.enable=false"];
    let created = topics::all(&[ClusterName::new("c").unwrap()], 2, 3);
    let said: BTreeSet<(String, String, BTreeSet<String>)> = page
        .table("created")
        .map(|cells| {
            let own = cells[2].split('`').skip(1).step_by(2);
            let settings = common.into_iter().chain(["min.insync.replicas=2"]).chain(own).map(str::to_owned);
            (cells[0].trim_matches('`').replace("<cluster>", "c"), cells[1].clone(), settings.collect())
        })
        .collect();
    let is = |topic: &topics::TopicSpec| {
        let settings = topic.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (topic.name.clone(), topic.partitions.to_string(), settings)
    };
    assert_eq!(said, created.iter().map(is).collect());
    assert!(common.iter().all(|setting| page.text().contains(&format!("`{setting}`"))));
}

#[test]
fn the_holes_of_the_page_are_read_and_written_as_it_says() {
    let topic_id: Uuid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427".parse().unwrap();
    let page = Page::read();
    let check = |tail: &str, committed: i64, offsets: &[i64], is_shortest: bool| {
        let text = format!("1;{topic_id};{tail}");
        let offsets: BTreeSet<i64> = offsets.iter().copied().collect();
        let read = holes::decode(&text, committed).unwrap().unwrap();
        assert_eq!((read.topic_id, &read.offsets), (topic_id, &offsets), "{text}");
        let written = holes::encode(topic_id, committed, &offsets).unwrap();
        assert_eq!(written == text, is_shortest, "{written}");
    };
    // The page's examples, with what it says beside them.
    for (tail, offsets) in [("R900x3,100x1", vec![100, 101, 102, 900]), ("B8:FQ", vec![992, 994, 996])] {
        let line = page.line_with(&format!("    {tail} "));
        assert!(offsets.iter().all(|offset: &i64| line.contains(&offset.to_string())), "{line}");
        check(tail, 1000, &offsets, true);
    }
    check("", 0, &[], true);
    check("R1x1", 1, &[0], true);
    check("R10x10", 10, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], true);
    // A reader takes either form, and ranges in any order.
    check("B1:AQ", 1, &[0], false);
    check("R1x1,3x1", 3, &[0, 2], false);
    check("R1000000000x1", 1_000_000_000, &[0], true);
    assert_eq!(holes::decode("", 7), Ok(None));
}

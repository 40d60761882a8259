//! The samples are read as what they meant when they were frozen, and written as they were then.

use std::collections::BTreeSet;

use kafka_cron::common::wire::WireError;
use serde_json::{Value, json};

use super::message::{Message, folder, read, sample};
use super::samples::expected;

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

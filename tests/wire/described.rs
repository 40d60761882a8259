//! `docs/PROTOCOL.md` says what is so.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};
use kafka_cron::common::holes;
use kafka_cron::common::model::{ClusterName, JobName, RunId};
use kafka_cron::common::topics;
use kafka_cron::common::wire::WireError;
use uuid::Uuid;

use super::message::{read, sample};
use super::page::{Field, Page};
use super::samples::expected;

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
    check("lost", "then");
    check("letter", "reason");
    check("missed", "reason");
    check("ended", "reason");
    check("end", "reason");
    let events = [
        "claimed",
        "alive",
        "finished",
        "published",
        "queued",
        "skipped",
        "ended",
        "lost",
        "beat",
        "revision",
        "standby",
        "missed",
        "unreadable",
        "deleted_unread",
        "truncated",
    ];
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
fn a_number_may_be_what_the_page_says_and_no_other() {
    let page = Page::read();
    let mut checked = BTreeSet::new();
    for name in ["attempt-full", "attempt-resources", "attempt-deadline"] {
        let whole = sample(name);
        for (at, section, object) in page.objects_of(&whole) {
            for field in object.keys() {
                let Some((least, most)) = page.field(&section, field).range() else { continue };
                checked.insert(field.clone());
                for (number, is_right) in [(least - 1, false), (least, true), (most, true), (most + 1, false)]
                {
                    let mut message = whole.clone();
                    // What the number is beside, so that only the number can be wrong.
                    message["attempt"] = 1.into();
                    *message.pointer_mut(&format!("{at}/{field}")).unwrap() =
                        serde_json::from_str(&number.to_string()).unwrap();
                    let read = read(name, &message);
                    assert_eq!(read.is_ok(), is_right, "{at}/{field}: {number}: {read:?}");
                    let is_named = |why: &str| number < 0 && least == 0 || why.contains(field.as_str());
                    let says = matches!(&read, Err(WireError::Malformed(why)) if is_named(why));
                    assert!(is_right || says || number > i128::from(u64::MAX), "{field}: {read:?}");
                }
            }
        }
    }
    let numbers = page.rows().filter(|(section, row)| {
        ["attempt", "limits", "resources", "retry"].contains(section)
            && row.is_integer()
            && !["v", "attempt"].contains(&row.name.as_str())
    });
    assert_eq!(checked, numbers.map(|(_, row)| row.name.clone()).collect());
}

#[test]
fn null_is_read_as_the_absence_of_an_optional_field_but_for_those_that_the_page_names() {
    let page = Page::read();
    let never = page.line_with("`null` is malformed in place of");
    let mut checked = BTreeSet::new();
    for (name, _) in expected() {
        let whole = sample(name);
        for (at, section, object) in page.objects_of(&whole) {
            for field in object.keys() {
                let with = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
                    let mut message = whole.clone();
                    change(message.pointer_mut(&at).unwrap().as_object_mut().unwrap());
                    read(name, &message)
                };
                let null = with(&|object| drop(object.insert(field.clone(), serde_json::Value::Null)));
                if !page.field(&section, field).optional || never.contains(&format!("`{field}`")) {
                    assert!(matches!(null, Err(WireError::Malformed(_))), "{name}{at}/{field}: {null:?}");
                    checked.insert(field.clone());
                } else {
                    let absent = with(&|object| drop(object.remove(field)));
                    assert_eq!(null.ok(), absent.ok(), "{name}{at}/{field}");
                }
            }
        }
    }
    assert!(["environment", "resources", "output_tail"].iter().all(|field| checked.contains(*field)));
}

#[test]
fn an_instant_is_read_with_any_offset_and_in_lower_case() {
    let page = Page::read();
    let elsewhere = FixedOffset::east_opt(-(5 * 60 + 30) * 60).unwrap();
    for (name, message) in expected() {
        let [mut offset, mut small] = [sample(name), sample(name)];
        for (at, section, object) in page.objects_of(&sample(name)) {
            for (field, value) in object.iter().filter(|(field, _)| page.field(&section, field).is_instant())
            {
                let place = format!("{at}/{field}");
                let text = value.as_str().unwrap();
                let there =
                    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&elsewhere).to_rfc3339();
                *offset.pointer_mut(&place).unwrap() = there.into();
                *small.pointer_mut(&place).unwrap() = text.to_lowercase().into();
            }
        }
        assert_eq!(read(name, &offset).as_ref(), Ok(&message), "{name}");
        assert_eq!(read(name, &small).as_ref(), Ok(&message), "{name}");
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
    let common = [
        "cleanup.policy=delete",
        "compression.type=uncompressed",
        "message.timestamp.type=LogAppendTime",
        "retention.bytes=-1",
        "segment.bytes=1073741824",
        "segment.ms=604800000",
        "unclean.leader.election.enable=false",
    ];
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

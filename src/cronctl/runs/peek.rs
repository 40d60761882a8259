//! Which run and which job a record is about, found without decoding it: of a long history most records are about others.
//!
//! It is found only where the record *begins* as this program writes it. A reader must ignore fields that it does not know,
//! wherever they stand, so what stands further behind may belong to such a field: that is left to the decoder.

use crate::common::model::RunId;

/// What a record is about, as far as its beginning says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The run.
    pub run: Option<RunId>,
    /// The job.
    pub job: Option<&'a str>,
}

/// How an event begins, up to its word.
const EVENT: &[u8] = b"{\"v\":1,\"event\":\"";
/// How a message of a cluster's topic begins, up to the run's id.
const MESSAGE: &[u8] = b"{\"v\":1,\"run\":{\"id\":\"";
/// The words of events that name a run first.
const OF_A_RUN: [&str; 5] = ["claimed", "finished", "published", "lost", "ended"];
/// The words of events that name a job first, and no run.
const OF_A_JOB: [&str; 3] = ["queued", "skipped", "missed"];
/// How the last field of an end begins: what the run has printed.
const OUTPUT: &[u8] = b",\"output_tail\":\"";
/// The length of a run's id.
const ID: usize = 36;

/// What an event is about; nothing where it begins otherwise, or is about neither.
pub fn event(value: &[u8]) -> Option<About<'_>> {
    let (word, rest) = text(value.strip_prefix(EVENT)?)?;
    if OF_A_JOB.contains(&word) {
        let (job, _) = text(rest.strip_prefix(b",\"job\":\"")?)?;
        return Some(About { run: None, job: Some(job) });
    }
    if !OF_A_RUN.contains(&word) {
        return None;
    }
    let (run, rest) = id(rest.strip_prefix(b",\"run\":\"")?)?;
    let rest = rest.strip_prefix(b",\"attempt\":").map_or(rest, |rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        &rest[digits..]
    });
    let job = rest.strip_prefix(b",\"job\":\"").and_then(text).map(|(job, _)| job);
    Some(About { run: Some(run), job })
}

/// What a message of a cluster's topics is about.
pub fn message(value: &[u8]) -> Option<About<'_>> {
    let (run, rest) = id(value.strip_prefix(MESSAGE)?)?;
    let job = rest.strip_prefix(b",\"job\":\"").and_then(text).map(|(job, _)| job);
    Some(About { run: Some(run), job })
}

/// An event as two pieces that make one without what the run has printed; the whole where that is not its last field.
pub fn without_output(value: &[u8]) -> (&[u8], &'static [u8]) {
    let whole: (&[u8], &'static [u8]) = (value, b"");
    if !value.starts_with(EVENT) {
        return whole;
    }
    // Within a text the quotation marks would stand behind backslashes.
    let Some(at) = value.windows(OUTPUT.len()).position(|window| window == OUTPUT) else { return whole };
    let (start, printed) = value.split_at(at + OUTPUT.len());
    if ends_an_event(printed) { (start, b"\"}") } else { whole }
}

/// Whether this is the rest of a text that the decoder takes, and the end of its object.
fn ends_an_event(rest: &[u8]) -> bool {
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        let is_taken = match byte {
            b'"' => return bytes.as_slice() == b"}" && str::from_utf8(rest).is_ok(),
            b'\\' => match bytes.next() {
                // Control characters are written so. Other numbers may be no characters.
                Some(b'u') => {
                    let number: Vec<u8> = bytes.by_ref().take(4).copied().collect();
                    number.len() == 4 && number.starts_with(b"00") && number.iter().all(u8::is_ascii_hexdigit)
                }
                Some(escaped) => b"\"\\/bfnrt".contains(escaped),
                None => false,
            },
            byte => *byte >= b' ',
        };
        if !is_taken {
            return false;
        }
    }
    false
}

fn id(rest: &[u8]) -> Option<(RunId, &[u8])> {
    let (id, rest) = rest.split_at_checked(ID)?;
    let id = str::from_utf8(id).ok()?.parse().ok()?;
    Some((id, rest.strip_prefix(b"\"")?))
}

/// A text up to its quotation mark, and what follows; nothing where it holds what JSON must escape.
fn text(rest: &[u8]) -> Option<(&str, &[u8])> {
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let text = str::from_utf8(&rest[..end]).ok()?;
    Some((text, rest[end..].strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::Event;
    use crate::common::wire;
    use crate::cronctl::runs::run_detail::run_of;

    const RUN: &str = "87ca294a-ea2b-5902-b344-9fc1da880045";

    /// All samples of events, decoded.
    fn samples() -> Vec<Vec<u8>> {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wire/v1");
        std::fs::read_dir(samples).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn what_is_found_is_what_is_decoded() {
        let (mut events, mut messages) = (0, 0);
        for pretty in samples() {
            if let Ok(decoded) = wire::decode_event(&pretty) {
                let encoded = wire::encode(&decoded);
                let job = serde_json::to_value(&decoded).unwrap()["job"].as_str().map(str::to_owned);
                let (run, found) = (run_of(&decoded), event(&encoded));
                let names_a_run = !matches!(decoded, Event::Queued { .. } | Event::Skipped { .. });
                assert_eq!(found.and_then(|found| found.run), run.filter(|_| names_a_run), "{decoded:?}");
                assert_eq!(found.and_then(|found| found.job), job.as_deref(), "{decoded:?}");
                events += usize::from(found.is_some());
            } else if let Ok(decoded) = wire::decode_attempt(&pretty) {
                let found = About { run: Some(decoded.run.id), job: Some(decoded.run.job.as_str()) };
                assert_eq!(message(&wire::encode(&decoded)), Some(found));
                messages += 1;
            }
        }
        assert!(events > 10 && messages > 2, "{events} {messages}");
    }

    #[test]
    fn what_begins_otherwise_is_left_to_the_decoder() {
        let others = [
            "",
            "é",
            r#"{"v":2,"event":"finished","run":"RUN","attempt":1,"job":"a"}"#,
            r#"{"v":1,"event":"finished","trace":{"job":"b"},"run":"RUN","attempt":1,"job":"a"}"#,
            r#"{"v":1,"event":"finished","trace":{"run":"RUN"},"job":"a"}"#,
            r#"{"v":1,"event":"finished","run": "RUN","attempt":1,"job":"a"}"#,
            r#"{"v":1,"event":"finished","run":"87ca""#,
            r#"{"v":1,"event":"finish\u0065d","run":"RUN","attempt":1,"job":"a"}"#,
            r#"{"v":1,"event":"missed","run":"RUN","job":"a"}"#,
            r#"{"v":1,"event":"alive","running":[{"run":"RUN"}]}"#,
            r#"{"v":1,"event":"unheard","run":"RUN","job":"a"}"#,
            r#"{"v":1,"trace":{"run":{"id":"RUN","job":"a"}},"run":{"id":"RUN","job":"a"}}"#,
            r#"{"v":2,"run":{"id":"RUN","job":"a"}}"#,
        ];
        for other in others {
            let other = other.replace("RUN", RUN);
            assert_eq!((event(other.as_bytes()), message(other.as_bytes())), (None, None), "{other}");
        }
        let run = Some(RUN.parse().unwrap());
        for (value, job) in [
            (r#"{"v":1,"event":"lost","run":"RUN","attempt":1,"cluster":"c","job":"a"}"#, None),
            (r#"{"v":1,"event":"lost","run":"RUN","attempt":1,"job":"a\u0062"}"#, None),
            (r#"{"v":1,"event":"lost","run":"RUN","attempt":1,"job":"a"}"#, Some("a")),
        ] {
            assert_eq!(event(value.replace("RUN", RUN).as_bytes()), Some(About { run, job }), "{value}");
        }
    }

    #[test]
    fn an_end_without_its_output_is_the_same_end() {
        let (mut ends, mut cut) = (0, 0);
        for pretty in samples() {
            let Ok(mut decoded) = wire::decode_event(&pretty) else { continue };
            for printed in ["", "a\"b\\", "\u{1b}[0m\0", "\\\",\"output_tail\":\"x\"}", "é\n"] {
                if let Event::Finished { output_tail, .. } = &mut decoded {
                    *output_tail = printed.to_owned();
                    ends += 1;
                }
                let encoded = wire::encode(&decoded);
                let (start, end) = without_output(&encoded);
                cut += usize::from(!end.is_empty());
                let mut expected = decoded.clone();
                if let Event::Finished { output_tail, .. } = &mut expected {
                    output_tail.clear();
                }
                assert_eq!(wire::decode_event(&[start, end].concat()), Ok(expected));
            }
        }
        assert!(ends > 10 && cut == ends, "{cut} of {ends}");
        for whole in [
            r#"{"v":1,"event":"finished","output_tail":"x","more":1}"#,
            r#"{"v":1,"event":"finished","output_tail":"x"#,
            r#"{"v":1,"event":"finished","output_tail":"x\"#,
            r#"{"v":1,"event":"finished","output_tail":"\udcff"}"#,
            r#"{"v":1,"event":"finished","output_tail":"\x"}"#,
            r#"{"v":1,"event":"finished","output_tail":"\u00"}"#,
            r#"{"v":1,"event":"finished","output_tail":"\u00g0"}"#,
            "{\"v\":1,\"event\":\"finished\",\"output_tail\":\"\n\"}",
            r#"{"event":"finished","v":1,"output_tail":"x"}"#,
        ] {
            assert_eq!(without_output(whole.as_bytes()), (whole.as_bytes(), &b""[..]));
        }
    }
}

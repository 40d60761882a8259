//! Whose event a record is, found without decoding it: of a long history most records are about other runs, or other jobs.

use crate::common::model::RunId;

/// How an event that this program wrote begins to name its run.
const OF_EVENT: &[u8] = b"\"run\":\"";
/// The same of a message. Within a string the quotation marks would stand behind backslashes, and an environment holds strings.
const OF_MESSAGE: &[u8] = b"\"run\":{\"id\":\"";
/// How both of them begin to name the job.
const JOB: &[u8] = b"\"job\":\"";
/// The length of a run's id.
const ID: usize = 36;

/// The run that an event names first, where it does so in the way of this program. Others must be decoded.
pub fn event(value: &[u8]) -> Option<RunId> {
    after(value, OF_EVENT)
}

/// The run of a message of a cluster's topics, as [`event`] finds it.
pub fn message(value: &[u8]) -> Option<RunId> {
    after(value, OF_MESSAGE)
}

/// The job that an event names first, where it does so in the way of this program.
pub fn job_of_event(value: &[u8]) -> Option<&str> {
    let at = value.windows(JOB.len()).position(|window| window == JOB)? + JOB.len();
    word(&value[at..])
}

/// The job of a message of a cluster's topics, where it stands behind the run's id.
pub fn job_of_message(value: &[u8]) -> Option<&str> {
    let id = value.windows(OF_MESSAGE.len()).position(|window| window == OF_MESSAGE)? + OF_MESSAGE.len();
    word(value.get(id + ID..)?.strip_prefix(b"\",")?.strip_prefix(JOB)?)
}

/// Text up to its quotation mark; nothing where it holds what JSON must escape.
fn word(text: &[u8]) -> Option<&str> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    str::from_utf8(&text[..end]).ok().filter(|_| text[end] == b'"')
}

fn after(value: &[u8], mark: &[u8]) -> Option<RunId> {
    let at = value.windows(mark.len()).position(|window| window == mark)? + mark.len();
    str::from_utf8(value.get(at..at + ID)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::wire;
    use crate::cronctl::runs::run_detail::run_of;

    #[test]
    fn what_is_found_is_what_is_decoded() {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wire/v1");
        let (mut events, mut messages) = (0, 0);
        for file in std::fs::read_dir(samples).unwrap() {
            let pretty = std::fs::read(file.unwrap().path()).unwrap();
            if let Ok(decoded) = wire::decode_event(&pretty) {
                let found = event(&wire::encode(&decoded));
                let named = found.filter(|_| run_of(&decoded).is_some());
                assert!(named.is_none() || named == run_of(&decoded), "{decoded:?}");
                events += usize::from(named.is_some());
                let job = serde_json::to_value(&decoded).unwrap()["job"].as_str().map(str::to_owned);
                assert_eq!(job_of_event(&wire::encode(&decoded)), job.as_deref(), "{decoded:?}");
            } else if let Ok(decoded) = wire::decode_attempt(&pretty) {
                assert_eq!(message(&wire::encode(&decoded)), Some(decoded.run.id));
                assert_eq!(job_of_message(&wire::encode(&decoded)), Some(decoded.run.job.as_str()));
                messages += 1;
            }
        }
        assert!(events > 10 && messages > 2, "{events} {messages}");
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_the_decoder() {
        for value in
            ["", "{\"run\":", "{\"run\":\"87ca", "{\"run\": \"87ca294a-ea2b-5902-b344-9fc1da880045\"}", "é"]
        {
            assert_eq!(event(value.as_bytes()), None, "{value}");
        }
        for value in ["", "{\"job\":\"", "{\"job\":\"a\\u0062\"}", "{\"job\": \"a\"}", "{\"job\":null}"] {
            assert_eq!(job_of_event(value.as_bytes()), None, "{value}");
            let message =
                value.replace("{\"job", "{\"run\":{\"id\":\"87ca294a-ea2b-5902-b344-9fc1da880045\",\"job");
            assert_eq!(job_of_message(message.as_bytes()), None, "{message}");
        }
        let elsewhere =
            b"{\"run\":{\"id\":\"87ca294a-ea2b-5902-b344-9fc1da880045\",\"environment\":{\"job\":\"a\"}}}";
        assert_eq!(job_of_message(elsewhere), None);
    }
}

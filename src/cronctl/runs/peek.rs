//! Whose event a record is, found without decoding it: of a long history most records are about other runs.

use crate::common::model::RunId;

/// How an event that this program wrote begins to name its run.
const OF_EVENT: &[u8] = b"\"run\":\"";
/// The same of a message. Within a string the quotation marks would stand behind backslashes, and an environment holds strings.
const OF_MESSAGE: &[u8] = b"\"run\":{\"id\":\"";
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
            } else if let Ok(decoded) = wire::decode_attempt(&pretty) {
                assert_eq!(message(&wire::encode(&decoded)), Some(decoded.run.id));
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
    }
}

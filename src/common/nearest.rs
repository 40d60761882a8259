//! The nearest known word to an unknown one, for messages that say what was probably meant.

use strsim::osa_distance;

/// Longer words are no slip of the finger, and comparing them would take its time.
const MAX_CHARS: usize = 64;

/// The known word with the fewest typing errors (a letter added, left out, replaced, or two exchanged; case does not
/// count), if that is one error for every three letters and at most three: the first of equals. Else the known word
/// that the unknown one only spells out (`January` for `jan`), or the only one that it begins (`mem` for `memory`).
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().take(MAX_CHARS + 1).count();
    if length > MAX_CHARS {
        return None;
    }
    let word = word.to_lowercase();
    let limit = (length / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    let mut spelt_out = None;
    let mut begun = Vec::new();
    for candidate in known {
        let lower = candidate.to_lowercase();
        if lower.chars().count().abs_diff(length) <= limit {
            let errors = osa_distance(&word, &lower);
            if errors <= limit && best.is_none_or(|(least, _)| errors < least) {
                best = Some((errors, candidate));
            }
        }
        if candidate.len() >= 3 && word.starts_with(&lower) {
            spelt_out.get_or_insert(candidate);
        }
        if length >= 3 && lower.starts_with(&word) {
            begun.push(candidate);
        }
    }
    let only_begun = if let [only] = begun[..] { Some(only) } else { None };
    best.map(|(_, candidate)| candidate).or(spelt_out).or(only_begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_a_typing_error_away_or_spelt_out() {
        let known =
            ["name", "retries", "backoff", "backoff_max", "tz", "@hourly", "@daily", "jan", "jun", "jul"];
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, known), expected, "{word}");
        };
        check("retrys", Some("retries"));
        check("RETRIES", Some("retries"));
        check("nmae", Some("name"));
        check("back_off", Some("backoff"));
        check("backof_max", Some("backoff_max"));
        check("tx", Some("tz"));
        check("@dayly", Some("@daily"));
        check("@hourl", Some("@hourly"));
        check("January", Some("jan"));
        check("jum", Some("jun"));
        check("ret", Some("retries"));
        check("ba", None);
        check("back", None);
        check("parallel", None);
        check("@every", None);
        check("", None);
        check("ζλθ", None);
        check(&"x".repeat(100_000), None);
    }
}

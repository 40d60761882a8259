//! The nearest known word to an unknown one, for messages that say what was probably meant.

/// Longer words are no typing errors, and comparing them would take its time.
const MAX_CHARS: usize = 64;

/// The known word with the fewest typing errors (a letter added, left out, replaced, or two exchanged; case does not
/// count), if that is one error for every three letters and at most three. The first of equals.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = lower(word);
    let limit = (word.len() / 3).clamp(1, 3);
    if word.len() > MAX_CHARS {
        return None;
    }
    let far = |candidate: &[char]| candidate.len().abs_diff(word.len()) > limit;
    known
        .into_iter()
        .map(|candidate| (candidate, lower(candidate)))
        .filter(|(_, letters)| !far(letters))
        .map(|(candidate, letters)| (distance(&word, &letters), candidate))
        .filter(|(errors, _)| *errors <= limit)
        .min_by_key(|(errors, _)| *errors)
        .map(|(_, candidate)| candidate)
}

fn lower(word: &str) -> Vec<char> {
    word.chars().take(MAX_CHARS + 1).flat_map(char::to_lowercase).collect()
}

/// The optimal string alignment distance, row by row.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_a_typing_error_away() {
        let known = ["name", "retries", "backoff", "backoff_max", "tz"];
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, known), expected, "{word}");
        };
        check("retrys", Some("retries"));
        check("RETRIES", Some("retries"));
        check("nmae", Some("name"));
        check("back_off", Some("backoff"));
        check("backof_max", Some("backoff_max"));
        check("tx", Some("tz"));
        check("parallel", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }
}

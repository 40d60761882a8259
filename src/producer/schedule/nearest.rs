//! The known word that a mistyped one is nearest to.

/// Longer words are nobody's slip of the finger; comparing them would only cost time.
const LONGEST: usize = 32;

/// The word of `known` that `word` was probably meant to be: the one it starts with, or the one that the fewest
/// insertions, deletions and replacements lead to, if those are fewer than half its letters.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    if let Some(full) = known.iter().find(|known| word.starts_with(**known)) {
        return Some(full);
    }
    let (edits, best) = known.iter().map(|known| (edits(&word, known), *known)).min()?;
    (edits * 2 < best.len()).then_some(best)
}

/// Levenshtein's distance, row by row.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, nearest_is: Option<&str>) {
        let known = ["@hourly", "@daily", "@weekly", "jan", "jun", "jul"];
        assert_eq!(nearest(word, &known), nearest_is, "{word}");
    }

    #[test]
    fn a_slip_finds_its_word() {
        check("@dayly", Some("@daily"));
        check("@DAILY", Some("@daily"));
        check("@hourl", Some("@hourly"));
        check("@weeklyy", Some("@weekly"));
        check("January", Some("jan"));
        check("jum", Some("jul"));
    }

    #[test]
    fn what_is_far_from_all_finds_none() {
        check("", None);
        check("@every", None);
        check("xyz", None);
        check("ζλθ", None);
        check(&"@daily".repeat(1000), None);
    }
}

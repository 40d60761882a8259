//! Time zones by their IANA names, with what was probably meant for a name that is none.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::report::quoted;
use crate::common::nearest::nearest;

/// Why a word is not a time zone, and what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZoneError(String);

/// A zone of the IANA database by its name, spelled as there: `Europe/London`, `UTC`.
///
/// # Errors
/// The word is none, with the nearest that is one.
pub fn zone(word: &str) -> Result<Tz, ZoneError> {
    word.parse().map_err(|_| {
        let hint = match meant(word) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a name of the IANA database, as in `Europe/London` or `UTC`".to_owned(),
        };
        ZoneError(format!("unknown time zone {} ({hint})", quoted(word)))
    })
}

/// People leave out the continent more often than they mistype the city.
fn meant(word: &str) -> Option<&'static str> {
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(word));
    names()
        .find(|name| name.eq_ignore_ascii_case(word))
        .or_else(|| names().find(city))
        .or_else(|| nearest(word, names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, part: &str) {
        let error = zone(word).expect_err(word).to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn an_unknown_zone_is_answered_with_the_nearest() {
        assert_eq!(zone("Europe/London"), Ok(Tz::Europe__London));
        assert_eq!(zone("UTC"), Ok(Tz::UTC));
        check("Europe/Lodnon", "unknown time zone `Europe/Lodnon` (did you mean `Europe/London`?)");
        check("europe/london", "did you mean `Europe/London`?");
        check("Tokyo", "did you mean `Asia/Tokyo`?");
        check("utc", "did you mean `UTC`?");
        check("+02:00", "as in `Europe/London`");
        check("", "unknown time zone ``");
    }
}

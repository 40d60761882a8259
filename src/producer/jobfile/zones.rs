//! Time zones by their IANA names, with what was probably meant for a name that is none.

use std::collections::HashMap;

use super::report::quoted;
use crate::common::nearest::nearest;
use crate::common::zones::Zones;
use crate::producer::zone::Zone;

/// Why a word is not a time zone, and what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZoneError(String);

/// A zone of the IANA database by its name, spelled as there: `Europe/London`, `UTC`.
///
/// # Errors
/// The word is none, with the nearest that is one; or the zone's data cannot be read.
pub fn zone(word: &str, zones: &Zones) -> Result<Zone, ZoneError> {
    let Some(data) = zones.get(word) else {
        let hint = match meant(word, zones) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a name of the IANA database, as in `Europe/London` or `UTC`".to_owned(),
        };
        return Err(ZoneError(format!("unknown time zone {} ({hint})", quoted(word))));
    };
    Zone::read(data).map_err(|why| ZoneError(format!("the data of the time zone {word} ({zones}): {why}")))
}

/// People leave out the continent more often than they mistype the city.
fn meant<'a>(word: &str, zones: &'a Zones) -> Option<&'a str> {
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(word));
    zones
        .names()
        .find(|name| name.eq_ignore_ascii_case(word))
        .or_else(|| zones.names().find(city))
        .or_else(|| nearest(word, zones.names()))
}

/// Zones that many lines name: the data of each is read once.
#[derive(Debug)]
pub(super) struct Known<'z> {
    zones: &'z Zones,
    read: HashMap<String, Zone>,
}

impl<'z> Known<'z> {
    pub(super) fn new(zones: &'z Zones) -> Self {
        Self { zones, read: HashMap::new() }
    }

    /// A zone by its name.
    ///
    /// # Errors
    /// As [`zone`].
    pub(super) fn get(&mut self, word: &str) -> Result<Zone, ZoneError> {
        if let Some(known) = self.read.get(word) {
            return Ok(known.clone());
        }
        let zone = zone(word, self.zones)?;
        self.read.insert(word.to_owned(), zone.clone());
        Ok(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, part: &str) {
        let error = zone(word, &Zones::bundled()).expect_err(word).to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn an_unknown_zone_is_answered_with_the_nearest() {
        for name in ["Europe/London", "UTC", "US/Pacific", "Asia/Calcutta", "Etc/GMT+5"] {
            assert_eq!(zone(name, &Zones::bundled()).unwrap().name(), name);
        }
        check("Europe/Lodnon", "unknown time zone `Europe/Lodnon` (did you mean `Europe/London`?)");
        check("europe/london", "did you mean `Europe/London`?");
        check("Tokyo", "did you mean `Asia/Tokyo`?");
        check("utc", "did you mean `UTC`?");
        check("+02:00", "as in `Europe/London`");
        check("", "unknown time zone ``");
        check("../Europe/London", "unknown time zone");
        check("posix/Europe/London", "unknown time zone");
    }
}

//! The name of this program in events and letters.

/// A name that says who and where, and is different after each start: the given one, or host and process.
pub fn name(given: Option<&str>) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let who = given.map_or_else(|| format!("{host}-{}", std::process::id()), str::to_owned);
    let start = uuid::Uuid::new_v4().simple().to_string();
    format!("{who}-{}", &start[..6])
}

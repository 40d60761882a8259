//! The zone data of the host: the directory of TZif files that its package `tzdata` keeps.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate};

use super::ZoneData;
use super::release::Release;

/// Where hosts keep their zones.
const USUAL: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// Where releases name their version: the first line of `tzdata.zi` does, or a file that holds nothing else.
const VERSIONS: [&str; 4] = ["tzdata.zi", "+VERSION", "version", "VERSION"];

/// No TZif file of the database has a tenth of this.
const MAX_ZONE_BYTES: u64 = 256 * 1024;

/// There are some 600; a directory with more is not one of zones.
const MAX_ZONES: usize = 5_000;

/// `Area/Region/City` is the deepest.
const MAX_DEPTH: usize = 3;

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) directory: PathBuf,
    /// None where no file names a version.
    pub(super) release: Option<Release>,
    pub(super) zones: BTreeMap<Arc<str>, ZoneData>,
}

/// The directory of the host's zones: `TZDIR`, or else the first of the usual ones. `None` where there is none.
pub fn directory() -> Option<PathBuf> {
    match std::env::var_os("TZDIR").filter(|named| !named.is_empty()) {
        Some(named) => Some(PathBuf::from(named)),
        None => USUAL.iter().map(PathBuf::from).find(|usual| usual.is_dir()),
    }
}

/// Reads a directory. `None` where it holds no zone.
pub(super) fn read(directory: &Path) -> Option<Host> {
    let mut zones = BTreeMap::new();
    for (name, path) in files(directory) {
        let is_small = fs::metadata(&path).is_ok_and(|found| found.len() <= MAX_ZONE_BYTES);
        let Ok(content) = (if is_small { fs::read(&path) } else { continue }) else { continue };
        if content.starts_with(b"TZif") {
            zones.insert(Arc::from(&*name), ZoneData::new(&name, Bytes::from(content)));
        }
    }
    let release = release(directory);
    (!zones.is_empty()).then(|| Host { directory: directory.to_owned(), release, zones })
}

/// The version that a directory's files name.
fn release(directory: &Path) -> Option<Release> {
    VERSIONS.iter().map(|file| directory.join(file)).find_map(|path| {
        let content = first_bytes(&path)?;
        let line = content.lines().next()?;
        let version = line.strip_prefix("# version ").unwrap_or(line);
        Release::read(version, dated(&path))
    })
}

/// `tzdata.zi` has 100 KiB, and its version stands in the first line.
fn first_bytes(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut content = Vec::new();
    fs::File::open(path).ok()?.take(256).read_to_end(&mut content).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

fn dated(path: &Path) -> Option<NaiveDate> {
    let modified = fs::metadata(path).ok()?.mtime();
    DateTime::from_timestamp(modified, 0).map(|at| at.date_naive())
}

/// What tells that a directory has changed, without reading it: of each file where it is, its size and its times.
pub(super) fn stamp(directory: &Path) -> Vec<(PathBuf, u64, u64, i64, i64)> {
    let versions = VERSIONS.iter().map(|file| directory.join(file));
    let all = versions.chain(files(directory).into_values());
    all.filter_map(|path| {
        let found = fs::metadata(&path).ok()?;
        let (inode, size) = (found.ino(), found.size());
        Some((path, inode, size, found.mtime(), found.mtime_nsec()))
    })
    .collect()
}

/// The files whose names may be those of zones, in order of their names.
fn files(directory: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut to_look = vec![(String::new(), directory.to_owned(), 1)];
    while let Some((prefix, directory, depth)) = to_look.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
                continue;
            };
            if !is_name(&name) || found.len() >= MAX_ZONES {
                continue;
            }
            match fs::metadata(entry.path()) {
                Ok(is) if is.is_dir() && depth < MAX_DEPTH => {
                    to_look.push((format!("{name}/"), entry.path(), depth + 1));
                }
                Ok(is) if is.is_file() => {
                    found.insert(name, entry.path());
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether a name may be that of a zone. Each begins with a capital letter, which parts it from what else stands in such a
/// directory: `posix`, `right` (which counts leap seconds), `localtime`, `leapseconds`, `tzdata.zi`.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(fits)
        && !matches!(name, "Factory" | "VERSION" | "SystemV")
}

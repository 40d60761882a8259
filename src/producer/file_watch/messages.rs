//! The options of the file watch.

use std::path::PathBuf;

use crate::common::model::ClusterName;
use crate::common::zones::Zones;

/// What is watched.
#[derive(Debug, Clone)]
pub struct Options {
    /// The job file. Links on the way to it are followed anew at each look.
    pub path: PathBuf,
    /// The clusters that jobs may name.
    pub clusters: Vec<ClusterName>,
    /// The directory of the host's time zones, which is looked at too.
    pub zone_directory: Option<PathBuf>,
    /// The zones by which the file was read at the start.
    pub zones: Zones,
}

//! The watch over the job file and the host's time-zone data: offers each good new file to the scheduler, and counts how many
//! ticks have come due by it.

mod debounce;
mod file;
mod file_status;
mod messages;
mod thread;
mod zone_status;

pub use self::file_status::{FACT, FileMetrics};
pub use self::messages::Options;
pub use self::thread::{Context, DueMetrics, FileWatch};
pub use self::zone_status::ZoneMetrics;

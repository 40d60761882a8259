//! The file watch reads the job file again when it changes, and offers each good new file to the scheduler.
//!
//! Its thread `jobs-watch` ([`thread`]) looks at the path twice a second, and at the host's time-zone data. The rules
//! are small: [`debounce`] says when the content is read, `file` compares it with what was read before, and
//! [`file_status`] and [`zone_status`] show operators how the file and the zone data stand. A file with a problem
//! changes nothing. The thread also counts, whether this producer leads or not, how many ticks have come due by the
//! newest good file.

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

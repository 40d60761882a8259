//! The numbers of descriptors. A process that is started gets a table with the low numbers only
//! (`src/consumer/running/process/launch.rs`), so what stays open for long is moved out of these.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use libc::{c_int, c_uint};
use rustix::io::fcntl_dupfd_cloexec;

/// The first number that is not low: more than a consumer has open beside what it has open for its jobs (connections to brokers
/// and to the page, the log, the guard).
pub const LOW: u16 = 256;

/// Gives a descriptor a number that is not low. Where there is none left, it stays what it is, and starting a process takes
/// a little longer.
pub fn with_high_number<D: AsFd + From<OwnedFd>>(descriptor: D) -> D {
    fcntl_dupfd_cloexec(&descriptor, RawFd::from(LOW)).map_or(descriptor, D::from)
}

/// close_range(2), by its number: not each C library has a function for it.
///
/// # Safety
/// That of the call: it may close what others use.
pub unsafe fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> c_int {
    // SAFETY: numbers only; what it does to descriptors is the caller's to answer for. The result is 0 or -1.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if answer == 0 { 0 } else { -1 }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_descriptor_with_a_high_number_is_the_same_one() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut reader = with_high_number(reader);
        assert!(reader.as_raw_fd() >= RawFd::from(LOW));
        writer.write_all(b"a").unwrap();
        drop(writer);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "a");
        let flags = rustix::io::fcntl_getfd(&reader).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "{flags:?}");
    }
}

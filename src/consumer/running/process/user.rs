//! Users: who there is, and how a process becomes one of them. Nearly all of this room's unsafe code.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::{mem, ptr};

/// An entry of the user database (passwd(5), or whatever else nsswitch.conf(5) names).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the login group.
    pub gid: u32,
    /// The home directory.
    pub home: OsString,
}

/// The largest entry that is believed. Real ones take a few hundred bytes.
const ENTRY_BYTES: usize = 1024 * 1024;

/// Looks a user up by name. `None`: there is no such user.
///
/// # Errors
/// When the database cannot be asked.
pub fn named(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    look_up(|entry, buffer, found| {
        // SAFETY: `name` ends in NUL; the buffer is as long as is said; all of it outlives the call.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

/// The user that this process runs as. A container may run under a number without a name; then the number is the
/// name, and home is `/`.
pub fn own() -> User {
    let uid = rustix::process::geteuid().as_raw();
    let found = look_up(|entry, buffer, found| {
        // SAFETY: the buffer is as long as is said, and outlives the call as do the places for the answer.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    });
    found.ok().flatten().unwrap_or_else(|| {
        let gid = rustix::process::getegid().as_raw();
        User { name: uid.to_string(), uid, gid, home: "/".into() }
    })
}

type Place = *mut *mut libc::passwd;

fn look_up(ask: impl Fn(*mut libc::passwd, &mut [u8], Place) -> i32) -> io::Result<Option<User>> {
    let mut buffer = vec![0_u8; 1024];
    loop {
        // SAFETY: `passwd` is numbers and pointers, for which zero is a value.
        let mut entry: libc::passwd = unsafe { mem::zeroed() };
        let mut found = ptr::null_mut();
        match ask(&raw mut entry, &mut buffer, &raw mut found) {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: the entry was found, so its strings lie in `buffer`, each ending in NUL.
                let text = |field: *const libc::c_char| unsafe { CStr::from_ptr(field) }.to_bytes().to_vec();
                return Ok(Some(User {
                    name: String::from_utf8_lossy(&text(entry.pw_name)).into_owned(),
                    uid: entry.pw_uid,
                    gid: entry.pw_gid,
                    home: OsString::from_vec(text(entry.pw_dir)),
                }));
            }
            libc::ERANGE if buffer.len() < ENTRY_BYTES => buffer.resize(buffer.len() * 4, 0),
            // What some sources of names say for "no such user" (getpwnam(3), "ERRORS").
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All the groups of a user, the login group included.
///
/// # Errors
/// When the database lists more than the system allows (65,536).
pub fn groups(user: &User) -> io::Result<Vec<libc::gid_t>> {
    let name = CString::new(user.name.as_str())?;
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        // SAFETY: `name` ends in NUL, and `groups` has room for `count` numbers.
        let answer =
            unsafe { libc::getgrouplist(name.as_ptr(), user.gid, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if answer >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if groups.len() > 65_536 {
            return Err(io::Error::other("more groups than the system allows"));
        }
        groups.resize(groups.len() * 2, 0);
    }
}

/// Makes this process the user's, with exactly these groups.
///
/// # Errors
/// The system's: it takes root.
pub fn become_user(uid: u32, gid: u32, groups: &[libc::gid_t]) -> io::Result<()> {
    let check = |answer: i32| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // The user last, because after it the right to the others is gone.
    // SAFETY: `groups` is as long as is said.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: a system call with a number.
    check(unsafe { libc::setgid(gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setuid(uid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_strangers_are_none() {
        let root = named("root").unwrap().unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert!(root.home.to_str().unwrap().starts_with('/'));
        assert!(groups(&root).unwrap().contains(&0));
        for stranger in ["nobody-of-this-name", "", "ro\0ot"] {
            assert_eq!(named(stranger).unwrap(), None, "{stranger:?}");
        }
        assert_eq!(own().uid, rustix::process::geteuid().as_raw());
    }
}

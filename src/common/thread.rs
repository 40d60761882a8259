//! Threads have a name and are joined. Nothing is detached.

use std::io;
use std::thread::{Builder, JoinHandle};

/// A thread that is joined when its handle is dropped.
///
/// Fields drop in order: a handle that owns a sender must name it *before* its `Joined`, so that the thread sees the
/// channel close before the owner waits for it.
#[derive(Debug)]
pub struct Joined(Option<JoinHandle<()>>);

/// Starts a named thread.
///
/// # Errors
/// The system's error when it has no room for another thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Joined> {
    Builder::new().name(name.to_owned()).spawn(work).map(|handle| Joined(Some(handle)))
}

impl Joined {
    /// Whether the thread has come to its end.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let name = handle.thread().name().unwrap_or("?").to_owned();
            if handle.join().is_err() {
                log::error!("thread {name} panicked");
            }
        }
    }
}

//! The environment that holds at a line: what the `NAME=value` lines above it set. Jobs between two of those share it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of the names and values that hold at a line. With a command of the longest it still fits into a Kafka
/// message of the default size (1 MiB), whatever JSON has to escape.
pub const MAX_ENVIRONMENT_BYTES: usize = 64 * 1024;

/// Bytes of all the different environments of a file: a hundred times what a million jobs with variables of their
/// own would be written with, were each to have its line. It bounds what a small file can make large.
pub const MAX_ENVIRONMENTS_BYTES: usize = 512 * 1024 * 1024;

/// The variables set so far.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    bytes: usize,
    shared: Option<Arc<BTreeMap<String, String>>>,
    all_bytes: usize,
}

impl Environment {
    /// Sets a variable for the jobs below.
    ///
    /// # Errors
    /// The environment would become too large; it is left as it was.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let before = self.variables.get(name);
        if before.is_some_and(|before| before == value) {
            return Ok(());
        }
        let freed = before.map_or(0, |before| name.len() + before.len());
        let bytes = self.bytes - freed + name.len() + value.len();
        if bytes > MAX_ENVIRONMENT_BYTES {
            return Err(format!(
                "the environment lines up to here have {bytes} bytes (at most {MAX_ENVIRONMENT_BYTES} for a command)"
            ));
        }
        self.bytes = bytes;
        self.variables.insert(name.to_owned(), value.to_owned());
        self.shared = None;
        Ok(())
    }

    /// What holds here, the same map for all the jobs until the next change.
    ///
    /// # Errors
    /// The different environments of the file have become too large together.
    pub(super) fn share(&mut self) -> Result<Arc<BTreeMap<String, String>>, String> {
        if let Some(shared) = &self.shared {
            return Ok(Arc::clone(shared));
        }
        if self.all_bytes + self.bytes > MAX_ENVIRONMENTS_BYTES {
            return Err(format!(
                "the different environments of the jobs up to here have more than {MAX_ENVIRONMENTS_BYTES} bytes \
                 (put variables that many jobs share above them all, and large ones into a file that the command reads)"
            ));
        }
        self.all_bytes += self.bytes;
        let shared = Arc::new(self.variables.clone());
        self.shared = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_under_the_same_lines_share_one_map() {
        let mut environment = Environment::default();
        environment.set("A", "1").unwrap();
        let first = environment.share().unwrap();
        environment.set("A", "1").unwrap();
        assert!(Arc::ptr_eq(&first, &environment.share().unwrap()));
        environment.set("A", "2").unwrap();
        let second = environment.share().unwrap();
        assert_eq!((first["A"].as_str(), second["A"].as_str()), ("1", "2"));
    }

    #[test]
    fn an_environment_is_bounded_by_what_holds_and_not_by_what_was_set() {
        let mut environment = Environment::default();
        let value = "x".repeat(MAX_ENVIRONMENT_BYTES - 1);
        for _ in 0..3 {
            environment.set("A", &value).unwrap();
            environment.set("A", "").unwrap();
        }
        environment.set("A", &value).unwrap();
        let error = environment.set("B", "").unwrap_err();
        assert!(error.contains("have 65537 bytes"), "{error}");
        assert_eq!(environment.share().unwrap().len(), 1);
    }

    #[test]
    fn a_small_file_cannot_ask_for_memory_without_bound() {
        let mut environment = Environment { all_bytes: MAX_ENVIRONMENTS_BYTES - 3, ..Environment::default() };
        environment.set("A", "1").unwrap();
        assert!(environment.share().is_ok());
        environment.set("A", "2").unwrap();
        assert!(environment.share().unwrap_err().contains("environments"));
    }
}

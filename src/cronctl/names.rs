//! Names of jobs, clusters and consumers, each kept once and told apart by a number: many runs share few of them.

use std::collections::HashMap;
use std::hash::Hash;

/// Names by number, and numbers by name.
#[derive(Debug)]
pub struct Names<T> {
    numbers: HashMap<T, u32>,
    names: Vec<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), names: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Names<T> {
    /// The number of a name, which becomes known.
    pub fn number(&mut self, name: &T) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The name of a number that [`Self::number`] gave.
    pub fn name(&self, number: u32) -> Option<&T> {
        usize::try_from(number).ok().and_then(|number| self.names.get(number))
    }
}

//! What is planned to go wrong with the calls of clients.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use super::Moment;
use super::call::{Call, Fate};
use super::cluster::Cluster;

/// A request under way on a connection that was given up.
type LateRequest = Box<dyn FnOnce(&mut Cluster, Moment) + Send>;

/// Decides the fate of a call of a client by its name; `None` is to be carried out and answered.
pub type Decide = Box<dyn FnMut(&str, Call) -> Option<Fate> + Send>;

/// What is planned to go wrong.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) away: bool,
    pub(super) next: VecDeque<(Call, Fate)>,
    pub(super) decide: Option<Decide>,
    pub(super) late: VecDeque<LateRequest>,
    pub(super) made: BTreeMap<Call, usize>,
    /// Until when quotas hold clients back.
    held: HashMap<String, Instant>,
}

impl Plan {
    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    pub(super) fn fate(&mut self, client: &str, call: Call) -> Option<Fate> {
        *self.made.entry(call).or_default() += 1;
        if self.away {
            return Some(Fate::NotSent);
        }
        if let Some(at) = self.next.iter().position(|(of, _)| *of == call) {
            return self.next.remove(at).map(|(_, fate)| fate);
        }
        self.decide.as_mut().and_then(|decide| decide(client, call))
    }

    /// From now on a quota holds a client back.
    pub(super) fn throttle(&mut self, client: &str, until: Instant) {
        self.held.insert(client.to_owned(), until);
    }

    /// Until when a quota holds a client back, if one does.
    pub(super) fn held_until(&self, client: &str, now: Instant) -> Option<Instant> {
        self.held.get(client).copied().filter(|until| *until > now)
    }

    pub(super) fn hold(&mut self, request: LateRequest) {
        self.late.push_back(request);
    }
}

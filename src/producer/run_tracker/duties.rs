//! What the run tracker must keep doing, and how each part of it stands. Pure.

use crate::common::http::Trouble;

/// A part of the work that fails by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duties {
    /// Reading `cron-runs`.
    Following,
    /// Writing beats and reading them back.
    Beats,
    /// Finding out what became of attempts and runs, and passing lost ones on.
    LostAttempts,
    /// Asking consumers to end runs.
    Orders,
    /// Saying which job file a standby has.
    StandingBy,
    /// In a standby: seeing that some producer leads.
    Led,
}

impl Duties {
    /// All parts.
    pub const ALL: [Self; 6] =
        [Self::Following, Self::Beats, Self::LostAttempts, Self::Orders, Self::StandingBy, Self::Led];

    /// The name of the duty.
    pub fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Beats => "beats",
            Self::LostAttempts => "lost attempts",
            Self::Orders => "orders",
            Self::StandingBy => "standing by",
            Self::Led => "leader",
        }
    }

    /// What is attempted, as a fragment that an error follows.
    pub fn attempt(self) -> &'static str {
        match self {
            Self::Following => "reading cron-runs",
            Self::Beats => "writing beats to cron-runs",
            Self::LostAttempts => "finding out what became of attempts, and passing lost ones on",
            Self::Orders => "asking consumers on cron-orders to end runs",
            Self::StandingBy => "saying on cron-runs which job file this producer has",
            Self::Led => "seeing a producer that leads",
        }
    }
}

/// How a part of the work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is done, as far as this producer owes it.
    Done,
    /// It is owed.
    Owed,
    /// It is owed, and this is why it cannot be done.
    Hindered(Hindrance),
}

/// Why a part of the work cannot be done, although no call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// Beats were written and are not read back, although that is long overdue.
    OutOfSight,
    /// No producer leads.
    NoLeader,
}

impl Hindrance {
    /// Its cause and its cure.
    pub fn trouble(self) -> Trouble {
        match self {
            Self::OutOfSight => Trouble::new(
                "out_of_sight",
                "beats that were written to cron-runs are not read back",
                "see whether the topic is cut, compacted or overloaded (docs/OPERATIONS.md)",
            ),
            Self::NoLeader => Trouble::new(
                "no_leader",
                "no producer leads: none has written a beat to cron-runs for long",
                "see why on /readyz of the other producers, and which members the leaders' group has \
                 (docs/playbooks/NobodyLeads.md)",
            ),
        }
    }
}

/// How the run tracker stands after a step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    /// This producer leads.
    pub leads: bool,
    /// The partitions of `cron-runs` are known.
    pub is_following: bool,
    /// A call failed that follows `cron-runs`.
    pub cannot_follow: bool,
    /// A beat of this term was read back from every partition.
    pub has_seen_end: bool,
    /// A beat has failed, or is late.
    pub is_blind: bool,
    /// A beat was written that was not read back yet.
    pub awaits_beat: bool,
    /// What was tried last about attempts, or about runs that no consumer will run, has failed.
    pub is_undecided: bool,
    /// An order was not confirmed.
    pub is_unordered: bool,
    /// What this producer said of its job file was not confirmed.
    pub is_unsaid: bool,
    /// Some producer leads.
    pub is_led: bool,
}

impl State {
    /// How a part of the work stands.
    pub fn standing(&self, work: Duties) -> Standing {
        let owed_unless = |is_done: bool| if is_done { Standing::Done } else { Standing::Owed };
        match work {
            Duties::Following => owed_unless(self.is_following && !self.cannot_follow),
            Duties::Beats if !self.leads => Standing::Done,
            Duties::Beats if self.is_blind && self.awaits_beat => Standing::Hindered(Hindrance::OutOfSight),
            Duties::Beats => owed_unless(self.has_seen_end && !self.is_blind),
            Duties::LostAttempts => owed_unless(!self.leads || !self.is_undecided),
            Duties::Orders => owed_unless(!self.leads || !self.is_unordered),
            Duties::StandingBy => owed_unless(self.leads || !self.is_unsaid),
            Duties::Led if self.leads || self.is_led => Standing::Done,
            Duties::Led => Standing::Hindered(Hindrance::NoLeader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT_OF_SIGHT: Standing = Standing::Hindered(Hindrance::OutOfSight);
    const NO_LEADER: Standing = Standing::Hindered(Hindrance::NoLeader);

    /// A leader, or a standby, for which all is well, but for one change.
    fn check(leads: bool, change: impl Fn(&mut State), expected: &[(Duties, Standing)]) {
        let well = State { leads, is_following: true, has_seen_end: leads, is_led: true, ..State::default() };
        let mut state = well;
        change(&mut state);
        let stands = |work: &Duties| (*work, state.standing(*work));
        let not_done: Vec<_> =
            Duties::ALL.iter().map(stands).filter(|(_, standing)| *standing != Standing::Done).collect();
        assert_eq!(not_done, expected, "{state:?}");
    }

    #[test]
    fn each_part_of_the_work_is_owed_by_whom_it_concerns_and_where_it_is_not_done() {
        use Duties::{Beats, Following, Led, LostAttempts, Orders, StandingBy};
        use Standing::Owed;
        for leads in [true, false] {
            check(leads, |_| {}, &[]);
            check(leads, |state| state.is_following = false, &[(Following, Owed)]);
            check(leads, |state| state.cannot_follow = true, &[(Following, Owed)]);
            check(leads, |state| state.awaits_beat = true, &[]);
        }
        check(true, |state| state.has_seen_end = false, &[(Beats, Owed)]);
        check(true, |state| state.is_blind = true, &[(Beats, Owed)]);
        check(true, |state| (state.is_blind, state.awaits_beat) = (true, true), &[(Beats, OUT_OF_SIGHT)]);
        check(false, |state| (state.is_blind, state.awaits_beat) = (true, true), &[]);
        check(true, |state| state.is_undecided = true, &[(LostAttempts, Owed)]);
        check(false, |state| state.is_undecided = true, &[]);
        check(true, |state| state.is_unordered = true, &[(Orders, Owed)]);
        check(false, |state| state.is_unordered = true, &[]);
        check(true, |state| state.is_unsaid = true, &[]);
        check(false, |state| state.is_unsaid = true, &[(StandingBy, Owed)]);
        check(true, |state| state.is_led = false, &[]);
        check(false, |state| state.is_led = false, &[(Led, NO_LEADER)]);
    }
}

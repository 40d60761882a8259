//! What the run tracker must keep doing, and how each part of it stands. Pure.

/// A part of the work that fails by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duties {
    /// Reading `cron-runs`.
    Following,
    /// Writing beats and reading them back.
    Beats,
    /// Finding out what became of attempts and runs, and passing lost ones on.
    LostAttempts,
    /// Saying which job file a standby has.
    StandingBy,
    /// In a standby: seeing that some producer leads.
    Led,
}

impl Duties {
    /// All parts.
    pub const ALL: [Self; 5] =
        [Self::Following, Self::Beats, Self::LostAttempts, Self::StandingBy, Self::Led];

    /// The name of the duty.
    pub fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Beats => "beats",
            Self::LostAttempts => "lost attempts",
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
            Self::StandingBy => "saying on cron-runs which job file this producer has",
            Self::Led => "seeing a producer that leads",
        }
    }
}

/// What was tried last and failed.
#[derive(Debug, Default)]
pub(super) struct Undone {
    pub following: bool,
    pub saying_file: bool,
    /// Looking for the ends of attempts of which only signs of life are known.
    pub looking_back: bool,
    /// Looking for runs that no consumer will run.
    pub looking_for_runs: bool,
    /// Asking what became of attempts whose leases have run out, or passing them on.
    pub attempts: bool,
}

impl Undone {
    pub fn is_undecided(&self) -> bool {
        self.looking_back || self.looking_for_runs || self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_undone_of_lost_attempts_leaves_them_undecided() {
        assert!(!Undone { following: true, saying_file: true, ..Undone::default() }.is_undecided());
        assert!(Undone { looking_back: true, ..Undone::default() }.is_undecided());
        assert!(Undone { looking_for_runs: true, ..Undone::default() }.is_undecided());
        assert!(Undone { attempts: true, ..Undone::default() }.is_undecided());
    }
}

//! Faults that are directed at one planted bug, so that most of its runs show it, whatever the random sequence is. The
//! ordinary play has other faults.

use std::time::Duration;

use crate::ambush::Of;
use crate::bugs::Bug;
use crate::faults::Rates;
use crate::world::Sizes;

/// What goes wrong while a bug is looked for; nothing else does.
#[derive(Debug, Default)]
pub struct Aim {
    pub rates: Rates,
    /// Of the kinds of [`crate::faults::Chaos`]: kill, restart, stall, leave, clock forward, clock back, no broker, late
    /// requests arrive, retention, another job file, a topic made anew, a partition added.
    pub weights: [u64; 12],
    pub ambush: Option<Of>,
    /// The clocks of all consumers are behind those of the producers by more than a lease.
    pub consumers_are_behind: bool,
    pub lease: Option<Duration>,
    /// A consumer that is killed is started again at once, and meanwhile its topic gets another partition.
    pub grows_at_kills: bool,
    /// Copies are as far behind their originals as consumers look back.
    pub has_far_copies: bool,
    /// `cron-runs` tells the broker's time, so that leaders compare their clocks with it.
    pub tells_time: bool,
    /// How large records may be.
    pub sizes: Sizes,
    /// Things go wrong for long, because a healthy system may take long as well.
    pub is_long: bool,
}

impl Aim {
    /// How long things go wrong where producers take part: longer than a run that no producer published may hold a job back,
    /// and many ambushes.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(if self.is_long || self.ambush.is_some() { 200 } else { 110 })
    }

    /// How many messages are published where no producers take part.
    pub const MESSAGES: u64 = 60;

    /// The faults that make a bug show itself.
    pub fn at(bug: Bug) -> Self {
        let none = Self::default();
        let short = Some(Duration::from_secs(7));
        match bug {
            // Writes fail beside the commits.
            Bug::CommitBeforeClaimed | Bug::FinishedBeforeRetry | Bug::ConfirmsTooEarly => {
                Self { rates: Rates { not_sent: 200, ..Rates::default() }, ..none }
            }
            Bug::RunsOnUnknownAnswer => {
                Self { rates: Rates { request_lost: 200, ..Rates::default() }, ..none }
            }
            // A commit that was given up arrives while the group stands still.
            Bug::KeepsItsMemberId => Self {
                rates: Rates { late: 200, ..Rates::default() },
                weights: [0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0],
                ..none
            },
            // Copies, and partitions that change hands between them.
            Bug::ForgetsDuplicates => Self {
                rates: Rates { answer_lost: 200, ..Rates::default() },
                weights: [6, 12, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0],
                ..none
            },
            Bug::ForgetsFarCopies => {
                Self { weights: [6, 12, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0], has_far_copies: true, ..none }
            }
            // Partitions change hands and come back to a process that was stopped.
            Bug::KeepsItsOffsets => Self { weights: [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..none },
            Bug::OffsetAfterTheLog => {
                Self { ambush: Some(Of::Claims), lease: Some(Duration::from_secs(12)), ..none }
            }
            Bug::LeasesByTimeStamps => Self { consumers_are_behind: true, lease: short, ..none },
            Bug::WritesWithoutMandate => Self { ambush: Some(Of::Publisher), lease: short, ..none },
            Bug::DecidesBeforeTheEnd => Self { ambush: Some(Of::Leader), lease: short, ..none },
            // Ticks become late.
            Bug::ShortensTheDeadline => Self { weights: [0, 4, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..none },
            Bug::GoesByTopicNames => Self { weights: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], ..none },
            // Consumers are stopped, so that something is unread when its topic is deleted.
            Bug::EndsNoRun => {
                Self { weights: [0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0], lease: short, is_long: true, ..none }
            }
            Bug::DropsWhatIsTooLarge => {
                Self { sizes: Sizes { retry: Some(900), dead: Some(900), ..Sizes::default() }, ..none }
            }
            Bug::ReloadsAtOnce => Self { weights: [0, 0, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0], ..none },
            // Clocks of hosts jump forward.
            Bug::BelievesAnyClock => {
                Self { weights: [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], tells_time: true, ..none }
            }
            // Groups' leaders are replaced while partitions are added.
            Bug::LeavesNewPartitions => {
                Self { weights: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], grows_at_kills: true, ..none }
            }
            // They need no fault.
            Bug::KeepsAnOlderCursor
            | Bug::KeepsNoCursor
            | Bug::BlocksByNoRun
            | Bug::ReadsFromTheEnd
            | Bug::AsksForNoEnd
            | Bug::StartsWhatIsReplaced => none,
        }
    }
}

//! Bugs that are planted around the shipped code: a simulation that does not find them finds nothing. Each is what a
//! plausible program would do wrong, done on the code's behalf by a [client that misleads it](crate::misled) or by the driver.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The commit goes first, and `claimed` is written after it.
    CommitBeforeClaimed,
    /// A commit without an answer counts as granted.
    RunsOnUnknownAnswer,
    /// After a lost answer the old member id is kept; in a stable group that returns the same generation.
    KeepsItsMemberId,
    /// `finished` is written whether or not the next attempt is confirmed.
    FinishedBeforeRetry,
    /// A partition that is taken over is read from its first unclaimed offset, and copies of what lies before it are
    /// not known.
    ForgetsDuplicates,
    /// A new generation goes on from the offsets that the process remembers.
    KeepsItsOffsets,
    /// A batch counts as confirmed as soon as it was handed over, so that the cursor passes what is not written.
    ConfirmsTooEarly,
    /// The ends of `cron-runs` are not asked for after the committed offsets: what was read before them is all that is read.
    OffsetAfterTheLog,
    /// A sign of life is as old as its time stamp says, by whose clock ever.
    LeasesByTimeStamps,
    /// A publisher writes whether or not its producer still leads.
    WritesWithoutMandate,
    /// Overlaps are decided before all of `cron-runs` was read in the term.
    DecidesBeforeTheEnd,
    /// A cursor that had to wait is committed after newer ones.
    KeepsAnOlderCursor,
    /// Cursors are told and, but for the first of a process, never committed.
    KeepsNoCursor,
    /// A run that no producer has published blocks its job.
    BlocksByNoRun,
    /// Ticks are given up for their deadline before it has passed.
    ShortensTheDeadline,
    /// A topic that was made anew counts as the one before: only its name is looked at.
    GoesByTopicNames,
    /// What a topic will never take counts as written.
    DropsWhatIsTooLarge,
    /// The leader never says that a run is over whose message was deleted unread.
    EndsNoRun,
    /// The next leader is to read `cron-runs` from its end, whatever is under way.
    ReadsFromTheEnd,
    /// A job file becomes active at once, and no part of the producer asks which runs of its jobs are open.
    ReloadsAtOnce,
    /// A static leader of a group that comes back, and must not share out, takes the partitions that it counts for shared out.
    LeavesNewPartitions,
    /// A partition that is taken over is read from a little before its first unclaimed offset only.
    ForgetsFarCopies,
    /// The scheduler goes by its host's clock, however far that has jumped since it was compared with the broker's.
    BelievesAnyClock,
    /// The run tracker never asks consumers to end a run.
    AsksForNoEnd,
    /// A worker starts an attempt although it knows that the run is to end, and lets one run that is under way.
    StartsWhatIsReplaced,
}

/// All of them, what is said when one is found, and how many of 100 runs that are directed at it ([`crate::aim`]) say so:
/// `KAFKA_CRON_SEEDS=100` measures that anew.
pub const ALL: [(Bug, &str, u32); 25] = [
    (Bug::CommitBeforeClaimed, "without a claim", 100),
    (Bug::RunsOnUnknownAnswer, "commit does not claim it", 100),
    (Bug::KeepsItsMemberId, "claims are undone", 72),
    (Bug::FinishedBeforeRetry, "before it was passed on", 100),
    (Bug::ForgetsDuplicates, "and again by", 77),
    (Bug::KeepsItsOffsets, "and again by", 43),
    (Bug::ConfirmsTooEarly, "is ahead of the tick", 95),
    (Bug::OffsetAfterTheLog, "although it was heard of", 24),
    (Bug::LeasesByTimeStamps, "although it was heard of", 96),
    (Bug::WritesWithoutMandate, "writes fates although", 100),
    (Bug::DecidesBeforeTheEnd, "is published beside", 51),
    (Bug::KeepsAnOlderCursor, "the cursor goes back", 100),
    (Bug::KeepsNoCursor, "the cursor stands still", 100),
    (Bug::BlocksByNoRun, "which nobody has published", 100),
    (Bug::ShortensTheDeadline, "which has not passed", 100),
    (Bug::GoesByTopicNames, "", 100),
    (Bug::DropsWhatIsTooLarge, "before it was passed on", 100),
    (Bug::EndsNoRun, "which was deleted unread", 99),
    (Bug::ReadsFromTheEnd, "of which nothing is said from there on", 100),
    (Bug::ReloadsAtOnce, "is published beside", 49),
    (Bug::LeavesNewPartitions, "is still unclaimed", 77),
    (Bug::ForgetsFarCopies, "and again by", 22),
    (Bug::BelievesAnyClock, "before it is due by the broker's clock", 52),
    (Bug::AsksForNoEnd, "and its end was not asked for", 34),
    (Bug::StartsWhatIsReplaced, "knows that it is to end", 95),
];

impl Bug {
    /// Whether it is a bug of reporting, as opposed to claiming.
    pub fn is_reporters(self) -> bool {
        matches!(self, Self::FinishedBeforeRetry | Self::DropsWhatIsTooLarge)
    }

    /// Whether it is one of what follows `cron-runs`.
    pub fn is_tails(self) -> bool {
        matches!(self, Self::OffsetAfterTheLog | Self::LeasesByTimeStamps | Self::EndsNoRun)
    }

    /// Whether it is one of the thread that commits cursors.
    pub fn is_of_cursors(self) -> bool {
        matches!(self, Self::KeepsAnOlderCursor | Self::KeepsNoCursor | Self::ReadsFromTheEnd)
    }

    /// Whether producers must take part for it to show.
    pub fn needs_producers(self) -> bool {
        self.is_producers() || self == Self::StartsWhatIsReplaced
    }

    /// Whether it is a producer's.
    pub fn is_producers(self) -> bool {
        matches!(
            self,
            Self::ConfirmsTooEarly
                | Self::OffsetAfterTheLog
                | Self::LeasesByTimeStamps
                | Self::WritesWithoutMandate
                | Self::DecidesBeforeTheEnd
                | Self::KeepsAnOlderCursor
                | Self::KeepsNoCursor
                | Self::BlocksByNoRun
                | Self::ShortensTheDeadline
                | Self::EndsNoRun
                | Self::ReadsFromTheEnd
                | Self::ReloadsAtOnce
                | Self::BelievesAnyClock
                | Self::AsksForNoEnd
        )
    }
}

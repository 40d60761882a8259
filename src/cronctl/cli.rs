//! The command line of cronctl. `src/bin/cronctl.rs` reads it; manual pages and completions are made from it
//! (`examples/command-line.rs`).

use clap::{Parser, Subcommand};

use super::{check, dead, health, next, offsets, runs, top, verify};
use crate::common::{cli, exit};

/// Answers questions about jobs: is a job file right, when is a schedule due, what became of a run?
///
/// You can also give a flag by the environment variable beside it.
#[derive(Debug, Parser)]
#[command(name = "cronctl", version = cli::version(), after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    /// The question.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Is a job file right, and what is in it?
    ///
    /// Prints a summary: jobs, schedules and the next ticks of the first few jobs. Warnings about what is legal and
    /// probably not intended go to standard error. For a file with problems it prints all of them there, each as
    /// `file:line: what is wrong (what would be right)`, and ends with 2. If it cannot read the file, it ends with 4.
    #[command(after_help = "Example: cronctl check conf/jobs.cron --clusters cluster-a,cluster-b")]
    Check(check::Args),
    /// When is a schedule due?
    ///
    /// Prints a line for each tick: the instant in UTC, and the local time of the zone with its offset. Ends with 2 if
    /// the schedule has a mistake.
    #[command(
        after_help = "Example: cronctl next '30 1 * * *' --tz Europe/London --after 2026-03-28T00:00:00Z"
    )]
    Next(next::Args),
    /// What became of runs?
    ///
    /// Prints a line for each run: when it was due, how late its first attempt started, how often it was tried, how long
    /// the last attempt took, its state (waiting, running, waiting for retry, succeeded, given up, lost, expired, ended,
    /// skipped, queued, missed), and which consumer ran it. Missed ticks have a line for each interval; a tick is in the list as
    /// missed where it had waited before.
    #[command(after_help = "Example: cronctl runs --job backup --since 24h")]
    Runs(runs::list::Args),
    /// What happened to one run?
    ///
    /// Prints everything that the topics hold about it, in order, and the end of its output. Ends with 1 if they hold
    /// nothing.
    #[command(after_help = "Example: cronctl run 87ca294a-ea2b-5902-b344-9fc1da880045")]
    Run(runs::one::Args),
    /// How is everything, live?
    ///
    /// Shows each cluster (runs that are running, late or failing, ticks that are held, messages that wait, letters, and,
    /// with the job file, what is due next), the consumers, the leader, and the recent runs. The last line names the keys:
    /// they filter the runs and open one of them. What it shows comes from Kafka alone. Where standard output is no
    /// terminal, it prints a snapshot as lines, again and again. While Kafka is away, it says so, shows what it knew, and
    /// goes on when Kafka is back; with --once it ends with 3.
    #[command(after_help = "Example: cronctl top conf/jobs.cron")]
    Top(top::Args),
    /// Records that a run is finished, so that no tick waits for it any more
    ///
    /// Use it for a job with `overlap=skip` or `overlap=queue` that waits for a run which no consumer will finish. It stops
    /// no command and removes no message: a running command goes on, and if a consumer claims a later attempt of the run
    /// after all, the job waits for it again. Ends with 1 if the run is not known, or is finished already.
    #[command(
        after_help = "Example: cronctl end 87ca294a-ea2b-5902-b344-9fc1da880045 --reason 'its host is gone for good'"
    )]
    End(runs::end::Args),
    /// Is every tick accounted for?
    ///
    /// Computes every tick of a period from the job file, and looks up its fate on the topics: published, skipped, missed
    /// (with the reason), waiting, or without a trace. It also reports messages that the schedule does not ask for,
    /// attempts that were started twice, runs whose consumer died without a record of it, attempts that no consumer has
    /// begun within --begun-within, and ticks that were held back by a run that is finished or not alive. It computes the
    /// ticks of a schedule minute by minute, with other code than the producer's.
    ///
    /// Ends with 0 only if it finds none of these and could check the whole period. It cannot check a time in which another
    /// revision of the file was active. A period in which no tick is due proves nothing: the last line says so, and
    /// the code is 0. An empty period (`--since 10s`) ends with 2, and so does one whose first events retention deletes while they
    /// are read. It reads the topics once for so many ticks as --keep-ticks says.
    #[command(after_help = "Example: cronctl verify conf/jobs.cron --since 24h")]
    Verify(verify::Args),
    /// Shows what was given up, and puts it back
    Dead(dead::Args),
    /// Where do consumers go on in topics that were copied from another Kafka?
    ///
    /// Use it after a fail-over, before you start the consumers (docs/experiments/failover.md). A copied offset has a text
    /// beside it that is right only where it came from. This reads from the copied `cron-runs` which attempts have begun, and
    /// shows for each partition the offset that is committed now and the one that it goes to; how many messages before it wait
    /// and will run (WAITING), how many from it on will run (UNREAD), how many have begun although the copied offset had not
    /// passed them, and will not run (SKIPPED), and how many have begun and will run again (AGAIN; only if the waiting ones do
    /// not fit beside the offset). An offset that is right already stays. With --execute it commits that.
    ///
    /// Ends with 1 and changes nothing if a group has members, if a topic is missing, if it has fewer partitions than where
    /// it was copied from, or if a committed offset lies beyond the end of its partition's log.
    #[command(after_help = "Example: cronctl offsets --clusters cluster-a --execute")]
    Offsets(offsets::Args),
    /// Does a program say that it works?
    ///
    /// Requests a page over plain HTTP, for at most three seconds. Ends with 0 if the answer is 200, and otherwise with 1
    /// and a line that says why.
    #[command(after_help = "Example: cronctl health http://127.0.0.1:9100/readyz")]
    Health(health::Args),
}

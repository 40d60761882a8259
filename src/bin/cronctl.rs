//! cronctl: questions about jobs, asked from the command line. Reads the command line and hands on.

use clap::{Parser, Subcommand};
use kafka_cron::common::cli;
use kafka_cron::common::clock::SystemClock;
use kafka_cron::common::exit::{self, Exit};
use kafka_cron::cronctl::screen::Screen;
use kafka_cron::cronctl::{check, dead, health, next, runs, verify};

/// Asks about jobs: is a job file right, when is a schedule due, is a program well?
///
/// A flag may also be given by the environment variable that stands beside it.
#[derive(Debug, Parser)]
#[command(name = "cronctl", version = cli::version(), after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Is a job file right, and what is in it?
    ///
    /// Prints a summary: jobs, schedules and the next ticks of the first few jobs. What is legal and probably not meant
    /// goes to standard error as a warning. A file with problems has all of them printed there, each as
    /// `file:line: what is wrong (what would be right)`, and ends with 2; one that cannot be read ends with 4.
    #[command(after_help = "Example: cronctl check conf/jobs.cron --clusters cluster-a,cluster-b")]
    Check(check::Args),
    /// When is a schedule due?
    ///
    /// Prints a line for each tick: the instant in UTC, and the local time of the zone with its offset. A schedule with
    /// a mistake ends with 2.
    #[command(
        after_help = "Example: cronctl next '30 1 * * *' --tz Europe/London --after 2026-03-28T00:00:00Z"
    )]
    Next(next::Args),
    /// What became of runs?
    ///
    /// A line a run: when it was due, how late its first attempt was started, how often it was tried, how long the last
    /// attempt took, its state (waiting, running, waiting for retry, succeeded, given up, lost, expired, ended,
    /// skipped, queued), and who ran it. Ticks that were missed have a line for each interval.
    #[command(after_help = "Example: cronctl runs --job backup --since 24h")]
    Runs(runs::list::Args),
    /// What happened to one run?
    ///
    /// Everything that the topics hold about it, in order, and the end of its output. Ends with 1 where that is nothing.
    #[command(after_help = "Example: cronctl run 87ca294a-ea2b-5902-b344-9fc1da880045")]
    Run(runs::one::Args),
    /// Says that a run is over, so that no tick waits for it any more
    ///
    /// For a job with `overlap=skip` or `overlap=queue` that is held back by a run that no consumer will finish. Nothing is
    /// stopped and no message is taken away: a command that runs goes on, and where a later attempt of the run is claimed
    /// after all the job waits for it again. Ends with 1 where nothing is known of the run, or it is over already.
    #[command(
        after_help = "Example: cronctl end 87ca294a-ea2b-5902-b344-9fc1da880045 --reason 'its host is gone for good'"
    )]
    End(runs::end::Args),
    /// Is every tick accounted for?
    ///
    /// Asks the job file for every tick of a period and the topics for its fate: published, skipped, missed (with the
    /// reason), waiting – or without a trace. Also told: messages that the schedule does not ask for, attempts that were
    /// started twice, runs whose consumer died without anybody saying so, attempts that nobody has begun within
    /// --begun-within, and ticks that were held back by a run that is over or does not live. Which instants a schedule names is worked
    /// out anew, minute by minute, by other code than the producer's.
    ///
    /// Ends with 0 only if nothing of that is found and the whole period could be checked; a time in which another
    /// revision of the file was in force cannot. A period in which no tick is due proves nothing: the last line says so, and
    /// the code is 0. A period that is empty (`--since 10s`) ends with 2.
    #[command(after_help = "Example: cronctl verify conf/jobs.cron --since 24h")]
    Verify(verify::Args),
    /// What was given up, and putting it back
    Dead(dead::Args),
    /// Does a program say that it is well?
    ///
    /// Asks a page over plain HTTP, for three seconds at most. Ends with 0 when the answer is 200, and otherwise with 1
    /// and a line that says why.
    #[command(after_help = "Example: cronctl health http://127.0.0.1:9100/readyz")]
    Health(health::Args),
}

fn main() -> Exit {
    let cli = Cli::parse();
    let clock = SystemClock;
    Screen::of_process().answer(|screen| match &cli.question {
        Question::Check(args) => check::run(args, &clock, screen),
        Question::Next(args) => next::run(args, &clock, screen),
        Question::Runs(args) => runs::list::run(args, &clock, screen),
        Question::Run(args) => runs::one::run(args, &clock, screen),
        Question::End(args) => runs::end::run(args, &clock, screen),
        Question::Verify(args) => verify::run(args, &clock, screen),
        Question::Dead(args) => dead::run(args, &clock, screen),
        Question::Health(args) => health::run(args, &clock, screen),
    })
}

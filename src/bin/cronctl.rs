//! cronctl: questions about jobs, asked from the command line. Hands on what the command line asks.

use clap::Parser;
use kafka_cron::common::clock::SystemClock;
use kafka_cron::common::exit::Exit;
use kafka_cron::cronctl::cli::{Cli, Question};
use kafka_cron::cronctl::screen::Screen;
use kafka_cron::cronctl::{check, dead, health, next, offsets, runs, top, verify};

fn main() -> Exit {
    let cli = Cli::parse();
    let clock = SystemClock;
    Screen::of_process().answer(|screen| match &cli.question {
        Question::Check(args) => check::run(args, &clock, screen),
        Question::Next(args) => next::run(args, &clock, screen),
        Question::Runs(args) => runs::list::run(args, &clock, screen),
        Question::Run(args) => runs::one::run(args, &clock, screen),
        Question::Top(args) => top::run(args, &clock, screen),
        Question::End(args) => runs::end::run(args, &clock, screen),
        Question::Verify(args) => verify::run(args, &clock, screen),
        Question::Dead(args) => dead::run(args, &clock, screen),
        Question::Offsets(args) => offsets::run(args, screen),
        Question::Health(args) => health::run(args, &clock, screen),
    })
}

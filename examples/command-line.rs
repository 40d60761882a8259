//! Writes manual pages and shell completions of the programs, made from the definitions of their command lines:
//!
//!     cargo run --example command-line -- DIR
//!
//! The programs have the names that a package gives them. The files lie in DIR as below `/usr/share`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use kafka_cron::{consumer, cronctl, producer};

/// The name of the manual, in the foot of each page.
const MANUAL: &str = "kafka-cron";

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: command-line DIR"));
    };
    let programs = [
        ("kafka-cron-producer", "8", producer::cli::Args::command()),
        ("kafka-cron-consumer", "8", consumer::cli::Args::command()),
        ("cronctl", "1", cronctl::cli::Cli::command()),
    ];
    for (name, section, command) in programs {
        // `--version` adds what the time zones of this host are: that is nothing for a page.
        let mut command = command.name(name).bin_name(name).version(env!("CARGO_PKG_VERSION"));
        completions(&directory, name, command.clone())?;
        command = command.disable_help_subcommand(true);
        command.build();
        pages(&directory.join(format!("man/man{section}")), section, &command)?;
    }
    Ok(())
}

fn completions(directory: &Path, name: &str, mut command: Command) -> io::Result<()> {
    let places = [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Zsh, format!("zsh/vendor-completions/_{name}")),
        (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
    ];
    for (shell, place) in places {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut text);
        write(&directory.join(place), &text)?;
    }
    Ok(())
}

/// Writes the page of a command, and those of its commands. `cronctl dead replay` is on the page `cronctl-dead-replay`.
fn pages(directory: &Path, section: &str, command: &Command) -> io::Result<()> {
    let page = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(short(command.clone()))
        .title(page.as_str())
        .section(section)
        .manual(MANUAL)
        .render(&mut text)?;
    write(&directory.join(format!("{page}.{section}")), &text)?;
    command.get_subcommands().try_for_each(|inner| pages(directory, section, inner))
}

/// The line NAME of a page is for `apropos`: it ends without a full stop.
fn short(command: Command) -> Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    command.about(about.trim_end_matches('.').to_owned())
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

//! The binary `shoal-sim`.

mod board;
mod check;
mod command;
mod plan;
mod search;
mod trial;

use std::{env, io::Write, path::Path, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Parser;
use shoal_sim::{
    run::{self, Options},
    scenario::Scenario,
};
use shoal_sim_cli::{Context, Report, scenarios};

use board::Board;
use command::{Cli, Command};
use search::{Ready, parameters};

/// Exit code for wrong usage.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Some(Command::Run(arguments)) => with(arguments.checked(), |scenario| {
            let report = simulate(scenario)?;
            show(&report, arguments.out.as_deref(), arguments.json)
        }),
        Some(Command::Plan(arguments)) => with(arguments.checked(), |scenario| {
            let report = simulate(scenario)?.compared();
            show(&report, arguments.out.as_deref(), arguments.json)
        }),
        Some(Command::Sweep(arguments)) if arguments.parameters => print(&parameters()).map(|()| ExitCode::SUCCESS),
        Some(Command::Sweep(arguments)) => with(arguments.checked(), find),
        Some(Command::Tune(arguments)) => with(arguments.checked(), find),
        Some(Command::Check(arguments)) => with(arguments.checked(), |subject| {
            let (text, code) = arguments.run(&subject)?;
            print(&text).map(|()| code)
        }),
        Some(Command::Scenarios) | None => scenarios().and_then(|list| print(&list)).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Makes the runs of a search, and prints what came of them.
fn find(search: Ready) -> anyhow::Result<ExitCode> {
    print(&search.go()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Goes on with what the user's arguments make.
fn with<T>(made: anyhow::Result<T>, go_on: impl FnOnce(T) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match made {
        Ok(made) => go_on(made),
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(WRONG_USAGE))
        }
    }
}

fn simulate(scenario: Scenario) -> anyhow::Result<Report> {
    let mut board = Board::new(&scenario.name);
    let start = Instant::now();
    let outcome = run::run(&scenario, &Options::default(), &mut |progress| {
        board.show(progress.at_s, progress.share, progress.done, progress.pulls);
    })?;
    let wall_s = start.elapsed().as_secs_f64();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Report::new(scenario, outcome, Context { version, command: command_line(), wall_s }))
}

/// Writes the report where it is asked for, prints the result, and says how the command ends.
fn show(report: &Report, out: Option<&Path>, is_json: bool) -> anyhow::Result<ExitCode> {
    if let Some(out) = out {
        report.write(out)?;
    }
    print(&if is_json { format!("{}\n", report.object()) } else { report.text() })?;
    Ok(if report.figures().failed_nodes == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As it was typed.
fn command_line() -> String {
    let arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    format!("shoal-sim {}", arguments.collect::<Vec<_>>().join(" "))
}

/// A reader that has seen enough, as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print the result"),
        _ => Ok(()),
    }
}

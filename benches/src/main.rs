//! The binary `shoal-lab`.

mod args;
mod binary;
mod context;
mod interrupts;

use std::{env, ffi::OsString, io::Write, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use shoal_lab::{
    agent, calibration,
    local::{latency, memory, throughput},
    network, process,
    report::Report,
    run,
};

use args::{CalibrateArgs, Cli, Command, RunArgs};
use interrupts::Interrupts;

/// Exit code for wrong usage, and for what is missing on the machine.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // What the laboratory starts itself as comes before any parsing and any thread.
    let done = match arguments.split_first() {
        Some((first, rest)) if first == process::TETHERED => process::become_tethered(rest).map(|never| match never {}),
        Some((first, rest)) if first == network::RELAY => network::run_relay(rest).map(|()| ExitCode::SUCCESS),
        Some((first, [])) if first == agent::NAME => agent::run().map(|()| ExitCode::SUCCESS),
        _ => command(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn command() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(arguments) => runtime()?.block_on(run(*arguments)),
        Command::Calibrate(arguments) => runtime()?.block_on(calibrate(arguments)),
        Command::Throughput(arguments) => runtime()?.block_on(to_the_end(throughput::run(&arguments))),
        Command::Memory(arguments) => runtime()?.block_on(to_the_end(memory::run(&arguments))),
        Command::Latency(arguments) => runtime()?.block_on(to_the_end(latency::run(&arguments))),
        Command::Scenarios => {
            print(&shoal_sim_cli::scenarios()?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the laboratory's runtime does not start")
}

/// Runs a measurement that cleans up when it is dropped, unless a signal ends it.
async fn to_the_end(measurement: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    tokio::select! {
        done = measurement => done.map(|()| ExitCode::SUCCESS),
        signal = interrupts.next() => {
            eprintln!("error: stopped by {}; nothing is left behind", signal.name);
            Ok(ExitCode::from(signal.exit_code))
        }
    }
}

async fn run(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    let plan = match arguments.plan() {
        Ok(plan) => plan,
        Err(error) => return Ok(refused(&format!("{error:#}"))),
    };
    // Before the check, which tries in a namespace of its own what the kernel can do: a signal meanwhile waits for its end.
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    if let Err(lacking) = arguments.check_output().and_then(|()| Ok(run::check(&plan)?)) {
        return Ok(refused(&format!("{lacking:#}")));
    }
    let experiments = tokio::select! {
        experiments = run::run(&plan) => experiments?,
        signal = interrupts.next() => {
            // Whatever there was has ended and gone with the future.
            eprintln!("error: stopped by {}; nothing is left behind", signal.name);
            return Ok(ExitCode::from(signal.exit_code));
        }
    };
    let failures: Vec<String> = experiments.iter().flat_map(run::failures).collect();
    arguments.show(&Report { context: context::of_this_invocation(), experiments })?;
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn calibrate(arguments: CalibrateArgs) -> anyhow::Result<ExitCode> {
    let plans = match arguments.plans() {
        Ok(plans) => plans,
        Err(error) => return Ok(refused(&format!("{error:#}"))),
    };
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    if let Some(lacking) = plans.iter().find_map(|(_, plan)| run::check(plan).err()) {
        return Ok(refused(&format!("{:#}", anyhow::Error::from(lacking))));
    }
    let mut rows = Vec::new();
    for (row, plan) in &plans {
        let experiments = tokio::select! {
            experiments = run::run(plan) => experiments?,
            signal = interrupts.next() => {
                eprintln!("error: stopped by {}; nothing is left behind", signal.name);
                return Ok(ExitCode::from(signal.exit_code));
            }
        };
        for experiment in &experiments {
            rows.push(calibration::compare(row, experiment)?);
        }
    }
    arguments.show(&rows)?;
    let is_whole = rows.iter().all(|row| row.laboratory.is_some());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn refused(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(WRONG_USAGE)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("cannot print the result")
}

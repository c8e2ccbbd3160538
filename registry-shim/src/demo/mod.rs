//! `shoal demo`: what a swarm is worth, measured on this machine in a minute.
//!
//! It generates an image, serves it from a registry behind one slow link, starts real `shoal node` processes with links
//! of the same rate, and pulls the image through all of them at once, as containerd would. Then it measures the same
//! pulls straight from the registry, and compares both with the least time that the links allow.
//!
//! Links are limits on payload bytes: of the registry and of the clients in this process, of the nodes by their own
//! settings. Whatever happens, no process and no file is left behind.

mod client;
mod cluster;
mod format;
mod image;
mod link;
mod measure;
mod plan;
mod process;
mod progress;
mod registry;
mod report;
mod scrape;
mod tether;
mod timeline;

use std::{ffi::OsString, io::Write, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use cluster::Cluster;
use image::Image;
use plan::Plan;
use progress::Board;
use report::Report;

use shoal_runtime::units::{Rate, Size};

/// Arguments of `shoal demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Number of nodes that pull at once, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 8, allow_negative_numbers = true)]
    nodes: u32,
    /// Size of the image in bytes, as 128MiB or 64MB.
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    size: Size,
    /// Rate of every link, up and down: of the registry and of each node. As 200mbit (bits) or 25MB (bytes).
    #[arg(long, value_name = "RATE", default_value = "200mbit")]
    link: Rate,
    /// Number of layers. The first three have 50, 25 and 15 % of the image, the others share 10 %.
    #[arg(long, value_name = "N", default_value_t = 4, allow_negative_numbers = true)]
    layers: u32,
    /// Decides the bytes of the image.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Leave out the pulls straight from the registry, which take N times as long as one pull.
    #[arg(long)]
    skip_single_source: bool,
    /// The way in which the demo starts its own nodes.
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    tethered: Vec<OsString>,
}

/// Runs the demo: exit code 0 if every digest was right, 1 if not or if it was interrupted, 2 for arguments that cannot
/// work. Await it on the main thread: the nodes end when the thread ends that started them.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    if !args.tethered.is_empty() {
        tether::become_tethered(&args.tethered)?;
    }
    let plan = match Plan::check(&args).and_then(|plan| plan.check_disk(&std::env::temp_dir()).map(|()| plan)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    let mut cluster = Cluster::new();
    let outcome = tokio::select! {
        outcome = perform(&plan, &mut cluster) => outcome,
        name = interrupts.next() => Err(anyhow::anyhow!("stopped by {name}")),
    };
    let cleaned = tokio::select! {
        cleaned = cluster.stop() => Some(cleaned),
        _ = interrupts.next() => None,
    };
    let cleaned = match cleaned {
        Some(cleaned) => cleaned,
        // Whoever asks twice does not want to wait.
        None => cluster.kill().await,
    };
    let code = finish(&args, &outcome?)?;
    cleaned.map(|()| code)
}

async fn perform(plan: &Plan, cluster: &mut Cluster) -> anyhow::Result<Report> {
    let image = {
        let _board = Board::working_on("generating the image");
        Image::generate(&plan.layers, plan.seed).await.context("cannot generate the image")?
    };
    let image = Arc::new(image);
    let swarm = measure::through_the_swarm(plan, &image, cluster).await?;
    {
        // The nodes go before the other case is measured: it has the machine for itself.
        let _board = Board::working_on("stopping the nodes");
        cluster.stop().await?;
    }
    let single = if plan.single_source { Some(measure::from_the_single_source(plan, &image).await?) } else { None };
    Ok(Report::new(plan, &image, swarm, single.as_ref()))
}

fn finish(args: &DemoArgs, report: &Report) -> anyhow::Result<ExitCode> {
    let text = if args.json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot print the result")?;
    for wrong in report.wrong() {
        eprintln!("wrong: {wrong}");
    }
    if !report.digests_ok() {
        bail!("not every digest is right");
    }
    Ok(ExitCode::SUCCESS)
}

/// The signals by which people and systems end a program.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one, and returns its name. Cancel safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

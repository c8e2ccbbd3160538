//! The binary `shoal`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
enum Cli {
    /// Measure what a swarm is worth on this machine.
    Demo(shoal_shim::demo::DemoArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse() {
        Cli::Demo(args) => shoal_shim::demo::run(args).await,
    }
}

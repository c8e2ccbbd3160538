//! Place of the demonstration.

use std::process::ExitCode;

/// Arguments of the demonstration.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}

/// Runs the demonstration.
pub async fn run(_args: DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build has no demonstration")
}

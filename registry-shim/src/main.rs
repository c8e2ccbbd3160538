//! The binary `shoal`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A peer-to-peer registry mirror for containerd
///
/// Nodes pull each image about once from its registry, and share its pieces among themselves.
#[derive(Parser)]
#[command(name = "shoal", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Node(Box<shoal_shim::node::NodeArgs>),
    /// Pull an image on several real nodes of this machine at once, and compare with pulls straight from its registry
    ///
    /// It needs nothing: the registry, the image and the nodes are its own, on loopback, and are gone at the end.
    Demo(shoal_shim::demo::DemoArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the threads of the process do not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match cli.command {
            Command::Node(args) => shoal_shim::node::run(*args).await.unwrap_or_else(|error| {
                eprintln!("error: {error}");
                error.exit_code()
            }),
            Command::Demo(args) => shoal_shim::demo::run(args).await.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }),
        }
    })
}

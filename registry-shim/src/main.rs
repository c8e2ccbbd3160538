//! The binary `shoal`.

use std::{num::NonZeroUsize, process::ExitCode, thread::available_parallelism};

use clap::{Parser, Subcommand};
use shoal_runtime::Moderation;

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

/// What tokio takes the number of its threads from, where a program does not say it.
const THREADS_VARIABLE: &str = "TOKIO_WORKER_THREADS";

/// Threads of a node for its sockets and timers, on a machine with so many processors. Hashing and the disk have others.
///
/// One brings as much over loopback as two on two processors (5 Gbit/s, docs/benchmarks.md). With two, each packet of a slow
/// link is handed from thread to thread, which costs an eighth of a node's time; and who runs containers has other use for
/// the processors.
fn network_threads(processors: usize) -> usize {
    (processors / 4).clamp(1, 8)
}

fn runtime(command: &Command, moderation: &Moderation) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if matches!(command, Command::Node(_)) {
        // Where it is said there, tokio takes it, and says what is wrong with it.
        let threads = if let Ok(threads) = std::env::var(THREADS_VARIABLE) {
            threads.parse().ok()
        } else {
            let threads = network_threads(available_parallelism().map_or(1, NonZeroUsize::get));
            builder.worker_threads(threads);
            Some(threads)
        };
        if threads == Some(1) {
            let moderation = moderation.clone();
            builder.on_thread_park(move || moderation.before_park());
        }
    }
    builder.enable_all().build()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let moderation = Moderation::default();
    let runtime = match runtime(&cli.command, &moderation) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the threads of the process do not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match cli.command {
            Command::Node(args) => shoal_shim::node::run(*args, &moderation).await.unwrap_or_else(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_a_quarter_of_the_processors_for_its_sockets_and_at_most_eight() {
        let threads = [1, 2, 7, 8, 16, 32, 256].map(network_threads);
        assert_eq!(threads, [1, 1, 1, 2, 4, 8, 8]);
    }
}

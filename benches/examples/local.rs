//! The measurements of two nodes on loopback, as a program of their own.

use clap::Parser;
use shoal_lab::local::{latency, memory, throughput};

#[derive(Parser)]
enum Command {
    Throughput(throughput::Args),
    Memory(memory::Args),
    Latency(latency::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Throughput(args) => throughput::run(&args).await,
        Command::Memory(args) => memory::run(&args).await,
        Command::Latency(args) => latency::run(&args).await,
    }
}

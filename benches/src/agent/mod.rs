//! `shoal-lab agent`: the laboratory's hand inside the namespace of a node. It takes [`Order`]s from standard input, one a
//! line, and says on standard output what comes of them, until its input ends. One thread, so that thirty of them are cheap.

pub(crate) mod blob;
mod containerd;
mod http;
mod look;
mod meter;
pub(crate) mod protocol;
mod pull;

use std::{
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::time::{MissedTickBehavior, interval};

use meter::Meter;
use protocol::{ClientOrder, LINE_BYTES_MAX, Order, PullOrder, Pulled, Report};

/// First argument of `shoal-lab` by which it is an agent.
pub const NAME: &str = "agent";

/// Time between two reports of a pull's progress.
const PROGRESS: Duration = Duration::from_millis(100);

/// Runs the agent until its input ends.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the agent's runtime does not start")?;
    let mut input = io::stdin().lock();
    while let Some(order) = next_order(&mut input)? {
        let report = runtime.block_on(obey(order))?;
        say(&report)?;
    }
    Ok(())
}

fn next_order(input: &mut impl BufRead) -> anyhow::Result<Option<Order>> {
    let mut line = String::new();
    input.take(LINE_BYTES_MAX).read_line(&mut line).context("cannot read an order")?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.ends_with('\n'), "an order is not a line of at most {LINE_BYTES_MAX} bytes");
    serde_json::from_str(&line).map(Some).with_context(|| format!("not an order: {line}"))
}

async fn obey(order: Order) -> anyhow::Result<Report> {
    match order {
        Order::Pull(order) => Ok(Report::Pulled(watched(&order).await?)),
        Order::Look { address } => Ok(match look::look(address).await {
            Ok(page) => Report::Page(page),
            Err(error) => Report::NoPage { error: format!("{error:#}") },
        }),
    }
}

/// Pulls, and reports the progress meanwhile.
async fn watched(order: &PullOrder) -> anyhow::Result<Pulled> {
    let meter = Meter::start();
    let mut pulling = std::pin::pin!(obtain(order, &meter));
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let result = loop {
        tokio::select! {
            result = &mut pulling => break result,
            _ = ticks.tick() => say(&Report::Progress { bytes: meter.bytes() })?,
        }
    };
    Ok(meter.end(result.err().map(|error| format!("{error:#}"))))
}

async fn obtain(order: &PullOrder, meter: &Meter) -> anyhow::Result<()> {
    match &order.client {
        ClientOrder::Http { endpoint, mirror_of, ranges_at_once, files } => {
            let (endpoint, ranges_at_once) = (*endpoint, *ranges_at_once);
            let way = pull::Way { endpoint, mirror_of: mirror_of.as_deref(), ranges_at_once, files: files.as_deref() };
            pull::pull(&order.what, way, meter).await
        }
        ClientOrder::Containerd { socket, hosts, content, reference, small_bytes } => {
            let pull = containerd::Pull { socket, hosts, content, reference, small_bytes: *small_bytes };
            containerd::pull(pull, meter).await
        }
    }
}

fn say(report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(report).context("a report is not JSON")?;
    line.push('\n');
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).context("nobody reads the agent's reports")
}

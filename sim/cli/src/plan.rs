//! Flags of `shoal-sim plan`: a cluster that somebody has or thinks of, without a scenario file.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use shoal_core::units::{Rate, Size};
use shoal_sim::scenario::{Arrival, Content, Link, Scenario, Upstream, Zones, parse_duration};
use shoal_sim_cli::{check_folder, link};

/// Arguments of `shoal-sim plan`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    /// Number of nodes
    #[arg(long, value_name = "N")]
    nodes: u32,
    /// Link of each node, as 1gbit, or up/down as 20mbit/100mbit, in payload
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Link,
    /// Bytes that each node pulls, as 2GiB, in one blob
    #[arg(long, value_name = "SIZE", required_unless_present = "layers")]
    size: Option<Size>,
    /// An image of layers of these sizes
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', conflicts_with = "size")]
    layers: Vec<Size>,
    /// What the upstream sends, as 1gbit, in payload; as much as a node when it is left out
    #[arg(long, value_name = "RATE")]
    upstream: Option<Rate>,
    /// Number of zones, in which the nodes are spread evenly
    #[arg(long, value_name = "N", requires = "uplink")]
    zones: Option<u32>,
    /// What enters and leaves each zone, as 10gbit, or up/down
    #[arg(long, value_name = "RATE", value_parser = link, requires = "zones")]
    uplink: Option<Link>,
    /// One-way delay between any two hosts, as 500us
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0ms")]
    latency: Duration,
    /// When nodes begin: together; staggered:TIME, one after the other over so long; rolling:SHARE, so large a share at a
    /// time
    #[arg(long, value_name = "KIND", value_parser = arrival, default_value = "together")]
    arrival: Arrival,
    /// Share of the nodes that have the content already, as 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    warm_share: f64,
    /// Decides what is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the page, plots, tables and the scenario as it ran into this folder, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl PlanArgs {
    /// The cluster as a scenario, with the folder made. Errors are the user's.
    pub(crate) fn checked(&self) -> anyhow::Result<Scenario> {
        // Through the form of a file, so that values meet the rules of one.
        let scenario = Scenario::parse(&self.scenario().to_toml(), "plan")?;
        if let Some(out) = &self.out {
            check_folder(out)?;
        }
        Ok(scenario)
    }

    fn scenario(&self) -> Scenario {
        Scenario {
            name: "plan".to_owned(),
            about: "A cluster as it was asked for.".to_owned(),
            nodes: self.nodes,
            link: self.link,
            upstream: Upstream { rate: self.upstream.map_or(self.link.up, |rate| rate.0), ranges: true },
            zones: self.zones.zip(self.uplink).map(|(count, uplink)| Zones { count, uplink }),
            latency: self.latency,
            content: match self.size {
                Some(size) => Content::Blob(size.0),
                None => Content::Image(self.layers.iter().map(|size| size.0).collect()),
            },
            arrival: self.arrival,
            warm_share: self.warm_share,
            slow_nodes: None,
            faults: Vec::new(),
            seed: self.seed,
        }
    }
}

fn arrival(text: &str) -> anyhow::Result<Arrival> {
    let (kind, value) = text.split_once(':').map_or((text, None), |(kind, value)| (kind, Some(value)));
    match (kind, value) {
        ("together", None) => Ok(Arrival::Together),
        ("staggered", Some(over)) => Ok(Arrival::Staggered { over: parse_duration(over)? }),
        ("rolling", Some(share)) => Ok(Arrival::Rolling {
            share: share.parse().with_context(|| format!("{share:?} is not a share, as in 0.2"))?,
        }),
        _ => bail!(
            "{text:?} is no arrival; expected together, staggered:TIME as in staggered:60s, or rolling:SHARE as in rolling:0.2"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_read() {
        assert_eq!(arrival("together").unwrap(), Arrival::Together);
        assert_eq!(arrival("staggered:1.5s").unwrap(), Arrival::Staggered { over: Duration::from_millis(1500) });
        assert_eq!(arrival("rolling:0.25").unwrap(), Arrival::Rolling { share: 0.25 });
        for text in ["", "together:1s", "staggered", "staggered:x", "rolling:some", "later"] {
            assert!(arrival(text).is_err(), "{text}");
        }
    }
}

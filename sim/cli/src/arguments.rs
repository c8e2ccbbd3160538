//! Flags that say what is run, the same for every program that runs scenarios.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use shoal_core::units::{Rate, Size};
use shoal_sim::scenario::{Link, Overrides, Scenario, by_name, parse_duration, shipped};

/// A scenario, and values that replace its own.
#[derive(Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// Name of a scenario that comes with it, or a file
    scenario: String,
    /// Bytes of the content, as 256MiB; the layers of an image keep their proportions
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// An image of layers of these sizes
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', conflicts_with = "size")]
    layers: Vec<Size>,
    /// Link of each node, as 50mbit, or up/down as 20mbit/100mbit, in payload; what else the scenario states scales with it
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<Link>,
    /// What the upstream sends, as 50mbit, in payload
    #[arg(long, value_name = "RATE")]
    upstream: Option<Rate>,
    /// One-way delay between any two hosts, as 20ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    latency: Option<Duration>,
    /// Share of the nodes that have the content already, as 0.5
    #[arg(long, value_name = "SHARE")]
    warm_share: Option<f64>,
    /// Decides the bytes of the content and the order of what is random
    #[arg(long)]
    seed: Option<u64>,
}

impl ScenarioArgs {
    /// The scenario, with so many nodes where a number is given.
    ///
    /// # Errors
    /// The user's: there is no such scenario or file, or a value in it or in a flag cannot be.
    pub fn scenario(&self, nodes: Option<u32>) -> anyhow::Result<Scenario> {
        scenario_named(&self.scenario, &self.overrides(nodes))
    }

    fn overrides(&self, nodes: Option<u32>) -> Overrides {
        Overrides {
            nodes,
            size: self.size.map(|size| size.0),
            layers: (!self.layers.is_empty()).then(|| self.layers.iter().map(|size| size.0).collect()),
            link: self.link,
            upstream: self.upstream.map(|rate| rate.0),
            latency: self.latency,
            warm_share: self.warm_share,
            seed: self.seed,
        }
    }
}

/// A scenario that comes with it, or that of a file, with values replaced.
///
/// # Errors
/// The user's: there is no such scenario or file, or a value cannot be.
pub fn scenario_named(name: &str, overrides: &Overrides) -> anyhow::Result<Scenario> {
    let (text, file) = text_of(name)?;
    Ok(Scenario::parse_with(&text, &file, overrides)?)
}

/// Text of a scenario, and what errors call it.
fn text_of(name: &str) -> anyhow::Result<(String, String)> {
    if let Some(text) = by_name(name) {
        return Ok((text.to_owned(), format!("{name}.toml")));
    }
    let path = Path::new(name);
    let names = || shipped().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    ensure!(path.is_file(), "{name} is neither a file nor one of {}", names());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((text, name.to_owned()))
}

/// The shipped scenarios, one a line.
///
/// # Errors
/// One of them cannot be read.
pub fn scenarios() -> anyhow::Result<String> {
    let mut lines = String::new();
    for (name, text) in shipped() {
        let about = Scenario::parse(text, name).with_context(|| format!("the scenario {name}"))?.about;
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{name:<16}{about}");
    }
    Ok(lines)
}

/// A link as in `100mbit`, or up/down as in `20mbit/100mbit`.
///
/// # Errors
/// It is none, with what is expected.
pub fn link(text: &str) -> anyhow::Result<Link> {
    let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.0);
    // A rate may end in /s.
    let (up, down) = match text.split_once('/').filter(|(_, down)| *down != "s") {
        Some((up, down)) => (rate(up)?, rate(down)?),
        None => (rate(text)?, rate(text)?),
    };
    Ok(Link { up, down })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_rate_or_two() {
        assert_eq!(link("8mbit").unwrap(), Link { up: 1_000_000, down: 1_000_000 });
        assert_eq!(link("8mbit/s").unwrap(), Link { up: 1_000_000, down: 1_000_000 });
        assert_eq!(link("8mbit/16mbit").unwrap(), Link { up: 1_000_000, down: 2_000_000 });
        assert!(link("8mbit/").is_err());
    }

    #[test]
    fn each_shipped_scenario_has_its_line() {
        let lines = scenarios().unwrap();
        assert_eq!(lines.lines().count(), shipped().len());
        assert!(lines.lines().zip(shipped()).all(|(line, (name, _))| line.starts_with(&format!("{name} "))), "{lines}");
    }
}

//! A scenario as a file, with every value as it is after replacements, so that it can be run again.

use std::fmt::Write as _;

use super::{Arrival, Content, Fault, FaultKind, Link, Scenario};

impl Scenario {
    /// A file that reads as an equal scenario. Multiples of the node link are written as the rates that they stand for.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "name = {}\nabout = {}\nnodes = {}\nlink = {}\nlatency = \"{}us\"\nwarm_share = {:?}\nseed = {}\n\n\
             [upstream]\nrate = {}\nranges = {}\n\n[content]\n{}\n\n[arrival]\n{}\n",
            quoted(&self.name),
            quoted(&self.about),
            self.nodes,
            link(self.link),
            self.latency.as_micros(),
            self.warm_share,
            self.seed,
            bytes(self.upstream.rate),
            self.upstream.ranges,
            content(&self.content),
            arrival(self.arrival),
        );
        if let Some(zones) = self.zones {
            let _ = write!(text, "\n[zones]\ncount = {}\nuplink = {}\n", zones.count, link(zones.uplink));
        }
        if let Some(slow) = self.slow_nodes {
            let _ = write!(text, "\n[slow_nodes]\ncount = {}\nlink = {}\n", slow.count, link(slow.link));
        }
        for Fault { at, what } in &self.faults {
            let _ = write!(text, "\n[[faults]]\nat = {at:?}\n{}\n", fault(*what));
        }
        text
    }
}

/// A name or sentence, which contain no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn bytes(bytes: u64) -> String {
    format!("\"{bytes}B\"")
}

fn link(link: Link) -> String {
    format!("{{ up = {}, down = {} }}", bytes(link.up), bytes(link.down))
}

fn content(content: &Content) -> String {
    match content {
        Content::Blob(size) => format!("blob = {}", bytes(*size)),
        Content::Image(layers) => {
            let sizes: Vec<String> = layers.iter().map(|layer| bytes(*layer)).collect();
            format!("layers = [{}]", sizes.join(", "))
        }
    }
}

fn arrival(arrival: Arrival) -> String {
    match arrival {
        Arrival::Together => "kind = \"together\"".to_owned(),
        Arrival::Staggered { over } => format!("kind = \"staggered\"\nover = \"{}us\"", over.as_micros()),
        Arrival::Rolling { share } => format!("kind = \"rolling\"\nshare = {share:?}"),
    }
}

fn fault(what: FaultKind) -> String {
    match what {
        FaultKind::KillNode { node } => format!("what = \"kill-node\"\nnode = {node}"),
        FaultKind::KillHome => "what = \"kill-home\"".to_owned(),
        FaultKind::KillUpstream => "what = \"kill-upstream\"".to_owned(),
        FaultKind::SlowNode { node, link: new } => {
            format!("what = \"slow-node\"\nnode = {node}\nlink = {}", link(new))
        }
        FaultKind::CorruptNode { node } => format!("what = \"corrupt-node\"\nnode = {node}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, shipped};
    use super::*;

    #[test]
    fn each_shipped_scenario_reads_as_it_was_written() {
        let replaced =
            Overrides { nodes: Some(17), size: Some(12_345_678), seed: Some(i64::MAX as u64), ..Overrides::default() };
        for (name, text) in shipped() {
            for overrides in [&Overrides::default(), &replaced] {
                let scenario = Scenario::parse_with(text, name, overrides).unwrap();
                let written = scenario.to_toml();
                let read =
                    Scenario::parse(&written, "written.toml").unwrap_or_else(|error| panic!("{error}\n{written}"));
                assert_eq!(read, scenario, "{written}");
            }
        }
    }

    #[test]
    fn quotes_and_odd_numbers_keep_their_values() {
        let mut scenario = super::super::tests_support::cold_start();
        scenario.about = r#"A "quoted" \ sentence."#.to_owned();
        scenario.warm_share = 0.1 + 0.2;
        scenario.latency = std::time::Duration::from_micros(1);
        assert_eq!(Scenario::parse(&scenario.to_toml(), "written.toml").unwrap(), scenario);
    }
}

//! What was measured, as one JSON object or as a table.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    client::Pull,
    format::{Bytes, BytesPerSecond},
    image::Image,
    measure::{Run, SwarmRun},
    plan::Plan,
    timeline::Timeline,
};

/// The result of a demo. Names end in their units; `_s` are seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    nodes: u32,
    layers: usize,
    layer_bytes: Vec<u64>,
    /// Of the image's blobs, that is what each node pulls.
    bytes: u64,
    link_bytes_per_s: u64,
    seed: u64,
    single_source_s: Option<f64>,
    swarm_s: f64,
    /// The fluid bound, see [`shoal_runtime::bound::Distribution::fluid_s`].
    bound_s: f64,
    ratio_to_bound: f64,
    speedup: Option<f64>,
    /// Blob bytes that the upstream sent, in copies of the image.
    upstream_copies: f64,
    /// The same for the blob of which the most was sent.
    upstream_copies_of_a_blob: f64,
    upstream_manifest_requests: u64,
    upstream_blob_requests: u64,
    duplicate_ratio: f64,
    peer_bytes: u64,
    /// Until a client knew what the tag stands for.
    resolve_s: Spread,
    first_byte_s: Spread,
    node_s: Spread,
    rss_max_bytes: u64,
    cpu_s: f64,
    /// Processor seconds of the nodes for each 10^9 bytes delivered to clients.
    cpu_s_per_gb: f64,
    /// Until every node knew all others.
    gather_s: f64,
    digests_ok: bool,
    digests_right: usize,
    digests_expected: usize,
    single_source: Option<SingleSource>,
    timeline: Timeline,
    #[serde(skip)]
    wrong: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SingleSource {
    upstream_copies: f64,
    upstream_manifest_requests: u64,
    upstream_blob_requests: u64,
    first_byte_s: Spread,
    node_s: Spread,
}

/// Percentiles by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(pulls: &[Pull], value: impl Fn(&Pull) -> Duration) -> Self {
        let mut seconds: Vec<f64> = pulls.iter().map(|pull| value(pull).as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100).max(1);
            seconds.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

impl Report {
    /// Puts the runs together.
    pub(crate) fn new(plan: &Plan, image: &Image, swarm: SwarmRun, single: Option<&Run>) -> Self {
        let bytes = image.bytes();
        let copies = |run: &Run| run.sent.blob_bytes as f64 / bytes as f64;
        let bound_s = plan.distribution(bytes).fluid_s();
        let SwarmRun { run, traffic, usage, gather_s } = swarm;
        let delivered_gb = bytes as f64 * run.pulls.len() as f64 / 1e9;
        let pulls = || run.pulls.iter().chain(single.iter().flat_map(|single| &single.pulls));
        let wrong: Vec<String> = pulls().flat_map(|pull| pull.wrong.clone()).collect();
        let digests_right = pulls().map(|pull| pull.right).sum();
        let digests_expected = image.digests() * plan.nodes as usize * if single.is_some() { 2 } else { 1 };
        Self {
            nodes: plan.nodes,
            layers: plan.layers.len(),
            layer_bytes: plan.layers.clone(),
            bytes,
            link_bytes_per_s: plan.link_bytes_per_s,
            seed: plan.seed,
            single_source_s: single.map(|single| single.total_s),
            swarm_s: run.total_s,
            bound_s,
            ratio_to_bound: bound_s / run.total_s,
            speedup: single.map(|single| single.total_s / run.total_s),
            upstream_copies: copies(&run),
            upstream_copies_of_a_blob: run.sent.most_copies,
            upstream_manifest_requests: run.sent.manifest_requests,
            upstream_blob_requests: run.sent.blob_requests,
            duplicate_ratio: traffic.duplicate_ratio(),
            peer_bytes: traffic.peers,
            resolve_s: Spread::of(&run.pulls, |pull| pull.resolved),
            first_byte_s: Spread::of(&run.pulls, |pull| pull.first_byte),
            node_s: Spread::of(&run.pulls, |pull| pull.done),
            rss_max_bytes: usage.rss_max_bytes,
            cpu_s: usage.cpu_s,
            cpu_s_per_gb: usage.cpu_s / delivered_gb,
            gather_s,
            digests_ok: wrong.is_empty() && digests_right == digests_expected,
            digests_right,
            digests_expected,
            single_source: single.map(|single| SingleSource {
                upstream_copies: copies(single),
                upstream_manifest_requests: single.sent.manifest_requests,
                upstream_blob_requests: single.sent.blob_requests,
                first_byte_s: Spread::of(&single.pulls, |pull| pull.first_byte),
                node_s: Spread::of(&single.pulls, |pull| pull.done),
            }),
            timeline: run.timeline,
            wrong,
        }
    }

    /// Whether every digest was right on every node.
    pub(crate) fn digests_ok(&self) -> bool {
        self.digests_ok
    }

    /// What was wrong.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<String> = self.layer_bytes.iter().take(4).map(|bytes| Bytes(*bytes).to_string()).collect();
        let more = if self.layers > layers.len() { ", ..." } else { "" };
        let nodes = if self.nodes == 1 { "1 node pulls".to_owned() } else { format!("{} nodes pull", self.nodes) };
        let link = BytesPerSecond(self.link_bytes_per_s as f64);
        let megabits = self.link_bytes_per_s as f64 / 125e3;
        writeln!(
            f,
            "{nodes} an image of {} at once, in {} layers ({}{more}).\n\
             The upstream and each node, up and down, have a link of {link} ({megabits:.0} Mbit/s).\n",
            Bytes(self.bytes),
            self.layers,
            layers.join(", "),
        )?;
        self.rows(f)?;
        self.verdict(f)
    }
}

impl Report {
    fn rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.single_source.as_ref();
        writeln!(f, "{:<28}{:>15}{:>10}{:>10}", "", "single source", "shoal", "bound")?;
        let mut row = |name: &str, single: Option<f64>, swarm: f64, bound: Option<f64>| {
            let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            writeln!(f, "{name:<28}{:>15}{:>10}{:>10}", cell(single), cell(Some(swarm)), cell(bound))
        };
        let whole = Some(self.bound_s);
        row("all nodes done, s", self.single_source_s, self.swarm_s, whole)?;
        row("half of the nodes done, s", single.map(|run| run.node_s.p50), self.node_s.p50, None)?;
        row("first byte of a layer, s", single.map(|run| run.first_byte_s.p50), self.first_byte_s.p50, None)?;
        row("copies from the upstream", single.map(|run| run.upstream_copies), self.upstream_copies, Some(1.0))
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(speedup) = self.speedup {
            writeln!(f, "\nshoal is {speedup:.1} times as fast as the single source,")?;
        } else {
            writeln!(f)?;
        }
        let digests = if self.digests_ok { "all right" } else { "NOT ALL RIGHT" };
        writeln!(
            f,
            "at {:.0} % of the speed that these links allow to anybody.\n\n\
             digests      {} of {} checked, {digests}\n\
             duplicates   {:.2} % of the bytes that nodes received\n\
             memory       {} in the largest node\n\
             processor    {:.1} s for each GB delivered",
            self.ratio_to_bound * 100.0,
            self.digests_right,
            self.digests_expected,
            self.duplicate_ratio * 100.0,
            Bytes(self.rss_max_bytes),
            self.cpu_s_per_gb,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{
        registry::Sent,
        scrape::{Traffic, Usage},
    };

    fn pull(seconds: u64) -> Pull {
        Pull {
            resolved: Duration::from_millis(50),
            first_byte: Duration::from_millis(100),
            done: Duration::from_secs(seconds),
            right: 4,
            wrong: Vec::new(),
        }
    }

    async fn report(single_source: bool, change: impl Fn(&mut SwarmRun)) -> Report {
        let plan =
            Plan { nodes: 2, layers: vec![512 << 10, 64 << 10], link_bytes_per_s: 1_000_000, seed: 1, single_source };
        let image = Image::generate(&plan.layers, plan.seed).await.unwrap();
        let run = |seconds, copies| Run {
            total_s: seconds,
            pulls: vec![pull(1), pull(2)],
            sent: Sent { blob_bytes: copies * image.bytes(), ..Sent::default() },
            timeline: Timeline::new(),
        };
        let mut swarm = SwarmRun {
            run: run(1.0, 1),
            traffic: Traffic { upstream: 100, peers: 100, duplicate: 2 },
            usage: Usage { cpu_s: 0.5, rss_max_bytes: 1 << 20 },
            gather_s: 0.1,
        };
        change(&mut swarm);
        Report::new(&plan, &image, swarm, single_source.then(|| run(4.0, 2)).as_ref())
    }

    #[tokio::test]
    async fn the_object_has_the_agreed_keys_and_the_figures_follow_from_the_runs() {
        let report = report(true, |_| {}).await;
        let json = serde_json::to_value(&report).unwrap();
        let keys = [
            "nodes",
            "layers",
            "bytes",
            "link_bytes_per_s",
            "single_source_s",
            "swarm_s",
            "bound_s",
            "ratio_to_bound",
            "speedup",
            "upstream_copies",
            "duplicate_ratio",
            "first_byte_s",
            "node_s",
            "rss_max_bytes",
            "cpu_s_per_gb",
            "digests_ok",
        ];
        for key in keys {
            assert!(!json[key].is_null(), "{key}");
        }
        assert_eq!((&json["speedup"], &json["upstream_copies"]), (&4.0.into(), &1.0.into()));
        assert_eq!((&json["node_s"]["p50"], &json["node_s"]["max"]), (&1.0.into(), &2.0.into()));
        assert_eq!((&json["duplicate_ratio"], &json["digests_ok"]), (&0.01.into(), &true.into()));
        assert_eq!(json["ratio_to_bound"], json["bound_s"]);
    }

    #[tokio::test]
    async fn one_wrong_or_missing_digest_is_not_ok() {
        let wrong = report(true, |swarm| swarm.run.pulls[1].wrong.push("a blob is different".to_owned())).await;
        assert!(!wrong.digests_ok() && wrong.wrong().len() == 1);
        let missing = report(false, |swarm| swarm.run.pulls[0].right -= 1).await;
        assert!(!missing.digests_ok());
        assert!(missing.to_string().contains("NOT ALL RIGHT"));
    }

    #[tokio::test]
    async fn the_table_is_plain_text_with_or_without_the_single_source() {
        let table = report(true, |_| {}).await.to_string();
        assert!(table.contains("4.0 times as fast") && table.is_ascii(), "{table}");
        let table = report(false, |_| {}).await.to_string();
        assert!(!table.contains("times as fast") && table.contains("all nodes done"), "{table}");
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let pulls: Vec<Pull> = (1..=200).map(pull).collect();
        let spread = Spread::of(&pulls, |pull| pull.done);
        assert_eq!(spread, Spread { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of(&[pull(3)], |pull| pull.done), Spread { p50: 3.0, p99: 3.0, max: 3.0 });
    }
}

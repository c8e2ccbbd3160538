//! Scenario files as users write them: what is read, what is refused and how, and the examples of the documentation.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

use std::time::Duration;

use proptest::prelude::*;
use shoal_sim::scenario::{
    Arrival, Content, FaultKind, Link, Overrides, Scenario, ScenarioError, SlowNodes, Zones, by_name, shipped,
};

const DOCUMENT: &str = include_str!("../../docs/scenarios.md");

const FULL: &str = r#"
name = "all-keys"
about = "Every key once."
nodes = 8
link = { up = "50mbit", down = "100mbit" }
latency = "2.5ms"
warm_share = 0.25
seed = 7
[upstream]
rate = "2x"
ranges = false
[content]
layers = ["1MiB", "3kB"]
[arrival]
kind = "staggered"
over = "4s"
[zones]
count = 2
uplink = "4x"
[slow_nodes]
count = 1
link = "1mbit"
[[faults]]
at = 0.25
what = "kill-node"
node = 0
[[faults]]
at = 0.5
what = "kill-home"
[[faults]]
at = 1
what = "kill-upstream"
[[faults]]
at = 0.5
what = "slow-node"
node = 3
link = { up = "0.5x", down = "1mbit" }
[[faults]]
what = "corrupt-node"
node = 7
"#;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(text, "mine.toml")
}

/// A scenario with `from` in the text above replaced.
fn replaced(from: &str, to: &str) -> Result<Scenario, ScenarioError> {
    assert!(FULL.contains(from), "{from:?} is in the text");
    parse(&FULL.replacen(from, to, 1))
}

/// Asserts that the replacement is refused with all `wanted` in the message.
fn refused(from: &str, to: &str, wanted: &[&str]) {
    let message = replaced(from, to).unwrap_err().to_string();
    for wanted in wanted.iter().chain(&["mine.toml"]) {
        assert!(message.contains(wanted), "{wanted:?} is not in {message:?}, for {to:?} in place of {from:?}");
    }
}

#[test]
fn every_key_is_read() {
    let scenario = parse(FULL).unwrap();
    let link = Link { up: 6_250_000, down: 12_500_000 };
    assert_eq!((scenario.nodes, scenario.link, scenario.seed), (8, link, 7));
    assert_eq!((scenario.upstream.rate, scenario.upstream.ranges), (12_500_000, false));
    assert_eq!((scenario.latency, scenario.warm_nodes()), (Duration::from_micros(2500), 2));
    assert_eq!(scenario.content, Content::Image(vec![1 << 20, 3000]));
    assert_eq!(scenario.arrival, Arrival::Staggered { over: Duration::from_secs(4) });
    assert_eq!(scenario.zones, Some(Zones { count: 2, uplink: Link { up: 25_000_000, down: 50_000_000 } }));
    assert_eq!(scenario.slow_nodes, Some(SlowNodes { count: 1, link: Link { up: 125_000, down: 125_000 } }));
    let kinds: Vec<FaultKind> = scenario.faults.iter().map(|fault| fault.what).collect();
    let slow = FaultKind::SlowNode { node: 3, link: Link { up: 3_125_000, down: 125_000 } };
    let kill = FaultKind::KillNode { node: 0 };
    let corrupt = FaultKind::CorruptNode { node: 7 };
    assert_eq!(kinds, [kill, FaultKind::KillHome, FaultKind::KillUpstream, slow, corrupt]);
    assert_eq!((scenario.faults[0].at.to_bits(), scenario.faults[4].at.to_bits()), (0.25_f64.to_bits(), 0));
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let scenario = parse("name='a'\nabout='b'\nnodes=2\nlink='8mbit'\n[content]\nblob='1MB'").unwrap();
    assert_eq!((scenario.latency, scenario.warm_nodes(), scenario.seed), (Duration::ZERO, 0, 1));
    assert_eq!((scenario.upstream.rate, scenario.upstream.ranges), (1_000_000, true));
    assert_eq!((scenario.arrival, scenario.zones, scenario.slow_nodes), (Arrival::Together, None, None));
    assert!(scenario.faults.is_empty());
}

#[test]
fn a_wrong_value_is_refused_with_line_key_and_what_is_allowed() {
    refused("nodes = 8", "nodes = 0", &[":4: nodes:", "1 to 100000"]);
    refused("nodes = 8", "nodes = -1", &[":4: nodes:", "-1", "1 to 100000"]);
    refused("nodes = 8", "nodes = 100001", &[":4: nodes:"]);
    refused("\"all-keys\"", "\"All Keys\"", &[":2: name:", "lower-case"]);
    refused("\"Every key once.\"", "\"\"", &[":3: about:", "one line"]);
    refused("up = \"50mbit\"", "up = \"fast\"", &[":5: link:", "200mbit"]);
    refused("up = \"50mbit\"", "up = \"0mbit\"", &[":5: link:"]);
    refused("up = \"50mbit\"", "up = \"2x\"", &[":5: link:", "a rate is needed"]);
    refused("2.5ms", "2", &[":6: latency:", "20ms"]);
    refused("2.5ms", "2s", &[":6: latency:", "1s"]);
    refused("warm_share = 0.25", "warm_share = 1.0", &[":7: warm_share:", "below 1.0"]);
    refused("warm_share = 0.25", "warm_share = nan", &[":7: warm_share:"]);
    refused("seed = 7", "seed = -7", &[":8: seed:"]);
    refused("rate = \"2x\"", "rate = \"-2x\"", &[":10: upstream.rate:", "0.1x or 2x"]);
    refused("[\"1MiB\", \"3kB\"]", "[]", &[":13: content.layers:", "1 to 1000"]);
    refused("\"3kB\"", "\"0B\"", &[":13: content.layers:", "at least 1 byte"]);
    refused("\"3kB\"", "\"2TiB\"", &[":13: content.layers:", "the most is"]);
    refused("layers = [\"1MiB\", \"3kB\"]", "blob = '1MB'\nlayers = ['1MB']", &[": content:", "either `blob`"]);
    refused("layers = [\"1MiB\", \"3kB\"]", "", &[": content:", "either `blob`"]);
    refused("kind = \"staggered\"", "kind = \"rolling\"", &[":15: arrival.kind:", "`share`"]);
    refused("over = \"4s\"", "over = \"4h\"", &[":16: arrival.over:"]);
    refused(
        "kind = \"staggered\"\nover = \"4s\"",
        "kind = \"rolling\"\nshare = 0.0",
        &[":16: arrival.share:", "0.001 to 1"],
    );
    refused("count = 2", "count = 9", &[":18: zones.count:", "1 to 8"]);
    refused("count = 1", "count = 8", &[":21: slow_nodes.count:", "1 to 7"]);
}

#[test]
fn an_impossible_fault_is_refused() {
    refused("node = 0", "node = 8", &[":26: faults.node:", "0 to 7"]);
    refused("what = \"kill-home\"", "what = \"explode\"", &[":29: faults.what:", "kill-node"]);
    refused("what = \"kill-home\"", "what = \"kill-home\"\nnode = 1", &[":29: faults.what:", "with these keys"]);
    refused("what = \"kill-home\"", "what = \"kill-node\"\nnode = 0", &["killed twice"]);
    refused("what = \"kill-upstream\"", "what = \"kill-home\"", &["once"]);
    refused("at = 0.25", "at = 1.5", &[":24: faults.at:", "0.0 to 1.0"]);
    refused("at = 0.25\n", "", &["faults.at:", "missing"]);
    refused("what = \"corrupt-node\"", "at = 0.5\nwhat = \"corrupt-node\"", &["faults.at:", "from the start"]);
    let nobody =
        "name='a'\nabout='b'\nnodes=1\nlink='1mbit'\n[content]\nblob='1B'\n[[faults]]\nat=0.5\nwhat='kill-home'";
    assert!(parse(nobody).unwrap_err().to_string().contains("add nodes"));
}

#[test]
fn an_unknown_missing_or_mistyped_key_is_refused_with_its_line() {
    refused("seed = 7", "sed = 7", &[":8: sed = 7:", "unknown field", "`seed`", "docs/scenarios.md"]);
    refused("ranges = false", "ranges = \"no\"", &[":11: ranges = \"no\":", "boolean"]);
    refused("nodes = 8", "nodes = 8.5", &[":4: nodes = 8.5:", "i64"]);
    refused("nodes = 8\n", "", &["missing field `nodes`"]);
    refused("link = { up = \"50mbit\", down = \"100mbit\" }", "link = { up = \"1mbit\" }", &[":5:", "down"]);
    refused("nodes = 8", "nodes = ", &[":4:"]);
    let large = format!("#{}", "x".repeat(1 << 20));
    assert!(matches!(parse(&large), Err(ScenarioError::Large { .. })));
}

#[test]
fn what_replaces_a_value_meets_the_same_rules() {
    let with = |overrides: &Overrides| Scenario::parse_with(by_name("kill").unwrap(), "kill", overrides);
    let is_refused = |overrides: Overrides, wanted: &[&str]| {
        let message = with(&overrides).unwrap_err().to_string();
        assert!(wanted.iter().all(|wanted| message.contains(wanted)), "{wanted:?} in {message}");
    };
    let smaller = with(&Overrides { nodes: Some(12), ..Overrides::default() }).unwrap();
    assert_eq!((smaller.nodes, smaller.faults.len()), (12, 3));
    is_refused(Overrides { nodes: Some(11), ..Overrides::default() }, &["kill:", "faults.node", "0 to 10"]);
    is_refused(Overrides { nodes: Some(0), ..Overrides::default() }, &["nodes", "outside the file", "1 to"]);
    is_refused(Overrides { size: Some(0), ..Overrides::default() }, &["content.blob", "outside the file"]);
    is_refused(Overrides { layers: Some(vec![]), ..Overrides::default() }, &["content.layers"]);
    is_refused(Overrides { layers: Some(vec![1, 0]), ..Overrides::default() }, &["content.layers"]);
    is_refused(Overrides { upstream: Some(0), ..Overrides::default() }, &["upstream.rate"]);
    is_refused(Overrides { link: Some(Link { up: 0, down: 1 }), ..Overrides::default() }, &["link"]);
    is_refused(Overrides { latency: Some(Duration::from_secs(2)), ..Overrides::default() }, &["latency"]);
    is_refused(Overrides { warm_share: Some(1.0), ..Overrides::default() }, &["warm_share"]);
    is_refused(Overrides { seed: Some(u64::MAX), ..Overrides::default() }, &["seed", "outside the file", "from 0 to"]);
}

#[test]
fn a_replaced_link_or_size_keeps_the_shape() {
    let link = Some(Link { up: 1000, down: 1000 });
    let overrides = Overrides { link, ..Overrides::default() };
    let zones = Scenario::parse_with(by_name("zones").unwrap(), "zones", &overrides).unwrap();
    assert_eq!(zones.zones.unwrap().uplink, Link { up: 2000, down: 2000 });
    assert_eq!(zones.upstream.rate, 1000);
    let overrides = Overrides { upstream: Some(77), seed: Some(i64::MAX as u64), warm_share: Some(0.5), ..overrides };
    let zones = Scenario::parse_with(by_name("zones").unwrap(), "zones", &overrides).unwrap();
    assert_eq!((zones.upstream.rate, zones.seed, zones.warm_nodes()), (77, i64::MAX as u64, 8));
    let image = |overrides| Scenario::parse_with(by_name("image-4").unwrap(), "image-4", &overrides).unwrap().content;
    let half = Overrides { size: Some(64 << 20), ..Overrides::default() };
    assert_eq!(image(half), Content::Image(vec![14 << 20, 22 << 20, 26 << 20, 2 << 20]));
    let layers = Overrides { layers: Some(vec![5, 6]), ..Overrides::default() };
    assert_eq!(image(layers), Content::Image(vec![5, 6]));
}

#[test]
fn bounds_of_shipped_scenarios_computed_by_hand() {
    let bound = |name: &str| Scenario::parse(by_name(name).unwrap(), name).unwrap().bound();
    let is = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-6 * wanted, "{value} is not {wanted}");
    let mib = 1_048_576.0;
    // 128 MiB through links of 12.5 MB/s, with three more pieces of 256 KiB for 8 nodes.
    let cold = bound("cold-start");
    let one_copy = 128.0 * mib / 12.5e6;
    is(cold.fluid_s, one_copy);
    is(cold.granular_s, one_copy + 3.0 * 0.25 * mib / 12.5e6);
    is(cold.makespan_s(), cold.granular_s);
    is(cold.single_source_s, 8.0 * one_copy);
    assert_eq!((cold.node_s.len(), cold.finishers_s.len()), (8, 8));
    is(cold.node_s[3], one_copy);
    // Uplinks of 25 Mbit/s: all copies through the upstream's 12.5 MB/s and eight times 3.125 MB/s.
    let asymmetric = bound("asymmetric");
    is(asymmetric.fluid_s, 8.0 * 64.0 * mib / 37.5e6);
    is(asymmetric.makespan_s(), asymmetric.fluid_s);
    // The slow two decide the whole; the others are bound by their own links.
    let stragglers = bound("stragglers");
    is(stragglers.fluid_s, 64.0 * mib / 0.625e6);
    is(stragglers.node_s[0], 64.0 * mib / 6.25e6);
    is(stragglers.node_s[15], 64.0 * mib / 0.625e6);
    // Five groups one after the other, each at the rate of its own links.
    let rolling = bound("rolling");
    is(rolling.fluid_s, 5.0 * 64.0 * mib / 12.5e6);
    is(rolling.makespan_s(), rolling.fluid_s);
    assert_eq!(rolling.finishers_s.len(), 10);
    // The last begins after 7 s.
    is(bound("staggered").fluid_s, 7.0 + one_copy);
    // Two node links into each zone are enough for one copy.
    is(bound("zones").fluid_s, 128.0 * mib / 6.25e6);
    let warm = bound("warm-half");
    is(warm.fluid_s, one_copy);
    is(warm.single_source_s, 4.0 * one_copy);
    assert_eq!((warm.node_s[3].to_bits(), warm.finishers_s.len()), (0, 4));
    // Three nodes need not finish.
    assert_eq!(bound("kill").finishers_s.len(), 13);
    // The shortest piece of this image is a blob of 32 bytes.
    let image = bound("image-20");
    assert!(image.granular_s - image.fluid_s < 1e-4);
}

#[test]
fn a_narrow_zone_uplink_decides() {
    let text = by_name("zones").unwrap().replace("uplink = \"2x\"", "uplink = \"0.5x\"");
    let bound = Scenario::parse(&text, "narrow").unwrap().bound();
    let wanted = 128.0 * 1_048_576.0 / 3.125e6;
    assert!((bound.fluid_s - wanted).abs() < 1e-6 && (bound.node_s[0] - wanted).abs() < 1e-6, "{bound:?}");
}

#[test]
fn the_largest_cluster_is_no_burden() {
    let text = by_name("rolling").unwrap().replace("share = 0.2", "share = 0.001");
    let overrides = Overrides { nodes: Some(100_000), ..Overrides::default() };
    let scenario = Scenario::parse_with(&text, "large", &overrides).unwrap();
    let bound = scenario.bound();
    assert_eq!((scenario.waves().len(), bound.finishers_s.len()), (1000, 100_000));
    assert!((bound.fluid_s - 1000.0 * bound.node_s[0]).abs() < 1e-6);
}

/// Code blocks of the document that are marked as TOML.
fn examples() -> Vec<&'static str> {
    DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let whole = examples().iter().filter(|text| text.starts_with("name")).count();
    assert!(whole >= 2, "{whole} whole examples");
    for example in examples() {
        // A part is shown without what every scenario needs.
        let needed = "name = 'part'\nabout = 'Part of a scenario.'\nnodes = 16\nlink = '50mbit'\n";
        let content = if example.contains("[content]") { "" } else { "\n[content]\nblob = '1MiB'\n" };
        let text = if example.starts_with("name") { example.to_owned() } else { format!("{needed}{example}{content}") };
        Scenario::parse(&text, "scenarios.md").unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    }
}

#[test]
fn the_documentation_names_every_key_every_kind_and_every_shipped_scenario() {
    let keys = FULL.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
    let kinds =
        ["together", "staggered", "rolling", "kill-node", "kill-home", "kill-upstream", "slow-node", "corrupt-node"];
    for word in keys.chain(kinds).chain(shipped().iter().map(|(name, _)| *name)) {
        assert!(DOCUMENT.contains(&format!("`{word}`")), "`{word}` is not in docs/scenarios.md");
    }
}

/// Texts that are almost scenarios.
fn damaged() -> impl Strategy<Value = String> {
    let texts: Vec<&str> = shipped().iter().map(|(_, text)| *text).chain([FULL]).collect();
    (proptest::sample::select(texts), 0_usize..1000, 0_usize..12, "[ -~\\n]{0,12}|-?[0-9]{1,30}(\\.[0-9]+)?").prop_map(
        |(text, start, length, insert)| {
            let start = start % text.len();
            let end = (start + length).min(text.len());
            format!("{}{insert}{}", &text[..start], &text[end..])
        },
    )
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_read_has_finite_bounds_and_all_nodes_in_one_wave(text in damaged()) {
        if let Ok(scenario) = parse(&text) {
            let bound = scenario.bound();
            prop_assert!(bound.fluid_s > 0.0 && bound.granular_s.is_finite(), "{:?}", bound.fluid_s);
            prop_assert!(bound.makespan_s() <= bound.single_source_s + bound.granular_s);
            let starts: usize = scenario.waves().iter().map(|wave| wave.starts.len()).sum();
            prop_assert_eq!(starts, (scenario.nodes - scenario.warm_nodes()) as usize);
        }
    }
}

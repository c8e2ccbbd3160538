//! Figures that were computed by hand, and files as they are read by others.

use std::fs;

use serde_json::Value;
use shoal_sim::{
    page::STYLE,
    run::{ControlOutcome, End, FaultOutcome, NodeOutcome, Row, UpstreamOutcome, ZoneOutcome},
    scenario::{Link, Overrides, by_name},
};

use super::*;

const MB: u64 = 1_000_000;

/// A blob of 100 MB at links of 10 MB/s: 10 s for one copy.
fn scenario(name: &str, nodes: u32) -> Scenario {
    let overrides = Overrides {
        nodes: Some(nodes),
        size: Some(100 * MB),
        link: Some(Link { up: 10 * MB, down: 10 * MB }),
        ..Overrides::default()
    };
    Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap()
}

/// Nodes that are done after 12 s, 12.5 s, 13 s, ... and each sent one copy.
fn outcome(scenario: &Scenario) -> Outcome {
    let node = |node: u32| NodeOutcome {
        node,
        zone: scenario.zone_of(node),
        up_bytes_per_s: 1e7,
        down_bytes_per_s: 1e7,
        end: End::Done,
        started_s: Some(0.0),
        first_byte_s: Some(0.1 + f64::from(node) / 10.0),
        done_s: Some(12.0 + f64::from(node) / 2.0),
        up_bytes: 100 * MB,
        down_bytes: 101 * MB,
        duplicate_bytes: MB,
        ..NodeOutcome::default()
    };
    let nodes: Vec<NodeOutcome> = (0..scenario.nodes).map(node).collect();
    let makespan_s = nodes.iter().filter_map(|node| node.done_s).fold(0.0, f64::max);
    let row = |number: u8| Row {
        at_s: makespan_s * f64::from(number) / 10.0,
        delivered_bytes: u64::from(number) * 10 * MB * u64::from(scenario.nodes),
        read_bytes: u64::from(number) * 10 * MB * u64::from(scenario.nodes),
        upstream_bytes: u64::from(number) * 11 * MB,
        rate_bytes_per_s: 5e6 * f64::from(scenario.nodes),
        upstream_bytes_per_s: 1e7,
        begun: scenario.nodes,
        done: if number == 10 { scenario.nodes } else { 0 },
        shares: vec![if number == 10 { 255 } else { number * 25 }; scenario.nodes as usize],
    };
    Outcome {
        seed: scenario.seed,
        makespan_s,
        content_bytes: 100 * MB,
        zones: scenario.zones.map_or_else(Vec::new, |zones| {
            (0..zones.count).map(|zone| ZoneOutcome { in_bytes: (100 + u64::from(zone)) * MB, out_bytes: 0 }).collect()
        }),
        upstream: UpstreamOutcome { blob_bytes: 110 * MB, blob_requests: 7, manifest_requests: 1, connections_max: 2 },
        control: ControlOutcome { messages: 10, message_bytes: 1500, datagrams: 5, datagram_bytes: 520 },
        faults: Vec::new(),
        series: (0..=10).map(row).collect(),
        events: 1234,
        event_hash: "ab".repeat(32),
        nodes,
    }
}

fn context() -> Context {
    Context { version: "0.1.0".to_owned(), command: "shoal-sim run x <&>".to_owned(), wall_s: 0.25 }
}

fn report_of(scenario: Scenario, change: impl FnOnce(&mut Outcome)) -> Report {
    let mut outcome = outcome(&scenario);
    change(&mut outcome);
    Report::new(scenario, outcome, context())
}

fn report(name: &str, nodes: u32) -> Report {
    report_of(scenario(name, nodes), |_| {})
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn figures_computed_by_hand() {
    let report = report("cold-start", 4);
    let figures = report.figures();
    close(figures.makespan_s, 13.5);
    close(figures.bound_single_source_s, 40.0);
    close(figures.ratio_to_bound.unwrap(), figures.bound_s / 13.5);
    assert!(figures.bound_s > 10.0 && figures.bound_s < 13.0, "{}", figures.bound_s);
    close(figures.speedup.unwrap(), 40.0 / 13.5);
    let node_s = figures.node_s.unwrap();
    for (value, wanted) in [(node_s.mean, 12.75), (node_s.p50, 12.5), (node_s.p99, 13.5), (node_s.p999, 13.5)] {
        close(value, wanted);
    }
    close(figures.first_byte_s.unwrap().p50, 0.2);
    close(figures.upstream_copies, 1.1);
    close(figures.duplicate_ratio, 1.0 / 101.0);
    close(figures.jain.unwrap(), 1.0);
    close(figures.control_ratio.unwrap(), 2020.0 / 404e6);
    assert_eq!((figures.cross_zone_copies, figures.control_bytes, figures.done_nodes), (None, 2020, 4));
}

#[test]
fn percentiles_of_many_nodes_are_those_of_nodes() {
    let node_s = report("cold-start", 2000).figures().node_s.unwrap();
    assert_eq!(node_s.count, 2000);
    // The 1980th and the 1998th of 12.0, 12.5, ...
    close(node_s.p99, 12.0 + 1979.0 / 2.0);
    close(node_s.p999, 12.0 + 1997.0 / 2.0);
}

#[test]
fn fairness_counts_what_each_node_can_give() {
    let jain = |change: fn(&mut Outcome)| report_of(scenario("cold-start", 4), change).figures().jain;
    close(jain(|outcome| outcome.nodes[0].up_bytes = 0).unwrap(), 0.75);
    // A node with half the link that gave half is as good as any other.
    let half: fn(&mut Outcome) = |outcome| {
        outcome.nodes[0].up_bytes /= 2;
        outcome.nodes[0].up_bytes_per_s /= 2.0;
    };
    close(jain(half).unwrap(), 1.0);
    let killed: fn(&mut Outcome) = |outcome| {
        outcome.nodes[0].up_bytes = 0;
        outcome.nodes[0].end = End::Killed;
    };
    close(jain(killed).unwrap(), 1.0);
    assert_eq!(jain(|outcome| outcome.nodes.iter_mut().for_each(|node| node.up_bytes = 0)), None);
}

#[test]
fn zones_have_their_copies() {
    let report = report("zones", 8);
    let figures = report.figures();
    close(figures.cross_zone_copies.unwrap(), 1.015);
    close(figures.cross_zone_copies_max.unwrap(), 1.03);
    assert!(report.text().contains("cross-zone copies"), "{}", report.text());
}

#[test]
fn the_object_has_the_agreed_keys() {
    let object = report("cold-start", 2).object();
    for key in [
        "wall_s",
        "makespan_s",
        "bound_s",
        "ratio_to_bound",
        "upstream_copies",
        "duplicate_ratio",
        "jain",
        "speedup",
        "bound_single_source_s",
    ] {
        assert!(object[key].is_f64(), "{key}: {object}");
    }
    for key in ["p50", "p99", "p999", "max"] {
        assert!(object["node_s"][key].is_f64() && object["node_s"][key].as_f64() >= Some(12.0), "{key}: {object}");
    }
    for key in ["nodes", "seed", "events", "control_bytes", "content_bytes", "failed_nodes"] {
        assert!(object[key].is_u64(), "{key}: {object}");
    }
    assert_eq!(object["event_hash"], "ab".repeat(32));
    assert_eq!(object["scenario"], "cold-start");
    assert!(object["cross_zone_copies"].is_null() && object.get("cross_zone_copies").is_some());
    assert!(report("zones", 8).object()["cross_zone_copies"].is_f64());
}

#[test]
fn sentences_say_who_finished_and_how_well() {
    let text = report("cold-start", 4).text();
    assert!(text.contains("All 4 nodes that pulled had the 95.37 MiB 13.5 s after"), "{text}");
    assert!(text.contains("40 s, 2.96 times as long"), "{text}");
    assert!(text.contains("sent 1.1 times the bytes of the content and answered 8 requests"), "{text}");
    assert!(text.contains("evenly (Jain's index 1, 1 is even)"), "{text}");
    assert!(text.contains("0.99 % of the bytes that arrived") && text.contains("added less than 0.01 %"), "{text}");
    assert!(!text.contains("Faults") && !text.contains("FAILED") && !text.contains("99 of 100"), "{text}");
    assert!(report_of(scenario("cold-start", 100), |_| {}).text().contains(", 99 of 100 no more than 61 s."));
    let one = report("cold-start", 1).text();
    assert!(one.contains("cold-start, 1 node\n") && one.contains("The node that pulled had"), "{one}");
}

#[test]
fn failed_pulls_are_said_first_and_no_speed_is_praised() {
    let report = report_of(scenario("kill", 16), |outcome| {
        outcome.nodes[3].end = End::Failed;
        outcome.nodes[3].done_s = None;
        outcome.nodes[5].end = End::Killed;
        outcome.faults = vec![FaultOutcome { at_s: 6.0, what: "kill-node".to_owned(), node: Some(5) }];
    });
    assert_eq!((report.figures().failed_nodes, report.figures().killed_nodes), (1, 1));
    assert_eq!((report.figures().ratio_to_bound, report.figures().speedup), (None, None), "it is no whole run");
    let text = report.text();
    assert!(text.contains("FAILED: 1 node of 15 did not get"), "{text}");
    assert!(text.contains("kill-node (node 5) at 6 s"), "{text}");
    assert!(!text.contains("of that speed") && text.contains("nodes FAILED"), "{text}");
}

#[test]
fn a_run_in_which_nothing_happened_has_a_report_all_the_same() {
    let scenario = scenario("cold-start", 2);
    let nodes = (0..2).map(|node| NodeOutcome { node, end: End::Failed, ..NodeOutcome::default() }).collect();
    let report = Report::new(scenario, Outcome { nodes, content_bytes: 100 * MB, ..Outcome::default() }, context());
    let object = report.object();
    for key in ["node_s", "first_byte_s", "ratio_to_bound", "speedup", "jain", "control_ratio"] {
        assert!(object[key].is_null(), "{key}");
    }
    assert!(report.text().contains("FAILED: 2 nodes of 2"), "{}", report.text());
    let folder = tempfile::tempdir().unwrap();
    report.write(folder.path()).unwrap();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(!page.contains("<script") && page.contains("FAILED"), "no moment, no animation");
}

#[test]
fn files_are_complete() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("results");
    let report = report("zones", 8);
    report.write(&folder).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let wanted = [
        "completion.svg",
        "nodes.csv",
        "report.html",
        "result.json",
        "scenario.toml",
        "series.csv",
        "throughput.svg",
        "uploads.svg",
        "upstream.svg",
        "utilisation.svg",
    ];
    assert_eq!(names, wanted);
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let result: Value = serde_json::from_str(&text("result.json")).unwrap();
    assert_eq!(result["makespan_s"], report.object()["makespan_s"]);
    let nodes: Vec<NodeOutcome> = serde_json::from_value(result["outcome"]["nodes"].clone()).unwrap();
    assert_eq!(nodes, report.outcome.nodes, "every value of every node is kept");
    assert_eq!(Scenario::parse(&text("scenario.toml"), "scenario.toml").unwrap(), report.scenario);
    assert_eq!(text("nodes.csv").lines().count(), 1 + 8);
    let columns: Vec<String> = text("nodes.csv").lines().map(str::to_owned).take(2).collect();
    assert!(
        columns[0].starts_with("node,zone,end,") && columns[1].starts_with("0,0,done,0.0,0.1,12.0,"),
        "{columns:?}"
    );
    let series = text("series.csv");
    assert_eq!(series.lines().count(), 1 + 11);
    assert!(series.lines().nth(2).unwrap().ends_with(",80000000,11000000,40000000.0,10000000.0,8,0"), "{series}");
    assert!(wanted.iter().filter(|name| name.contains(".svg")).all(|name| text(name).starts_with("<svg ")));
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_an_empty_one_is_used() {
    let parent = tempfile::tempdir().unwrap();
    let report = report("cold-start", 2);
    report.write(parent.path()).unwrap();
    let refusal = report.write(parent.path()).unwrap_err();
    assert!(matches!(refusal, WriteError::NotEmpty(_)) && refusal.to_string().contains("not empty"), "{refusal}");
    let nowhere = report.write(&parent.path().join("no/such")).unwrap_err().to_string();
    assert!(nowhere.contains("no/such") && nowhere.contains("parent"), "{nowhere}");
    let file = check_folder(&parent.path().join("result.json")).unwrap_err();
    assert!(matches!(file, WriteError::NotAFolder(_)), "{file}");
}

#[test]
fn the_page_is_whole_by_itself() {
    let report = report("zones", 8);
    let plots = report.plots().unwrap();
    let page = report.page(&plots);
    for foreign in ["src=", "href=", "@import", "url(", "fetch(", "XMLHttp", "import("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("shoal-sim run x &lt;&amp;&gt;"));
    assert_eq!(page.matches("<svg role=\"img\" aria-label=").count(), plots.len());
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    let data = page.split("id=\"run\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&data["nodes"], &data["ends"], &data["zones"]),
        (&8.into(), &"dddddddd".into(), &Value::from(vec![2; 4]))
    );
    // 11 moments of 8 nodes, 4 letters for 3 bytes.
    assert_eq!(data["shares"].as_str().unwrap().len(), (11_usize * 8).div_ceil(3) * 4);
    assert_eq!(data["finished"][1], 12.5);
}

#[test]
fn every_element_that_the_script_asks_for_is_in_the_page() {
    let report = report("cold-start", 2);
    let page = report.page(&[]);
    let mut asked = 0;
    for part in ["element(\"", "getElementById(\""] {
        for rest in page.split(part).skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
    let animation = include_str!("page/animation.css");
    for name in ["none", "some", "most", "done", "warm", "killed", "failed", "edge", "mark"] {
        assert!(animation.matches(&format!("--{name}: #")).count() == 2, "{name} on light and dark ground");
    }
}

#[test]
fn every_colour_of_a_plot_has_its_form_on_a_dark_ground() {
    for plot in report("zones", 8).plots().unwrap() {
        for attribute in ["fill", "stroke"] {
            for rest in plot.svg.split(&format!(" {attribute}=\"#")).skip(1) {
                let rule = format!("[{attribute}=\"#{}\"]", &rest[..6]);
                assert!(STYLE.contains(&rule), "{rule} of {}", plot.name);
            }
        }
    }
}

#[test]
fn ten_thousand_nodes_make_a_page_of_a_few_megabytes() {
    let report = report("cold-start", 10_000);
    let page = report.page(&report.plots().unwrap());
    assert!(page.len() < 2_000_000, "{}", page.len());
}

#[test]
fn what_people_use_without_a_swarm_stands_beside_the_run() {
    let alone = report("cold-start", 4);
    assert!(alone.systems().is_empty() && alone.object().get("systems").is_none());
    assert!(!alone.page(&[]).contains("Beside what else"));
    let report = alone.compared();
    let systems = report.systems();
    let names: Vec<&str> = systems.iter().map(|system| system.system).collect();
    assert_eq!(names, ["shoal", "single", "pull-through", "spegel", "kraken", "dragonfly"]);
    close(systems[0].makespan_s, 13.5);
    assert_eq!((systems[0].upstream_bytes, systems[0].upstream_requests, systems[0].kind), (110 * MB, 8, Kind::Engine));
    for (system, bytes, requests) in [(&systems[1], 400 * MB, 8), (&systems[2], 100 * MB, 2)] {
        // Four copies at 10 MB/s each.
        assert!((system.makespan_s - 40.0).abs() < 1e-3 && system.kind == Kind::Links, "{system:?}");
        assert_eq!((system.upstream_bytes, system.upstream_requests), (bytes, requests));
    }
    assert_eq!(report.object()["systems"][1]["system"], "single");
    assert_eq!(report.object()["systems"][4]["kind"], "model");
    // All at once, nobody is complete whom a node could ask.
    assert!((systems[3].makespan_s - 40.0).abs() < 0.1 && systems[3].upstream_bytes == 400 * MB, "{:?}", systems[3]);
    for system in &systems[4..] {
        assert!(system.upstream_bytes == 100 * MB && system.kind == Kind::Model, "{system:?}");
    }
    let text = report.text();
    let row = text.lines().find(|line| line.starts_with("  single ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells.join(" "), "single 40.00 s 40.00 s 40.00 s 381.47 MiB 8", "{text}");
    let plots = report.plots().unwrap();
    assert!(text.contains("kraken (model)") && text.contains("none of their code runs"), "{text}");
    for name in ["pull-through", "single", "spegel (model)", "kraken (model)", "dragonfly (model)"] {
        assert!(plots[0].svg.contains(name), "{name}");
        assert!(report.page(&plots).contains(&format!("<th scope=\"row\">{name}</th>")), "{name}");
    }
}

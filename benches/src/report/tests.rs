//! Figures that were computed by hand, and files as they are read by others.

use std::fs;

use serde_json::Value;
use shoal_sim::scenario::{Overrides, Scenario, by_name};

use super::*;
use crate::result::{MachineResult, NodeResult, Outcome, Sample, UpstreamResult, ZoneResult};

fn scenario(name: &str, nodes: u32) -> Scenario {
    // A blob of 100 MB at links of 10 MB/s: 10 s for one copy.
    let overrides = Overrides {
        nodes: Some(nodes),
        size: Some(100_000_000),
        link: Some(shoal_sim::scenario::Link { up: 10_000_000, down: 10_000_000 }),
        ..Overrides::default()
    };
    Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap()
}

/// A run in which node `i` took `seconds[i]`, of a system with a process on each node unless it is the single source.
fn run(scenario: &Scenario, system: &str, repeat: u32, seconds: &[f64]) -> RunResult {
    let has_process = system != SINGLE;
    let bytes = scenario.content.bytes();
    let node = |(node, done_s): (u32, &f64)| NodeResult {
        node,
        zone: scenario.zone_of(node),
        first_byte_s: Some(f64::from(node) / 10.0),
        done_s: Some(*done_s),
        stall_max_s: 0.25,
        bytes,
        link_up_bytes: if has_process { 1000 } else { 0 },
        from_upstream_bytes: if has_process { bytes / 2 } else { 0 },
        from_peers_bytes: if has_process { bytes / 2 } else { 0 },
        duplicate_bytes: if has_process { bytes / 100 } else { 0 },
        cpu_s: if has_process { 0.5 } else { 0.0 },
        rss_max_bytes: if has_process { 20 << 20 } else { 0 },
        ..NodeResult::default()
    };
    let makespan_s = seconds.iter().copied().fold(0.0, f64::max);
    let copies = if has_process { 1 } else { seconds.len() as u64 };
    let sample = |second: u32| Sample {
        at_s: f64::from(second),
        delivered_bytes: bytes * u64::from(second),
        upstream_bytes: bytes * u64::from(second) / 2,
    };
    RunResult {
        system: system.to_owned(),
        repeat,
        order: repeat * 10 + u32::from(has_process),
        invalid: None,
        makespan_s,
        bound_s: 10.0,
        nodes: (0..).zip(seconds).map(node).collect(),
        upstream: UpstreamResult {
            blob_bytes: copies * bytes,
            blob_requests: copies,
            manifest_requests: 2,
            requests: copies + 2,
        },
        zones: Vec::new(),
        machine: MachineResult { busy: 0.5, busy_share: 0.0, steal: 0.0 },
        timeline: (0..10).map(sample).collect(),
    }
}

fn figures(scenario: &Scenario, runs: &[RunResult], system: &str) -> SystemFigures {
    let found = summary(scenario, runs).into_iter().find(|summary| summary.system == system);
    found.unwrap().figures.unwrap()
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn medians_ranges_and_ratios() {
    let scenario = scenario("cold-start", 2);
    let runs = [
        run(&scenario, "shoal", 0, &[12.0, 12.5]),
        run(&scenario, SINGLE, 0, &[18.0, 20.0]),
        run(&scenario, "shoal", 1, &[11.0, 16.0]),
        run(&scenario, "shoal", 2, &[10.0, 11.0]),
    ];
    let summaries = summary(&scenario, &runs);
    let names: Vec<&str> = summaries.iter().map(|summary| summary.system.as_str()).collect();
    assert_eq!(names, [SINGLE, "shoal"], "in the order in which they ran");
    let shoal = figures(&scenario, &runs, "shoal");
    close(shoal.makespan_s, 12.5);
    assert_eq!(shoal.ranges.makespan_s, Range { min: 11.0, max: 16.0 });
    close(shoal.ratio_to_bound, 0.8);
    close(shoal.speedup, 1.6);
    assert_eq!(shoal.speedup_basis, Basis::Measured);
    close(shoal.upstream_copies, 1.0);
    close(shoal.duplicate_ratio.unwrap(), 0.01);
    // A second of two nodes for 0.2 x 10^9 bytes.
    close(shoal.cpu_s_per_gb.unwrap(), 5.0);
    assert_eq!(shoal.rss_max_bytes, Some(20 << 20));
    let node_s = shoal.node_s.unwrap();
    assert_eq!((node_s.count, node_s.p99), (6, None));
    close(node_s.p50, 11.0);
    close(node_s.max, 16.0);
    close(shoal.first_byte_s.unwrap().max, 0.1);
    let single = figures(&scenario, &runs, SINGLE);
    close(single.speedup, 1.0);
    close(single.upstream_copies, 2.0);
    assert_eq!((single.cpu_s_per_gb, single.rss_max_bytes, single.duplicate_ratio), (None, None, None));
}

#[test]
fn a_speedup_over_what_was_not_run_says_so() {
    let scenario = scenario("cold-start", 4);
    let shoal = figures(&scenario, &[run(&scenario, "shoal", 0, &[10.0, 10.0, 12.0, 16.0])], "shoal");
    assert_eq!(shoal.speedup_basis, Basis::Computed);
    close(shoal.speedup, 40.0 / 16.0);
}

#[test]
fn invalid_and_failed_runs_count_nowhere_and_are_named_everywhere() {
    let scenario = scenario("cold-start", 2);
    let mut disturbed = run(&scenario, "shoal", 0, &[99.0, 99.0]);
    disturbed.invalid = Some("the machine was <busy>".to_owned());
    let mut failed = run(&scenario, "shoal", 1, &[1.0, 1.0]);
    failed.nodes[1].outcome = Outcome::Failed;
    failed.nodes[1].error = Some("no route".to_owned());
    let good = run(&scenario, "shoal", 2, &[10.0, 12.5]);
    let summaries = summary(&scenario, &[disturbed.clone(), failed.clone(), good]);
    assert_eq!((summaries[0].runs, summaries[0].invalid_runs, summaries[0].failed_runs), (1, 1, 1));
    close(summaries[0].figures.as_ref().unwrap().makespan_s, 12.5);
    let none = summary(&scenario, &[disturbed, failed]);
    assert_eq!((none[0].runs, &none[0].figures), (0, &None));
}

#[test]
fn a_killed_or_warm_node_is_no_pull() {
    let scenario = scenario("cold-start", 3);
    let mut run = run(&scenario, "shoal", 0, &[10.0, 77.0, 12.0]);
    run.makespan_s = 12.0;
    run.nodes[1].outcome = Outcome::Killed;
    let shoal = figures(&scenario, &[run.clone()], "shoal");
    assert_eq!(shoal.node_s.unwrap().count, 2);
    close(shoal.node_s.unwrap().max, 12.0);
    run.nodes[1].outcome = Outcome::Warm;
    run.nodes[1].link_up_bytes = 4000;
    let shoal = figures(&scenario, &[run], "shoal");
    assert_eq!(shoal.node_s.unwrap().count, 2);
    close(shoal.upload_gini.unwrap(), 1.0 / 3.0);
}

#[test]
fn figures_of_special_scenarios() {
    let stragglers = scenario("stragglers", 4);
    let slow = run(&stragglers, "shoal", 0, &[11.0, 12.0, 101.0, 102.0]);
    close(figures(&stragglers, &[slow], "shoal").fast_nodes_over_bound.unwrap(), 1.15);
    let rolling = scenario("rolling", 10);
    let seconds = [10.0, 10.0, 11.0, 11.0, 11.0, 11.0, 11.0, 11.0, 10.0, 10.5];
    let waves = run(&rolling, "shoal", 0, &seconds);
    let figures_of_waves = figures(&rolling, &[waves], "shoal");
    close(figures_of_waves.last_over_first.unwrap(), 1.05);
    assert_eq!(figures_of_waves.fast_nodes_over_bound, None);
    let zones = scenario("zones", 4);
    let mut crossing = run(&zones, "shoal", 0, &[10.0; 4]);
    crossing.zones = [0, 151_400_000, 302_800_000, 0].map(|in_bytes| ZoneResult { in_bytes, out_bytes: 0 }).to_vec();
    close(figures(&zones, &[crossing], "shoal").cross_zone_copies.unwrap(), 2.896);
}

#[test]
fn a_99th_percentile_needs_a_hundred_pulls() {
    let scenario = scenario("cold-start", 20);
    let runs: Vec<RunResult> = (0..5).map(|repeat| run(&scenario, "shoal", repeat, &[10.0; 20])).collect();
    let node_s = figures(&scenario, &runs, "shoal").node_s.unwrap();
    assert_eq!((node_s.count, node_s.p99), (100, Some(10.0)));
}

fn context() -> Context {
    Context {
        version: "0.1.0 (abc1234)".to_owned(),
        kernel: "Linux 6.18".to_owned(),
        processors: 2,
        date: "2026-11-21".to_owned(),
        command: "shoal-lab run cold-start --nodes 2,4 <&>".to_owned(),
    }
}

fn report(nodes: &[u32]) -> Report {
    let experiment = |nodes: &u32| {
        let scenario = scenario("cold-start", *nodes);
        let all = |seconds: f64| vec![seconds; *nodes as usize];
        let mut runs = vec![
            run(&scenario, SINGLE, 0, &all(f64::from(*nodes) * 10.0)),
            run(&scenario, "shoal", 0, &all(10.5)),
            run(&scenario, "shoal", 1, &all(11.0)),
        ];
        runs[2].invalid = Some("the machine was <busy>".to_owned());
        Experiment { scenario, runs }
    };
    Report { context: context(), experiments: nodes.iter().map(experiment).collect() }
}

#[test]
fn the_object_has_the_agreed_keys() {
    let object = report(&[2]).object();
    for key in ["scenario", "seed", "kernel", "version", "nodes", "bound_fluid_s"] {
        assert!(!object[key].is_null(), "{key}");
    }
    let shoal = &object["systems"][1];
    assert_eq!((&shoal["system"], &shoal["invalid_runs"]), (&"shoal".into(), &1.into()));
    for key in ["makespan_s", "bound_s", "ratio_to_bound", "speedup", "upstream_copies", "upstream_requests"] {
        assert!(shoal[key].is_f64(), "{key}");
    }
    for key in ["duplicate_ratio", "first_byte_s", "cpu_s_per_gb", "rss_max_bytes"] {
        assert!(!shoal[key].is_null(), "{key}");
    }
    for key in ["p50", "p95", "max"] {
        assert!(shoal["node_s"][key].is_f64(), "{key}");
    }
    assert!(shoal["cross_zone_copies"].is_null() && shoal.get("cross_zone_copies").is_some());
    let several = report(&[2, 4]).object();
    assert_eq!(several["scenarios"][1]["nodes"], 4);
    assert!(several.get("systems").is_none());
}

#[test]
fn the_tables_have_a_row_for_each_system_and_only_columns_in_use() {
    let table = report(&[2]).markdown();
    assert!(table.contains("| shoal | 1, 1 invalid | 10.50 (10.50 - 10.50) | 0.952"), "{table}");
    assert!(table.contains("### cold-start, 2 nodes") && !table.contains("cross-zone"), "{table}");
    let cells = |line: &str| line.matches('|').count();
    let rows: Vec<usize> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(rows.len(), 2 * 4, "{table}");
    assert!(
        rows[..4].iter().all(|cells| *cells == rows[0]) && rows[4..].iter().all(|cells| *cells == rows[4]),
        "{rows:?}"
    );
}

#[test]
fn files_are_complete_and_an_existing_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("results");
    let report = report(&[2, 4]);
    report.write(&folder).unwrap();
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let results: Value = serde_json::from_str(&text("results.json")).unwrap();
    let runs: Vec<RunResult> = serde_json::from_value(results["runs"][1]["runs"].clone()).unwrap();
    assert_eq!(runs, report.experiments[1].runs, "every value of every run is kept");
    let csv = text("runs.csv");
    assert_eq!(csv.lines().count(), 1 + 6);
    assert!(csv.lines().nth(3).unwrap().contains("the machine was <busy>"), "{csv}");
    assert_eq!(text("nodes.csv").lines().count(), 1 + 3 * 2 + 3 * 4);
    assert_eq!(text("results.md"), report.markdown());
    let mut plots: Vec<String> = report.plots().unwrap().into_iter().map(|plot| format!("{}.svg", plot.name)).collect();
    plots.sort();
    assert_eq!(
        plots,
        [
            "cold-start-2-completion.svg",
            "cold-start-2-throughput.svg",
            "cold-start-4-completion.svg",
            "cold-start-4-throughput.svg",
            "cold-start-makespan.svg",
            "cold-start-upstream-copies.svg",
        ]
    );
    assert!(plots.iter().all(|plot| text(plot).starts_with("<svg ") && text(plot).contains("shoal")));
    let refusal = report.write(&folder).unwrap_err();
    assert!(matches!(refusal, WriteError::Exists(_)) && refusal.to_string().contains("does not"), "{refusal}");
    let nowhere = report.write(&parent.path().join("no/such")).unwrap_err().to_string();
    assert!(nowhere.contains("no/such") && nowhere.contains("parent"), "{nowhere}");
}

#[test]
fn the_page_is_whole_by_itself_and_names_every_run_that_does_not_count() {
    let mut report = report(&[2, 4]);
    report.experiments[1].runs[1].nodes[3].outcome = Outcome::Failed;
    report.experiments[1].runs[1].nodes[3].error = Some("no route & no time".to_owned());
    let page = report.page().unwrap();
    assert_eq!(page.matches("the machine was &lt;busy&gt;").count(), 2);
    assert_eq!(page.matches("node 3: no route &amp; no time").count(), 1);
    assert!(page.contains("--nodes 2,4 &lt;&amp;&gt;") && page.contains("cold-start, 4 nodes"));
    for foreign in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg role=\"img\" aria-label=").count(), report.plots().unwrap().len());
    report.experiments.truncate(1);
    report.experiments[0].runs.truncate(2);
    let page = report.page().unwrap();
    assert!(page.contains("every run is in the figures") && !page.contains("over the number of nodes"));
}

#[test]
fn every_colour_of_a_plot_has_its_form_on_a_dark_ground() {
    let style = shoal_sim::page::STYLE;
    let mut seen = 0;
    for plot in report(&[2, 4]).plots().unwrap() {
        for attribute in ["fill", "stroke"] {
            for rest in plot.svg.split(&format!(" {attribute}=\"#")).skip(1) {
                let rule = format!("[{attribute}=\"#{}\"]", &rest[..6]);
                assert!(style.contains(&rule), "{rule} of {}", plot.name);
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_report_without_runs_that_count_has_no_plots_of_them() {
    let mut report = report(&[2]);
    report.experiments[0].runs.iter_mut().for_each(|run| run.invalid = Some("busy".to_owned()));
    assert!(report.plots().unwrap().is_empty());
    assert!(report.markdown().contains("| shoal | 0, 2 invalid |"), "{}", report.markdown());
    report.page().unwrap();
}

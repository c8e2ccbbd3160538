//! The binary itself: what it prints and writes, what it refuses and how, and its exit codes.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use common::{is_refused, object, shoal_sim, stderr, stdout};

/// A run of a moment.
const SMALL: [&str; 6] = ["run", "cold-start", "--nodes", "8", "--size", "16MiB"];

/// A scenario file with a line replaced.
fn changed(folder: &TempDir, from: &str, to: &str) -> PathBuf {
    let text = "name = \"mine\"\nabout = \"A file of the user's.\"\nnodes = 4\nlink = \"100mbit\"\n\n\
                [content]\nblob = \"4MiB\"\n\n[[faults]]\nat = 0.5\nwhat = \"kill-node\"\nnode = 3\n";
    assert!(text.contains(from));
    let path = folder.path().join("mine.toml");
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_others() {
    let first = object(&SMALL);
    let mut second = object(&SMALL);
    assert_eq!(first["event_hash"].as_str().unwrap().len(), 64);
    // Only the machine's clock differs.
    second["wall_s"] = first["wall_s"].clone();
    assert_eq!(first, second);
    let other = object(&[&SMALL[..], &["--seed", "2"]].concat());
    assert_ne!(first["event_hash"], other["event_hash"]);
}

#[test]
fn figures_of_a_small_run_are_possible() {
    let object = object(&SMALL);
    let number = |key: &str| object[key].as_f64().unwrap_or_else(|| panic!("{key} in {object}"));
    assert_eq!((&object["scenario"], &object["nodes"], &object["seed"]), (&"cold-start".into(), &8.into(), &1.into()));
    let ratio = number("ratio_to_bound");
    assert!(ratio > 0.3 && ratio <= 1.0, "{ratio}");
    assert!((ratio - number("bound_s") / number("makespan_s")).abs() < 1e-9);
    assert!((1.0..1.5).contains(&number("upstream_copies")), "{object}");
    assert!((0.0..0.3).contains(&number("duplicate_ratio")), "{object}");
    assert!((0.3..=1.0).contains(&number("jain")), "{object}");
    assert!(number("wall_s") > 0.0 && number("control_bytes") > 0.0 && number("events") > 100.0, "{object}");
    let node_s = |key: &str| object["node_s"][key].as_f64().unwrap();
    assert!(node_s("p50") <= node_s("p99") && node_s("p99") <= node_s("p999") && node_s("p999") <= node_s("max"));
    assert!(node_s("max") <= number("makespan_s") + 1e-9 && object["cross_zone_copies"].is_null());
    // A pull of N copies from the upstream takes N times as long.
    assert!((number("bound_single_source_s") - 8.0 * 16.0 * 1_048_576.0 / 12.5e6).abs() < 0.01, "{object}");
}

#[test]
fn people_get_a_table_and_sentences_and_a_pipe_no_bar() {
    let output = shoal_sim(&SMALL);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    for wanted in
        ["cold-start, 8 nodes\n", "last node done", "of the bound's speed", "All 8 nodes that pulled had the 16 MiB"]
    {
        assert!(stdout(&output).contains(wanted), "{wanted} in {}", stdout(&output));
    }
}

#[test]
fn a_folder_gets_all_files_and_its_scenario_runs_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new");
    let out = folder.to_str().unwrap();
    let first = object(&[&SMALL[..], &["--out", out]].concat());
    for name in [
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
    ] {
        assert!(fs::metadata(folder.join(name)).unwrap().len() > 100, "{name}");
    }
    let again = object(&["run", folder.join("scenario.toml").to_str().unwrap()]);
    assert_eq!(again["event_hash"], first["event_hash"], "the file is the run");
    let result: Value = serde_json::from_str(&fs::read_to_string(folder.join("result.json")).unwrap()).unwrap();
    assert_eq!(result["event_hash"], first["event_hash"]);
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("<canvas id=\"cells\"") && page.contains(first["event_hash"].as_str().unwrap()));
    is_refused(&[&SMALL[..], &["--out", out]].concat(), &["not empty", out]);
}

#[test]
fn an_empty_folder_is_used_and_nothing_else_that_exists() {
    let parent = tempfile::tempdir().unwrap();
    let at = |path: &Path| shoal_sim(&[&SMALL[..], &["--out", path.to_str().unwrap()]].concat()).status.code();
    assert_eq!(at(parent.path()), Some(0));
    let file = parent.path().join("result.json");
    is_refused(&[&SMALL[..], &["--out", file.to_str().unwrap()]].concat(), &["result.json", "not a folder"]);
    let nowhere = parent.path().join("no/such");
    is_refused(&[&SMALL[..], &["--out", nowhere.to_str().unwrap()]].concat(), &["no/such", "parent"]);
}

#[test]
fn scenarios_are_listed() {
    let listed = shoal_sim(&["scenarios"]);
    assert_eq!(listed.status.code(), Some(0));
    assert!(stdout(&listed).lines().count() >= 15 && stdout(&listed).starts_with("cold-start "), "{}", stdout(&listed));
    assert_eq!(stdout(&shoal_sim(&["--list"])), stdout(&listed));
}

#[test]
fn a_scenario_that_cannot_be_is_refused_with_its_place_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |from: &str, to: &str, wanted: &[&str]| {
        let path = changed(&folder, from, to);
        is_refused(&["run", path.to_str().unwrap()], &[&["mine.toml:"], wanted].concat());
    };
    refused("nodes = 4", "nodes = 4\nnods = 5", &[":4: nods = 5:", "unknown field", "`nodes`", "docs/scenarios.md"]);
    refused("link = \"100mbit\"", "link = \"fast\"", &[":4: link:", "\"fast\"", "200mbit"]);
    refused("link = \"100mbit\"", "link = \"0bit\"", &[":4: link:", "less than a byte per second"]);
    refused("nodes = 4", "nodes = 0", &[":3: nodes:", "allowed are 1 to 100000"]);
    refused("node = 3", "node = 4", &[":12: faults.node:", "4 is out of range", "0 to 3"]);
    refused("blob = \"4MiB\"", "blob = \"0B\"", &[":7: content.blob:", "at least 1 byte"]);
    refused("at = 0.5", "at = 1.5", &[":10: faults.at:", "0.0 to 1.0"]);
}

#[test]
fn wrong_usage_is_refused() {
    is_refused(&["run", "no-such"], &["no-such", "cold-start", "zones"]);
    is_refused(&["run"], &["<SCENARIO>"]);
    is_refused(&["run", "cold-start", "--nodes", "0"], &["nodes", "1 to 100000"]);
    is_refused(&["run", "cold-start", "--nodes", "some"], &["some", "--nodes"]);
    is_refused(&["run", "kill", "--nodes", "11"], &["faults.node", "0 to 10"]);
    is_refused(&["run", "cold-start", "--link", "fast"], &["200mbit"]);
    is_refused(&["run", "cold-start", "--size", "1MiB", "--layers", "1MiB"], &["--layers"]);
    is_refused(&["run", "cold-start", "--warm-share", "1.0"], &["warm_share", "below 1.0"]);
    is_refused(&["run", "cold-start", "--seed", "9223372036854775808"], &["seed", "9223372036854775807"]);
}

#[test]
fn pulls_that_fail_end_with_another_exit_code() {
    // The upstream ends before anything has left it, and nobody else has anything.
    let folder = tempfile::tempdir().unwrap();
    let path = changed(&folder, "at = 0.5\nwhat = \"kill-node\"\nnode = 3", "at = 0.0\nwhat = \"kill-upstream\"");
    let output = shoal_sim(&["run", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("FAILED: 4 nodes of 4"), "{}", stdout(&output));
}

#[test]
fn a_plan_stands_beside_what_people_use_without_a_swarm() {
    let plan = ["plan", "--nodes", "12", "--link", "100mbit", "--size", "8MiB", "--zones", "3", "--uplink", "200mbit"];
    let object = object(&plan);
    let systems = object["systems"].as_array().unwrap();
    let names: Vec<&str> = systems.iter().map(|system| system["system"].as_str().unwrap()).collect();
    assert_eq!(names, ["shoal", "single", "pull-through", "spegel", "kraken", "dragonfly"]);
    // 12 copies of 8 MiB over 12.5 MB/s.
    let single = systems[1]["makespan_s"].as_f64().unwrap();
    assert!((single - 8.053).abs() < 0.001, "{single}");
    assert_eq!(systems[1]["upstream_bytes"], 12 * (8 << 20));
    assert!(systems[0]["makespan_s"].as_f64() < Some(single), "{object}");
    assert!(systems[0]["p50_s"].as_f64() <= systems[0]["p99_s"].as_f64());
    let kinds: Vec<&str> = systems.iter().map(|system| system["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["engine", "links", "links", "model", "model", "model"]);
    let text = shoal_sim(&plan);
    assert!(
        stdout(&text).contains("dragonfly (model)")
            && stdout(&text).contains("pull-through")
            && stdout(&text).contains("plan, 12 nodes"),
        "{}",
        stdout(&text)
    );
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let plan = |more: &[&'static str]| [&["plan", "--link", "100mbit", "--size", "8MiB"], more].concat();
    is_refused(&plan(&[]), &["--nodes"]);
    is_refused(&plan(&["--nodes", "0"]), &["nodes", "1 to 100000"]);
    is_refused(&plan(&["--nodes", "4", "--zones", "2"]), &["--uplink"]);
    is_refused(&plan(&["--nodes", "4", "--zones", "5", "--uplink", "1gbit"]), &["zones.count", "1 to 4"]);
    is_refused(&plan(&["--nodes", "4", "--arrival", "later"]), &["together", "staggered:60s", "rolling:0.2"]);
    is_refused(&plan(&["--nodes", "4", "--arrival", "rolling:2"]), &["arrival.share", "0.001 to 1"]);
    is_refused(&["plan", "--nodes", "4", "--link", "100mbit"], &["--size"]);
}

#[test]
fn a_check_says_in_one_object_what_held_and_repeats() {
    let check = object(&["check", "--seeds", "3..9", "--jobs", "2"]);
    assert_eq!((check["seeds"].as_u64(), check["failed"].as_u64()), (Some(6), Some(0)), "{check}");
    assert!(check["first_failure"].is_null() && check["wall_s"].as_f64().unwrap() > 0.0);
    let (one, again) = (object(&["check", "--seed", "4"]), object(&["check", "--seed", "4"]));
    assert_eq!(one["event_hash"], again["event_hash"]);
    assert_ne!(one["event_hash"], object(&["check", "--seed", "5"])["event_hash"]);
}

#[test]
fn a_check_that_fails_names_the_rule_and_how_to_replay_it_and_is_made_small() {
    let folder = TempDir::new().unwrap();
    // Nine of ten packets are lost: the two do not find each other in time.
    let plan = "seed = 1\nlatency_us = 100\njitter_us = 0\nloss_permille = 900\nby_tag = false\nzone_uplinks = []\n\
        blobs = [262144]\n[upstream]\nbytes_per_s = 1000000\nranges = true\n\
        [[nodes]]\nup = 1000000\ndown = 1000000\nzone = 0\nstarts_ms = 0\nis_warm = false\n\
        [[nodes]]\nup = 1000000\ndown = 1000000\nzone = 0\nstarts_ms = 0\nis_warm = false\n\
        [[faults]]\nat_ms = 0\nfor_ms = 1000\nwhat = \"pause\"\nnode = 0\n";
    fs::write(folder.path().join("plan.toml"), plan).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-sim"));
    command.current_dir(folder.path()).args(["check", "--plan", "plan.toml", "--shrink"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    for wanted in ["membership", "replay with: shoal-sim check --plan plan.toml", "check-1.toml"] {
        assert!(stdout(&output).contains(wanted), "{wanted} in {}", stdout(&output));
    }
    let small = fs::read_to_string(folder.path().join("check-1.toml")).unwrap();
    assert!(!small.contains("[[faults]]"), "{small}");
}

#[test]
fn the_plan_of_a_seed_is_shown_and_checked_as_the_seed_is() {
    let shown = shoal_sim(&["check", "--seed", "4", "--show"]);
    assert_eq!(shown.status.code(), Some(0));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, stdout(&shown)).unwrap();
    let (by_plan, by_seed) = (object(&["check", "--plan", file.to_str().unwrap()]), object(&["check", "--seed", "4"]));
    assert_eq!(by_plan["event_hash"], by_seed["event_hash"]);
}

#[test]
fn a_check_that_cannot_be_is_refused() {
    is_refused(&["check", "--plan", "no-such-plan.toml"], &["no-such-plan.toml"]);
    for seeds in ["5..5", "7", "a..b"] {
        let output = shoal_sim(&["check", "--seeds", seeds]);
        assert_eq!(output.status.code(), Some(2), "{seeds}");
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, "seed = 1\nspeed = 3\n").unwrap();
    is_refused(&["check", "--plan", file.to_str().unwrap()], &["plan.toml", "speed"]);
}

//! `sweep` and `tune` as the binary has them: what they print and write, and what they refuse and how.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

mod common;

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use common::{is_refused, object, shoal_sim, stderr, stdout};

/// Runs of a moment.
const SMALL: [&str; 8] = ["sweep", "cold-start", "--nodes", "6", "--size", "8MiB", "--seeds", "1..2"];

fn sweep<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], more].concat()
}

/// A file of a tuning, with a part replaced.
fn tuning(folder: &TempDir, from: &str, to: &str) -> PathBuf {
    let text = "name = \"mine\"\ncandidates = 5\n\n[parameters]\nupload_slots = [2, 3, 5, 8]\nrequests_max = [2, 4, 6]\n\n\
                [[scenarios]]\nname = \"small\"\nbase = \"cold-start\"\nnodes = 4\nsize = \"4MiB\"\n\n\
                [[scenarios]]\nname = \"zoned\"\nbase = \"zones\"\nnodes = 8\nsize = \"4MiB\"\n\n\
                [[rounds]]\nscenarios = [\"small\"]\nseeds = \"1\"\nkeep = 3\n\n\
                [[rounds]]\nseeds = \"1..2\"\nkeep = 2\n\n[held_out]\nseeds = \"11\"\n";
    assert!(text.contains(from), "{from}");
    let path = folder.path().join("mine.toml");
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn a_grid_is_tried_in_full_beside_the_defaults() {
    let object = object(&sweep(&["--param", "upload_slots=2,4", "--param", "requests_max=2,4"]));
    let candidates = object["candidates"].as_array().unwrap();
    assert_eq!((candidates.len(), object["runs"].as_u64()), (5, Some(10)));
    let defaults = candidates.iter().find(|candidate| candidate["is_default"] == true).unwrap();
    assert_eq!(defaults["score"], 0.0);
    let scores: Vec<f64> = candidates.iter().map(|candidate| candidate["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted(), "{scores:?}");
    for candidate in candidates {
        let objectives = &candidate["objectives"];
        assert!(objectives["makespan"].as_f64().unwrap() >= 1.0, "{candidate}");
        assert!(objectives["first_byte"].as_f64().unwrap() > 0.0, "{candidate}");
        assert!((0.0..1.0).contains(&objectives["prefix_lag"].as_f64().unwrap()), "{candidate}");
        assert!(objectives["upstream"].as_f64().unwrap() >= 1.0 && objectives["cross_zone"].is_null(), "{candidate}");
    }
    assert!(candidates.iter().any(|candidate| candidate["is_pareto"] == true));
    // Fewer requests at a time leave links idle.
    let of = |requests: &str| {
        let found = candidates
            .iter()
            .find(|one| one["parameters"]["requests_max"] == requests && one["parameters"]["upload_slots"] == "4");
        found.unwrap()["objectives"]["makespan"].as_f64().unwrap()
    };
    assert!(of("2") > of("4"), "{object}");
}

#[test]
fn any_number_of_jobs_gives_the_same_and_so_does_another_run() {
    let result = |jobs: &str| {
        let random =
            ["--random", "4", "--param", "upload_slots=1..16", "--param", "window_pieces=8..256", "--jobs", jobs];
        let mut object = object(&sweep(&random));
        object["wall_s"] = 0.into();
        object
    };
    let one = result("1");
    assert_eq!(one, result("3"));
    assert_eq!(one["candidates"].as_array().unwrap().len(), 5, "four draws and the defaults");
}

#[test]
fn people_get_a_table_and_a_folder_gets_tables_and_maps() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new");
    let values =
        ["--param", "have_interval=5ms,40ms", "--param", "upload_slots=2,5", "--out", folder.to_str().unwrap()];
    let output = shoal_sim(&sweep(&values));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "a pipe gets no bar");
    for wanted in [
        "5 candidates with the defaults, 1 scenario, 10 runs",
        "have_interval",
        "40ms",
        "makespan",
        "best other candidate",
    ] {
        assert!(stdout(&output).contains(wanted), "{wanted} in {}", stdout(&output));
    }
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let candidates = text("candidates.csv");
    assert!(
        candidates.starts_with("candidate,have_interval,upload_slots,rounds,score,held_out_score,makespan,"),
        "{candidates}"
    );
    assert_eq!((candidates.lines().count(), text("runs.csv").lines().count()), (6, 11));
    assert_eq!(
        text("runs.csv").lines().filter(|line| line.contains(",cold-start,2,")).count(),
        5,
        "each has each seed"
    );
    let result: Value = serde_json::from_str(&text("result.json")).unwrap();
    assert_eq!(result["scenarios"][0], "cold-start");
    for objective in ["makespan", "first_byte", "prefix_lag", "upstream"] {
        let map = text(&format!("heat-{objective}.svg"));
        assert!(map.contains("have_interval") && map.contains("40ms"), "{map}");
    }
    assert!(!folder.join("heat-cross_zone.svg").exists(), "there are no zones");
    is_refused(&sweep(&values), &["not empty"]);
}

#[test]
fn a_tuning_halves_and_shows_the_last_on_held_out_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let object = object(&["tune", tuning(&folder, "mine", "mine").to_str().unwrap()]);
    let candidates = object["candidates"].as_array().unwrap();
    let rounds: Vec<u64> = candidates.iter().map(|candidate| candidate["rounds"].as_u64().unwrap()).collect();
    assert_eq!(rounds, [3, 3, 3, 2, 1, 1], "two and the defaults, one more in the second round");
    assert_eq!(object["runs"], 6 + 4 * 2 * 2 + 3 * 2);
    assert!(candidates[0]["held_out_score"].is_f64() && candidates[3]["held_out_score"].is_null());
    assert!(candidates[0]["objectives"]["cross_zone"].is_f64(), "one of the scenarios has zones");
    assert_eq!(object["rounds"][2]["is_held_out"], true);
    let text = shoal_sim(&["tune", folder.path().join("mine.toml").to_str().unwrap()]);
    for wanted in ["tune mine: 6 candidates", "held out", "on the held-out seeds", "zoned"] {
        assert!(stdout(&text).contains(wanted), "{wanted} in {}", stdout(&text));
    }
}

#[test]
fn parameters_are_listed() {
    let output = shoal_sim(&["sweep", "--parameters"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line =
        |name: &str| stdout(&output).lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
    assert!(line("have_interval").contains("swarm") && line("have_interval").contains("1ms to 2s"));
    assert!(line("leases_start").contains("default 4") && stdout(&output).lines().count() > 50);
}

#[test]
fn parameters_that_cannot_be_are_refused_with_what_is_allowed() {
    let refused = |values: &[&'static str], wanted: &[&str]| is_refused(&sweep(values), wanted);
    refused(&[], &["--param"]);
    refused(&["--param", "upload_slotz=1,2"], &["\"upload_slotz\"", "upload_slots", "--parameters"]);
    refused(&["--param", "upload_slots"], &["NAME=VALUE", "upload_slots=2,4,6"]);
    refused(&["--param", "upload_slots=2,many"], &["upload_slots", "\"many\"", "a whole number"]);
    refused(&["--param", "upload_slots=0..4"], &["0 is out of range", "1 to 64"]);
    refused(&["--param", "upload_slots="], &["upload_slots", "no value"]);
    refused(&["--param", "have_interval=20"], &["have_interval", "a time, as in 250ms"]);
    refused(&["--param", "upload_slots=2", "--param", "upload_slots=4"], &["upload_slots is named twice"]);
    refused(&["--param", "leases_start=32"], &["leases_start is above leases_max"]);
    let wide = [
        "--param",
        "upload_slots=1..64",
        "--param",
        "requests_max=1..64",
        "--param",
        "neighbours=1..40",
        "--points",
        "64",
    ];
    refused(&wide, &["163840 combinations are too many", "10000", "at random"]);
    refused(&["--param", "upload_slots=2,4", "--random", "0"], &["--random", "1 to 10000"]);
    refused(&["--param", "upload_slots=2,4", "--points", "0"], &["--points", "1..=1000"]);
    refused(&["--param", "upload_slots=2,4", "--jobs", "0"], &["--jobs"]);
    refused(&["--param", "upload_slots=2,4", "--heat", "upload_slots"], &["--heat", "two"]);
    refused(&["--param", "upload_slots=2,4", "--heat", "upload_slots,neighbours"], &["\"neighbours\" is not searched"]);
}

#[test]
fn scenarios_and_seeds_that_cannot_be_are_refused() {
    let values = ["--param", "upload_slots=2,4"];
    let with = |arguments: &[&'static str]| [&["sweep"], arguments, &values[..]].concat();
    is_refused(&with(&["no-such"]), &["no-such", "cold-start"]);
    is_refused(&with(&["cold-start", "cold-start"]), &["cold-start is named twice"]);
    is_refused(&with(&["cold-start", "--seeds", "5..1"]), &["--seeds", "FIRST..LAST"]);
    is_refused(&with(&["cold-start", "--nodes", "0"]), &["nodes", "1 to 100000"]);
    is_refused(&["sweep", "--param", "upload_slots=2"], &["<SCENARIO>"]);
}

#[test]
fn a_tuning_that_cannot_be_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |from: &str, to: &str, wanted: &[&str]| {
        let path = tuning(&folder, from, to);
        is_refused(&["tune", path.to_str().unwrap()], &[&["mine.toml:"], wanted].concat());
    };
    refused("candidates = 5", "candidates = 5\nnods = 1", &[":3:", "unknown field", "`candidates`", "docs/tuning.md"]);
    refused("candidates = 5", "candidates = 20000", &["candidates: 20000", "1 to 10000"]);
    refused("[2, 3, 5, 8]", "[2, 300]", &["upload_slots: 300", "1 to 64"]);
    refused("[2, 3, 5, 8]", "[]", &["upload_slots", "no value"]);
    refused("\"small\"]", "\"tiny\"]", &["\"tiny\"", "small, zoned"]);
    refused("seeds = \"11\"", "seeds = \"2\"", &["held_out.seeds: 2 is one of a round"]);
    is_refused(&["tune", "no-such.toml"], &["cannot read no-such.toml"]);
    is_refused(&["tune"], &["<FILE>"]);
}

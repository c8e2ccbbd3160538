use super::*;
use crate::result::NodeResult;

fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).unwrap()
}

fn run(system: &str, invalid: Option<&str>, makespan_s: f64, done_s: &[f64]) -> RunResult {
    let node = |&done_s: &f64| NodeResult { done_s: Some(done_s), ..NodeResult::default() };
    RunResult {
        system: system.into(),
        repeat: 0,
        order: 0,
        invalid: invalid.map(Into::into),
        makespan_s,
        bound_s: 1.0,
        nodes: done_s.iter().map(node).collect(),
        upstream: crate::result::UpstreamResult::default(),
        zones: Vec::new(),
        machine: crate::result::MachineResult::default(),
        timeline: Vec::new(),
    }
}

fn experiment(row: &Row, runs: Vec<RunResult>) -> Experiment {
    Experiment { scenario: row.scenario(Some(8 << 20), None).unwrap(), runs }
}

#[test]
fn every_row_has_a_scenario_that_the_simulator_finishes() {
    for row in ROWS {
        let comparison = compare(row, &experiment(row, Vec::new())).unwrap();
        assert!(comparison.simulator.makespan_s >= comparison.simulator.median_s, "{comparison:?}");
        assert!(comparison.simulator.median_s > 0.0, "{comparison:?}");
        assert_eq!((comparison.runs, comparison.makespan_error()), (0, None), "nothing was measured");
    }
}

#[test]
fn only_runs_that_count_and_only_those_of_the_system_are_compared() {
    let row = row("single-source");
    let runs = vec![
        run("single", None, 4.0, &[1.0, 2.0, 4.0]),
        run("single", Some("busy"), 400.0, &[100.0]),
        run("shoal", None, 1.0, &[0.5]),
    ];
    let comparison = compare(row, &experiment(row, runs)).unwrap();
    assert_eq!(comparison.laboratory, Some(Times { makespan_s: 4.0, median_s: 2.0 }));
    assert_eq!((comparison.runs, comparison.reason.as_deref()), (1, None));
    let error = comparison.makespan_error().unwrap();
    assert!((error - (comparison.simulator.makespan_s / 4.0 - 1.0)).abs() < 1e-12);
}

#[test]
fn a_row_that_nothing_counts_in_says_why_in_all_forms() {
    let row = row("cold-start-4");
    let rows = [compare(row, &experiment(row, vec![run("shoal", Some("too busy"), 9.0, &[9.0])])).unwrap()];
    assert!(table::markdown(&rows).contains("too busy"));
    assert_eq!(table::object(&rows)["rows"][0]["reason"], "too busy");
    assert!(table::object(&rows)["rows"][0]["makespan_error"].is_null());
    let folder = tempfile::tempdir().unwrap();
    table::write(&rows, folder.path()).unwrap();
    let csv = std::fs::read_to_string(folder.path().join("calibration.csv")).unwrap();
    assert_eq!(csv.lines().count(), 2);
    assert!(csv.lines().nth(1).unwrap().starts_with("cold-start-4,4,0,,,"));
}

//! The table of a calibration: for people, for spreadsheets, and as JSON.

use std::{fmt::Write as _, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use super::Comparison;

/// Deviation up to which the two agree, as a share of the laboratory's time.
pub const AGREED: f64 = 0.1;

/// All rows in Markdown.
pub fn markdown(rows: &[Comparison]) -> String {
    let mut text = "| scenario | nodes | runs | laboratory: last / median, s | simulator: last / median, s | error: last / median |\n|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let simulator = format!("{:.2} / {:.2}", row.simulator.makespan_s, row.simulator.median_s);
        let (laboratory, error) = match row.laboratory {
            Some(times) => (
                format!("{:.2} / {:.2}", times.makespan_s, times.median_s),
                format!("{} / {}", percent(row.makespan_error()), percent(row.median_error())),
            ),
            None => (row.reason.clone().unwrap_or_default(), "-".into()),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {} | {} | {} | {laboratory} | {simulator} | {error} |", row.row, row.nodes, row.runs);
    }
    text
}

fn percent(error: Option<f64>) -> String {
    error.map_or_else(|| "-".into(), |error| format!("{:+.1} %", error * 100.0))
}

/// All rows as one object.
pub fn object(rows: &[Comparison]) -> Value {
    let of_row = |row: &Comparison| {
        json!({
            "row": row.row, "nodes": row.nodes, "runs": row.runs, "reason": row.reason,
            "laboratory": row.laboratory, "simulator": row.simulator,
            "makespan_error": row.makespan_error(), "median_error": row.median_error(),
        })
    };
    json!({ "rows": rows.iter().map(of_row).collect::<Vec<_>>(), "agreed": AGREED })
}

/// Writes `calibration.md`, `calibration.csv` and `calibration.json` into a new folder.
///
/// # Errors
/// The folder cannot be made, or a file not written.
pub fn write(rows: &[Comparison], folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    put("calibration.md", markdown(rows).as_bytes())?;
    put("calibration.json", format!("{:#}\n", object(rows)).as_bytes())?;
    put("calibration.csv", &csv(rows)?)
}

fn csv(rows: &[Comparison]) -> anyhow::Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([
        "row",
        "nodes",
        "runs",
        "laboratory_makespan_s",
        "laboratory_median_s",
        "simulator_makespan_s",
        "simulator_median_s",
        "makespan_error",
        "median_error",
    ])?;
    let known = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for row in rows {
        table.write_record([
            row.row.to_owned(),
            row.nodes.to_string(),
            row.runs.to_string(),
            known(row.laboratory.map(|times| times.makespan_s)),
            known(row.laboratory.map(|times| times.median_s)),
            row.simulator.makespan_s.to_string(),
            row.simulator.median_s.to_string(),
            known(row.makespan_error()),
            known(row.median_error()),
        ])?;
    }
    Ok(table.into_inner()?)
}

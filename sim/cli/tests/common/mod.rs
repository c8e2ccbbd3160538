//! The command `shoal-sim`, as its tests run it.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs the command to its end.
pub(crate) fn shoal_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shoal-sim")).args(arguments).output().unwrap()
}

/// What it printed.
pub(crate) fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

/// What it said beside.
pub(crate) fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Asserts that a command ends with exit code 2, prints nothing, and says all of `wanted`.
pub(crate) fn is_refused(arguments: &[&str], wanted: &[&str]) {
    let output = shoal_sim(arguments);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{arguments:?}: {}", stderr(&output));
    for wanted in wanted {
        assert!(stderr(&output).contains(wanted), "{wanted} in {}", stderr(&output));
    }
}

/// The object that a command prints with `--json`, where it ends well.
pub(crate) fn object(arguments: &[&str]) -> Value {
    let output = shoal_sim(&[arguments, &["--json"]].concat());
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

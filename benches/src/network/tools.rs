//! `ip` and `tc`, many commands at a time.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use super::error::NetworkError;

/// What to do after a command of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// Leave the rest undone.
    Stop,
    /// Do the rest, and report the failure at the end.
    GoOn,
}

/// Runs `program` on `lines`, each a command without the program's name; in the network namespace `namespace` where one
/// is named. `doing` says what for, in an error.
pub(super) fn batch(
    program: &'static str,
    namespace: Option<&str>,
    lines: &str,
    after_failure: AfterFailure,
    doing: &str,
) -> Result<(), NetworkError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(program);
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    if after_failure == AfterFailure::GoOn {
        command.arg("-force");
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // In a group of its own: the terminal's Ctrl-C must not stop what tidies up after it.
    let mut child = command.process_group(0).spawn().map_err(|source| NetworkError::Program { program, source })?;
    if let Some(mut input) = child.stdin.take() {
        // A program that stops at a failure closes its input; what it says about it comes below.
        input.write_all(lines.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|source| NetworkError::Program { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = if said.trim().is_empty() { output.status.to_string() } else { said.trim().replace('\n', "; ") };
    Err(NetworkError::Command { program, doing: doing.to_owned(), message })
}

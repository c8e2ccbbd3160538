//! The congestion control of TCP in the namespaces.
//!
//! A namespace may only choose one that the machine allows to everybody, and a machine whose own is another may not allow
//! cubic. Then it is allowed for the moment of the choice, which stays when it is no longer allowed.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
};

use super::error::NetworkError;

/// What most machines have.
pub(super) const CONTROL: &str = "cubic";

/// What everybody on this machine may choose, separated by blanks.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
/// Attempts, in case another laboratory ends its moment within ours.
const ATTEMPTS: u32 = 5;

/// Puts the machine's setting back.
struct Restore(String);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Err(error) = fs::write(ALLOWED, &self.0) {
            eprintln!("shoal-lab: cannot set {ALLOWED} back to {:?}: {error}", self.0.trim());
        }
    }
}

/// Does `work`, during which namespaces may choose [`CONTROL`].
pub(super) fn while_allowed(work: impl Fn() -> Result<(), NetworkError>) -> Result<(), NetworkError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        let _restore = allow().map_err(|source| NetworkError::File { path: ALLOWED.into(), source })?;
        result = work();
        if !result.as_ref().is_err_and(is_forbidden) {
            break;
        }
    }
    result
}

fn allow() -> io::Result<Option<Restore>> {
    let allowed = fs::read_to_string(ALLOWED)?;
    if allowed.split_whitespace().any(|control| control == CONTROL) {
        return Ok(None);
    }
    fs::write(ALLOWED, format!("{} {CONTROL}", allowed.trim()))?;
    Ok(Some(Restore(allowed)))
}

fn is_forbidden(error: &NetworkError) -> bool {
    matches!(error, NetworkError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

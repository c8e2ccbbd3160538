//! Waiting for a condition, up to a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Deadline for what takes a moment: a process that starts, a counter that rises, a node that joins.
pub const SOON: Duration = Duration::from_secs(30);

/// Deadline for pulls. Only a hang meets it.
pub const PULL: Duration = Duration::from_mins(3);

/// Looks at a condition until it gives a value. Errors of `look` end the wait at once; a value that is not there yet is
/// `Ok(None)`. The error at the deadline names `what` was waited for.
pub async fn until<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            bail!("waited {deadline:?} in vain for this: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Awaits `future` up to a deadline.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(deadline, future).await {
        Ok(result) => result,
        Err(_) => bail!("waited {deadline:?} in vain for this: {what}"),
    }
}

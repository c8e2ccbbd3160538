//! All tasks of a node, so that none outlives it.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where a node's tasks are spawned. Each ends by itself, or at its next await once the node stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Spawns a task that is dropped when the node stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }

    /// What counts the tasks; blocking jobs are counted by it too.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Stops all tasks. Idempotent.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all tasks have ended, after [`Tasks::stop`].
    pub(crate) async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

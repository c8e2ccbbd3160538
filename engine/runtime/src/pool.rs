//! Hashing and disk work, off the async threads, on a bounded number of blocking ones.

use std::{io, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Jobs at once. SHA-256 of one blob is sequential, and a runtime pulls about three blobs at once.
const JOBS_MAX: usize = 4;

/// Jobs at once that read a whole file: whatever they take, the others' pieces and readers go on.
const LONG_JOBS_MAX: usize = 2;

/// Runs blocking jobs, at most [`JOBS_MAX`] at once; others wait in order.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    long: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl Pool {
    /// A pool whose jobs `tracker` waits for.
    pub(crate) fn new(tracker: TaskTracker) -> Self {
        Self { permits: Arc::new(Semaphore::new(JOBS_MAX)), long: Arc::new(Semaphore::new(LONG_JOBS_MAX)), tracker }
    }

    /// Whether no job runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.permits.available_permits() == JOBS_MAX
    }

    /// Runs a `job` that takes long, such as reading a whole blob; at most [`LONG_JOBS_MAX`] of them at once.
    ///
    /// # Errors
    /// As [`Pool::run`].
    pub(crate) async fn run_long<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let permit = self.long.clone().acquire_owned().await.map_err(io::Error::other)?;
        // It goes with the job, which runs to its end whoever waits for it.
        self.run(move || {
            let result = job();
            drop(permit);
            result
        })
        .await
    }

    /// Runs `job`. A caller that is dropped before the job has begun cancels it; one that has begun runs to its end.
    ///
    /// # Errors
    /// The job panicked, or the runtime is shutting down.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let handle = self.tracker.spawn_blocking(move || {
            let result = job();
            drop(permit);
            result
        });
        handle.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn no_more_jobs_than_the_bound_run_at_once() {
        let pool = Pool::new(TaskTracker::new());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
            set.spawn(async move {
                let job = move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, SeqCst);
                };
                pool.run(job).await.expect("the job returns");
            });
        }
        set.join_all().await;
        assert!((1..=JOBS_MAX).contains(&most.load(SeqCst)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn long_jobs_leave_room_for_others() {
        let pool = Pool::new(TaskTracker::new());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let mut long = tokio::task::JoinSet::new();
        for _ in 0..JOBS_MAX {
            let (pool, held) = (pool.clone(), held.clone());
            long.spawn(async move {
                let job = move || held.lock().expect("not poisoned").recv().expect("released");
                pool.run_long(job).await.expect("the job returns");
            });
        }
        // Whatever has begun of the long ones by now, a short one comes through.
        assert_eq!(pool.run(|| 7).await.expect("it runs"), 7);
        while pool.long.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| 8).await.expect("it runs while the long ones do"), 8);
        (0..JOBS_MAX).for_each(|_| release.send(()).expect("they wait"));
        long.join_all().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        let pool = Pool::new(TaskTracker::new());
        for _ in 0..=JOBS_MAX {
            assert!(pool.run(|| panic!("a job that fails")).await.is_err());
        }
        assert_eq!(pool.run(|| 7).await.expect("a place is free"), 7);
    }
}

//! The accept loop: bounded, and stopped in order.

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{fate::ConnectionFate, socket::FatedSocket};

/// Connections that a node serves at once; more wait in the kernel's queue. containerd opens a handful.
pub const CONNECTIONS_MAX: usize = 1024;

/// Time for a request's header to arrive, and for a connection to be idle. Longer than the 30 s after which clients
/// built on Go close idle connections themselves.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// Pause after a failed accept, when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    stop_accepting: CancellationToken,
    drop_connections: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Serves `router` on `listener` until [`Server::stop`], at most `connections` at once.
    pub fn start(listener: TcpListener, router: Router, connections: usize) -> Self {
        let server = Self {
            stop_accepting: CancellationToken::new(),
            drop_connections: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let acceptor = Acceptor {
            router,
            stop_accepting: server.stop_accepting.clone(),
            drop_connections: server.drop_connections.clone(),
            tasks: server.tasks.clone(),
            permits: Arc::new(Semaphore::new(connections)),
        };
        server.tasks.spawn(acceptor.run(listener));
        server
    }

    /// Stops accepting, lets requests in flight finish for at most `patience`, and closes what remains.
    pub async fn stop(self, patience: Duration) {
        self.stop_accepting.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "requests did not finish in time and are cut off");
            self.drop_connections.cancel();
            self.tasks.wait().await;
        }
    }
}

struct Acceptor {
    router: Router,
    stop_accepting: CancellationToken,
    drop_connections: CancellationToken,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        while let Some((stream, permit)) = self.accept(&listener).await {
            let connection = serve(stream, self.router.clone(), self.stop_accepting.clone());
            let dropped = self.drop_connections.clone();
            self.tasks.spawn(async move {
                let _permit = permit;
                dropped.run_until_cancelled(connection).await;
            });
        }
    }

    /// The next connection, or `None` when no more are accepted.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let permit = self.stop_accepting.run_until_cancelled(self.permits.clone().acquire_owned()).await?.ok()?;
        loop {
            match self.stop_accepting.run_until_cancelled(listener.accept()).await? {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(%error, "an HTTP connection was not accepted");
        self.stop_accepting.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
    }
}

/// Serves one connection. Each of its requests carries the connection's fate as an extension.
async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not set");
    }
    let fate = Arc::new(ConnectionFate::default());
    let socket = FatedSocket::new(stream, fate.clone());
    let service = TowerToHyperService::new(router.layer(Extension(fate)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests;

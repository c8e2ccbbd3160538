//! The life of a node's process.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    num::NonZeroU64,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use shoal_runtime::{ClusterSecret, Engine, EngineConfig, Moderation, StartError};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use super::{
    args::{LogFormat, NodeArgs},
    secret::{SECRET_FILE, SecretError, read_or_create_secret, read_secret},
    settings::{SecretSetting, Settings, SettingsError},
};
use crate::{
    http::{
        router,
        server::{CONNECTIONS_MAX, Server},
    },
    oci::endpoint::Endpoint,
    registries::{Registries, RegistriesError},
    upstream::{RegistryClient, UpstreamRequests, UpstreamTimeouts},
};

/// Time for requests in flight to finish after a signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Time for the engine to take its leave.
const LEAVE: Duration = Duration::from_secs(10);

/// Why a node did not run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The settings are wrong: exit code 2.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The registries file is wrong: exit code 2.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// The filter of the log is wrong: exit code 2.
    #[error("--log {filter:?} is not a filter such as info or info,shoal_runtime=debug: {source}")]
    Log {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no secret: exit code 2, but 1 where writing or the system failed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP port is taken or not allowed: exit code 1.
    #[error("cannot listen on {address}: {source}. Choose another address with --listen, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The engine did not start: exit code 1.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be received: exit code 1.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
}

impl NodeError {
    /// 2 for what the user said, 1 for what went wrong.
    pub fn exit_code(&self) -> ExitCode {
        let wrong_usage = match self {
            Self::Settings(_) | Self::Registries(_) | Self::Log { .. } => true,
            Self::Secret(error) => !matches!(error, SecretError::Write { .. } | SecretError::Random),
            Self::Listen { .. } | Self::Start(_) | Self::Signals(_) => false,
        };
        ExitCode::from(if wrong_usage { 2 } else { 1 })
    }
}

/// Runs a node until SIGTERM or SIGINT, on threads that rest by `moderation`.
pub async fn run(args: NodeArgs, moderation: &Moderation) -> Result<ExitCode, NodeError> {
    let is_root = rustix::process::geteuid().is_root();
    let settings = Settings::load(args, |name| std::env::var_os(name), is_root)?;
    start_log(&settings)?;
    let registries = settings.registries.as_deref().map(Registries::read).transpose()?.unwrap_or_default();
    create_data_dir(&settings.data_dir)?;
    let secret = read_the_secret(&settings)?;
    let mut signals = Signals::install().map_err(NodeError::Signals)?;
    let listener = listen(settings.listen).await?;
    let http = listener.local_addr().map_err(|source| NodeError::Listen { address: settings.listen, source })?;

    let registries = Arc::new(registries);
    let requests = UpstreamRequests::default();
    let upstream = RegistryClient::new(registries.clone(), UpstreamTimeouts::default(), requests.clone());
    let engine = Engine::start(engine_config(&settings, secret), Arc::new(upstream)).await?;
    engine.moderate(moderation);
    let endpoint = Endpoint::new(Arc::new(engine.clone()), registries);
    let router = router(endpoint, Arc::new(engine.clone()), settings.join.clone(), &requests);
    let server = Server::start(listener, router, CONNECTIONS_MAX);
    announce(&settings, &engine, http);

    let signal = signals.next().await;
    tracing::info!(signal, "stopping: requests in flight may finish, then the node leaves the cluster");
    tokio::select! {
        () = stop(server, &engine) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once, because of a second signal");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn stop(server: Server, engine: &Engine) {
    server.stop(DRAIN).await;
    if tokio::time::timeout(LEAVE, engine.shutdown()).await.is_err() {
        tracing::warn!("the engine did not end in time");
    }
}

fn start_log(settings: &Settings) -> Result<(), NodeError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|source| NodeError::Log { filter: settings.log.clone(), source })?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A log that is already there, as when several nodes run in one process of tests, is kept.
    let _ = match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}

fn create_data_dir(path: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(path)
        .map_err(|source| NodeError::Start(StartError::DataDir { path: path.to_owned(), source }))
}

fn read_the_secret(settings: &Settings) -> Result<ClusterSecret, SecretError> {
    match &settings.secret {
        SecretSetting::Given(secret) => Ok(secret.clone()),
        SecretSetting::File(file) => read_secret(file),
        SecretSetting::DataDir => read_or_create_secret(&settings.data_dir, !settings.join.is_empty()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Listen { address, source })
}

/// What a node can receive at most, as far as that is told.
fn link_bytes_per_s(settings: &Settings) -> Option<NonZeroU64> {
    let told = [settings.link, settings.download_limit].into_iter().flatten();
    told.map(|rate| rate.0).min().and_then(NonZeroU64::new)
}

fn engine_config(settings: &Settings, secret: ClusterSecret) -> EngineConfig {
    EngineConfig {
        data_dir: settings.data_dir.clone(),
        listen: settings.swarm_listen,
        advertise: settings.advertise,
        secret,
        seeds: settings.join.clone(),
        zone: settings.zone.clone(),
        upload_bytes_per_s: settings.upload_limit.map(|rate| rate.0),
        download_bytes_per_s: settings.download_limit.map(|rate| rate.0),
        link_bytes_per_s: link_bytes_per_s(settings),
        spool_bytes: settings.spool_limit.0,
        core: shoal_runtime::CoreConfig::default(),
    }
}

/// Tells on standard output that the node runs, and how the next one joins it.
fn announce(settings: &Settings, engine: &Engine, http: SocketAddr) {
    let status = engine.status();
    let reached = settings.advertise.unwrap_or(status.listen);
    let join = format!("shoal node --join {reached} {}", secret_argument(settings));
    tracing::info!(id = %status.id, %http, swarm = %status.listen, "the node runs");
    let text = if settings.json {
        json!({
            "event": "started",
            "id": status.id.to_string(),
            "http": http.to_string(),
            "swarm": status.listen.to_string(),
            "data_dir": settings.data_dir,
            "join": join,
        })
        .to_string()
    } else {
        started_text(settings, &status.id.to_string(), http, status.listen, &join)
    };
    // Whoever started the node may not read its output; that is no reason to end.
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

fn secret_argument(settings: &Settings) -> String {
    match &settings.secret {
        SecretSetting::Given(_) => "--secret \"$SHOAL_SECRET\"".to_owned(),
        SecretSetting::File(file) => format!("--secret-file {}", file.display()),
        SecretSetting::DataDir => format!("--secret-file {}", settings.data_dir.join(SECRET_FILE).display()),
    }
}

fn started_text(settings: &Settings, id: &str, http: SocketAddr, swarm: SocketAddr, join: &str) -> String {
    let elsewhere = if swarm.ip().is_loopback() {
        "with, on this machine, a --data-dir of its own, --listen 127.0.0.1:0 and --swarm-listen 127.0.0.1:0"
    } else {
        "after copying the secret's file there, with --swarm-listen at an address of that machine"
    };
    format!(
        "Node {id} runs.\n  \
         registry mirror  http://{http}\n  \
         swarm            {swarm} (UDP)\n  \
         data             {}\n\
         The next node joins by\n  \
         {join}\n\
         {elsewhere}.",
        settings.data_dir.display()
    )
}

/// The signals that end a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

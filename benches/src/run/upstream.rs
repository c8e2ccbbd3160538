//! The registry: Debian's docker-registry with the image in its storage. Where the scenario's upstream has no ranges, nginx
//! stands before it and leaves them out.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

use super::{content::Stock, listening, registry_log};
use crate::{
    network::{Host, Network},
    process::Process,
    result::UpstreamResult,
};

/// Port of the registry as clients see it.
const PORT: u16 = 5000;
/// Port of the registry behind nginx.
const HIDDEN_PORT: u16 = 5001;
/// Time to start serving.
pub(super) const START: Duration = Duration::from_secs(20);
/// Time for the connections of ended clients to go.
const DRAIN: Duration = Duration::from_secs(10);
/// Time to end after SIGTERM.
const STOP: Duration = Duration::from_secs(5);

/// A running upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    registry: Process,
    front: Option<Process>,
    port: u16,
    log: PathBuf,
    counted_from: u64,
    address: SocketAddr,
    killed: bool,
}

impl Upstream {
    /// Starts it in its namespace, with its files in `directory`, and waits until it serves.
    pub(crate) async fn start(
        network: &Network,
        directory: &Path,
        stock: &Stock,
        ranges: bool,
    ) -> anyhow::Result<Self> {
        let port = if ranges { PORT } else { HIDDEN_PORT };
        let log = directory.join("upstream.log");
        let config = write(directory, "upstream.yml", &registry_config(stock.storage(), port, None))?;
        let mut command = network.command(Host::Upstream, OsStr::new("docker-registry"));
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
        let mut registry = Process::start("the upstream's docker-registry", command, &log)?;
        listening::until_it_listens(&mut registry, port, START).await?;
        let front = if ranges { None } else { Some(start_front(network, directory).await?) };
        let address = SocketAddr::from((network.address(Host::Upstream), PORT));
        Ok(Self { registry, front, port, log, counted_from: 0, address, killed: false })
    }

    /// Where clients ask.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts from now on.
    pub(crate) async fn begin_to_count(&mut self) -> anyhow::Result<()> {
        listening::until_clients_are_gone(&self.registry, self.port, DRAIN).await?;
        let metadata = fs::metadata(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        self.counted_from = metadata.len();
        Ok(())
    }

    /// Ends it without a word, as a machine that fails.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.killed = true;
        if let Some(front) = &mut self.front {
            front.kill()?;
        }
        self.registry.kill()?;
        Ok(())
    }

    /// Whether a fault ended it: then its log lacks what it was sending.
    pub(crate) fn was_killed(&self) -> bool {
        self.killed
    }

    /// Stops it once its clients have gone, and adds up what it sent. Call it when all clients have ended: an answer is
    /// logged at its end.
    pub(crate) async fn finish(mut self) -> anyhow::Result<UpstreamResult> {
        if !self.killed {
            listening::until_clients_are_gone(&self.registry, self.port, DRAIN).await?;
            if let Some(front) = &mut self.front {
                front.stop(STOP)?;
            }
            self.registry.stop(STOP)?;
        }
        registry_log::add_up(&self.log, self.counted_from)
    }
}

/// Configuration of a docker-registry, as the proxy of a URL where one is given. One that is not a proxy is read-only.
pub(super) fn registry_config(storage: &Path, port: u16, proxy_of: Option<&str>) -> String {
    let role = match proxy_of {
        Some(url) => format!("proxy: {{remoteurl: '{url}'}}\n"),
        None => String::new(),
    };
    let read_only = if proxy_of.is_none() { "maintenance: {readonly: {enabled: true}}, " } else { "" };
    format!(
        "version: 0.1\n\
         log: {{level: info, formatter: json, accesslog: {{disabled: true}}}}\n\
         storage: {{{read_only}filesystem: {{rootdirectory: '{}'}}}}\n\
         http: {{addr: ':{port}'}}\n{role}",
        storage.display()
    )
}

async fn start_front(network: &Network, directory: &Path) -> anyhow::Result<Process> {
    let files = directory.join("front");
    fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
    let files = files.display();
    // Unbuffered, so that the registry's log counts what the client took. Workers as root: the directory is closed to others.
    let config = format!(
        "daemon off; user root; worker_processes 1; pid {files}/pid; error_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off; client_body_temp_path {files}/body; proxy_temp_path {files}/proxy;\n\
         fastcgi_temp_path {files}/fastcgi; uwsgi_temp_path {files}/uwsgi; scgi_temp_path {files}/scgi;\n\
         server {{\n    listen {PORT};\n    location / {{\n      proxy_pass http://127.0.0.1:{HIDDEN_PORT}; proxy_buffering off;\n\
         proxy_set_header Host $http_host; proxy_set_header Range \"\"; proxy_hide_header Accept-Ranges;\n\
         max_ranges 0;\n    }}\n  }}\n}}\n"
    );
    let config = write(directory, "front.conf", &config)?;
    let mut command = network.command(Host::Upstream, OsStr::new("nginx"));
    command.args(["-e", "stderr", "-c"]).arg(config);
    let mut front = Process::start("the upstream's nginx", command, &directory.join("front.log"))?;
    listening::until_it_listens(&mut front, PORT, START).await?;
    Ok(front)
}

/// Writes a file and returns its path.
pub(super) fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

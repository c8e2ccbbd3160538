//! nginx with files on the disk: the registry of the nodes, and what they are compared with.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::node;
use crate::process::Process;

/// Time for nginx to answer.
const START: Duration = Duration::from_secs(5);
/// Pause between two tries.
const LOOK: Duration = Duration::from_millis(10);

/// A running nginx that serves `<home>/registry`.
#[derive(Debug)]
pub(super) struct Nginx {
    process: Process,
    port: u16,
}

impl Nginx {
    /// Starts it as nginx is usually set up for files: sendfile, one worker, no log of requests.
    pub(super) async fn start(home: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?.port();
        let temporary = home.join("nginx");
        fs::create_dir_all(&temporary)?;
        let (directory, root) = (temporary.display(), home.join("registry"));
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {directory}/pid; error_log stderr;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream;\n\
             client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;\n\
             uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n\
             server {{\n    listen 127.0.0.1:{port}; root {root};\n\
             location ~ /manifests/ {{ default_type application/vnd.oci.image.manifest.v1+json; }}\n  }}\n}}\n",
            root = root.display()
        );
        let file = home.join("nginx.conf");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let arguments = ["-e", "stderr", "-c", &file.display().to_string()].map(str::to_owned);
        let process = node::start(Path::new("nginx"), &arguments, "nginx", &home.join("nginx.log"))?;
        let nginx = Self { process, port };
        let begin = Instant::now();
        while reqwest::get(nginx.url("")).await.is_err() {
            if begin.elapsed() > START {
                bail!("nginx does not answer; is the package nginx installed?{}", nginx.process.log_tail());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(nginx)
    }

    /// `127.0.0.1:<port>`, the registry's name.
    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a file.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.host())
    }
}

//! nginx in front of a registry: an upstream that wants a password, or that has no ranges.

use std::process::Command;

use anyhow::Result;

use crate::{
    client,
    process::{Process, free_port},
    stage::{Need, Stage},
    wait,
};

/// What [`Nginx`] needs.
pub const NEED: Need = Need::Program("nginx");

/// A running nginx that passes everything on.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    port: u16,
}

impl Nginx {
    /// Starts an nginx before the registry at `registry`, a URL. `directives` stand in the block of its only location.
    pub async fn start(stage: &Stage, registry: &str, directives: &str) -> Result<Self> {
        let port = free_port()?;
        let dir = stage.create_dir("nginx")?;
        let dir = dir.display();
        // Workers as root, because the directory of the test is closed to others (without root nginx ignores it).
        // Unbuffered, so that the registry's log counts what the client took.
        let config = format!(
            "daemon off; user root; worker_processes 1; pid {dir}/pid; error_log stderr;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log {dir}/../nginx-access.log; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
             fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
             server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass {registry}; proxy_http_version 1.1;\n\
             proxy_buffering off; proxy_set_header Host $http_host;\n      {directives}\n    }}\n  }}\n}}\n"
        );
        let config = stage.write("nginx.conf", config)?;
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c"]).arg(config);
        let nginx = Self { _process: Process::start(stage, "nginx", &command)?, port };
        let url = nginx.url();
        wait::until("nginx answers", wait::SOON, async || Ok(client::get(&url).await.ok().map(drop))).await?;
        Ok(nginx)
    }

    /// `127.0.0.1:<port>`, as images name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL, plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }
}

//! Debian's docker-registry as the upstream, and what its own log says.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    client,
    image::Image,
    process::{Process, free_port},
    stage::{Need, Stage},
    wait,
};

/// Programs that [`Registry`] uses.
pub const NEEDS: [Need; 2] = [Need::Program("docker-registry"), Need::Program("skopeo")];

/// A running docker-registry with its storage in the directory of the test.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    port: u16,
    /// Home directory of skopeo, so that the user's own registries and logins play no part.
    home: PathBuf,
}

/// One request, as the registry logged it when it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// Status of the answer.
    pub status: u64,
    /// Bytes of the body that were sent.
    pub sent_bytes: u64,
    /// Who asked.
    pub user_agent: String,
}

impl Registry {
    /// Starts a registry and waits until it answers.
    pub async fn start(stage: &Stage) -> Result<Self> {
        let port = free_port()?;
        let storage = stage.create_dir("registry")?;
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, formatter: json, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            storage.display()
        );
        let config = stage.write("registry.yml", config)?;
        let mut command = Command::new("docker-registry");
        // Without exporters of traces and metrics, whatever the environment says.
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
        let process = Process::start(stage, "registry", &command)?;
        let registry = Self { process, port, home: stage.create_dir("skopeo-home")? };
        let url = format!("{}/v2/", registry.url());
        wait::until("docker-registry answers", wait::SOON, async || {
            Ok(client::get(&url).await.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;
        Ok(registry)
    }

    /// `127.0.0.1:<port>`, as images name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL, plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Pushes `image` by skopeo into `repository`, every platform of it and with its digests unchanged.
    pub async fn push(&self, image: &Image, repository: &str) -> Result<()> {
        let source = format!("oci:{}:{}", image.layout().display(), Image::TAG);
        let target = format!("docker://{}/{repository}:{}", self.host(), Image::TAG);
        let output = tokio::process::Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"])
            .args([&source, &target])
            .env("HOME", &self.home)
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("REGISTRY_AUTH_FILE")
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run skopeo")?;
        ensure!(output.status.success(), "skopeo did not push: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Stops it.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop().await?;
        Ok(())
    }

    /// What was asked so far, pushes excluded. A request is logged once its answer has ended.
    pub fn exchanges(&self) -> Result<Vec<Exchange>> {
        let log = self.process.stderr()? + &self.process.stdout()?;
        Ok(log
            .lines()
            .filter_map(Exchange::parse)
            .filter(|exchange| !exchange.user_agent.starts_with("skopeo/"))
            .collect())
    }

    /// Bytes of the blob that were sent to whoever asked for it.
    pub fn sent_bytes(&self, digest: &str) -> Result<u64> {
        Ok(self.gets_of(digest)?.iter().map(|exchange| exchange.sent_bytes).sum())
    }

    /// `GET` requests for the blob or manifest that were answered with a body of it.
    pub fn gets_of(&self, digest: &str) -> Result<Vec<Exchange>> {
        let mut exchanges = self.exchanges()?;
        exchanges.retain(|one| one.method == "GET" && one.status < 300 && one.path().ends_with(digest));
        Ok(exchanges)
    }

    /// Requests for manifests of `repository`, by any method and with any answer.
    pub fn manifest_requests(&self, repository: &str) -> Result<Vec<Exchange>> {
        let prefix = format!("/v2/{repository}/manifests/");
        let mut exchanges = self.exchanges()?;
        exchanges.retain(|exchange| exchange.uri.starts_with(&prefix));
        Ok(exchanges)
    }

    /// Waits until the log accounts for at least `bytes` sent of the blobs `digests`: an answer is logged only after its end.
    pub async fn wait_for_log(&self, digests: &[&str], bytes: u64) -> Result<()> {
        wait::until("the registry's log has what was received", wait::SOON, async || {
            let mut sent = 0;
            for digest in digests {
                sent += self.sent_bytes(digest)?;
            }
            Ok((sent >= bytes).then_some(()))
        })
        .await
    }
}

impl Exchange {
    fn parse(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            method: text("http.request.method")?,
            uri: text("http.request.uri")?,
            status: entry.get("http.response.status")?.as_u64()?,
            sent_bytes: entry.get("http.response.written")?.as_u64()?,
            user_agent: text("http.request.useragent").unwrap_or_default(),
        })
    }

    fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_answered_requests_count() {
        let line = r#"{"http.request.method":"GET","http.request.uri":"/v2/a/blobs/sha256:00?x=1","http.request.useragent":"u",
            "http.response.status":206,"http.response.written":17,"msg":"response completed"}"#;
        let exchange = Exchange::parse(line).expect("an answered request");
        assert_eq!((exchange.status, exchange.sent_bytes, exchange.path()), (206, 17, "/v2/a/blobs/sha256:00"));
        assert_eq!(
            Exchange::parse(r#"{"http.request.method":"GET","http.request.uri":"/v2/","msg":"authorized"}"#),
            None
        );
        assert_eq!(Exchange::parse("127.0.0.1 - - \"GET /v2/\" 200"), None);
    }
}

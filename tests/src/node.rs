//! A `shoal node` process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{client, process::Process, stage::Stage, wait};

/// What a node is started with. Ports are free ones unless `arguments` say otherwise.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// File with the cluster's secret; the node makes its own where it is `None`.
    pub secret_file: Option<PathBuf>,
    /// Addresses of the swarm to join through.
    pub join: Vec<SocketAddr>,
    /// Content of its `registries.yaml`.
    pub registries: Option<String>,
    /// Limit of both directions of its link, as the command line has it (`100mbit`).
    pub link: Option<String>,
    /// HTTP address; a free port of loopback where it is `None`.
    pub listen: Option<SocketAddr>,
    /// UDP address; a free port of loopback where it is `None`.
    pub swarm_listen: Option<SocketAddr>,
    /// Threads that serve its sockets; as many as it chooses where it is `None`.
    pub threads: Option<usize>,
    /// Directory of its data; one in the directory of the test where it is `None`.
    pub data_dir: Option<PathBuf>,
}

impl NodeOptions {
    /// A node that mirrors the registry at `host`, which speaks plain HTTP.
    pub fn mirroring(host: &str) -> Self {
        let registries = format!("mirrors:\n  \"{host}\":\n    endpoint:\n      - \"http://{host}\"\n");
        Self { registries: Some(registries), ..Self::default() }
    }

    /// The same with credentials for that registry.
    pub fn mirroring_with_password(host: &str, username: &str, password: &str) -> Self {
        let mirrors = Self::mirroring(host).registries.unwrap_or_default();
        let auth = format!("    auth:\n      username: {username:?}\n      password: {password:?}\n");
        Self { registries: Some(format!("{mirrors}configs:\n  \"{host}\":\n{auth}")), ..Self::default() }
    }
}

/// A running node.
#[derive(Debug)]
pub struct ShoalNode {
    /// The name that the test gave it.
    pub name: String,
    /// Its id, in hex.
    pub id: String,
    /// Its HTTP address.
    pub http: SocketAddr,
    /// Its UDP address.
    pub swarm: SocketAddr,
    data_dir: PathBuf,
    process: Process,
}

impl ShoalNode {
    /// Starts a node and waits until it says that it has started.
    pub async fn start(stage: &Stage, name: &str, options: &NodeOptions) -> Result<Self> {
        let mut process = start_process(stage, name, options)?;
        let started = wait::until(&format!("{name} starts"), wait::SOON, async || {
            if let Some(started) = started_line(&process.stdout()?)? {
                return Ok(Some(started));
            }
            if let Some(status) = process.exited()? {
                bail!("{name} ended with {status} before it had started: {}", process.stderr()?);
            }
            Ok(None)
        })
        .await?;
        let text = |key: &str| started[key].as_str().with_context(|| format!("no {key} in {started}"));
        Ok(Self {
            name: name.to_owned(),
            id: text("id")?.to_owned(),
            http: text("http")?.parse().with_context(|| format!("http in {started}"))?,
            swarm: text("swarm")?.parse().with_context(|| format!("swarm in {started}"))?,
            data_dir: text("data_dir")?.into(),
            process,
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Directory of its data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// Its `/status`.
    pub async fn status(&self) -> Result<Value> {
        let body = self.get("/status").await?.error_for_status()?.text().await?;
        serde_json::from_str(&body).with_context(|| format!("/status of {} is no JSON: {body}", self.name))
    }

    /// Number of members that it counts as alive, itself included.
    pub async fn members(&self) -> Result<usize> {
        let status = self.status().await?;
        Ok(status["members"].as_array().with_context(|| format!("no members in {status}"))?.len())
    }

    /// Waits until it counts `count` members.
    pub async fn wait_for_members(&self, count: usize) -> Result<()> {
        wait::until(&format!("{} sees {count} members", self.name), wait::SOON, async || {
            Ok((self.members().await? == count).then_some(()))
        })
        .await
    }

    /// Whether `/readyz` says that it is ready.
    pub async fn is_ready(&self) -> Result<bool> {
        Ok(self.get("/readyz").await?.status().is_success())
    }

    /// Value of a metric, without its prefix `shoal_`; summed over its labels.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let page = self.metrics_page().await?;
        sum_of_metric(&page, &format!("shoal_{name}"), "").with_context(|| format!("no metric shoal_{name} in: {page}"))
    }

    /// Requests to registries that ended with `status`, or with `error` where there was no answer.
    pub async fn upstream_answers(&self, status: &str) -> Result<u64> {
        let label = format!("status=\"{status}\"");
        Ok(sum_of_metric(&self.metrics_page().await?, "upstream_http_requests_total", &label).unwrap_or(0))
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it in order (SIGTERM).
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop().await
    }

    async fn metrics_page(&self) -> Result<String> {
        Ok(self.get("/metrics").await?.error_for_status()?.text().await?)
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        client::get(&(self.url() + path)).await.with_context(|| format!("in asking {}", self.name))
    }
}

/// Starts a node that is expected to end by itself, and waits for its end. Returns its exit code and what it wrote to stderr.
pub async fn run_to_end(stage: &Stage, name: &str, options: &NodeOptions) -> Result<(Option<i32>, String)> {
    let mut process = start_process(stage, name, options)?;
    let status = process.wait().await?;
    Ok((status.code(), process.stderr()?))
}

fn start_process(stage: &Stage, name: &str, options: &NodeOptions) -> Result<Process> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut command = Command::new(binary()?);
    // What the environment of the developer configures must not reach the nodes of a test.
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SHOAL_")) {
        command.env_remove(key);
    }
    if let Some(threads) = options.threads {
        command.env("TOKIO_WORKER_THREADS", threads.to_string());
    }
    command.args(["node", "--json"]);
    command.arg("--data-dir").arg(options.data_dir.clone().unwrap_or_else(|| stage.path().join(name)));
    command.arg("--listen").arg(options.listen.unwrap_or(loopback).to_string());
    command.arg("--swarm-listen").arg(options.swarm_listen.unwrap_or(loopback).to_string());
    if let Some(file) = &options.secret_file {
        command.arg("--secret-file").arg(file);
    }
    for seed in &options.join {
        command.arg("--join").arg(seed.to_string());
    }
    if let Some(registries) = &options.registries {
        command.arg("--registries").arg(stage.write(&format!("{name}-registries.yaml"), registries)?);
    }
    if let Some(link) = &options.link {
        command.args(["--upload-limit", link, "--download-limit", link]);
    }
    Process::start(stage, name, &command)
}

/// The binary under test: `SHOAL_BIN`, or the release build of this workspace.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SHOAL_BIN") {
        let path = PathBuf::from(path);
        return path
            .is_file()
            .then_some(path.clone())
            .with_context(|| format!("SHOAL_BIN names {}, which is no file", path.display()));
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/shoal");
    built.is_file().then_some(built.clone()).with_context(|| {
        format!(
            "there is no {}: run tests/run, which builds it, or `cargo build --release`, or set SHOAL_BIN",
            built.display()
        )
    })
}

/// The line by which a node says that it has started, once it is complete.
fn started_line(stdout: &str) -> Result<Option<Value>> {
    let Some((line, _)) = stdout.split_once('\n') else { return Ok(None) };
    let value: Value =
        serde_json::from_str(line).with_context(|| format!("the first line of a node is no JSON: {line}"))?;
    anyhow::ensure!(value["event"] == "started", "the first line of a node is another event: {line}");
    Ok(Some(value))
}

/// Sum of a metric over those of its label sets that contain `label`, in a page of Prometheus' text format.
fn sum_of_metric(page: &str, name: &str, label: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) =
            if rest.starts_with('{') { rest.rsplit_once("} ")? } else { ("", rest.strip_prefix(' ')?) };
        value.trim().parse::<u64>().ok().filter(|_| labels.contains(label))
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_labels_and_not_mixed_up() {
        let page = "# HELP shoal_a x\nshoal_a_total 5\nshoal_b_total{registry=\"r\",status=\"200\"} 2\n\
                    shoal_b_total{registry=\"} 9\",status=\"500\"} 3\nshoal_a_total_more 7\n# EOF\n";
        assert_eq!(sum_of_metric(page, "shoal_a_total", ""), Some(5));
        assert_eq!(sum_of_metric(page, "shoal_b_total", ""), Some(5));
        assert_eq!(sum_of_metric(page, "shoal_b_total", "status=\"500\""), Some(3));
        assert_eq!(sum_of_metric(page, "shoal_c_total", ""), None);
    }

    #[test]
    fn a_node_has_started_when_its_line_is_complete() {
        assert!(started_line(r#"{"event":"started""#).expect("incomplete is no error").is_none());
        assert!(started_line("{\"event\":\"started\",\"id\":\"00\"}\n").expect("complete").is_some());
        assert!(started_line("Shoal runs\n").is_err());
    }
}

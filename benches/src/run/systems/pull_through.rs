//! One docker-registry as a pull-through cache, behind a link like a node's.

use std::{ffi::OsStr, net::SocketAddr};

use anyhow::Context;
use async_trait::async_trait;

use super::{Door, Running, Stage, System};
use crate::{
    network::Host,
    process::Process,
    run::{
        listening::until_it_listens,
        upstream::{START, registry_config, write},
    },
};

/// Name of the system.
const NAME: &str = "pull-through";
/// Port of the cache.
const PORT: u16 = 5000;

/// All clients ask one cache.
#[derive(Debug)]
pub(super) struct PullThrough;

#[async_trait(?Send)]
impl System for PullThrough {
    fn name(&self) -> &str {
        NAME
    }

    fn keeps_content(&self) -> bool {
        true
    }

    async fn start(&self, stage: &Stage<'_>) -> anyhow::Result<Running> {
        let storage = stage.directory.join("cache");
        std::fs::create_dir_all(&storage).with_context(|| format!("cannot create {}", storage.display()))?;
        let config = registry_config(&storage, PORT, Some(&format!("http://{}", stage.upstream)));
        let config = write(stage.directory, "cache.yml", &config)?;
        let mut command = stage.network.command(Host::Cache, OsStr::new("docker-registry"));
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none").env("NO_PROXY", "*");
        let mut cache = Process::start("the cache", command, &stage.directory.join("cache.log"))?;
        until_it_listens(&mut cache, PORT, START).await?;
        let endpoint = SocketAddr::from((stage.network.address(Host::Cache), PORT));
        let mirror_of = Some(stage.upstream.to_string());
        let door = Door { endpoint, mirror_of, ranges_at_once: 1 };
        let mut running = Running::without_processes(vec![door; stage.scenario.nodes as usize]);
        running.services.push(cache);
        Ok(running)
    }
}

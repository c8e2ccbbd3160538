//! No system at all: each client asks the upstream, as nodes do that have nothing between them and their registry.

use async_trait::async_trait;

use super::{Door, Running, Stage, System};

/// Range requests at once for each blob, as containerd 2.1 and the SOCI snapshotter can be told to make.
const RANGES_AT_ONCE: u32 = 8;

/// Clients that ask the upstream.
#[derive(Debug)]
pub(super) struct Single {
    name: &'static str,
    ranges_at_once: u32,
}

impl Single {
    /// One request for each blob.
    pub(super) fn plain() -> Self {
        Self { name: "single", ranges_at_once: 1 }
    }

    /// Several range requests at once for each blob.
    pub(super) fn parallel() -> Self {
        Self { name: "single-parallel", ranges_at_once: RANGES_AT_ONCE }
    }
}

#[async_trait(?Send)]
impl System for Single {
    fn name(&self) -> &str {
        self.name
    }

    fn keeps_content(&self) -> bool {
        false
    }

    async fn start(&self, stage: &Stage<'_>) -> anyhow::Result<Running> {
        let door = Door { endpoint: stage.upstream, mirror_of: None, ranges_at_once: self.ranges_at_once };
        Ok(Running::without_processes(vec![door; stage.scenario.nodes as usize]))
    }
}

//! The members to join through: their names are resolved again and again, because they may come up later or move.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use shoal_core::event::Input;
use tokio::sync::mpsc;

use crate::table::PeerTable;

/// Interval while this node is alone.
const ALONE: Duration = Duration::from_secs(10);
/// Interval once it has joined; heals a partition in which each side knows only itself.
const JOINED: Duration = Duration::from_secs(60);
/// Time for one name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses taken of one name.
const ADDRESSES_MAX: usize = 64;

/// The configured seeds and what has come of each.
pub(crate) struct Seeds {
    own: SocketAddr,
    seeds: Mutex<Vec<Seed>>,
}

struct Seed {
    name: String,
    addresses: Vec<SocketAddr>,
    reached: bool,
}

impl Seeds {
    /// Seeds given as `host:port`. This node itself, at `own`, needs no answer.
    pub(crate) fn new(own: SocketAddr, names: &[String]) -> Self {
        let seed = |name: &String| Seed { name: name.clone(), addresses: Vec::new(), reached: false };
        Self { own, seeds: Mutex::new(names.iter().map(seed).collect()) }
    }

    /// Takes note that a member of this cluster answers at `from`.
    pub(crate) fn heard(&self, from: SocketAddr) {
        for seed in crate::lock(&self.seeds).iter_mut().filter(|seed| !seed.reached) {
            seed.reached = seed.addresses.contains(&from);
        }
    }

    /// Seeds that have not answered yet.
    pub(crate) fn unreached(&self) -> Vec<String> {
        crate::lock(&self.seeds).iter().filter(|seed| !seed.reached).map(|seed| seed.name.clone()).collect()
    }

    /// Resolves the seeds at intervals and passes them on, until the pump is gone.
    pub(crate) async fn run(self: Arc<Self>, table: Arc<PeerTable>, inputs: mpsc::Sender<Input>) {
        if crate::lock(&self.seeds).is_empty() {
            return;
        }
        loop {
            let addresses = self.resolve().await;
            if !addresses.is_empty() && inputs.send(Input::Seeds(addresses)).await.is_err() {
                return;
            }
            let alone = table.alive().len() == 1;
            tokio::time::sleep(if alone { ALONE } else { JOINED }).await;
            if table.alive().len() == 1 {
                tracing::warn!(seeds = ?self.unreached(), "no seed has answered yet; this node serves alone and keeps trying");
            }
        }
    }

    async fn resolve(&self) -> Vec<SocketAddr> {
        let names: Vec<_> = crate::lock(&self.seeds).iter().map(|seed| seed.name.clone()).collect();
        let lookups = names.iter().map(|name| tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(name)));
        let found = futures_util::future::join_all(lookups).await;
        let mut all = Vec::new();
        for (index, (name, found)) in names.iter().zip(found).enumerate() {
            let addresses: Vec<_> = match found {
                Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
                Ok(Err(error)) => {
                    tracing::warn!(seed = %name, %error, "a seed cannot be resolved; trying again");
                    continue;
                }
                Err(_) => {
                    tracing::warn!(seed = %name, "a seed's name is not answered for; trying again");
                    continue;
                }
            };
            all.extend(addresses.iter().filter(|address| **address != self.own));
            if let Some(seed) = crate::lock(&self.seeds).get_mut(index) {
                seed.reached |= addresses.contains(&self.own);
                seed.addresses = addresses;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seed_counts_as_reached_once_its_address_answers() {
        let own = SocketAddr::from(([127, 0, 0, 1], 5001));
        let names = ["127.0.0.1:5001", "127.0.0.1:5002", "name.invalid:5003"].map(str::to_owned);
        let seeds = Seeds::new(own, &names);
        let other = SocketAddr::from(([127, 0, 0, 1], 5002));
        assert_eq!(seeds.resolve().await, [other], "neither this node nor a name that does not resolve");
        assert_eq!(seeds.unreached(), ["127.0.0.1:5002", "name.invalid:5003"]);
        seeds.heard(SocketAddr::from(([127, 0, 0, 1], 9)));
        assert_eq!(seeds.unreached().len(), 2);
        seeds.heard(other);
        assert_eq!(seeds.unreached(), ["name.invalid:5003"]);
    }
}

//! Namespaces, bridges and shaped links.
//!
//! Each host has a network namespace with one interface, `eth0`. All switches are in one more namespace: a bridge `core`
//! and, with zones, a bridge for each zone, joined to the core by a veth pair. A token bucket shapes each way of each
//! link: the host's own end, or the zone's, sends at the link's rate up, the switch's end at the rate down. Where there is
//! latency, both ends of a host's link belong to a relay, a process that passes frames on after half of the delay.
//!
//! The namespaces' names tell the process that made them, so that the next start can remove what a killed one left.

mod congestion;
mod counters;
mod error;
mod links;
mod names;
mod namespace;
mod plan;
mod preflight;
mod relay;
mod shapers;
mod tools;

use std::{ffi::OsStr, net::Ipv4Addr, path::PathBuf, process::Command};

pub use counters::{LinkTraffic, Traffic};
pub use error::{NetworkError, PreflightError};
pub use plan::{Host, MAX_LATENCY, MAX_NODES, MAX_ZONES, NetworkPlan, NodePlan, Shaper};
pub use relay::{RELAY, run as run_relay};
pub use shoal_sim::scenario::Link;

use crate::process;
use counters::Counters;
use names::Names;
use relay::Relay;

/// A network that is there. It is removed, with all processes in it, when it is dropped.
#[derive(Debug)]
pub struct Network {
    plan: NetworkPlan,
    names: Names,
    /// Where there is latency.
    relay: Option<Relay>,
    counters: Counters,
    /// Set once the namespaces are gone.
    removed: bool,
}

impl Network {
    /// Tries everything that networks of these plans need, in a namespace that is removed again.
    pub fn preflight(plans: &[NetworkPlan]) -> Result<(), PreflightError> {
        let shapers =
            [Shaper::Tbf, Shaper::Htb].into_iter().filter(|kind| plans.iter().any(|plan| plan.shaper == *kind));
        preflight::check(plans.iter().any(|plan| !plan.latency.is_zero()), &shapers.collect::<Vec<_>>())
    }

    /// Removes the namespaces of laboratories that have ended without doing so, and the processes in them. Says which.
    pub fn remove_leftovers() -> Result<Vec<String>, NetworkError> {
        names::remove_leftovers()
    }

    /// Builds the network. Where that fails, nothing of it is left.
    pub fn build(plan: &NetworkPlan) -> Result<Self, NetworkError> {
        if let Some(problem) = plan.problem() {
            return Err(NetworkError::Plan(problem));
        }
        let names = Names::new()?;
        let mut network =
            Self { plan: plan.clone(), names, relay: None, counters: Counters::default(), removed: false };
        // On an error the network is dropped, which removes what there is of it.
        network.names.create(&network.plan)?;
        let hosts = network.plan.hosts().map(|host| network.names.file(host));
        namespace::configure(hosts.chain([network.names.switch_file()]))?;
        if !plan.latency.is_zero() {
            network.relay = Some(Relay::start(&network.names, &network.plan)?);
        }
        links::connect(&network.names, &network.plan)?;
        network.counters = Counters::open(&network.names, &network.plan)?;
        Ok(network)
    }

    /// Address of a host, in 10.86.0.0/16, which only these namespaces know.
    pub fn address(&self, host: Host) -> Ipv4Addr {
        host.address()
    }

    /// File of a host's network namespace, as setns(2) takes it; its last part is the name that `ip netns` knows.
    pub fn namespace(&self, host: Host) -> PathBuf {
        self.names.file(host)
    }

    /// A command that runs `program` in a host's namespace and dies with the laboratory. Start it with [`process::spawn`]
    /// or a [`process::Process`], see there why. For a host that is not in the plan it fails to start.
    pub fn command(&self, host: Host, program: impl AsRef<OsStr>) -> Command {
        process::tethered(Some(&self.names.file(host)), program.as_ref())
    }

    /// Gives a node another link, while traffic flows.
    pub fn set_link(&self, node: u32, link: Link) -> Result<(), NetworkError> {
        let host = Host::Node(node);
        if self.plan.link(host).is_none() {
            return Err(NetworkError::NoNode(node));
        }
        if link.up == 0 || link.down == 0 {
            return Err(NetworkError::Plan(format!("node {node} with a link of 0 bytes per second")));
        }
        links::change(&self.names, &self.plan, host, link)
    }

    /// What has crossed the links since the network was built. Cheap: a few messages to the kernel, no process.
    pub fn traffic(&self) -> Result<Traffic, NetworkError> {
        let mut traffic = self.counters.read(&self.plan)?;
        traffic.relay_dropped_frames = self.relay.as_ref().map_or(Ok(0), Relay::dropped_frames)?;
        Ok(traffic)
    }

    /// Ends the processes in it and removes it.
    pub fn remove(mut self) -> Result<(), NetworkError> {
        self.tear_down()
    }

    fn tear_down(&mut self) -> Result<(), NetworkError> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        // Sockets keep a namespace alive, so they go first.
        self.counters = Counters::default();
        self.relay = None;
        self.names.remove()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.tear_down() {
            eprintln!("shoal-lab: {error}; the next start tries again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() -> usize {
            size_of::<T>()
        }
        assert!(shared::<Network>() > 0);
    }
}

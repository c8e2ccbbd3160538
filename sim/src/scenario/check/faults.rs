//! Faults: each possible by itself, and all of them together.

use std::collections::BTreeSet;

use toml::Spanned;

use super::Check;
use crate::scenario::{Fault, FaultKind, Scenario, ScenarioError, file::RawFault};

const FAULTS_MAX: usize = 1000;
const KINDS: &str = "\"kill-node\" with `node`; \"kill-home\"; \"kill-upstream\"; \"slow-node\" with `node` and `link`; \
                     \"corrupt-node\" with `node`";

impl Check<'_> {
    /// The faults of a scenario that is complete but for them.
    pub(super) fn faults(&self, raw: &[Spanned<RawFault>], scenario: &Scenario) -> Result<Vec<Fault>, ScenarioError> {
        if let Some(beyond) = raw.get(FAULTS_MAX) {
            return Err(self.refuse("faults", beyond, format!("too many; the most is {FAULTS_MAX}")));
        }
        let mut faults = Vec::new();
        let mut killed = BTreeSet::new();
        let mut once = BTreeSet::new();
        for fault in raw {
            let kind = self.kind(fault, scenario)?;
            let at = self.at(fault, kind)?;
            match kind {
                FaultKind::KillNode { node } if !killed.insert(node) => {
                    return Err(self.refuse("faults.node", fault, format!("node {node} is killed twice")));
                }
                FaultKind::KillHome | FaultKind::KillUpstream if !once.insert(fault.get_ref().what.get_ref()) => {
                    return Err(self.refuse("faults.what", fault, "allowed once in a scenario".to_owned()));
                }
                _ => {}
            }
            faults.push(Fault { at, what: kind });
            self.someone_is_left(fault, &faults, scenario)?;
        }
        Ok(faults)
    }

    fn kind(&self, fault: &Spanned<RawFault>, scenario: &Scenario) -> Result<FaultKind, ScenarioError> {
        let raw = fault.get_ref();
        let node = raw.node.as_ref().map(|node| self.number("faults.node", node, 0..=i64::from(scenario.nodes) - 1));
        let node = node.transpose()?;
        let link = raw.link.as_ref().map(|link| self.link("faults.link", link, Some(scenario.link))).transpose()?;
        Ok(match (raw.what.get_ref().as_str(), node, link) {
            ("kill-node", Some(node), None) => FaultKind::KillNode { node },
            ("kill-home", None, None) => FaultKind::KillHome,
            ("kill-upstream", None, None) => FaultKind::KillUpstream,
            ("slow-node", Some(node), Some(link)) => FaultKind::SlowNode { node, link },
            ("corrupt-node", Some(node), None) => FaultKind::CorruptNode { node },
            (what, ..) => {
                let problem = format!("{what:?} with these keys is no fault; allowed are {KINDS}");
                return Err(self.refuse("faults.what", &raw.what, problem));
            }
        })
    }

    fn at(&self, fault: &Spanned<RawFault>, kind: FaultKind) -> Result<f64, ScenarioError> {
        let is_corruption = matches!(kind, FaultKind::CorruptNode { .. });
        match &fault.get_ref().at {
            None if is_corruption => Ok(0.0),
            None => Err(self.refuse("faults.at", fault, "missing; a share of all bytes, 0.0 to 1.0".to_owned())),
            Some(at) if is_corruption && *at.get_ref() != 0.0 => {
                Err(self.refuse("faults.at", at, "a node is corrupt from the start: 0.0, or leave it out".to_owned()))
            }
            Some(at) if (0.0..=1.0).contains(at.get_ref()) => Ok(*at.get_ref()),
            Some(at) => Err(self.refuse("faults.at", at, format!("{} is not from 0.0 to 1.0", at.get_ref()))),
        }
    }

    /// A run in which no pull can end measures nothing.
    fn someone_is_left(
        &self,
        fault: &Spanned<RawFault>,
        faults: &[Fault],
        scenario: &Scenario,
    ) -> Result<(), ScenarioError> {
        let warm = scenario.warm_nodes();
        let killed = faults.iter().filter(|fault| match fault.what {
            FaultKind::KillNode { node } => node >= warm,
            FaultKind::KillHome => true,
            _ => false,
        });
        let pulling = (scenario.nodes - warm) as usize;
        if killed.count() < pulling {
            return Ok(());
        }
        let problem = format!("with this fault none of the {pulling} nodes that pull may be left; add nodes");
        Err(self.refuse("faults.what", fault, problem))
    }
}

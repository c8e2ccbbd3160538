//! What goes wrong in a run, and when.

use anyhow::Context;
use shoal_core::homes_of;
use shoal_sim::scenario::{Fault, FaultKind};
use shoal_wire::{digest::Digest, ids::MemberId};

/// Faults that have not happened yet.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pending: Vec<Fault>,
}

impl Faults {
    /// All of a scenario's.
    pub(crate) fn new(faults: &[Fault]) -> Self {
        Self { pending: faults.to_vec() }
    }

    /// Those that happen now that the pulling nodes have received this share of all bytes, in the order of the file.
    pub(crate) fn due(&mut self, share: f64) -> Vec<FaultKind> {
        let is_due = |fault: &Fault| fault.at <= share;
        let due = self.pending.iter().filter(|fault| is_due(fault)).map(|fault| fault.what).collect();
        self.pending.retain(|fault| !is_due(fault));
        due
    }
}

/// The node that is the first home of the blob `digest` among the members with these ids, in hex; `None` stands for a node
/// that is not alive or no member.
pub(crate) fn home_of(digest: &str, ids: &[Option<String>]) -> anyhow::Result<Option<u32>> {
    let digest: Digest = digest.parse().with_context(|| format!("{digest} is no digest"))?;
    let mut members = Vec::new();
    for (node, id) in (0_u32..).zip(ids) {
        if let Some(id) = id {
            members.push((node, member_id(id)?));
        }
    }
    let homes = homes_of(&digest, members.iter().map(|(_, id)| *id));
    let Some(home) = homes.first() else { return Ok(None) };
    Ok(members.iter().find(|(_, id)| id == home).map(|(node, _)| *node))
}

fn member_id(hex: &str) -> anyhow::Result<MemberId> {
    let error = || format!("{hex:?} is not the id of a member, 32 hex digits");
    let mut id = [0; 16];
    anyhow::ensure!(hex.len() == 2 * id.len() && hex.is_ascii(), error());
    for (byte, digits) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits)?, 16).with_context(error)?;
    }
    Ok(MemberId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_happens_once_when_its_share_is_reached() {
        let fault = |at, node| Fault { at, what: FaultKind::KillNode { node } };
        let mut faults = Faults::new(&[fault(0.5, 1), fault(0.0, 2), fault(0.5, 3), fault(1.0, 4)]);
        assert_eq!(faults.due(0.0), [FaultKind::KillNode { node: 2 }]);
        assert_eq!(faults.due(0.49), []);
        assert_eq!(faults.due(0.6), [FaultKind::KillNode { node: 1 }, FaultKind::KillNode { node: 3 }]);
        assert_eq!(faults.due(0.99), []);
        assert_eq!(faults.due(1.0), [FaultKind::KillNode { node: 4 }]);
        assert_eq!(faults.due(1.0), []);
    }

    #[test]
    fn the_home_is_one_of_the_living_members() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut ids: Vec<Option<String>> = (1..9).map(|node| Some(format!("{node:032x}"))).collect();
        let first = home_of(&digest, &ids).unwrap().unwrap();
        assert_eq!(home_of(&digest, &ids).unwrap(), Some(first));
        ids[first as usize] = None;
        let second = home_of(&digest, &ids).unwrap().unwrap();
        assert_ne!(first, second);
        assert_eq!(home_of(&digest, &[None, None]).unwrap(), None);
        assert!(home_of(&digest, &[Some("xyz".into())]).unwrap_err().to_string().contains("xyz"));
        assert!(home_of("sha256:0", &ids).is_err());
    }
}

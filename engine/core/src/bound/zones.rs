//! The fluid optimum for zones whose uplinks are narrower than their nodes' links together.
//!
//! Maximise the rate `r` at which every node gets the file. A network with coding attains, for all receivers at once,
//! what each could get alone (Ahlswede, Cai, Li and Yeung, "Network information flow", 2000), and where all nodes
//! between want the file, so does routing along trees (Edmonds, "Edge-disjoint branchings", 1973). Summed by zone this
//! leaves a linear program. For zone `z` with `n` pulling nodes, node uplinks `w` in all (`h` of them of holders), zone
//! uplink `U` and downlink `D`, `x` entering it, `y` leaving it, and `o` from the upstream:
//!
//! ```text
//! r <= d_i for each node     o <= u_up     o + sum y = sum x
//! r - h <= x <= min(D, n r)  y <= U        y + n r - x <= w
//! r <= o                     (without holders)
//! ```
//!
//! For a given `r` each zone has a least `x - y`: what it needs from outside beyond what it gives. So `r` is feasible
//! exactly if no zone needs more than can enter it, and all needs together are not more than the upstream sends; `r <= o`
//! then holds by itself, because every zone where somebody pulls lets `r` in. Whoever can have `r` can have less: bisection.
//!
//! With holders in zones the program leaves out the cuts that join several zones: still a bound, perhaps not attained.

use super::cluster::{Cluster, Peer, Role, ZoneLink, up};

/// Halvings: after these the interval is as narrow as a floating-point number can tell.
const STEPS: u32 = 100;

/// The highest rate at which all peers that pull can get the file, in bytes per second. Peers of a zone that is not
/// there are left out.
pub fn rate(cluster: &Cluster) -> f64 {
    let totals: Vec<Totals> =
        cluster.zones.iter().enumerate().map(|(zone, link)| Totals::of(cluster, zone, *link)).collect();
    let own = cluster.pulling().map(|peer| peer.down_bytes_per_s).fold(f64::INFINITY, f64::min);
    let highest = own.min(cluster.sources());
    if is_feasible(cluster, &totals, highest) {
        return highest;
    }
    let (mut low, mut high) = (0.0, highest);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if is_feasible(cluster, &totals, middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// A zone, summed up.
struct Totals {
    link: ZoneLink,
    pulls: f64,
    /// Uplinks of all its nodes.
    sending: f64,
    /// Uplinks of its holders.
    holders: f64,
}

impl Totals {
    fn of(cluster: &Cluster, zone: usize, link: ZoneLink) -> Self {
        let peers = || cluster.peers.iter().filter(move |peer| peer.zone == zone);
        Self {
            link,
            pulls: peers().filter(|peer| peer.role == Role::Pulls).count() as f64,
            sending: peers().map(up).sum(),
            holders: peers().filter(|peer: &&Peer| peer.role == Role::Holds).map(up).sum(),
        }
    }

    /// The least that has to enter beyond what leaves, at the rate `r`; `None` where the zone cannot have that rate.
    fn net_import(&self, r: f64) -> Option<f64> {
        let wanted = self.pulls * r;
        let most = self.link.down_bytes_per_s.min(wanted);
        let first_copy = if self.pulls > 0.0 { (r - self.holders).max(0.0) } else { 0.0 };
        // What its own nodes cannot send to each other has to enter.
        let entering = first_copy.max(wanted - self.sending);
        (entering <= most + slack(wanted)).then(|| (entering - self.link.up_bytes_per_s).max(wanted - self.sending))
    }
}

fn is_feasible(cluster: &Cluster, totals: &[Totals], r: f64) -> bool {
    let needs: Option<f64> = totals.iter().map(|zone| zone.net_import(r)).sum();
    needs.is_some_and(|needs| needs <= cluster.upstream_bytes_per_s + slack(cluster.upstream_bytes_per_s))
}

/// What rounding may add to a sum of this size.
fn slack(sum: f64) -> f64 {
    1e-12 * sum
}

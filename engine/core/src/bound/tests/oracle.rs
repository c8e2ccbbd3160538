//! The fluid optimum once more, from first principles: the best rate as one linear program over every path of every
//! receiver's flow, solved by the simplex method. Slow, and independent of all that is shortened in `bound`.

use super::super::{Cluster, Role};

/// The highest rate at which all peers that pull can get the file.
///
/// A capacity for each arc between any two, within what nodes and zones can send and receive, and for each receiver a
/// flow of that rate from the upstream and the holders which nowhere exceeds those capacities.
pub(super) fn rate(cluster: &Cluster) -> f64 {
    let program = Program::of(cluster);
    maximise_first(program.rows, program.columns)
}

/// A row `coefficients * x <= limit`; limits are not negative.
type Row = (Vec<(usize, f64)>, f64);

/// Arcs lead from the upstream, which has the index of no peer, or from a peer, to another peer.
struct Program<'a> {
    cluster: &'a Cluster,
    arcs: Vec<(Option<usize>, usize)>,
    rows: Vec<Row>,
    columns: usize,
}

impl<'a> Program<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let peers = cluster.peers.len();
        let from_upstream = (0..peers).map(|to| (None, to));
        let between =
            (0..peers).flat_map(|from| (0..peers).filter(move |to| *to != from).map(move |to| (Some(from), to)));
        let arcs: Vec<_> = from_upstream.chain(between).collect();
        let receivers: Vec<usize> = (0..peers).filter(|peer| cluster.peers[*peer].role == Role::Pulls).collect();
        let columns = 1 + arcs.len() * (1 + receivers.len());
        let mut program = Self { cluster, arcs, rows: Vec::new(), columns };
        program.limit_links();
        program.limit_zones();
        for (position, receiver) in receivers.iter().enumerate() {
            program.flow(1 + program.arcs.len() * (1 + position), *receiver);
        }
        program
    }

    fn limit(&mut self, arcs: impl Fn(Option<usize>, usize) -> bool, limit: f64) {
        let crossing = self.arcs.iter().enumerate().filter(|(_, (from, to))| arcs(*from, *to));
        let row = crossing.map(|(arc, _)| (1 + arc, 1.0)).collect();
        self.rows.push((row, limit));
    }

    fn limit_links(&mut self) {
        self.limit(|from, _| from.is_none(), self.cluster.upstream_bytes_per_s);
        for (index, peer) in self.cluster.peers.iter().enumerate() {
            self.limit(|from, _| from == Some(index), peer.up_bytes_per_s);
            self.limit(|_, to| to == index, peer.down_bytes_per_s);
        }
    }

    fn limit_zones(&mut self) {
        let cluster = self.cluster;
        let is_in = |peer: usize, zone: usize| cluster.peers[peer].zone == zone;
        for (zone, link) in cluster.zones.iter().enumerate() {
            let leaves = move |from: Option<usize>, to| from.is_some_and(|from| is_in(from, zone)) && !is_in(to, zone);
            let enters = move |from: Option<usize>, to| !from.is_some_and(|from| is_in(from, zone)) && is_in(to, zone);
            self.limit(leaves, link.up_bytes_per_s);
            self.limit(enters, link.down_bytes_per_s);
        }
    }

    /// Rows for the flow to `receiver`, whose variables begin at `first`.
    fn flow(&mut self, first: usize, receiver: usize) {
        for arc in 0..self.arcs.len() {
            self.rows.push((vec![(first + arc, 1.0), (1 + arc, -1.0)], 0.0));
        }
        for (index, peer) in self.cluster.peers.iter().enumerate() {
            if peer.role == Role::Holds {
                continue;
            }
            // What leaves, and at the receiver the rate, is not more than what enters.
            let mut row = if index == receiver { vec![(0, 1.0)] } else { Vec::new() };
            for (arc, (from, to)) in self.arcs.iter().enumerate() {
                if *to == index {
                    row.push((first + arc, -1.0));
                } else if *from == Some(index) {
                    row.push((first + arc, 1.0));
                }
            }
            self.rows.push((row, 0.0));
        }
    }
}

/// The largest first variable such that all rows hold and no variable is negative. Bland's rule, so that it ends.
fn maximise_first(rows: Vec<Row>, columns: usize) -> f64 {
    const NOTHING: f64 = 1e-9;
    let width = columns + rows.len() + 1;
    let mut basis: Vec<usize> = (columns..columns + rows.len()).collect();
    let mut table: Vec<Vec<f64>> = Vec::new();
    for (index, (coefficients, limit)) in rows.into_iter().enumerate() {
        let mut row = vec![0.0; width];
        for (column, coefficient) in coefficients {
            row[column] += coefficient;
        }
        row[columns + index] = 1.0;
        row[width - 1] = limit;
        table.push(row);
    }
    let mut gain = vec![0.0; width];
    gain[0] = 1.0;
    while let Some(column) = (0..width - 1).find(|column| gain[*column] > NOTHING) {
        let ratio = |row: usize| table[row][width - 1] / table[row][column];
        let candidates = (0..table.len()).filter(|row| table[*row][column] > NOTHING);
        let by_ratio = |left: &usize, right: &usize| {
            let (first, second) = (ratio(*left), ratio(*right));
            let is_tie = (first - second).abs() <= NOTHING;
            if is_tie { basis[*left].cmp(&basis[*right]) } else { first.total_cmp(&second) }
        };
        let leaving = candidates.min_by(by_ratio).expect("every rate is limited by a link");
        basis[leaving] = column;
        let pivot = table[leaving][column];
        table[leaving].iter_mut().for_each(|value| *value /= pivot);
        let pivot_row = table[leaving].clone();
        let others = table.iter_mut().enumerate().filter(|(row, _)| *row != leaving).map(|(_, row)| row);
        for row in others.chain([&mut gain]) {
            let factor = row[column];
            if factor.abs() > 0.0 {
                row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    -gain[width - 1]
}

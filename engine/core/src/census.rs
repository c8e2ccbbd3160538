//! How much a node keeps, to be compared with what its configuration allows.

/// Lengths of a node's tables and queues at one moment. Each has a bound in [`crate::config::CoreConfig`], or is bounded by
/// what the driver does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Blobs that are wanted or held.
    pub blobs: usize,
    /// Neighbours in the swarm that has most.
    pub neighbours: usize,
    /// Peers of which something is known.
    pub peers: usize,
    /// Pieces requested from peers.
    pub requests: usize,
    /// Leases that this node works on.
    pub leases_held: usize,
    /// Pieces that are being sent.
    pub uploads_served: usize,
    /// Requests that wait to be served.
    pub uploads_waiting: usize,
    /// Members that are told when a slot frees.
    pub refused: usize,
    /// Members whose uploads are counted.
    pub served_members: usize,
    /// Open questions about names.
    pub questions: usize,
    /// Blobs of which this node keeps a record as one of their homes.
    pub records: usize,
    /// Members that the record with most of them knows.
    pub participants: usize,
    /// Leases of the blob with most of them, where this node coordinates.
    pub leases_given: usize,
}

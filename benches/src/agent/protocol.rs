//! What the laboratory and its agents say to each other: one JSON object a line.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Longest line either side takes, in bytes: an image of a thousand layers fits several times.
pub(crate) const LINE_BYTES_MAX: u64 = 1 << 20;

/// What an agent is told to do. It does one thing after the other, in the order told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Pull; answered by [`Report::Progress`] meanwhile and [`Report::Pulled`] at the end.
    Pull(PullOrder),
    /// Read the pages of the node at this address; answered by [`Report::Page`] or [`Report::NoPage`].
    Look {
        /// Where its mirror listens.
        address: SocketAddr,
    },
}

/// A pull.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PullOrder {
    /// What to pull.
    pub(crate) what: Wanted,
    /// By which client.
    pub(crate) client: ClientOrder,
}

/// What is pulled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Name of the repository.
    pub(crate) repository: String,
    /// Tag of the image.
    pub(crate) tag: String,
    /// Digest of its manifest.
    pub(crate) manifest: String,
    /// The one blob to pull; the whole image where it is `None`.
    pub(crate) only: Option<BlobName>,
}

/// A blob, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobName {
    /// `sha256:<hex>`.
    pub(crate) digest: String,
    /// Bytes.
    pub(crate) size: u64,
}

/// Who pulls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientOrder {
    /// The agent itself, asking as containerd does.
    Http {
        /// Whom it asks.
        endpoint: SocketAddr,
        /// Registry for which the endpoint is a mirror (`?ns=`); `None` where it is the registry itself.
        mirror_of: Option<String>,
        /// Range requests at once for each blob; 1 is one plain request.
        ranges_at_once: u32,
        /// Directory for the blobs, each in a file; `None` keeps nothing.
        files: Option<PathBuf>,
    },
    /// A containerd that runs in the agent's namespace.
    Containerd {
        /// Its socket.
        socket: PathBuf,
        /// Directory of its `hosts.toml` files.
        hosts: PathBuf,
        /// Directory of its content store.
        content: PathBuf,
        /// Full name of the image.
        reference: String,
        /// Bytes of its manifest and configuration, which are not counted.
        small_bytes: u64,
    },
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(crate) enum Report {
    /// A pull goes on.
    Progress {
        /// Body bytes of layers so far.
        bytes: u64,
    },
    /// A pull has ended.
    Pulled(Pulled),
    /// What a node says about itself.
    Page(Page),
    /// The node's pages could not be read.
    NoPage {
        /// Why, for people.
        error: String,
    },
}

/// How a pull went. Times are in seconds since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pulled {
    /// Body bytes of layers received.
    pub(crate) bytes: u64,
    /// When the first byte of a layer came.
    pub(crate) first_byte_s: Option<f64>,
    /// Its end: the time at which every digest was right, or at which it failed.
    pub(crate) end_s: f64,
    /// Longest time without a byte between the first and the last.
    pub(crate) stall_max_s: f64,
    /// What went wrong; `None` where every digest was right.
    pub(crate) error: Option<String>,
}

/// A node by its `/status` and `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// Its id, in hex.
    pub(crate) id: String,
    /// Ids of the members that it knows, itself included.
    pub(crate) members: Vec<String>,
    /// Payload received from the upstream since it started, in bytes.
    pub(crate) from_upstream_bytes: u64,
    /// Payload received from peers, in bytes.
    pub(crate) from_peers_bytes: u64,
    /// Payload received for nothing, in bytes.
    pub(crate) duplicate_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_same_at_both_ends() {
        let order = Order::Pull(PullOrder {
            what: Wanted {
                repository: "a/b".into(),
                tag: "v1".into(),
                manifest: "sha256:00".into(),
                only: Some(BlobName { digest: "sha256:11".into(), size: 5 }),
            },
            client: ClientOrder::Http {
                endpoint: "127.0.0.1:5050".parse().unwrap(),
                mirror_of: Some("10.0.0.1:5000".into()),
                ranges_at_once: 8,
                files: None,
            },
        });
        let line = serde_json::to_string(&order).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        let report = Report::Pulled(Pulled { bytes: 7, error: Some("two\nlines".into()), ..Pulled::default() });
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }
}

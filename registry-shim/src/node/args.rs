//! Flags of `shoal node`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use shoal_runtime::units::{Rate, Size};

/// Run a node: a registry mirror for containerd, fed by the swarm of all nodes
///
/// Without any flag the node is a healthy cluster of one on this machine. Each flag can also be given in the
/// environment, and in the TOML file of --config under its name with _ for -. Flags come before the environment, the
/// environment before the file, the file before the defaults.
#[derive(Clone, Debug, Default, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct NodeArgs {
    /// Configuration file (TOML); unknown keys are refused
    #[arg(long, env = "SHOAL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory for the node's key, the cluster's secret and the blobs
    ///
    /// Default: $XDG_DATA_HOME/shoal, /var/lib/shoal for root, ~/.local/share/shoal for others. Nodes on one machine need
    /// one each.
    #[arg(long, env = "SHOAL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address of the registry mirror (HTTP); port 0 takes a free one [default: 127.0.0.1:5050]
    #[arg(long, env = "SHOAL_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Address of the swarm (UDP); port 0 takes a free one [default: 127.0.0.1:5001]
    ///
    /// Other machines reach the node only at an address of their network, for example 10.0.0.5:5001.
    #[arg(long, env = "SHOAL_SWARM_LISTEN", value_name = "ADDR")]
    pub swarm_listen: Option<SocketAddr>,

    /// Address of the swarm that other nodes are told; needed where --swarm-listen is 0.0.0.0 or [::]
    #[arg(long, env = "SHOAL_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<SocketAddr>,

    /// The cluster's secret, 64 hex digits; other users of this machine can see it, so prefer --secret-file
    ///
    /// [env: SHOAL_SECRET]
    #[arg(long, value_name = "HEX64", hide_env_values = true)]
    pub secret: Option<String>,

    /// File with the cluster's secret
    ///
    /// Default: cluster.secret in the data directory, created on the first start of a cluster's first node.
    ///
    /// [env: SHOAL_SECRET_FILE]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// A node to join through; repeat it, or separate several by commas
    ///
    /// Names are resolved again at each try. A node that is not reached is tried again, and the node serves meanwhile.
    #[arg(long, env = "SHOAL_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<String>,

    /// Failure and bandwidth domain of this node, for example a rack
    #[arg(long, env = "SHOAL_ZONE", value_name = "NAME")]
    pub zone: Option<String>,

    /// Most that is sent to other nodes, as 200mbit (bits) or 25MB (bytes) per second [default: no limit]
    #[arg(long, env = "SHOAL_UPLOAD_LIMIT", value_name = "RATE")]
    pub upload_limit: Option<Rate>,

    /// Most that is received from other nodes and registries, per second [default: no limit]
    #[arg(long, env = "SHOAL_DOWNLOAD_LIMIT", value_name = "RATE")]
    pub download_limit: Option<Rate>,

    /// What the link of each node carries, as 1gbit; pulls are then compared with the least time possible, in the log and
    /// the metrics [default: --download-limit]
    #[arg(long, env = "SHOAL_LINK", value_name = "RATE")]
    pub link: Option<Rate>,

    /// Registries to mirror, and how to reach them: a registries.yaml as K3s has it [default: every registry, from itself]
    #[arg(long, env = "SHOAL_REGISTRIES", value_name = "FILE")]
    pub registries: Option<PathBuf>,

    /// Complete blobs that are kept in the data directory, as 10GiB; the least recently used go first [default: 10GiB]
    #[arg(long, env = "SHOAL_SPOOL_LIMIT", value_name = "SIZE")]
    pub spool_limit: Option<Size>,

    /// What is logged to standard error: a level, or levels by module as in info,shoal_runtime=debug [default: info]
    #[arg(long, env = "SHOAL_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Form of the log [default: text]
    #[arg(long, env = "SHOAL_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Print one line of JSON on start instead of text
    #[arg(
        long,
        env = "SHOAL_JSON",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub json: Option<bool>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

const EXAMPLES: &str = "Examples:
  A cluster of one, to try it:
    shoal node
    curl 'http://127.0.0.1:5050/v2/library/alpine/manifests/latest?ns=docker.io'

  The first node of a cluster, and the next one (copy cluster.secret there first):
    shoal node --swarm-listen 10.0.0.5:5001
    shoal node --swarm-listen 10.0.0.6:5001 --join 10.0.0.5:5001 --secret-file /etc/shoal/cluster.secret

  Another node on the same machine:
    shoal node --data-dir /tmp/b --listen 127.0.0.1:0 --swarm-listen 127.0.0.1:0 \\
      --join 127.0.0.1:5001 --secret-file /var/lib/shoal/cluster.secret

Exit codes: 0 stopped in order, 1 failed, 2 wrong usage or configuration.";

//! What a node was told: flags, environment, file and defaults, in this order of precedence.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use shoal_runtime::{
    ClusterSecret,
    units::{Rate, Size},
};
use thiserror::Error;

use super::{
    args::{LogFormat, NodeArgs},
    secret::{SecretError, parse_secret},
};

/// Port of the registry mirror where nothing else is said.
const HTTP_PORT: u16 = 5050;

/// Port of the swarm where nothing else is said; that of K3s' embedded mirror.
const SWARM_PORT: u16 = 5001;

/// Bytes of complete blobs that are kept where nothing else is said.
const SPOOL_BYTES: u64 = 10 << 30;

/// Longest name of a zone, in bytes; the swarm's messages have no room for more.
const ZONE_BYTES_MAX: usize = 63;

/// Largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// All settings of a node, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory for everything that the node keeps.
    pub data_dir: PathBuf,
    /// Address of the HTTP server.
    pub listen: SocketAddr,
    /// Address of the swarm.
    pub swarm_listen: SocketAddr,
    /// Address that other nodes are told.
    pub advertise: Option<SocketAddr>,
    /// Where the secret comes from.
    pub secret: SecretSetting,
    /// Nodes to join through.
    pub join: Vec<String>,
    /// Zone; empty where there is none.
    pub zone: String,
    /// Limit of uploads.
    pub upload_limit: Option<Rate>,
    /// Limit of downloads.
    pub download_limit: Option<Rate>,
    /// What the link of each node carries.
    pub link: Option<Rate>,
    /// The registries file.
    pub registries: Option<PathBuf>,
    /// Limit of kept blobs.
    pub spool_limit: Size,
    /// Filter of the log.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Whether the start is told as JSON.
    pub json: bool,
}

/// Where the cluster's secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSetting {
    /// Given as it is.
    Given(ClusterSecret),
    /// In this file, which must exist.
    File(PathBuf),
    /// In the data directory, created where it is missing.
    DataDir,
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {file}: {source}")]
    ReadFile {
        /// Path of the file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The configuration file is wrong.
    #[error("{file}:{line}: {message}")]
    File {
        /// Path of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Both forms of the secret at one place.
    #[error("both secret and secret_file are given {0}; leave one out")]
    TwoSecrets(&'static str),
    /// The secret itself is wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A seed is not `host:port`.
    #[error("--join {0:?} is not host:port, as in 10.0.0.5:5001")]
    Seed(String),
    /// The zone's name is too long.
    #[error("--zone is longer than {ZONE_BYTES_MAX} bytes")]
    Zone,
    /// Other nodes could not be told where this one is.
    #[error(
        "--swarm-listen {0} is not an address that others can reach; say with --advertise which one they shall use"
    )]
    Wildcard(SocketAddr),
    /// The advertised address is no address.
    #[error("--advertise {0} needs an address and a port that other nodes can reach")]
    Advertise(SocketAddr),
    /// No place for data.
    #[error("there is no default data directory without HOME; choose one with --data-dir")]
    NoDataDir,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SettingsFile {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    swarm_listen: Option<SocketAddr>,
    advertise: Option<SocketAddr>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    join: Option<Seeds>,
    zone: Option<String>,
    upload_limit: Option<Rate>,
    download_limit: Option<Rate>,
    link: Option<Rate>,
    registries: Option<PathBuf>,
    spool_limit: Option<Size>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    json: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a list of host:port, or one text with commas")]
enum Seeds {
    List(Vec<String>),
    Text(String),
}

impl Settings {
    /// Puts all sources together. `environment` looks up a variable; flags already hold what clap read there.
    pub fn load(
        args: NodeArgs,
        environment: impl Fn(&str) -> Option<OsString>,
        is_root: bool,
    ) -> Result<Self, SettingsError> {
        let file = args.config.as_deref().map(SettingsFile::read).transpose()?.unwrap_or_default();
        let secret = secret_setting(&args, &environment, &file)?;
        let data_dir = args
            .data_dir
            .or(file.data_dir)
            .or_else(|| default_data_dir(&environment, is_root))
            .ok_or(SettingsError::NoDataDir)?;
        let join = if args.join.is_empty() { file.join.map_or_else(Vec::new, Seeds::into_list) } else { args.join };
        Self {
            data_dir,
            listen: args.listen.or(file.listen).unwrap_or((Ipv4Addr::LOCALHOST, HTTP_PORT).into()),
            swarm_listen: args.swarm_listen.or(file.swarm_listen).unwrap_or((Ipv4Addr::LOCALHOST, SWARM_PORT).into()),
            advertise: args.advertise.or(file.advertise),
            secret,
            join: join.into_iter().map(|seed| seed.trim().to_owned()).filter(|seed| !seed.is_empty()).collect(),
            zone: args.zone.or(file.zone).unwrap_or_default(),
            upload_limit: args.upload_limit.or(file.upload_limit),
            download_limit: args.download_limit.or(file.download_limit),
            link: args.link.or(file.link),
            registries: args.registries.or(file.registries),
            spool_limit: args.spool_limit.or(file.spool_limit).unwrap_or(Size(SPOOL_BYTES)),
            log: args.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: args.log_format.or(file.log_format).unwrap_or_default(),
            json: args.json.or(file.json).unwrap_or(false),
        }
        .checked()
    }

    fn checked(self) -> Result<Self, SettingsError> {
        if let Some(seed) = self.join.iter().find(|seed| !is_host_and_port(seed)) {
            return Err(SettingsError::Seed(seed.clone()));
        }
        if self.zone.len() > ZONE_BYTES_MAX {
            return Err(SettingsError::Zone);
        }
        match self.advertise {
            Some(address) if address.ip().is_unspecified() || address.port() == 0 => {
                Err(SettingsError::Advertise(address))
            }
            None if self.swarm_listen.ip().is_unspecified() => Err(SettingsError::Wildcard(self.swarm_listen)),
            _ => Ok(self),
        }
    }
}

impl SettingsFile {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let file = path.display().to_string();
        let read_error = |source| SettingsError::ReadFile { file: file.clone(), source };
        if std::fs::metadata(path).map_err(read_error)?.len() > FILE_BYTES_MAX {
            return Err(SettingsError::File { file, line: 1, message: "the file is too large to be meant".to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start].split(|byte| *byte == b'\n').count();
            SettingsError::File { file, line, message: error.message().replace('\n', " ") }
        })
    }
}

impl Seeds {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::List(seeds) => seeds,
            Self::Text(text) => text.split(',').map(str::to_owned).collect(),
        }
    }
}

/// The secret of the first source that names one. Its two forms are one setting, so a flag of one form comes before the
/// other form in the environment.
fn secret_setting(
    args: &NodeArgs,
    environment: impl Fn(&str) -> Option<OsString>,
    file: &SettingsFile,
) -> Result<SecretSetting, SettingsError> {
    let variable = |name| environment(name).filter(|value| !value.is_empty());
    let from_environment = variable("SHOAL_SECRET").map(|value| value.to_string_lossy().into_owned());
    let sources = [
        ("as flags", args.secret.clone(), args.secret_file.clone()),
        ("in the environment", from_environment, variable("SHOAL_SECRET_FILE").map(PathBuf::from)),
        ("in the configuration file", file.secret.clone(), file.secret_file.clone()),
    ];
    for (place, secret, path) in sources {
        match (secret, path) {
            (Some(_), Some(_)) => return Err(SettingsError::TwoSecrets(place)),
            (Some(secret), None) => return Ok(SecretSetting::Given(parse_secret(&secret)?)),
            (None, Some(path)) => return Ok(SecretSetting::File(path)),
            (None, None) => {}
        }
    }
    Ok(SecretSetting::DataDir)
}

fn default_data_dir(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = directory("XDG_DATA_HOME") {
        return Some(data.join("shoal"));
    }
    if is_root {
        return Some(PathBuf::from("/var/lib/shoal"));
    }
    directory("HOME").map(|home| home.join(".local/share/shoal"))
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests;

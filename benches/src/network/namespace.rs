//! What is done from within a namespace: settings that each namespace has for itself.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{congestion, error::NetworkError};

/// Settings of each namespace: the congestion control that most machines have, no memory of earlier connections, which
/// would make a run depend on the one before, and no chatter of IPv6.
const SETTINGS: &[(&str, &str)] = &[
    ("/proc/sys/net/ipv4/tcp_congestion_control", congestion::CONTROL),
    ("/proc/sys/net/ipv4/tcp_no_metrics_save", "1"),
    ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"),
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
    // Where a firewall would look at what a bridge passes on.
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", "0"),
    ("/proc/sys/net/bridge/bridge-nf-call-arptables", "0"),
];

/// Does `work` in the namespace with this file, on a thread of its own, as a thread does not find back.
pub(super) fn inside<T: Send>(file: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, NetworkError> {
    let enter_and_work = || {
        let namespace = fs::File::open(file)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    thread::scope(|scope| scope.spawn(enter_and_work).join())
        .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        .map_err(|source| NetworkError::File { path: file.to_owned(), source })
}

/// Applies the settings in the namespaces with these files.
pub(super) fn configure(files: impl IntoIterator<Item = PathBuf>) -> Result<(), NetworkError> {
    let files: Vec<PathBuf> = files.into_iter().collect();
    let apply = || {
        files
            .iter()
            .try_for_each(|file| inside(file, || SETTINGS.iter().try_for_each(|(setting, value)| set(setting, value))))
    };
    congestion::while_allowed(apply)
}

fn set(setting: &str, value: &str) -> io::Result<()> {
    if !Path::new(setting).exists() {
        // A kernel without IPv6, or without a firewall for bridges.
        return Ok(());
    }
    fs::write(setting, value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {setting} to {value}: {error}")))
}

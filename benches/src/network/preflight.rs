//! What this machine must have, tried rather than looked up.

use std::{env, path::Path};

use rustix::process::geteuid;

use super::{
    error::{NetworkError, PreflightError},
    names::Names,
    namespace::configure,
    plan::Shaper,
    tools::{AfterFailure, batch},
};

/// Programs and Debian's packages with them.
const PROGRAMS: &[(&str, &str)] = &[("ip", "iproute2"), ("tc", "iproute2")];

/// What is tried within the throw-away namespace: what it is called, the program, its command, what helps.
const TRIALS: &[(&str, &str, &str, &str)] = &[
    (
        "a veth pair",
        "ip",
        "link add trial type veth peer name peer",
        "The kernel needs CONFIG_VETH, a container the right CAP_NET_ADMIN",
    ),
    ("a bridge", "ip", "link add switch type bridge stp_state 0", "The kernel needs CONFIG_BRIDGE"),
];

/// What is tried as well where there is latency, for the relay.
const RELAY_TRIAL: (&str, &str, &str, &str) = (
    "a TAP device, which latency needs",
    "ip",
    "tuntap add dev tap mode tap",
    "The kernel needs CONFIG_TUN and the machine /dev/net/tun; without latency there is no need of it",
);

/// Tries what networks with these shapers need; with `latency`, what its relay needs as well.
pub(super) fn check(latency: bool, shapers: &[Shaper]) -> Result<(), PreflightError> {
    if !geteuid().is_root() {
        return Err(PreflightError::NotRoot);
    }
    for (program, package) in PROGRAMS {
        if !is_installed(program) {
            return Err(PreflightError::NoProgram { program, package });
        }
    }
    let names = Names::new().map_err(impossible("network namespaces", "Mount /proc"))?;
    let made = names.create_switch().map_err(impossible(
        "network namespaces",
        "The kernel needs CONFIG_NET_NS, a container the rights CAP_SYS_ADMIN and CAP_NET_ADMIN",
    ));
    let tried = made.and_then(|()| try_all(&names, latency, shapers));
    let removed = names.remove().map_err(impossible("network namespaces go away", "Look into /run/netns"));
    tried.and(removed)
}

fn try_all(names: &Names, latency: bool, shapers: &[Shaper]) -> Result<(), PreflightError> {
    let namespace = names.switch();
    for (what, program, line, remedy) in TRIALS.iter().chain(latency.then_some(&RELAY_TRIAL)) {
        batch(program, Some(&namespace), line, AfterFailure::Stop, "trying").map_err(impossible(what, remedy))?;
    }
    for shaper in shapers {
        let remedy = match shaper {
            Shaper::Tbf => "The kernel needs CONFIG_NET_SCH_TBF",
            Shaper::Htb => "The kernel needs CONFIG_NET_SCH_HTB; without --shaper htb there is no need of it",
        };
        let lines = shaper.add("trial", 1, 1_000_000);
        batch("tc", Some(&namespace), &lines, AfterFailure::Stop, "trying")
            .map_err(impossible("a token-bucket shaper", remedy))?;
        shaper.check_parameters()?;
    }
    configure([names.switch_file()]).map_err(impossible(
        "the settings of a namespace",
        "The kernel needs CONFIG_TCP_CONG_CUBIC, and /proc/sys must be writable",
    ))
}

fn impossible(what: &'static str, remedy: &'static str) -> impl FnOnce(NetworkError) -> PreflightError {
    move |error| PreflightError::Impossible { what, remedy, message: error.to_string() }
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| is_file(&directory.join(program))))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file())
}

//! `shoal-lab`.

use std::{env, ffi::OsString};

use anyhow::bail;
use shoal_lab::{network, process};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == process::TETHERED => process::become_tethered(rest).map(|never| match never {}),
        Some((first, rest)) if first == network::RELAY => network::run_relay(rest),
        _ => bail!("there is no such command"),
    }
}

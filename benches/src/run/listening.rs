//! Looks at the TCP sockets of a process' network namespace from outside, by /proc (proc_net(5)): no process is needed
//! inside to see that a server listens, or that its last client has gone.

use std::{fs, io, time::Duration};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::process::Process;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);
/// States of sockets in /proc/net/tcp.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";
/// The peer has closed, the process has not.
const CLOSE_WAIT: &str = "08";

/// Waits until something listens on `port` in the namespace of `process`.
pub(crate) async fn until_it_listens(process: &mut Process, port: u16, at_most: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    while count(process.id(), port, &[LISTEN])? == 0 {
        if let Some(status) = process.exited()? {
            bail!("{} ended with {status} before it served{}", process.name(), process.log_tail());
        }
        if start.elapsed() > at_most {
            bail!("{} does not serve port {port} within {at_most:?}{}", process.name(), process.log_tail());
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Waits until no connection to `port` is open in the namespace of `process`, at most so long. False where some are left.
pub(crate) async fn until_clients_are_gone(process: &Process, port: u16, at_most: Duration) -> anyhow::Result<bool> {
    let start = Instant::now();
    while count(process.id(), port, &[ESTABLISHED, CLOSE_WAIT])? > 0 {
        if start.elapsed() > at_most {
            return Ok(false);
        }
        sleep(POLL).await;
    }
    Ok(true)
}

/// Sockets with that local port in one of the states.
fn count(process: u32, port: u16, states: &[&str]) -> anyhow::Result<usize> {
    let mut found = 0;
    for file in ["tcp", "tcp6"] {
        let path = format!("/proc/{process}/net/{file}");
        match fs::read_to_string(&path) {
            Ok(table) => found += matching(&table, port, states),
            // Without IPv6 there is no such file; a process that has just ended has no files.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    Ok(found)
}

fn matching(table: &str, port: u16, states: &[&str]) -> usize {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().skip(1));
    rows.filter(|row| {
        let (local, state) = (row.clone().next(), row.clone().nth(2));
        local.is_some_and(|local| local.ends_with(&suffix)) && state.is_some_and(|state| states.contains(&state))
    })
    .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
        \x20  0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
        \x20  1: 0100007F:1388 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0\n\
        \x20  2: 0100007F:C350 0100007F:1388 01 00000000:00000000 00:00000000 00000000     0\n\
        \x20  3: 0100007F:1388 0100007F:C351 06 00000000:00000000 00:00000000 00000000     0\n";

    #[test]
    fn sockets_are_told_by_local_port_and_state() {
        assert_eq!(matching(TABLE, 5000, &[LISTEN]), 1);
        assert_eq!(matching(TABLE, 5000, &[ESTABLISHED, CLOSE_WAIT]), 1);
        assert_eq!(matching(TABLE, 50000, &[LISTEN]), 0);
        assert_eq!(matching("", 5000, &[LISTEN]), 0);
    }

    #[test]
    fn a_listener_of_this_process_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(count(std::process::id(), port, &[LISTEN]).unwrap(), 1);
        drop(listener);
        assert_eq!(count(std::process::id(), port, &[LISTEN]).unwrap(), 0);
    }
}

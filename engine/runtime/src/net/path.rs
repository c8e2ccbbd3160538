//! How large the packets on the way to a peer may be, as far as this machine knows.
//!
//! Discovery of the path's MTU (RFC 8899, RFC 9000 section 14.3) searches between what every path carries and an upper
//! bound. With one bound for all paths it either tries sizes that no link of this machine carries, each three times, or
//! leaves large frames unused. The kernel knows the first link of each path, and what routers have said of the others.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use rustix::net::sockopt;

/// Bytes of the headers of IPv4 and UDP.
const HEADERS_V4: u32 = 20 + 8;
/// Bytes of the headers of IPv6 and UDP.
const HEADERS_V6: u32 = 40 + 8;

/// Largest UDP payload, in bytes, that the route to `to` takes in one packet. Links further on may take less.
///
/// # Errors
/// There is no route, or no socket to ask with.
pub(crate) fn largest_payload(to: SocketAddr) -> io::Result<u16> {
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let (any, headers): (IpAddr, u32) = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), HEADERS_V4),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), HEADERS_V6),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Sends nothing: it only makes the kernel look up the route.
    socket.connect(to)?;
    let mtu = if to.is_ipv4() { sockopt::ip_mtu(&socket)? } else { sockopt::ipv6_mtu(&socket)? };
    Ok(u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel's files say it.
    fn loopback_mtu() -> u32 {
        let text = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("Linux has a loopback link");
        text.trim().parse().expect("a number")
    }

    #[test]
    fn the_route_says_how_much_it_takes() {
        let expected = |mtu: u32, headers: u32| u16::try_from(mtu - headers).unwrap_or(u16::MAX);
        // IPv4 counts no more than 65,535 bytes in a packet.
        let expected_v4 = expected(loopback_mtu().min(65_535), HEADERS_V4);
        assert_eq!(largest_payload(([127, 0, 0, 1], 7946).into()).expect("a route"), expected_v4);
        let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 7946);
        assert_eq!(largest_payload(mapped).expect("a route"), expected_v4, "as a port of both families sees it");
        // Where IPv6 is off there is no route to ask about.
        if let Ok(payload) = largest_payload((Ipv6Addr::LOCALHOST, 7946).into()) {
            assert_eq!(payload, expected(loopback_mtu(), HEADERS_V6));
        }
    }

    #[test]
    fn what_the_kernel_does_not_route_for_us_is_an_error() {
        largest_payload((Ipv4Addr::BROADCAST, 7946).into()).expect_err("not without asking for broadcast");
    }
}

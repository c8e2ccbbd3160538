//! Measures what the laboratory's own links carry, to tell how exact they are:
//! `cargo run --release -p shoal-benches --example links`, as root.

use std::{
    env,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use shoal_lab::{
    network::{Host, Link, Network, NetworkPlan, NodePlan, Shaper},
    process,
};

const PORT: u16 = 4_711;
/// Bits per second to bytes per second of a rate in Mbit/s.
const MEGABIT_BYTES: u64 = 125_000;
/// Length of a measured transfer at the nominal rate.
const SECONDS: u64 = 4;

fn main() -> anyhow::Result<()> {
    process::use_launcher(lab()?);
    Network::preflight(&[])?;
    for gone in Network::remove_leftovers()? {
        println!("removed {gone}, which an earlier run left");
    }
    for rate in [50, 100, 200] {
        one_stream(rate, Duration::ZERO)?;
    }
    both_ways(100)?;
    incast(100, 8)?;
    many(50, 16, Duration::ZERO)?;
    for latency in [1, 10, 20, 50] {
        round_trips(Duration::from_millis(latency))?;
    }
    one_stream(100, Duration::from_millis(20))?;
    one_stream(1_000, Duration::from_millis(2))?;
    one_stream(4_000, Duration::from_millis(2))?;
    many(50, 16, Duration::from_millis(20))
}

/// `shoal-lab` beside the folder of the examples.
fn lab() -> anyhow::Result<PathBuf> {
    let example = env::current_exe()?;
    let folder = example.parent().and_then(|examples| examples.parent()).context("an example in no folder")?;
    let lab = folder.join("shoal-lab");
    ensure!(lab.is_file(), "{} is not there: build it with `cargo build -p shoal-benches`", lab.display());
    Ok(lab)
}

fn plan(nodes: u32, rate: u64, latency: Duration) -> NetworkPlan {
    let link = Link { up: rate * MEGABIT_BYTES, down: rate * MEGABIT_BYTES };
    let nodes = (0..nodes).map(|_| NodePlan { link, zone: 0 }).collect();
    NetworkPlan { nodes, upstream: link, cache: None, zone_uplinks: Vec::new(), latency, shaper: Shaper::Tbf }
}

/// Does `work` in a host's namespace.
fn within<T: Send + 'static>(
    network: &Network,
    host: Host,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> thread::JoinHandle<io::Result<T>> {
    let namespace = network.namespace(host);
    thread::spawn(move || {
        let file = std::fs::File::open(namespace)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> anyhow::Result<T> {
    Ok(thread.join().map_err(|_| anyhow!("a thread panicked"))??)
}

/// A transfer over one TCP stream; the thread says how long it took from the first to the last byte.
fn transfer(
    network: &Network,
    from: Host,
    to: Host,
    bytes: u64,
) -> anyhow::Result<thread::JoinHandle<io::Result<Duration>>> {
    let address = SocketAddr::from((network.address(from), PORT));
    let listener = join(within(network, from, move || TcpListener::bind(address)))?;
    let receiver = within(network, to, move || {
        let mut stream = TcpStream::connect(address)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut left = bytes - read_some(&mut stream, &mut buffer)?;
        let start = Instant::now();
        while left > 0 {
            left = left.saturating_sub(read_some(&mut stream, &mut buffer)?);
        }
        Ok(start.elapsed())
    });
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let chunk = vec![0x5a; 64 * 1024];
        (0..bytes.div_ceil(chunk.len() as u64)).try_for_each(|_| stream.write_all(&chunk))
    });
    Ok(receiver)
}

fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u64> {
    match stream.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length as u64),
    }
}

fn share_of(rate: u64, bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / (rate * MEGABIT_BYTES) as f64 * 100.0
}

/// Processor time of this process' children that have ended, in seconds: nearly all of it is the relay's.
fn children_s() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().context("an empty /proc/self/stat")?.split_whitespace().collect();
    // The 16th and 17th field, of which the first two are cut off; see proc_pid_stat(5).
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).context("a short line");
    Ok((ticks(13)? + ticks(14)?) / rustix::param::clock_ticks_per_second() as f64)
}

fn one_stream(rate: u64, latency: Duration) -> anyhow::Result<()> {
    let before = children_s()?;
    let network = Network::build(&plan(2, rate, latency))?;
    let bytes = rate * MEGABIT_BYTES * SECONDS;
    let took = join(transfer(&network, Host::Node(0), Host::Node(1), bytes)?)?;
    let traffic = network.traffic()?;
    network.remove()?;
    println!(
        "one TCP stream, {rate} Mbit/s, latency {latency:?}: {:.1} % of the rate; {:.3} bytes of frames for a byte; \
         dropped {} in queues, {} in the relay; {:.2} s of processor for a GB in ip, tc and the relay",
        share_of(rate, bytes, took),
        traffic.nodes[0].up_bytes as f64 / bytes as f64,
        traffic.nodes[0].dropped + traffic.nodes[1].dropped,
        traffic.relay_dropped_frames,
        (children_s()? - before) / (bytes as f64 / 1e9),
    );
    Ok(())
}

fn both_ways(rate: u64) -> anyhow::Result<()> {
    let network = Network::build(&plan(2, rate, Duration::ZERO))?;
    let bytes = rate * MEGABIT_BYTES * SECONDS;
    let there = transfer(&network, Host::Node(0), Host::Node(1), bytes)?;
    let back = transfer(&network, Host::Node(1), Host::Node(0), bytes)?;
    let (there, back) = (join(there)?, join(back)?);
    println!(
        "TCP both ways, {rate} Mbit/s: {:.1} % and {:.1} % of the rate",
        share_of(rate, bytes, there),
        share_of(rate, bytes, back)
    );
    Ok(network.remove()?)
}

fn incast(rate: u64, senders: u32) -> anyhow::Result<()> {
    let network = Network::build(&plan(senders, rate, Duration::ZERO))?;
    let bytes = rate * MEGABIT_BYTES * SECONDS / u64::from(senders);
    let start = Instant::now();
    let transfers = (0..senders)
        .map(|node| transfer(&network, Host::Node(node), Host::Upstream, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    transfers.into_iter().try_for_each(|transfer| join(transfer).map(|_| ()))?;
    let traffic = network.traffic()?;
    println!(
        "{senders} TCP streams to one host, {rate} Mbit/s: {:.1} % of the rate together; {} dropped of {:.0} frames",
        share_of(rate, bytes * u64::from(senders), start.elapsed()),
        traffic.upstream.dropped,
        traffic.upstream.down_bytes as f64 / 1_514.0
    );
    Ok(network.remove()?)
}

/// Every node sends to the next.
fn many(rate: u64, nodes: u32, latency: Duration) -> anyhow::Result<()> {
    let network = Network::build(&plan(nodes, rate, latency))?;
    let bytes = rate * MEGABIT_BYTES * SECONDS;
    let transfers = (0..nodes)
        .map(|node| transfer(&network, Host::Node(node), Host::Node((node + 1) % nodes), bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let shares = transfers
        .into_iter()
        .map(|transfer| Ok(share_of(rate, bytes, join(transfer)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let worst = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let traffic = network.traffic()?;
    println!(
        "{nodes} nodes in a ring, {rate} Mbit/s, latency {latency:?}: slowest {worst:.1} %, mean {:.1} % of the rate; \
         dropped {} in queues, {} in the relay",
        shares.iter().sum::<f64>() / f64::from(nodes),
        traffic.nodes.iter().map(|node| node.dropped).sum::<u64>(),
        traffic.relay_dropped_frames,
    );
    Ok(network.remove()?)
}

fn round_trips(latency: Duration) -> anyhow::Result<()> {
    let network = Network::build(&plan(2, 100, latency))?;
    let address = SocketAddr::from((network.address(Host::Node(0)), PORT));
    let server = join(within(&network, Host::Node(0), move || UdpSocket::bind(address)))?;
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..length], from).ok();
        }
    });
    let client = within(&network, Host::Node(1), move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut buffer = [0; 64];
        let mut times = Vec::new();
        for _ in 0..51 {
            let start = Instant::now();
            socket.send(b"echo")?;
            socket.recv(&mut buffer)?;
            times.push(start.elapsed());
        }
        // The first one looks for the address.
        times.remove(0);
        times.sort();
        Ok(times)
    });
    let times = join(client)?;
    println!(
        "round trip with {latency:?} each way: least {:?}, median {:?}, most {:?}",
        times[0], times[25], times[49]
    );
    Ok(network.remove()?)
}

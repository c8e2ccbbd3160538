//! Networks for real: they need root and iproute2.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::symlink,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use shoal_lab::{
    network::{Host, Link, Network, NetworkPlan, NodePlan, PreflightError, Shaper},
    process,
};

/// By it `tests/run` says that everything is installed: a missing requirement then fails the test.
const REQUIRE_ALL: &str = "SHOAL_TESTS_REQUIRE_ALL";
/// By it a test starts this program again, as a laboratory of its own, and says which.
const PART: &str = "SHOAL_TEST_PART";
const PORT: u16 = 4_711;
const MEGABIT_BYTES: u64 = 125_000;
/// A stream on which nothing comes for so long has come to a stop: its test fails then, and does not wait for TCP to give
/// up, which takes most of an hour.
const STALLED: Duration = Duration::from_secs(60);

/// Whether the test can run here. Where not, it says so past the harness' capture.
fn begin(name: &str) -> bool {
    process::use_launcher(PathBuf::from(env!("CARGO_BIN_EXE_shoal-lab")));
    let delayed = NetworkPlan { latency: Duration::from_millis(1), ..plan(1, 1) };
    let missing = match Network::preflight(&[delayed]) {
        Ok(()) => return true,
        Err(
            error @ (PreflightError::NotRoot | PreflightError::NoProgram { .. } | PreflightError::Impossible { .. }),
        ) => error,
    };
    assert!(env::var_os(REQUIRE_ALL).is_none(), "{name} cannot run: {missing}");
    io::stderr().write_all(format!("SKIPPED {name}: {missing}\n").as_bytes()).unwrap();
    false
}

fn plan(nodes: u32, megabits: u64) -> NetworkPlan {
    let link = Link { up: megabits * MEGABIT_BYTES, down: megabits * MEGABIT_BYTES };
    let nodes = (0..nodes).map(|_| NodePlan { link, zone: 0 }).collect();
    let (cache, zone_uplinks) = (Some(link), Vec::new());
    NetworkPlan { nodes, upstream: link, cache, zone_uplinks, latency: Duration::ZERO, shaper: Shaper::Tbf }
}

/// What begins all names of a network's namespaces.
fn prefix(network: &Network) -> String {
    let name = network.namespace(Host::Upstream).file_name().unwrap().to_str().unwrap().to_owned();
    name.strip_suffix("upstream").unwrap().to_owned()
}

fn namespaces(prefix: &str) -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with(prefix)).collect()
}

/// Does `work` in a host's namespace.
fn within<T: Send + 'static>(
    network: &Network,
    host: Host,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> JoinHandle<io::Result<T>> {
    let namespace = network.namespace(host);
    thread::spawn(move || {
        move_into_link_name_space(fs::File::open(namespace)?.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Begins a transfer over one TCP stream and returns the receiving end.
fn transfer(network: &Network, from: Host, to: Host, bytes: u64) -> TcpStream {
    let address = SocketAddr::from((network.address(from), PORT));
    let listener = within(network, from, move || TcpListener::bind(address)).join().unwrap().unwrap();
    let stream = within(network, to, move || TcpStream::connect(address)).join().unwrap().unwrap();
    stream.set_read_timeout(Some(STALLED)).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        io::copy(&mut io::repeat(0x5a).take(bytes), &mut stream)
    });
    stream
}

fn receive(stream: &mut TcpStream, bytes: u64) {
    assert_eq!(io::copy(&mut stream.take(bytes), &mut io::sink()).unwrap(), bytes);
}

/// Frames with headers, acknowledgements apart, for so much payload of a stream; retransmissions add to it.
fn assert_carried(counted: u64, payload: u64) {
    let frames = payload * 1_514 / 1_448;
    assert!((frames..frames + frames / 10).contains(&counted), "{counted} bytes counted for {payload} of payload");
}

#[test]
fn zones_are_joined_by_their_uplinks_and_every_byte_is_counted() {
    if !begin("zones_are_joined_by_their_uplinks_and_every_byte_is_counted") {
        return;
    }
    let mut plan = plan(16, 200);
    plan.zone_uplinks = vec![Link { up: 100 * MEGABIT_BYTES, down: 50 * MEGABIT_BYTES }; 4];
    plan.nodes.iter_mut().zip(0..).for_each(|(node, number)| node.zone = number / 4);
    let network = Network::build(&plan).unwrap();
    let (abroad, at_home, from_upstream) = (5_000_000, 3_000_000, 2_000_000);

    let start = Instant::now();
    receive(&mut transfer(&network, Host::Node(0), Host::Node(15), abroad), abroad);
    let least = abroad as f64 / (50 * MEGABIT_BYTES) as f64;
    // Less the bursts of the links on the way, and those only begin full.
    assert!(start.elapsed().as_secs_f64() > 0.8 * least, "{:?} and not at least {least} s", start.elapsed());
    receive(&mut transfer(&network, Host::Node(4), Host::Node(5), at_home), at_home);
    receive(&mut transfer(&network, Host::Upstream, Host::Node(8), from_upstream), from_upstream);

    let traffic = network.traffic().unwrap();
    assert_carried(traffic.nodes[0].up_bytes, abroad);
    assert_carried(traffic.nodes[15].down_bytes, abroad);
    assert_carried(traffic.zones[0].up_bytes, abroad);
    assert_carried(traffic.zones[3].down_bytes, abroad);
    assert_carried(traffic.nodes[4].up_bytes, at_home);
    assert_carried(traffic.nodes[5].down_bytes, at_home);
    assert_carried(traffic.upstream.up_bytes, from_upstream);
    assert_carried(traffic.zones[2].down_bytes, from_upstream);
    // What was sent within a zone stayed there: others saw it asked for its address at most.
    assert!(traffic.zones[1].up_bytes < 10_000 && traffic.zones[1].down_bytes < 10_000, "{traffic:?}");
    assert_eq!((traffic.nodes.len(), traffic.zones.len(), traffic.relay_dropped_frames), (16, 4, 0));
    assert!(traffic.cache.is_some());

    let prefix = prefix(&network);
    assert_eq!(namespaces(&prefix).len(), 16 + 3);
    network.remove().unwrap();
    assert_eq!(namespaces(&prefix), [""; 0]);
}

#[test]
fn a_link_changes_while_traffic_flows() {
    if !begin("a_link_changes_while_traffic_flows") {
        return;
    }
    for shaper in [Shaper::Tbf, Shaper::Htb] {
        match Network::build(&NetworkPlan { shaper, ..plan(2, 1) }) {
            Ok(network) => change_links(&network),
            Err(error) if shaper == Shaper::Htb && env::var_os(REQUIRE_ALL).is_none() => {
                io::stderr().write_all(format!("SKIPPED with HTB: {error}\n").as_bytes()).unwrap();
            }
            Err(error) => panic!("{shaper:?}: {error}"),
        }
    }
}

fn change_links(network: &Network) {
    let mut stream = transfer(network, Host::Node(0), Host::Node(1), 8_000_000);
    receive(&mut stream, 200_000);
    let fast = Link { up: 80 * MEGABIT_BYTES, down: 80 * MEGABIT_BYTES };
    network.set_link(0, fast).unwrap();
    network.set_link(1, fast).unwrap();
    let start = Instant::now();
    receive(&mut stream, 3_800_000);
    assert!(start.elapsed() < Duration::from_secs(15), "it takes 30 s at the old rate, not {:?}", start.elapsed());
    // Upwards go acknowledgements alone, some 5 % of what comes down where each packet has one.
    network.set_link(1, Link { up: MEGABIT_BYTES, down: 8 * MEGABIT_BYTES }).unwrap();
    // What has left the queues by then is not held back: half a megabyte of them, and as much of windows.
    receive(&mut stream, 1_000_000);
    let start = Instant::now();
    receive(&mut stream, 3_000_000);
    assert!(start.elapsed() > Duration::from_millis(2_500), "it takes 3 s at the new rate, not {:?}", start.elapsed());
    assert!(network.set_link(2, fast).unwrap_err().to_string().contains("no node 2"));
    assert!(network.set_link(0, Link { up: 0, down: 1 }).unwrap_err().to_string().contains("0 bytes per second"));
}

#[test]
fn latency_is_what_the_plan_says() {
    if !begin("latency_is_what_the_plan_says") {
        return;
    }
    let mut plan = plan(2, 100);
    plan.latency = Duration::from_millis(20);
    let network = Network::build(&plan).unwrap();
    let address = SocketAddr::from((network.address(Host::Upstream), PORT));
    let server = within(&network, Host::Upstream, move || UdpSocket::bind(address)).join().unwrap().unwrap();
    let client = within(&network, Host::Node(1), || UdpSocket::bind("0.0.0.0:0")).join().unwrap().unwrap();
    client.connect(address).unwrap();
    let mut buffer = [0; 16];
    let mut round_trip = || {
        let start = Instant::now();
        client.send(b"hello").unwrap();
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
        client.recv(&mut buffer).unwrap();
        start.elapsed()
    };
    // The first looks for addresses as well.
    let least = (0..20).map(|_| round_trip()).skip(1).min().unwrap();
    assert!(least >= Duration::from_millis(40) && least < Duration::from_millis(60), "a round trip takes {least:?}");
    let bytes = 2_000_000;
    receive(&mut transfer(&network, Host::Node(0), Host::Node(1), bytes), bytes);
    let traffic = network.traffic().unwrap();
    assert_carried(traffic.nodes[0].up_bytes, bytes);
    assert_eq!(traffic.relay_dropped_frames, 0);
}

#[test]
fn commands_run_in_their_hosts_namespace() {
    if !begin("commands_run_in_their_hosts_namespace") {
        return;
    }
    let network = Network::build(&plan(2, 10)).unwrap();
    let output = run(
        &network,
        Host::Node(1),
        "ip -4 -oneline address show dev eth0; cat /proc/sys/net/ipv4/tcp_congestion_control",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("inet {}/16", network.address(Host::Node(1)))), "{text}");
    assert!(text.ends_with("cubic\n"), "{text}");
    let output = run(&network, Host::Node(2), "true");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("no network namespace"), "{text}");
}

fn run(network: &Network, host: Host, script: &str) -> Output {
    let mut command = network.command(host, "sh");
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::spawn(command).unwrap().wait_with_output().unwrap()
}

#[test]
fn a_panic_removes_the_network_and_ends_what_runs_in_it() {
    if !begin("a_panic_removes_the_network_and_ends_what_runs_in_it") {
        return;
    }
    let network = Network::build(&plan(1, 10)).unwrap();
    let prefix = prefix(&network);
    let mut child = process::spawn(in_background(&network)).unwrap();
    let orphan = announced(child.stdout.take().unwrap());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = network;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(namespaces(&prefix), [""; 0]);
    assert!(!is_running(&orphan));
    child.wait().unwrap();
}

/// A shell in the first node's namespace that starts a process in a session of its own, and says its id.
fn in_background(network: &Network) -> Command {
    let mut command = network.command(Host::Node(0), "sh");
    command.args(["-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!; exec sleep 600"]).stdout(Stdio::piped());
    command
}

/// The one line that a process says.
fn announced(output: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// Also false for one that nobody has reaped.
fn is_running(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Starts this program again for one of the parts below.
fn part(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "part_of_another_test"]).env(PART, name);
    command
}

/// Nothing by itself: another process, for a test that needs one.
#[test]
fn part_of_another_test() {
    let Some(name) = env::var_os(PART) else { return };
    let launcher = if name == "without relay" { "/bin/false" } else { env!("CARGO_BIN_EXE_shoal-lab") };
    process::use_launcher(PathBuf::from(launcher));
    let mut plan = plan(2, 10);
    match name.to_str().unwrap() {
        "hold" => {
            plan.latency = Duration::from_millis(1);
            let network = Network::build(&plan).unwrap();
            let mut child = process::spawn(in_background(&network)).unwrap();
            let orphan = announced(child.stdout.take().unwrap());
            println!("\nHELD {} {} {orphan}", prefix(&network), child.id());
            child.wait().unwrap();
        }
        "without tc" => println!("\nFAILED {}", Network::build(&plan).unwrap_err()),
        "without relay" => {
            plan.latency = Duration::from_millis(1);
            println!("\nFAILED {}", Network::build(&plan).unwrap_err());
        }
        other => panic!("no part {other}"),
    }
}

#[test]
fn what_a_killed_laboratory_left_goes_at_the_next_start() {
    if !begin("what_a_killed_laboratory_left_goes_at_the_next_start") {
        return;
    }
    let mut holder = part("hold").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let held = lines.find_map(|line| line.strip_prefix("HELD ").map(str::to_owned)).unwrap();
    let [prefix, child, orphan] = held.split(' ').collect::<Vec<_>>()[..] else { panic!("{held}") };
    assert_eq!(namespaces(prefix).len(), 2 + 3);
    // One that lives is left alone.
    Network::remove_leftovers().unwrap();
    assert_eq!(namespaces(prefix).len(), 2 + 3);
    assert!(is_running(child) && is_running(orphan));

    holder.kill().unwrap();
    holder.wait().unwrap();
    Network::remove_leftovers().unwrap();
    assert_eq!(namespaces(prefix), [""; 0]);
    assert!(!is_running(child) && !is_running(orphan), "processes are left");
    let relays = processes_with(prefix);
    assert!(relays.is_empty(), "relays are left: {relays:?}");
}

/// Processes with `text` in their arguments.
fn processes_with(text: &str) -> Vec<PathBuf> {
    let lines = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let has_text = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    lines.filter(has_text).collect()
}

#[test]
fn a_network_that_cannot_be_built_leaves_nothing() {
    if !begin("a_network_that_cannot_be_built_leaves_nothing") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    symlink(find("ip"), directory.path().join("ip")).unwrap();
    let text = failure(part("without tc").env("PATH", directory.path()));
    assert!(text.contains("cannot run `tc`") && text.contains("iproute2"), "{text}");
    let text = failure(&mut part("without relay"));
    assert!(text.contains("the relay that delays frames does not start"), "{text}");
}

/// Runs a part that fails to build a network, says how, and has left nothing.
fn failure(command: &mut Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let prefix = format!("shoal-lab-{}-", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(namespaces(&prefix), [""; 0]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("FAILED ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn find(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let mut candidates = env::split_paths(&path).map(|directory| directory.join(program));
    candidates.find(|candidate| Path::is_file(candidate)).unwrap()
}

//! `shoal node` as a process: what it prints, what it takes from where, and how it ends.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// The command with nothing inherited that it could take settings from.
fn node(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.arg("node").env_clear().env("HOME", home).env("XDG_DATA_HOME", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A node on free ports, ended with the test.
struct Running {
    child: Child,
    started: Value,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.args(["--json", "--swarm-listen", "127.0.0.1:0"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut error = String::new();
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            panic!("the node did not start: {error}");
        }
        Self { child, started: serde_json::from_str(&line).unwrap() }
    }

    fn text(&self, key: &str) -> &str {
        self.started[key].as_str().unwrap()
    }

    /// Stops the node by SIGTERM and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failure(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "a node that does not start says nothing on standard output");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_start_is_told_in_one_line_and_sigterm_ends_the_node_in_order() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(node(home.path()).args(["--listen", "127.0.0.1:0"]));
    let data_dir = home.path().join("shoal");
    assert_eq!(running.text("event"), "started");
    assert_eq!(running.text("data_dir"), data_dir.to_str().unwrap());
    assert_eq!(running.text("id").len(), 32);
    let swarm = running.text("swarm");
    assert!(!swarm.ends_with(":0") && !running.text("http").ends_with(":0"), "{}", running.started);
    let secret_file = data_dir.join("cluster.secret");
    assert_eq!(running.text("join"), format!("shoal node --join {swarm} --secret-file {}", secret_file.display()));
    assert_eq!(std::fs::read_to_string(secret_file).unwrap().trim().len(), 64);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn flags_come_before_the_environment_and_the_environment_before_the_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("shoal.toml");
    std::fs::write(&file, "data_dir = '/proc/nowhere'\nlisten = '127.0.0.1:0'\nlog = 'error'\n").unwrap();
    let data_dir = home.path().join("from-environment");
    // The file's data directory cannot be used, and neither can the environment's address.
    let mut command = node(home.path());
    command.env("SHOAL_CONFIG", &file).env("SHOAL_DATA_DIR", &data_dir).env("SHOAL_LISTEN", "192.0.2.1:1");
    let running = Running::start(command.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(running.text("data_dir"), data_dir.to_str().unwrap());
    assert!(running.text("http").starts_with("127.0.0.1:"));
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn wrong_usage_and_configuration_are_exit_code_2() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("shoal.toml");
    std::fs::write(&file, "\nlisten_on = 'x'\n").unwrap();
    let registries = home.path().join("registries.yaml");
    std::fs::write(&registries, "mirrors:\n  docker.io:\n    endpoint: text\n").unwrap();
    let (file, registries) = (file.to_str().unwrap(), registries.to_str().unwrap());
    let cases: [(&[&str], &str); 7] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--upload-limit", "fast"], "200mbit"),
        (&["--config", file], "shoal.toml:2: unknown field `listen_on`"),
        (&["--registries", registries], "registries.yaml:3: "),
        (&["--secret", "abc"], "64 hex digits"),
        (&["--join", "127.0.0.1:1"], "--secret-file"),
        (&["--log", "shoal=loud"], "--log"),
    ];
    for (flags, expected) in cases {
        let (code, error) = failure(node(home.path()).args(flags));
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
}

#[test]
fn failures_are_exit_code_1_and_one_line() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flags, expected) in [(["--listen", &address], "--listen"), (["--data-dir", "/proc/nowhere"], "--data-dir")] {
        let (code, error) = failure(node(home.path()).args(flags).args(["--log", "off"]));
        assert_eq!(code, Some(1), "{error}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_version_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_shoal")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("shoal {}\n", env!("CARGO_PKG_VERSION")));
}

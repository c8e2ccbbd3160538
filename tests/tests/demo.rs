//! `shoal demo`: its figures are those of real pulls, and it leaves no process and no file behind, however it ends.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shoal_tests::{node::binary, process::Process, stage::Stage, wait};

/// Arguments of a demo that takes about 5 s.
const SMALL: [&str; 7] = ["--nodes", "3", "--size", "12MiB", "--link", "100mbit", "--json"];

/// Arguments of a demo that is surely still at work when a test has found its nodes.
const LONG: [&str; 7] = ["--nodes", "3", "--size", "256MiB", "--link", "16mbit", "--skip-single-source"];

/// Bytes on disk at which a pull is in its middle: more than keys, logs and an empty spool.
const AT_WORK_BYTES: u64 = 4 * 1024 * 1024;

/// Keys that scripts rely on.
const KEYS: [&str; 16] = [
    "nodes",
    "layers",
    "bytes",
    "link_bytes_per_s",
    "single_source_s",
    "swarm_s",
    "bound_s",
    "ratio_to_bound",
    "speedup",
    "upstream_copies",
    "duplicate_ratio",
    "first_byte_s",
    "node_s",
    "rss_max_bytes",
    "cpu_s_per_gb",
    "digests_ok",
];

/// A demo with a directory for temporary files of its own.
struct Demo {
    process: Process,
    files: PathBuf,
}

impl Demo {
    fn start(stage: &Stage, arguments: &[&str]) -> Result<Self> {
        let files = stage.create_dir("files")?;
        let mut command = Command::new(binary()?);
        // A setting of the user's must not reach the demo's nodes.
        command.arg("demo").args(arguments).env("TMPDIR", &files).env("SHOAL_JOIN", "192.0.2.1:1");
        Ok(Self { process: Process::start(stage, "demo", &command)?, files })
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        wait::until("the demo ends", wait::PULL, async || self.process.exited()).await
    }

    /// Processes that work with the demo's files: its nodes.
    fn nodes(&self) -> Result<Vec<(Pid, String)>> {
        let files = self.files.to_str().context("the directory's name is text")?;
        let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
            let id = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let arguments = String::from_utf8(fs::read(entry.path().join("cmdline")).ok()?).ok()?;
            arguments.contains(files).then_some((id, arguments))
        });
        Ok(processes.collect())
    }

    /// Waits until three nodes have stored some of the image.
    async fn at_work(&mut self) -> Result<Vec<(Pid, String)>> {
        let nodes = wait::until("three nodes are in the middle of a pull", wait::PULL, async || {
            if let Some(status) = self.process.exited()? {
                anyhow::bail!("the demo ended: {status}\n{}", self.process.stderr()?);
            }
            let nodes = self.nodes()?;
            Ok((nodes.len() == 3 && stored_bytes(&self.files) > AT_WORK_BYTES).then_some(nodes))
        });
        nodes.await
    }

    fn assert_nothing_is_left(&self) -> Result<()> {
        assert_eq!(self.nodes()?, [], "processes are left");
        let files: Vec<_> = fs::read_dir(&self.files)?.flatten().map(|entry| entry.path()).collect();
        assert_eq!(files, Vec::<PathBuf>::new(), "files are left");
        Ok(())
    }
}

/// Bytes of the disk that the files below `directory` occupy.
fn stored_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // What goes away in the meantime occupies nothing.
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => stored_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[tokio::test]
async fn a_small_demo_prints_one_object_with_right_digests_and_leaves_nothing() -> Result<()> {
    let Some(stage) = Stage::begin("demo-small", &[])? else { return Ok(()) };
    let mut demo = Demo::start(&stage, &SMALL)?;
    let status = demo.end().await?;
    assert!(status.success(), "{status}");
    let result: Value = serde_json::from_str(&demo.process.stdout()?).context("stdout is not one JSON object")?;
    for key in KEYS {
        assert!(!result[key].is_null(), "{key} is missing in {result}");
    }
    let number = |key: &str| result[key].as_f64().with_context(|| format!("{key} is not a number"));
    assert_eq!((&result["digests_ok"], number("nodes")?), (&Value::Bool(true), 3.0));
    let copies = number("upstream_copies")?;
    assert!((1.0..=1.3).contains(&copies), "{copies} copies from the upstream");
    let (single_source_s, least_s) = (number("single_source_s")?, number("bytes")? * 3.0 / number("link_bytes_per_s")?);
    assert!(single_source_s >= least_s, "{single_source_s} s is less than the {least_s} s that the link needs");
    assert!(number("swarm_s")? >= number("bound_s")?, "faster than the links allow: {result}");
    assert_eq!(demo.process.stderr()?, "", "a demo in a pipe is quiet");
    demo.assert_nothing_is_left()?;
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn signals_in_the_middle_leave_nothing() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM] {
        let Some(stage) = Stage::begin("demo-signal", &[])? else { return Ok(()) };
        let mut demo = Demo::start(&stage, &LONG)?;
        demo.at_work().await?;
        demo.process.signal(signal)?;
        let status = demo.end().await?;
        assert_eq!(status.code(), Some(1), "{status} after {signal:?}");
        assert!(demo.process.stderr()?.contains("stopped by SIG"), "{}", demo.process.stderr()?);
        demo.assert_nothing_is_left()?;
        stage.passed();
    }
    Ok(())
}

#[tokio::test]
async fn a_demo_that_is_killed_takes_its_nodes_along() -> Result<()> {
    let Some(stage) = Stage::begin("demo-killed", &[])? else { return Ok(()) };
    let mut demo = Demo::start(&stage, &LONG)?;
    demo.at_work().await?;
    demo.process.kill()?;
    wait::until("all nodes have ended", wait::SOON, async || Ok(demo.nodes()?.is_empty().then_some(()))).await?;
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_ends_the_demo_with_its_name_and_leaves_nothing() -> Result<()> {
    let Some(stage) = Stage::begin("demo-death", &[])? else { return Ok(()) };
    let mut demo = Demo::start(&stage, &LONG)?;
    let nodes = demo.at_work().await?;
    let victim = nodes.iter().find(|(_, arguments)| arguments.contains("/node-2")).context("there is a node 2")?;
    kill_process(victim.0, Signal::KILL)?;
    let status = demo.end().await?;
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(demo.process.stderr()?.contains("node 2"), "{}", demo.process.stderr()?);
    demo.assert_nothing_is_left()?;
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn arguments_that_cannot_work_are_refused_with_exit_code_2() -> Result<()> {
    let refused: [(&[&str], &str); 7] = [
        (&["--nodes", "0"], "between 1 and"),
        (&["--nodes", "100000"], "between 1 and"),
        (&["--nodes", "-1"], "--nodes"),
        (&["--size", "some"], "MiB"),
        (&["--size", "1KiB"], "too small"),
        (&["--size", "4000GiB"], "smaller size"),
        (&["--link", "0mbit"], "--link"),
    ];
    for (arguments, message) in refused {
        let Some(stage) = Stage::begin("demo-refused", &[])? else { return Ok(()) };
        let mut demo = Demo::start(&stage, arguments)?;
        let status = demo.end().await?;
        let stderr = demo.process.stderr()?;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {status} {stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
        demo.assert_nothing_is_left()?;
        stage.passed();
    }
    Ok(())
}

//! `shoal-lab run`: its figures are those of real pulls over real links, it says what is missing or wrong before it makes
//! anything, and it leaves nothing behind, however it ends.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use shoal_tests::{
    lab::binary,
    process::Process,
    stage::{Need, Stage},
    wait,
};

/// What the laboratory needs to run.
const NEEDS: [Need; 4] = [Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Program("docker-registry")];

/// A run of a few seconds. A machine that is busy with other tests must not make it again and again.
const SMALL: [&str; 11] =
    ["cold-start", "--nodes", "3", "--size", "16MiB", "--link", "100mbit", "--repeats", "1", "--retries", "0"];

/// A run that is surely at work still when a test has found its pulls.
const LONG: [&str; 9] = ["cold-start", "--nodes", "3", "--size", "256MiB", "--link", "16mbit", "--systems", "shoal"];

/// Bytes of the image in `SMALL`.
const SIZE: f64 = 16.0 * 1024.0 * 1024.0;

/// Bytes on disk at which nodes are in the middle of a pull: more than keys and an empty spool.
const AT_WORK_BYTES: u64 = 2 * 1024 * 1024;

/// Keys of a system that scripts rely on.
const KEYS: [&str; 12] = [
    "system",
    "makespan_s",
    "node_s",
    "bound_s",
    "ratio_to_bound",
    "speedup",
    "upstream_copies",
    "upstream_requests",
    "duplicate_ratio",
    "first_byte_s",
    "cpu_s_per_gb",
    "rss_max_bytes",
];

/// A laboratory with a directory for temporary files of its own.
struct Lab {
    process: Process,
    files: PathBuf,
}

impl Lab {
    fn start(stage: &Stage, name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("run").args(arguments);
        Self::start_command(stage, name, command)
    }

    fn start_command(stage: &Stage, name: &str, mut command: Command) -> Result<Self> {
        let files = stage.create_dir("files")?;
        // A setting of the user's must not reach the nodes.
        command.env("TMPDIR", &files).env("SHOAL_JOIN", "192.0.2.1:1");
        if std::env::var_os("SHOAL_BIN").is_none() {
            command.env("SHOAL_BIN", shoal_tests::node::binary()?);
        }
        Ok(Self { process: Process::start(stage, name, &command)?, files })
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        wait::until("the laboratory ends", wait::PULL, async || self.process.exited()).await
    }

    /// Waits until three nodes have stored some of the blob.
    async fn at_work(&mut self) -> Result<()> {
        wait::until("nodes are in the middle of a pull", wait::PULL, async || {
            self.must_run()?;
            let spools = self.files_below("run-").filter(|path| path.to_string_lossy().contains("/spool/"));
            let stored: u64 = spools.filter_map(|path| Some(path.metadata().ok()?.blocks() * 512)).sum();
            Ok((stored > AT_WORK_BYTES).then_some(()))
        })
        .await
    }

    /// Waits until some namespaces are there.
    async fn building(&mut self) -> Result<()> {
        wait::until("namespaces are made", wait::PULL, async || {
            self.must_run()?;
            Ok((!namespaces(self.process.pid())?.is_empty()).then_some(()))
        })
        .await
    }

    fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.process.exited()? {
            bail!("the laboratory ended: {status}\n{}", self.process.stderr()?);
        }
        Ok(())
    }

    fn files_below(&self, prefix: &str) -> impl Iterator<Item = PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.files.clone()];
        while let Some(folder) = folders.pop() {
            // What goes away in the meantime is not there.
            for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(&format!("/{prefix}")) {
                    found.push(path);
                }
            }
        }
        found.into_iter()
    }

    fn assert_nothing_is_left(&self) -> Result<()> {
        let files: Vec<_> = fs::read_dir(&self.files)?.flatten().map(|entry| entry.path()).collect();
        assert_eq!(files, Vec::<PathBuf>::new(), "files are left");
        assert_eq!(namespaces(self.process.pid())?, Vec::<String>::new(), "namespaces are left");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
        Ok(())
    }

    /// Command lines of processes other than the laboratory that have its directory in their environment.
    fn processes(&self) -> Vec<String> {
        let setting = format!("TMPDIR={}\0", self.files.display());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let id = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_ours = String::from_utf8_lossy(&environment).contains(&setting);
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            (is_ours && id.as_raw_nonzero().get().cast_unsigned() != self.process.pid())
                .then(|| String::from_utf8_lossy(&line).replace('\0', " "))
        });
        processes.collect()
    }
}

/// Namespaces that the laboratory with this process id has made.
fn namespaces(id: u32) -> Result<Vec<String>> {
    let prefix = format!("shoal-lab-{id}-");
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names.into_iter().filter(|name| name.starts_with(&prefix)).collect())
}

#[tokio::test]
async fn five_systems_pull_the_same_blob_and_their_costs_are_what_they_must_be() -> Result<()> {
    let Some(stage) = Stage::begin("lab-systems", &NEEDS)? else { return Ok(()) };
    let out = stage.path().join("out");
    let out_text = out.display().to_string();
    let systems = "single,single-parallel,pull-through,shoal,shoal-no-peers";
    let arguments = [&SMALL[..], &["--json", "--systems", systems, "--out", &out_text]].concat();
    let mut lab = Lab::start(&stage, "lab", &arguments)?;
    let status = lab.end().await?;
    assert!(status.success(), "{status}");
    lab.assert_nothing_is_left()?;

    let object: Value = serde_json::from_str(&lab.process.stdout()?).context("stdout is not one JSON object")?;
    assert_eq!((&object["scenario"], &object["nodes"], &object["seed"]), (&"cold-start".into(), &3.into(), &1.into()));
    for key in ["kernel", "version", "bound_fluid_s", "systems"] {
        assert!(!object[key].is_null(), "{key} is missing in {object}");
    }
    for system in object["systems"].as_array().context("a list of systems")? {
        // The runs of a machine that was busy with something else are listed, and have no figures.
        let keys = KEYS.iter().filter(|_| system["runs"] == 1);
        for key in keys {
            assert!(system.get(key).is_some(), "{key} is missing in {system}");
        }
    }
    let results: Value = serde_json::from_str(&fs::read_to_string(out.join("results.json"))?)?;
    let runs = results["runs"][0]["runs"].as_array().context("a list of runs")?;
    assert_eq!(runs.len(), 5, "one of each system");
    for run in runs {
        check_costs(run)?;
    }
    stage.passed();
    Ok(())
}

/// Every digest was right, nothing was faster than the links, and the upstream sent what the system must take from it.
fn check_costs(run: &Value) -> Result<()> {
    let system = run["system"].as_str().context("a name")?;
    let nodes = run["nodes"].as_array().context("a list of nodes")?;
    assert_eq!(nodes.len(), 3, "{system}: {}", run["invalid"]);
    for node in nodes {
        assert_eq!((&node["outcome"], &node["error"]), (&"done".into(), &Value::Null), "{system}");
        assert_eq!(node["bytes"].as_f64(), Some(SIZE), "{system}");
        assert!(node["first_byte_s"].as_f64() < node["done_s"].as_f64(), "{system}: {node}");
    }
    let number = |value: &Value| value.as_f64().with_context(|| format!("{value} in {system}"));
    let (took, least) = (number(&run["makespan_s"])?, SIZE / 12_500_000.0);
    // Buckets that are full at the start give a little more than the rate.
    assert!(took > 0.98 * least, "{system} took {took} s where the links need {least} s");
    let copies = number(&run["upstream"]["blob_bytes"])? / SIZE;
    let (least, most) = match system {
        "shoal" => (0.99, 1.1),
        // It takes the blob for itself, and once more for whoever asks before it has it.
        "pull-through" => (0.99, 4.01),
        _ => (2.99, 3.01),
    };
    assert!((least..=most).contains(&copies), "{system}: {copies} copies from the upstream");
    let used = nodes.iter().map(|node| number(&node["cpu_s"])).sum::<Result<f64>>()?;
    assert_eq!(used > 0.0, system.starts_with("shoal"), "{system} has used {used} s of processor at the nodes");
    assert!(!run["timeline"].as_array().context("samples")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_adapter_is_a_system_like_the_others() -> Result<()> {
    let Some(stage) = Stage::begin("lab-adapter", &NEEDS)? else { return Ok(()) };
    let stopped = stage.path().join("stopped");
    // Sends all clients to the upstream.
    let script = format!(
        "#!/bin/sh\nset -eu\n\
         if [ \"$1\" = stop ]; then echo \"$2\" >> {stopped}; exit; fi\n\
         upstream=$(tr -d '\\n ' < \"$2\" | sed 's/.*\"upstream\":{{[^}}]*\"address\":\"\\([^\"]*\\)\".*/\\1/')\n\
         echo \"{{\\\"endpoints\\\":[\\\"$upstream\\\",\\\"$upstream\\\",\\\"$upstream\\\"],\\\"mirrors\\\":false}}\"\n",
        stopped = stopped.display()
    );
    let adapter = stage.write("adapter.sh", script)?;
    fs::set_permissions(&adapter, fs::Permissions::from_mode(0o755))?;
    let out = stage.path().join("out");
    let (out_text, named) = (out.display().to_string(), format!("other={}", adapter.display()));
    let arguments = [&SMALL[..], &["--systems", "other", "--system", &named, "--out", &out_text]].concat();
    let mut lab = Lab::start(&stage, "lab", &arguments)?;
    let status = lab.end().await?;
    assert!(status.success(), "{status}");
    lab.assert_nothing_is_left()?;
    let results: Value = serde_json::from_str(&fs::read_to_string(out.join("results.json"))?)?;
    let run = &results["runs"][0]["runs"][0];
    assert_eq!(run["system"], "other");
    check_costs(run)?;
    ensure!(fs::read_to_string(stopped)?.lines().count() == 1, "it is stopped once");
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_real_containerd_pulls_too() -> Result<()> {
    let needs = [&NEEDS[..], &shoal_tests::containerd::NEEDS].concat();
    let Some(stage) = Stage::begin("lab-containerd", &needs)? else { return Ok(()) };
    let out = stage.path().join("out");
    let out_text = out.display().to_string();
    let arguments =
        ["image-4", "--nodes", "2", "--size", "16MiB", "--link", "100mbit", "--repeats", "1", "--retries", "0"];
    let client = ["--systems", "shoal", "--client", "containerd", "--out", &out_text];
    let mut lab = Lab::start(&stage, "lab", &[&arguments[..], &client].concat())?;
    let status = lab.end().await?;
    assert!(status.success(), "{status}");
    lab.assert_nothing_is_left()?;
    let results: Value = serde_json::from_str(&fs::read_to_string(out.join("results.json"))?)?;
    let run = &results["runs"][0]["runs"][0];
    for node in run["nodes"].as_array().context("a list of nodes")? {
        assert_eq!((&node["outcome"], &node["error"]), (&"done".into(), &Value::Null));
        assert_eq!(node["bytes"], results["content_bytes"], "layers alone count");
    }
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn signals_leave_nothing_at_whatever_moment() -> Result<()> {
    for (signal, code, pulling) in [(Signal::INT, 130, true), (Signal::TERM, 143, true), (Signal::INT, 130, false)] {
        let Some(stage) = Stage::begin("lab-signal", &NEEDS)? else { return Ok(()) };
        let mut lab = Lab::start(&stage, "lab", &LONG)?;
        if pulling {
            lab.at_work().await?;
        } else {
            lab.building().await?;
        }
        lab.process.signal(signal)?;
        let status = lab.end().await?;
        assert_eq!(status.code(), Some(code), "{status} after {signal:?}");
        assert!(lab.process.stderr()?.contains("stopped by SIG"), "{}", lab.process.stderr()?);
        lab.assert_nothing_is_left()?;
        stage.passed();
    }
    Ok(())
}

#[tokio::test]
async fn what_a_killed_laboratory_leaves_is_removed_by_the_next() -> Result<()> {
    let Some(stage) = Stage::begin("lab-killed", &NEEDS)? else { return Ok(()) };
    let mut killed = Lab::start(&stage, "killed", &LONG)?;
    killed.at_work().await?;
    killed.process.kill()?;
    wait::until("its processes end with it", wait::SOON, async || Ok(killed.processes().is_empty().then_some(())))
        .await?;
    ensure!(!namespaces(killed.process.pid())?.is_empty(), "nothing was left, so nothing is shown");
    let mut next = Lab::start(&stage, "next", &[&SMALL[..], &["--systems", "single"]].concat())?;
    let status = next.end().await?;
    assert!(status.success(), "{status}");
    let stderr = next.process.stderr()?;
    assert!(stderr.contains(&format!("shoal-lab-{}-", killed.process.pid())), "it says what it removed: {stderr}");
    killed.assert_nothing_is_left()?;
    next.assert_nothing_is_left()?;
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_exit_code_2_before_anything_is_made() -> Result<()> {
    let Some(stage) = Stage::begin("lab-refused", &NEEDS)? else { return Ok(()) };
    let impossible = stage.write(
        "impossible.toml",
        "name = \"impossible\"\nabout = \"None.\"\nnodes = 0\nlink = \"1mbit\"\n\n[content]\nblob = \"1MiB\"\n",
    )?;
    let impossible = impossible.display().to_string();
    let place = format!("{impossible}:3");
    let unknown = stage.write("unknown.toml", "name = \"unknown\"\nspeed = 3\n")?.display().to_string();
    let there = stage.create_dir("there")?.display().to_string();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["no-such-scenario"], &["no-such-scenario", "cold-start"]),
        (&[&impossible], &[&place, "nodes"]),
        (&[&unknown], &["unknown.toml:2", "speed"]),
        (&["cold-start", "--nodes", "0"], &["nodes"]),
        (&["kill", "--nodes", "4"], &["node"]),
        (&["cold-start", "--nodes", "1000", "--size", "1MiB"], &["1000 nodes", "at most"]),
        (&["cold-start", "--size", "4000TiB"], &["content.blob"]),
        (&["cold-start", "--size", "900GiB"], &["TMPDIR"]),
        (&["cold-start", "--systems", "carrier-pigeons"], &["carrier-pigeons", "pull-through"]),
        (&["cold-start", "--out", &there], &[&there]),
    ];
    for (arguments, words) in cases {
        let mut lab = Lab::start(&stage, "refused", arguments)?;
        assert_refused(&mut lab, words).await?;
    }
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_named_before_anything_is_made() -> Result<()> {
    let Some(stage) = Stage::begin("lab-missing", &NEEDS)? else { return Ok(()) };
    let run = |name: &str, program: &Path, variable: Option<(&str, &str)>| {
        let mut command = Command::new(program);
        command.args(["run", "cold-start"]).envs(variable);
        Lab::start_command(&stage, name, command)
    };
    let mut lab = run("no-shoal", &binary()?, Some(("SHOAL_BIN", "/no/such/shoal")))?;
    assert_refused(&mut lab, &["/no/such/shoal", "SHOAL_BIN"]).await?;

    let mut nobody = Command::new("setpriv");
    let copy = readable_copy()?;
    nobody.args(["--reuid", "65534", "--clear-groups", "--"]).arg(&*copy).args(["run", "cold-start"]);
    let mut lab = Lab::start_command(&stage, "nobody", nobody)?;
    assert_refused(&mut lab, &["root"]).await?;

    // The test's own way to start a process needs the search path, so the laboratory gets another by `env`.
    let mut without_tools = Command::new("env");
    without_tools.arg("PATH=/no/such/folder").arg(binary()?).args(["run", "cold-start"]);
    let mut lab = Lab::start_command(&stage, "no-tools", without_tools)?;
    assert_refused(&mut lab, &["apt-get install iproute2"]).await?;

    let tools = stage.create_dir("tools")?;
    for tool in ["ip", "tc"] {
        std::os::unix::fs::symlink(installed(tool)?, tools.join(tool))?;
    }
    let mut without_registry = Command::new("env");
    without_registry.arg(format!("PATH={}", tools.display())).arg(binary()?).args(["run", "cold-start"]);
    let mut lab = Lab::start_command(&stage, "no-registry", without_registry)?;
    assert_refused(&mut lab, &["docker-registry", "apt-get install docker-registry"]).await?;
    stage.passed();
    Ok(())
}

/// Where a program of iproute2's is.
fn installed(tool: &str) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|place| Path::new(place).join(tool));
    places.into_iter().find(|path| path.is_file()).with_context(|| format!("no {tool}"))
}

/// `tc` as it is on a kernel without the shaper: what it prints of one that the kernel does not know, and itself for all
/// else.
fn tc_without_shaper() -> Result<String> {
    Ok(format!(
        r#"#!/bin/sh
lines=$(cat)
case "$lines" in
    *" tbf "*) echo "Error: Specified qdisc kind is unknown." >&2; echo "Command failed -:1" >&2; exit 1 ;;
esac
printf '%s\n' "$lines" | exec {} "$@"
"#,
        installed("tc")?.display()
    ))
}

#[tokio::test]
async fn what_the_kernel_or_a_container_refuses_is_named_before_anything_is_made() -> Result<()> {
    let Some(stage) = Stage::begin("lab-forbidden", &NEEDS)? else { return Ok(()) };
    let mut without_rights = Command::new("setpriv");
    without_rights.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--"]);
    without_rights.arg(binary()?).args(["run", "cold-start"]);
    let mut lab = Lab::start_command(&stage, "no-rights", without_rights)?;
    assert_refused(&mut lab, &["CAP_NET_ADMIN", "not permitted"]).await?;

    let tools = stage.create_dir("no-shaper")?;
    let tc = tools.join("tc");
    fs::write(&tc, tc_without_shaper()?)?;
    fs::set_permissions(&tc, fs::Permissions::from_mode(0o755))?;
    let mut without_shaper = Command::new("env");
    let path = std::env::var("PATH").unwrap_or_default();
    without_shaper.arg(format!("PATH={}:{path}", tools.display())).arg(binary()?).args(["run", "cold-start"]);
    let mut lab = Lab::start_command(&stage, "no-shaper", without_shaper)?;
    assert_refused(&mut lab, &["token-bucket shaper", "CONFIG_NET_SCH_TBF", "kind is unknown"]).await?;
    stage.passed();
    Ok(())
}

/// Where the kernel says whether HTB lets bursts pass.
const HYSTERESIS: &str = "/sys/module/sch_htb/parameters/htb_hysteresis";

/// The parameter holds for the whole machine, so that the test takes it as it is.
#[tokio::test]
async fn shapers_that_let_bursts_pass_run_only_where_the_kernel_lets_them() -> Result<()> {
    let Some(stage) = Stage::begin("lab-bursts", &NEEDS)? else { return Ok(()) };
    let mut arguments = SMALL.to_vec();
    arguments.extend(["--systems", "shoal", "--shaper", "htb", "--json"]);
    let mut lab = Lab::start(&stage, "bursts", &arguments)?;
    if fs::read_to_string(HYSTERESIS).is_ok_and(|value| value.trim() != "0") {
        let status = lab.end().await?;
        assert_eq!(status.code(), Some(0), "{}", lab.process.stderr()?);
        let report: Value = serde_json::from_str(&lab.process.stdout()?)?;
        lab.assert_nothing_is_left()?;
        assert!(report["command"].as_str().is_some_and(|command| command.contains("--shaper htb")), "{report}");
    } else {
        assert_refused(&mut lab, &[HYSTERESIS, "--shaper htb"]).await?;
    }
    stage.passed();
    Ok(())
}

async fn assert_refused(lab: &mut Lab, words: &[&str]) -> Result<()> {
    let status = lab.end().await?;
    let stderr = lab.process.stderr()?;
    assert_eq!(status.code(), Some(2), "{status}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
    assert_eq!(lab.process.stdout()?, "");
    lab.assert_nothing_is_left()
}

/// The laboratory where everybody may run it.
fn readable_copy() -> Result<tempfile::TempPath> {
    let mut copy = tempfile::Builder::new().prefix("shoal-lab-for-nobody-").tempfile_in("/tmp")?;
    copy.write_all(&fs::read(binary()?)?)?;
    copy.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    Ok(copy.into_temp_path())
}

//! Keeps the architecture: which crate may reach which, and in which file a thing may be named. Each rule is a pure
//! function over text, and is shown a made-up violation as well.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// What a crate without I/O, clock and chance of its own never reaches.
const OUTSIDE_WORLD: &[&str] =
    &["tokio", "quinn", "quinn-proto", "quinn-udp", "rustls", "aws-lc-rs", "mio", "socket2", "getrandom", "rustix"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `cargo tree` says about a package's normal dependencies, one a line: name, version, and more.
fn tree(package: &str, depth: &str) -> Result<String> {
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--package", package, "--depth", depth])
        .current_dir(root())
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    ensure!(tree.starts_with(&format!("{package} ")), "not the tree of {package}: {tree}");
    Ok(tree)
}

/// The lines of a tree that name one of `banned`.
fn reached<'a>(tree: &'a str, banned: &[&str]) -> Vec<&'a str> {
    let is_banned = |line: &&str| line.split_whitespace().next().is_some_and(|name| banned.contains(&name));
    tree.lines().filter(is_banned).collect()
}

#[test]
fn the_pure_crates_reach_nothing_of_the_outside_world() -> Result<()> {
    for package in ["shoal-wire", "shoal-core", "shoal-sim"] {
        let tree = tree(package, "99")?;
        let reached = reached(&tree, OUTSIDE_WORLD);
        ensure!(reached.is_empty(), "{package} reaches {reached:?}; it is pure, and I/O belongs to shoal-runtime");
        ensure!(tree.lines().count() > 5, "a tree with its branches: {tree}");
    }
    Ok(())
}

#[test]
fn arrows_run_one_way() -> Result<()> {
    let beyond = [
        ("shoal-wire", &["shoal-core", "shoal-sim", "shoal-sim-cli", "shoal-runtime", "shoal", "shoal-benches"][..]),
        ("shoal-core", &["shoal-sim", "shoal-sim-cli", "shoal-hash", "shoal-runtime", "shoal", "shoal-benches"]),
        // Two hash functions know nothing of a swarm.
        (
            "shoal-hash",
            &["shoal-wire", "shoal-core", "shoal-sim", "shoal-sim-cli", "shoal-runtime", "shoal", "shoal-benches"],
        ),
        // Terminals, files and forms of output are the command line's.
        (
            "shoal-sim",
            &["shoal-sim-cli", "shoal-runtime", "shoal", "shoal-benches", "clap", "csv", "indicatif", "serde_json"],
        ),
        // The simulator needs no network, and neither does what reports on it.
        ("shoal-sim-cli", &["shoal-runtime", "shoal", "shoal-benches", "tokio", "quinn", "reqwest"]),
        ("shoal-runtime", &["shoal-sim", "shoal-sim-cli", "shoal", "shoal-benches", "axum", "reqwest", "clap"]),
        // What users run carries no laboratory.
        ("shoal", &["shoal-sim", "shoal-sim-cli", "shoal-benches"]),
        // The laboratory starts the binary; it does not link it.
        ("shoal-benches", &["shoal"]),
    ];
    for (package, banned) in beyond {
        let tree = tree(package, "99")?;
        // The first line is the package itself.
        let below = tree.split_once('\n').map_or("", |(_, below)| below);
        ensure!(reached(below, banned).is_empty(), "{package} reaches {:?}", reached(below, banned));
    }
    let shim = tree("shoal", "1")?;
    let inner = reached(&shim, &["quinn", "shoal-core"]);
    ensure!(
        inner.is_empty(),
        "the shim knows no swarm internals, but depends on {inner:?}; use shoal-runtime's handle"
    );
    ensure!(reached(&shim, &["shoal-runtime"]).len() == 1, "the shim asks the runtime: {shim}");
    Ok(())
}

#[test]
fn one_provider_of_cryptography() -> Result<()> {
    let tree = tree("shoal", "99")?;
    ensure!(reached(&tree, &["ring"]).is_empty(), "aws-lc-rs, never ring (docs/decisions/0005-aws-lc.md)");
    ensure!(!reached(&tree, &["aws-lc-rs"]).is_empty(), "the tree reaches down to the provider");
    Ok(())
}

#[test]
fn a_violation_in_a_tree_is_found() {
    let tree = "shoal-core v0.1.0 (/shoal/engine/core)\nrand v0.10.3\ngetrandom v0.4.3\ntokio-util v0.7.0\ntokio v1.54.0 (*)\n";
    assert_eq!(reached(tree, OUTSIDE_WORLD), ["getrandom v0.4.3", "tokio v1.54.0 (*)"]);
    assert_eq!(reached(tree, &["quinn", "shoal"]), [""; 0]);
}

/// Where some words of code may stand.
struct Rule {
    /// The words. Comments may contain them.
    words: &'static [&'static str],
    /// Paths from the root under which the rule holds; all where empty.
    within: &'static [&'static str],
    /// Paths from the root, files or folders, that may contain the words.
    allowed: &'static [&'static str],
}

const BINCODE: Rule =
    Rule { words: &["bincode"], within: &[], allowed: &["Cargo.toml", "wire/Cargo.toml", "wire/src/codec.rs"] };

const QUINN: Rule = Rule {
    words: &["quinn"],
    within: &[],
    allowed: &["Cargo.toml", "engine/runtime/Cargo.toml", "engine/runtime/src/net/"],
};

const CLOCK: Rule = Rule {
    words: &["Instant::now", "SystemTime::now", ".elapsed()", "clock_gettime"],
    within: &["engine/runtime/src/", "engine/core/", "wire/", "sim/src/"],
    // Examples measure.
    allowed: &["engine/runtime/src/clock.rs", "engine/core/examples/"],
};

/// The crate that may have unsafe code, and its one file that does (docs/decisions/0012-two-hashes-in-one-pass.md).
const WITH_UNSAFE: (&str, &str) = ("engine/hash/Cargo.toml", "engine/hash/src/lanes.rs");

const UNSAFE: Rule = Rule {
    words: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
    within: &[],
    // The fuzz targets are no member: libFuzzer's entry point is not safe code.
    allowed: &[WITH_UNSAFE.1, "fuzz/"],
};

/// Places where `files`, pairs of path and text, break the rule.
fn misplaced(rule: &Rule, files: &[(String, String)]) -> Vec<String> {
    let under = |path: &str, places: &[&str]| {
        places.iter().any(|place| path == *place || place.ends_with('/') && path.starts_with(place))
    };
    let mut found = Vec::new();
    for (path, text) in files {
        if under(path, rule.allowed) || !(rule.within.is_empty() || under(path, rule.within)) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            let comment = if path.ends_with("Cargo.toml") { "#" } else { "//" };
            let code = line.split(comment).next().unwrap_or_default();
            found.extend(
                rule.words.iter().filter(|word| code.contains(**word)).map(|word| format!("{path}:{number}: {word}")),
            );
        }
    }
    found
}

/// All sources and manifests of the repository but this file, by their paths from the root.
fn sources() -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if is_rust && name != "architecture.rs" || name == "Cargo.toml" {
                let from_root = path.strip_prefix(root())?.to_string_lossy().into_owned();
                files.push((from_root, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(files)
}

#[test]
fn each_thing_is_named_in_its_place_only() -> Result<()> {
    let files = sources()?;
    for path in ["Cargo.toml", "wire/src/codec.rs", "engine/core/src/lib.rs"] {
        ensure!(files.iter().any(|(file, _)| file == path), "{path} is not among the sources that were read");
    }
    for (rule, reason) in [
        (BINCODE, "the codec is replaced in one file (docs/decisions/0004-bincode-in-one-file.md)"),
        (QUINN, "QUIC stays in one folder"),
        (CLOCK, "the operating system's clock is read in one file"),
    ] {
        let found = misplaced(&rule, &files);
        ensure!(found.is_empty(), "{reason}, but:\n{}", found.join("\n"));
    }
    Ok(())
}

#[test]
fn a_misplaced_word_is_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file("wire/src/codec.rs", "use bincode::config;"),
        file("wire/src/frame.rs", "// bincode is elsewhere\nuse bincode::config;"),
        file("sim/Cargo.toml", "# bincode\nbincode = \"2\""),
        file("engine/runtime/src/net/quic.rs", "let started = Instant::now(); // quinn"),
        file("engine/runtime/src/network.rs", "use quinn::Endpoint;"),
        file("engine/runtime/src/clock.rs", "SystemTime::now()"),
        file("registry-shim/src/main.rs", "let start = Instant::now();"),
    ];
    assert_eq!(misplaced(&BINCODE, &files), ["wire/src/frame.rs:2: bincode", "sim/Cargo.toml:2: bincode"]);
    assert_eq!(misplaced(&QUINN, &files), ["engine/runtime/src/network.rs:1: quinn"]);
    assert_eq!(misplaced(&CLOCK, &files), ["engine/runtime/src/net/quic.rs:1: Instant::now"]);
}

/// Manifests of crates that do not take the workspace's lints, `unsafe_code = "forbid"` among them.
fn without_lints(files: &[(String, String)]) -> Vec<&str> {
    let is_crate = |text: &str| text.contains("[package]");
    let takes_lints = |text: &str| text.contains("[lints]\nworkspace = true");
    let manifests = files.iter().filter(|(path, text)| path.ends_with("Cargo.toml") && is_crate(text));
    // The fuzz targets are no member: libFuzzer's entry point is not safe code.
    manifests
        .filter(|(path, text)| !takes_lints(text) && path != "fuzz/Cargo.toml" && path != WITH_UNSAFE.0)
        .map(|(path, _)| path.as_str())
        .collect()
}

/// The lints of a manifest, from the heading of those of the compiler to the next heading that is no lint.
fn lints<'a>(manifest: &'a str, heading: &str) -> Vec<&'a str> {
    let rest = manifest.split_once(&format!("[{heading}rust]\n")).map_or("", |(_, rest)| rest);
    let lines = rest.lines().take_while(|line| !line.starts_with('[') || line.ends_with("clippy]"));
    lines.filter(|line| line.contains(" = ")).collect()
}

#[test]
fn unsafe_code_is_in_one_file() -> Result<()> {
    let found = misplaced(&UNSAFE, &sources()?);
    ensure!(found.is_empty(), "unsafe code is forbidden but in {}: {found:?}", WITH_UNSAFE.1);
    let of = |path: &str| fs::read_to_string(root().join(path));
    let (workspace, own) = (of("Cargo.toml")?, of(WITH_UNSAFE.0)?);
    let expected: Vec<_> = lints(&workspace, "workspace.lints.")
        .into_iter()
        .map(|lint| if lint == "unsafe_code = \"forbid\"" { "unsafe_code = \"deny\"" } else { lint })
        .collect();
    ensure!(expected.len() > 10, "the workspace has lints: {expected:?}");
    ensure!(lints(&own, "lints.") == expected, "the lints of {} are the workspace's, but for one", WITH_UNSAFE.0);
    Ok(())
}

#[test]
fn every_crate_takes_the_workspace_lints() -> Result<()> {
    let files = sources()?;
    ensure!(without_lints(&files).is_empty(), "[lints] workspace = true is missing in {:?}", without_lints(&files));
    let root_manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    ensure!(root_manifest.contains("unsafe_code = \"forbid\""), "unsafe code is forbidden in the whole workspace");
    let bare = [("a/Cargo.toml".to_owned(), "[package]\nname = \"a\"\n".to_owned())];
    ensure!(without_lints(&bare) == ["a/Cargo.toml"], "a crate without lints is found");
    Ok(())
}

//! The laboratory under test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The binary: `SHOAL_LAB_BIN`, or the release build of this workspace.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SHOAL_LAB_BIN") {
        let path = PathBuf::from(path);
        let is_there = path.is_file();
        return is_there.then_some(path).context("SHOAL_LAB_BIN names no file");
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/shoal-lab");
    built.canonicalize().context("there is no target/release/shoal-lab: run `cargo build --release -p shoal-benches`")
}

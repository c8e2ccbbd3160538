//! Which `shoal` is measured.

use std::path::{Path, PathBuf};

/// `SHOAL_BIN`; else the one beside this program; else the release build of this repository. It need not be there.
pub(crate) fn shoal() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("shoal"));
    choose(std::env::var_os("SHOAL_BIN").map(PathBuf::from), beside)
}

fn choose(named: Option<PathBuf>, beside: Option<PathBuf>) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/shoal");
    let path = named.or_else(|| beside.filter(|path| path.is_file())).unwrap_or(built);
    // Nodes start in directories of their own choice, so the path must not depend on the current one.
    path.canonicalize().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_comes_first_even_if_it_is_not_there() {
        assert_eq!(choose(Some("/no/such".into()), Some("/bin/sh".into())), Path::new("/no/such"));
        let sh = Path::new("/bin/sh").canonicalize().unwrap();
        assert_eq!(choose(None, Some("/bin/sh".into())), sh);
        assert!(choose(None, Some("/no/such".into())).ends_with("target/release/shoal"));
    }
}

//! Where and how an invocation measures.

use std::{path::Path, process::Command, thread};

use shoal_lab::report::Context;

/// What is said where the system does not say it.
const UNKNOWN: &str = "unknown";

/// Of this one, now.
pub(crate) fn of_this_invocation() -> Context {
    let release = rustix::system::uname();
    let kernel = format!("{} {}", release.sysname().to_string_lossy(), release.release().to_string_lossy());
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    Context {
        version: version(),
        kernel,
        processors: thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        date: said(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_else(|| UNKNOWN.to_owned()),
        command: format!("shoal-lab {arguments}"),
    }
}

/// The package's version, and the commit where the sources are still there.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut git = Command::new("git");
    git.arg("-C").arg(sources).args(["describe", "--always", "--dirty", "--abbrev=12"]);
    match said(&mut git) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

/// The one line that a command prints.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_says_where_and_when() {
        let context = of_this_invocation();
        assert!(context.version.starts_with(env!("CARGO_PKG_VERSION")));
        assert!(context.kernel.starts_with("Linux ") && context.processors >= 1, "{context:?}");
        assert_eq!(context.date.len(), "2026-11-21".len());
        assert_eq!(said(&mut Command::new("false")), None);
    }
}

//! What must be there before anything is made.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{ClientKind, Plan, SystemChoice};
use crate::network::{Network, NetworkPlan, PreflightError};

/// Bytes that a run needs beside the copies of the content: logs, configurations, small files.
const SPARE_BYTES: u64 = 256 << 20;

/// Something that is not there. Exit code 2.
#[derive(Debug, Error)]
pub enum Lacking {
    /// Root, iproute2, or what the kernel must be able to do.
    #[error(transparent)]
    Network(#[from] PreflightError),
    /// A program of Debian's.
    #[error("`{program}` is not in the search path: install it, on Debian with `apt-get install {package}`")]
    Program {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// The binary `shoal`.
    #[error(
        "there is no binary `shoal` ({}): build it with `cargo build --release`, or name it in SHOAL_BIN",
        .0.display()
    )]
    Shoal(PathBuf),
    /// A system or its adapter.
    #[error("{0}")]
    System(String),
    /// Room for the nodes' copies.
    #[error(
        "{} has {free} bytes free, and the run needs {needed}: free some, set TMPDIR to another place, \
         or take fewer nodes or a smaller size", place.display()
    )]
    Disk {
        /// Where the files go.
        place: PathBuf,
        /// What is free.
        free: u64,
        /// What a run needs.
        needed: u64,
    },
    /// A scenario that is right but is too much for one machine.
    #[error("{0}")]
    TooMuch(String),
}

/// Checks that everything is there for a plan. Makes nothing that stays.
pub fn check(plan: &Plan) -> Result<(), Lacking> {
    let networks: Vec<_> = plan.scenarios.iter().map(|scenario| NetworkPlan::of(scenario, plan.shaper)).collect();
    check_scenarios(plan, &networks)?;
    Network::preflight(&networks)?;
    for (program, package) in programs(plan) {
        if !is_in_search_path(program) {
            return Err(Lacking::Program { program, package });
        }
    }
    let needs_shoal =
        plan.systems.iter().any(|choice| matches!(choice, SystemChoice::BuiltIn(name) if name.starts_with("shoal")));
    if needs_shoal && !plan.shoal.is_file() {
        return Err(Lacking::Shoal(plan.shoal.clone()));
    }
    for choice in &plan.systems {
        choice.system(&plan.shoal).map_err(|error| Lacking::System(format!("{error:#}")))?;
    }
    check_disk(plan, &std::env::temp_dir())
}

fn check_scenarios(plan: &Plan, networks: &[NetworkPlan]) -> Result<(), Lacking> {
    for (scenario, network) in plan.scenarios.iter().zip(networks) {
        if let Some(problem) = network.problem() {
            return Err(Lacking::TooMuch(format!("{}: {problem}", scenario.name)));
        }
    }
    Ok(())
}

fn programs(plan: &Plan) -> Vec<(&'static str, &'static str)> {
    let mut programs = vec![("docker-registry", "docker-registry")];
    if plan.scenarios.iter().any(|scenario| !scenario.upstream.ranges) {
        programs.push(("nginx", "nginx-light"));
    }
    if plan.client == ClientKind::Containerd {
        programs.extend([("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc")]);
    }
    programs
}

fn is_in_search_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(program).is_file())
}

/// The registry has one copy, the cache or the nodes may have as many as there are nodes, and clients as many again.
fn check_disk(plan: &Plan, place: &Path) -> Result<(), Lacking> {
    let copies_of_each = if plan.client == ClientKind::Http { 1 } else { 3 };
    let needed = plan.scenarios.iter().map(|scenario| {
        let copies = u64::from(scenario.nodes) * copies_of_each + 2;
        scenario.content.bytes().saturating_mul(copies).saturating_add(SPARE_BYTES)
    });
    let needed = needed.max().unwrap_or(0);
    // Where the room is not known, the run finds out.
    let Ok(volume) = rustix::fs::statvfs(place) else { return Ok(()) };
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    if free < needed {
        return Err(Lacking::Disk { place: place.to_owned(), free, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shoal_sim::scenario::{Content, Scenario, by_name};

    use super::*;
    use crate::network::Shaper;

    fn plan() -> Plan {
        let scenario = Scenario::parse(by_name("cold-start").unwrap(), "cold-start").unwrap();
        Plan {
            scenarios: vec![scenario],
            systems: vec![SystemChoice::BuiltIn("single".into())],
            repeats: 1,
            retries: 0,
            client: ClientKind::Http,
            shaper: Shaper::Tbf,
            shoal: "/no/such/shoal".into(),
        }
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_with_a_way_out() {
        let mut plan = plan();
        check_disk(&plan, Path::new("/")).unwrap();
        plan.scenarios[0].content = Content::Blob(1 << 60);
        let error = check_disk(&plan, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("TMPDIR"), "{error}");
    }

    #[test]
    fn what_is_needed_depends_on_the_plan() {
        let mut plan = plan();
        let names = |plan: &Plan| programs(plan).iter().map(|(program, _)| *program).collect::<Vec<_>>();
        assert_eq!(names(&plan), ["docker-registry"]);
        plan.scenarios[0].upstream.ranges = false;
        plan.client = ClientKind::Containerd;
        assert_eq!(names(&plan), ["docker-registry", "nginx", "containerd", "ctr", "runc"]);
        assert!(is_in_search_path("sh") && !is_in_search_path("no-such-program"));
    }
}

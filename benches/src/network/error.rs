//! What can go wrong with a network.

use std::{io, path::PathBuf};

/// What this machine lacks.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// Another user than root.
    #[error("the laboratory makes network namespaces, which only root may: run it as root")]
    NotRoot,
    /// A program that is not in the search path.
    #[error("`{program}` is not in the search path: install it, on Debian with `apt-get install {package}`")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// Something that the kernel or the container does not allow.
    #[error("this machine cannot make {what}: {message}. {remedy}")]
    Impossible {
        /// What was tried.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        message: String,
    },
}

/// What can go wrong while a network is built, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A plan that cannot be built.
    #[error("this network cannot be built: {0}")]
    Plan(String),
    /// No such host in the plan.
    #[error("there is no node {0} in this network")]
    NoNode(u32),
    /// `ip` or `tc` did not start.
    #[error("cannot run `{program}`: {source}. Is iproute2 installed, and in the search path?")]
    Program {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// `ip` or `tc` failed.
    #[error("`{program}` failed while {doing}: {message}")]
    Command {
        /// The program.
        program: &'static str,
        /// What it was for.
        doing: String,
        /// What it said.
        message: String,
    },
    /// The system did not allow something else.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the system.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The relay that delays frames did not start or has ended.
    #[error("the relay that delays frames {what}: {message}")]
    Relay {
        /// What became of it.
        what: &'static str,
        /// The end of its log.
        message: String,
    },
}

impl NetworkError {
    /// Makes an error of the system's answer to what was tried.
    pub(super) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}

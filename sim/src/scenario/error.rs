//! Why a text is not a scenario.

use thiserror::Error;

/// Where it is, what it is, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScenarioError {
    /// The file is larger than any scenario.
    #[error("{file}: a scenario of {bytes} bytes; the most is {most} bytes")]
    Large {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
        /// The largest that is read.
        most: usize,
    },
    /// Not TOML, a key that does not exist or is missing, or a value of the wrong type.
    #[error("{file}:{line}: {text}: {problem}; docs/scenarios.md lists all keys")]
    Form {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What the parser says.
        problem: String,
    },
    /// A value that cannot be.
    #[error("{file}:{line}: {key}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// Line of the value, from 1.
        line: usize,
        /// The key, with the tables that it is in.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A value that replaced the file's cannot be.
    #[error("{file}: {key}, set from outside the file: {problem}")]
    Override {
        /// The file.
        file: String,
        /// The key that it replaced.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

//! The form of a scenario file: its keys and their types, before any value is checked.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::ScenarioError;

/// Largest file that is read.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest part of a line that an error shows.
const LINE_CHARS_MAX: usize = 80;

/// All keys. Numbers are wider than their ranges, so that the check can say what is allowed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Spanned<String>,
    pub(super) about: Spanned<String>,
    pub(super) nodes: Spanned<i64>,
    pub(super) link: Spanned<RawLink>,
    pub(super) latency: Option<Spanned<String>>,
    pub(super) warm_share: Option<Spanned<f64>>,
    pub(super) seed: Option<Spanned<i64>>,
    pub(super) upstream: Option<RawUpstream>,
    pub(super) content: Spanned<RawContent>,
    pub(super) arrival: Option<RawArrival>,
    pub(super) zones: Option<RawZones>,
    pub(super) slow_nodes: Option<RawSlowNodes>,
    #[serde(default)]
    pub(super) faults: Vec<Spanned<RawFault>>,
}

/// One rate for both directions, or two.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a rate such as \"100mbit\", or { up = \"50mbit\", down = \"100mbit\" }")]
pub(super) enum RawLink {
    /// The same both ways.
    Both(String),
    /// One for each direction.
    Each(EachWay),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EachWay {
    pub(super) up: String,
    pub(super) down: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) rate: Option<Spanned<String>>,
    pub(super) ranges: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawContent {
    pub(super) blob: Option<Spanned<String>>,
    pub(super) layers: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArrival {
    pub(super) kind: Spanned<String>,
    pub(super) over: Option<Spanned<String>>,
    pub(super) share: Option<Spanned<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawZones {
    pub(super) count: Spanned<i64>,
    pub(super) uplink: Spanned<RawLink>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlowNodes {
    pub(super) count: Spanned<i64>,
    pub(super) link: Spanned<RawLink>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    pub(super) at: Option<Spanned<f64>>,
    pub(super) what: Spanned<String>,
    pub(super) node: Option<Spanned<i64>>,
    pub(super) link: Option<Spanned<RawLink>>,
}

/// A text with its name, to say where something is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn read(&self) -> Result<File, ScenarioError> {
        if self.text.len() > FILE_BYTES_MAX {
            let (file, bytes) = (self.file.to_owned(), self.text.len());
            return Err(ScenarioError::Large { file, bytes, most: FILE_BYTES_MAX });
        }
        toml::from_str(self.text).map_err(|error| {
            let line = self.line(&error.span().unwrap_or(0..0));
            let text = self.text.lines().nth(line - 1).unwrap_or_default().trim();
            ScenarioError::Form {
                file: self.file.to_owned(),
                line,
                text: text.chars().take(LINE_CHARS_MAX).collect(),
                problem: error.message().to_owned(),
            }
        })
    }

    /// The line, from 1, on which a span begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

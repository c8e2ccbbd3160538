//! Parameters of the directory.

use std::time::Duration;

/// Parameters of name resolution.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// Names that a home remembers. Each takes some hundred bytes.
    pub names_max: usize,
    /// Members that wait for one name at a home, a hundred bytes each; further ones are told to wait as well and ask the next
    /// home after [`Self::pending_timeout`].
    pub waiting_max: usize,
    /// Questions that local readers may have open.
    pub questions_max: usize,
    /// How long a tag is answered without asking the upstream again. Longer saves requests, shorter sees moved tags sooner.
    pub tag_freshness: Duration,
    /// How long the size and type of content that is named by digest are answered without asking again.
    pub content_freshness: Duration,
    /// How long "not found" is answered without asking again.
    pub not_found_freshness: Duration,
    /// How long another failure is answered without asking again.
    pub failure_freshness: Duration,
    /// Time that a home has to answer; many round trips of the slowest link between two members.
    pub home_timeout: Duration,
    /// Questions to one home before the next one is asked.
    pub tries_per_home: u32,
    /// Time that an asker has for its upstream, before a home lets the next one ask.
    pub upstream_timeout: Duration,
    /// Time after which an asker that was told to wait asks the next home.
    pub pending_timeout: Duration,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            names_max: 10_000,
            waiting_max: 131_072,
            questions_max: 1_000,
            tag_freshness: Duration::from_secs(30),
            content_freshness: Duration::from_secs(600),
            not_found_freshness: Duration::from_secs(10),
            failure_freshness: Duration::from_secs(1),
            home_timeout: Duration::from_millis(500),
            tries_per_home: 2,
            upstream_timeout: Duration::from_secs(5),
            pending_timeout: Duration::from_secs(8),
        }
    }
}

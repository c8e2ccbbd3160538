//! Which registries are mirrored, where else their content is, and how to talk to each host: `registries.yaml`.
//!
//! The format and its rules are those of K3s. Without a file every registry is mirrored, each straight from itself.

mod document;
mod endpoint;
mod host;

use std::{collections::HashMap, path::Path};

use regex::Regex;
use thiserror::Error;
use url::Url;

pub(crate) use self::endpoint::is_loopback;
use self::{
    document::Document,
    endpoint::{default_base, host_keys, normalize_base},
};
pub use self::{
    endpoint::Endpoint,
    host::{Credentials, HostConfig, TlsFiles},
};

/// Largest `registries.yaml` that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The wildcard entry: every registry that has no entry of its own.
const WILDCARD: &str = "*";

/// The registries that this node serves, and how it reaches them.
#[derive(Debug, Default)]
pub struct Registries {
    /// `None` where there is no file: all registries, each from itself.
    mirrors: Option<HashMap<String, Mirror>>,
    configs: HashMap<String, HostConfig>,
}

/// One entry of `mirrors`.
#[derive(Debug, Default)]
struct Mirror {
    endpoints: Vec<Url>,
    rewrites: Vec<Rewrite>,
}

/// A rule that changes the repository's name for the endpoints of a mirror.
#[derive(Debug)]
struct Rewrite {
    pattern: Regex,
    replacement: String,
}

/// Why a `registries.yaml` cannot be used.
#[derive(Debug, Error)]
pub enum RegistriesError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}. Create it, or leave out --registries to mirror every registry")]
    Read {
        /// Path of the file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is too large to be meant.
    #[error("{file} is larger than {FILE_BYTES_MAX} bytes, which is the most for a registries.yaml")]
    TooLarge {
        /// Path of the file.
        file: String,
    },
    /// A line is wrong.
    #[error("{file}:{line}: {message}")]
    Line {
        /// Path of the file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// What is wrong, and what is expected.
        message: String,
    },
}

impl Registries {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, RegistriesError> {
        let file = path.display().to_string();
        let read_error = |source| RegistriesError::Read { file: file.clone(), source };
        if std::fs::metadata(path).map_err(read_error)?.len() > FILE_BYTES_MAX {
            return Err(RegistriesError::TooLarge { file });
        }
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        Self::parse(&file, &text)
    }

    /// Reads the text of a file that is called `file` in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, RegistriesError> {
        let document = Document::parse(text).map_err(|error| error.in_file(file))?;
        let mut registries = Self { mirrors: Some(HashMap::new()), configs: HashMap::new() };
        registries.fill(document).map_err(|error| error.in_file(file))?;
        Ok(registries)
    }

    fn fill(&mut self, document: Document) -> Result<(), LineError> {
        for (host, entry) in document.mirrors {
            let host = check_host(&host)?;
            self.mirrors.get_or_insert_default().insert(host, Mirror::new(entry)?);
        }
        for (host, entry) in document.configs {
            let host = check_host(&host)?;
            self.configs.insert(host, HostConfig::new(entry)?);
        }
        Ok(())
    }

    /// Whether content of `registry` is served and shared.
    pub fn mirrors(&self, registry: &str) -> bool {
        match &self.mirrors {
            None => true,
            Some(mirrors) => mirrors.contains_key(canonical_registry(registry)) || mirrors.contains_key(WILDCARD),
        }
    }

    /// Names of the registries that have an entry of their own.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.mirrors.iter().flat_map(HashMap::keys).map(String::as_str).filter(|name| *name != WILDCARD)
    }

    /// Where `repository` of `registry` can be fetched, in the order to try: the endpoints of its mirror, and at last the
    /// registry itself.
    pub fn endpoints(&self, registry: &str, repository: &str) -> Vec<Endpoint> {
        let registry = canonical_registry(registry);
        let default = default_base(registry, |host| self.speaks_tls(host));
        let mirror = self.mirrors.as_ref().and_then(|mirrors| mirrors.get(registry).or_else(|| mirrors.get(WILDCARD)));
        let mut endpoints: Vec<Endpoint> = mirror
            .into_iter()
            .flat_map(|mirror| mirror.endpoints.iter().map(|base| (base, mirror.rewrite(repository))))
            .filter(|(base, _)| Some(*base) != default.as_ref())
            .map(|(base, repository)| Endpoint { base: base.clone(), repository })
            .collect();
        endpoints.extend(default.map(|base| Endpoint { base, repository: repository.to_owned() }));
        endpoints
    }

    /// Credentials and TLS settings for the host of `url`: its own entry, or that of `"*"`.
    pub fn config(&self, url: &Url) -> Option<&HostConfig> {
        host_keys(url).iter().find_map(|key| self.configs.get(key)).or_else(|| self.configs.get(WILDCARD))
    }

    fn speaks_tls(&self, host: &str) -> bool {
        self.configs.get(host).is_some_and(|config| config.tls.is_some())
    }
}

impl Mirror {
    fn new(entry: document::MirrorEntry) -> Result<Self, LineError> {
        let mut mirror = Self::default();
        for endpoint in entry.endpoints {
            let base = normalize_base(&endpoint.value)
                .map_err(|message| LineError { line: endpoint.referenced.line(), message })?;
            if mirror.endpoints.contains(&base) {
                tracing::warn!(endpoint = %endpoint.value, "an endpoint is listed twice; the second one is ignored");
            } else {
                mirror.endpoints.push(base);
            }
        }
        for (pattern, replacement) in entry.rewrites {
            let line = replacement.referenced.line();
            let pattern = Regex::new(&pattern).map_err(|error| LineError {
                line,
                message: format!("rewrite {pattern:?} is not a regular expression: {}", last_line(&error.to_string())),
            })?;
            mirror.rewrites.push(Rewrite { pattern, replacement: replacement.value });
        }
        Ok(mirror)
    }

    /// The name by the first rule that changes it.
    fn rewrite(&self, repository: &str) -> String {
        self.rewrites
            .iter()
            .map(|rule| rule.pattern.replace_all(repository, rule.replacement.as_str()))
            .find(|changed| changed != repository)
            .map_or_else(|| repository.to_owned(), std::borrow::Cow::into_owned)
    }
}

/// A wrong line, before the file's name is known.
#[derive(Debug)]
struct LineError {
    line: u64,
    message: String,
}

impl LineError {
    fn in_file(self, file: &str) -> RegistriesError {
        RegistriesError::Line { file: file.to_owned(), line: self.line, message: self.message }
    }
}

fn check_host(host: &serde_saphyr::Spanned<String>) -> Result<String, LineError> {
    if host.value == WILDCARD || crate::oci::path::is_registry(&host.value) {
        return Ok(canonical_registry(&host.value).to_owned());
    }
    Err(LineError {
        line: host.referenced.line(),
        message: format!("{:?} is not a registry; expected a host, as host or host:port, or \"*\"", host.value),
    })
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

/// The one name of a registry that has two: Docker Hub's images belong to `docker.io` and are served by
/// `registry-1.docker.io`.
pub fn canonical_registry(registry: &str) -> &str {
    if registry == "registry-1.docker.io" { "docker.io" } else { registry }
}

#[cfg(test)]
mod tests;

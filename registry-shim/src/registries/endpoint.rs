//! URLs of registries.

use std::net::IpAddr;

use url::{Host, Url};

use super::canonical_registry;

/// Where one repository can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Base of the API, for example `https://registry-1.docker.io/v2`, without a slash at the end.
    pub base: Url,
    /// Repository there, after rewriting.
    pub repository: String,
}

impl Endpoint {
    /// URL of something in the repository, for example `manifests/latest`.
    ///
    /// # Errors
    /// Where a rewrite made a name that cannot stand in a URL.
    pub fn url(&self, tail: &str) -> Result<Url, url::ParseError> {
        Url::parse(&format!("{}/{}/{tail}", self.base.as_str().trim_end_matches('/'), self.repository))
    }
}

/// Whether `url` points at this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Reads an endpoint as users write it. No scheme means https, but for this machine; no path means `/v2`.
pub(super) fn normalize_base(text: &str) -> Result<Url, String> {
    let wrong =
        |reason: &str| format!("endpoint {text:?} {reason}; expected a URL such as https://mirror.example:5000");
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither http nor https"));
    }
    if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has user information, which belongs into configs.<host>.auth"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    if !text.contains("://") && is_loopback(&url) {
        use_plain_http(&mut url, text);
    }
    if url.host_str() == Some("docker.io") {
        url.set_host(Some("registry-1.docker.io")).map_err(|error| wrong(&error.to_string()))?;
    }
    let path = match url.path().trim_end_matches('/') {
        "" | "/v2" => "/v2".to_owned(),
        other => other.to_owned(),
    };
    url.set_path(&path);
    Ok(url)
}

/// Base URL of a registry itself; `None` for a text that cannot stand in a URL.
pub(super) fn default_base(registry: &str, speaks_tls: impl Fn(&str) -> bool) -> Option<Url> {
    let host = if canonical_registry(registry) == "docker.io" { "registry-1.docker.io" } else { registry };
    let mut url = Url::parse(&format!("https://{host}/v2")).ok()?;
    if is_loopback(&url) && !speaks_tls(registry) {
        use_plain_http(&mut url, registry);
    }
    Some(url)
}

/// As containerd does: a registry on this machine is spoken to without TLS, but for port 443.
fn use_plain_http(url: &mut Url, written: &str) {
    let authority = written.split('/').next().unwrap_or_default();
    if !authority.ends_with(":443") {
        // From https to http is always allowed by the URL standard.
        let _ = url.set_scheme("http");
    }
}

/// Keys under `configs` that may hold the settings for the host of `url`, the most specific first.
pub(super) fn host_keys(url: &Url) -> Vec<String> {
    let Some(host) = url.host_str() else {
        return Vec::new();
    };
    let mut keys = Vec::with_capacity(2);
    match (url.port(), url.port_or_known_default()) {
        (Some(port), _) => keys.push(format!("{host}:{port}")),
        (None, Some(port)) => keys.extend([host.to_owned(), format!("{host}:{port}")]),
        (None, None) => keys.push(host.to_owned()),
    }
    if keys[0] == "registry-1.docker.io" {
        keys.push("docker.io".to_owned());
    }
    keys
}

//! Credentials and TLS settings of one host.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    LineError,
    document::{AuthEntry, ConfigEntry, TlsEntry},
};

/// Settings of one host.
#[derive(Debug, Default)]
pub struct HostConfig {
    /// How to log in; `None` for anonymous access.
    pub credentials: Option<Credentials>,
    /// TLS beyond the system's defaults.
    pub tls: Option<TlsFiles>,
}

/// How to log in at a registry or its token service.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// With a name and a password.
    Password {
        /// User name.
        username: String,
        /// Password or access token.
        password: String,
    },
    /// With a token of an identity provider, exchanged at the token service (OAuth 2 refresh token).
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// TLS settings, with the files already read.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// Certificates of authorities to trust besides the system's.
    pub authorities: Vec<reqwest::Certificate>,
    /// Certificate and key of this client.
    pub identity: Option<reqwest::Identity>,
    /// Whether the server's certificate is not checked at all.
    pub insecure_skip_verify: bool,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .finish()
    }
}

impl HostConfig {
    pub(super) fn new(entry: ConfigEntry) -> Result<Self, LineError> {
        let credentials = match entry.auth {
            Some(auth) => {
                let line = auth.referenced.line();
                credentials(auth.value).map_err(|message| LineError { line, message })?
            }
            None => None,
        };
        let tls = match entry.tls {
            Some(tls) => {
                let line = tls.referenced.line();
                Some(tls_files(&tls.value).map_err(|message| LineError { line, message })?)
            }
            None => None,
        };
        Ok(Self { credentials, tls })
    }
}

fn credentials(entry: AuthEntry) -> Result<Option<Credentials>, String> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = given(entry.identity_token) {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    match (given(entry.username), given(entry.password)) {
        (Some(username), password) => {
            return Ok(Some(Credentials::Password { username, password: password.unwrap_or_default() }));
        }
        (None, Some(_)) => return Err("auth has a password without a username".to_owned()),
        (None, None) => {}
    }
    let Some(encoded) = given(entry.auth) else {
        return Ok(None);
    };
    let wrong = || "auth.auth is not what base64 makes of username:password".to_owned();
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (username, password) = decoded.split_once(':').ok_or_else(wrong)?;
    Ok(Some(Credentials::Password {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

fn tls_files(entry: &TlsEntry) -> Result<TlsFiles, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let authorities = match given(&entry.ca_file) {
        Some(path) => reqwest::Certificate::from_pem_bundle(&read("ca_file", &path)?)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| format!("ca_file {path} holds no certificate in PEM form"))?,
        None => Vec::new(),
    };
    let identity = match (given(&entry.cert_file), given(&entry.key_file)) {
        (Some(certificate), Some(key)) => {
            let mut pem = read("key_file", &key)?;
            pem.push(b'\n');
            pem.extend(read("cert_file", &certificate)?);
            let identity = reqwest::Identity::from_pem(&pem)
                .map_err(|_| format!("{certificate} and {key} are not a certificate and its key in PEM form"))?;
            Some(identity)
        }
        (None, None) => None,
        (Some(_), None) => return Err("cert_file needs key_file as well".to_owned()),
        (None, Some(_)) => return Err("key_file needs cert_file as well".to_owned()),
    };
    Ok(TlsFiles { authorities, identity, insecure_skip_verify: entry.insecure_skip_verify.unwrap_or(false) })
}

fn read(key: &str, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{key} {path} cannot be read: {error}"))
}

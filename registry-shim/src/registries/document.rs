//! The text of `registries.yaml` as it is written, with the lines of its values.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::LineError;

/// The form of the file, for errors.
const FORM: &str = "the form is mirrors: {<host>: {endpoint: [<url>, ...], rewrite: {<pattern>: <replacement>}}}, configs: \
     {<host>: {auth: {username, password, auth, identity_token}, tls: {ca_file, cert_file, key_file, \
     insecure_skip_verify}}}";

/// The whole file. Keys that are not known are ignored.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) mirrors: Vec<(Spanned<String>, MirrorEntry)>,
    pub(super) configs: Vec<(Spanned<String>, ConfigEntry)>,
}

/// `mirrors.<host>`.
#[derive(Debug, Default)]
pub(super) struct MirrorEntry {
    pub(super) endpoints: Vec<Spanned<String>>,
    pub(super) rewrites: Vec<(String, Spanned<String>)>,
}

/// `configs.<host>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a registry's settings: auth and tls")]
pub(super) struct ConfigEntry {
    pub(super) auth: Option<Spanned<AuthEntry>>,
    pub(super) tls: Option<Spanned<TlsEntry>>,
}

/// `configs.<host>.auth`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "credentials: username and password, auth, or identity_token")]
pub(super) struct AuthEntry {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) auth: Option<String>,
    pub(super) identity_token: Option<String>,
}

/// `configs.<host>.tls`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "TLS settings: ca_file, cert_file, key_file, insecure_skip_verify")]
pub(super) struct TlsEntry {
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) insecure_skip_verify: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "the top of registries.yaml: mirrors and configs")]
struct FileText {
    mirrors: Option<Ordered<Spanned<String>, Option<MirrorText>>>,
    configs: Option<Ordered<Spanned<String>, Option<ConfigEntry>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "a mirror: endpoint (a list of URLs) and rewrite (a map of regular expressions)")]
struct MirrorText {
    endpoint: Option<Vec<Spanned<String>>>,
    rewrite: Option<Ordered<String, Spanned<String>>>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, LineError> {
        // A file without any content is a file that lists nothing.
        let file: Option<FileText> = serde_saphyr::from_str(text).map_err(|error| line_error(&error))?;
        let file = file.unwrap_or_default();
        let mirrors = file.mirrors.map_or_else(Vec::new, |mirrors| mirrors.0);
        let configs = file.configs.map_or_else(Vec::new, |configs| configs.0);
        Ok(Self {
            mirrors: mirrors
                .into_iter()
                .map(|(host, text)| (host, MirrorEntry::from(text.unwrap_or_default())))
                .collect(),
            configs: configs.into_iter().map(|(host, entry)| (host, entry.unwrap_or_default())).collect(),
        })
    }
}

impl From<MirrorText> for MirrorEntry {
    fn from(text: MirrorText) -> Self {
        Self {
            endpoints: text.endpoint.unwrap_or_default(),
            rewrites: text.rewrite.map_or_else(Vec::new, |rules| rules.0),
        }
    }
}

fn line_error(error: &serde_saphyr::Error) -> LineError {
    let line = error.location().map_or(1, |location| location.line());
    let text = error.without_snippet().to_string();
    // The place is said already, by the file's name and the line.
    let reason = text.split(" at line ").next().unwrap_or(&text).lines().next().unwrap_or_default();
    LineError { line, message: format!("{reason} ({FORM})") }
}

/// A map in the order of the file: the first rewrite that changes a name counts.
struct Ordered<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Ordered<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for OrderedVisitor<K, V> {
    type Value = Ordered<K, V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Ordered(entries))
    }
}

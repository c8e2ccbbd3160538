//! Paths of the distribution API: `/v2/<name>/manifests/<reference>` and `/v2/<name>/blobs/<digest>`.
//!
//! Repository names contain slashes, so paths are taken apart from the end. The grammars are those of the OCI
//! distribution specification, section "Pulling manifests".

use std::str::FromStr;

use shoal_runtime::{ContentKind, Reference};
use thiserror::Error;

/// Longest repository name, in bytes (the distribution specification advises clients to keep to 255).
pub const REPOSITORY_BYTES_MAX: usize = 255;

/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

/// What a path of the API points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiPath {
    /// `/v2` or `/v2/`: does this host speak the API?
    Base,
    /// A manifest or a blob.
    Content(ContentPath),
}

/// A manifest or a blob in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath {
    /// Repository, valid by the grammar.
    pub repository: String,
    /// Which of the two endpoints.
    pub kind: ContentKind,
    /// Tag or digest; always a digest for a blob.
    pub reference: Reference,
}

/// Why a path is not one that is served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Not a path of manifests or blobs.
    #[error("only /v2/, /v2/<name>/manifests/<reference> and /v2/<name>/blobs/<digest> are served")]
    Unknown,
    /// The repository does not match the grammar.
    #[error("not a repository name: lower-case letters, digits and . _ - in parts separated by /, at most 255 bytes")]
    Repository,
    /// The tag does not match the grammar.
    #[error("not a tag: letters, digits and . _ -, at most 128 bytes, not beginning with . or -")]
    Tag,
    /// The digest is malformed or of an unknown algorithm.
    #[error("{0}")]
    Digest(#[from] shoal_runtime::DigestError),
}

impl FromStr for ApiPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        if path == "/v2" || path == "/v2/" {
            return Ok(Self::Base);
        }
        let rest = path.strip_prefix("/v2/").ok_or(PathError::Unknown)?;
        let (rest, reference) = rest.rsplit_once('/').ok_or(PathError::Unknown)?;
        let (repository, endpoint) = rest.rsplit_once('/').ok_or(PathError::Unknown)?;
        let kind = match endpoint {
            "manifests" => ContentKind::Manifest,
            "blobs" => ContentKind::Blob,
            _ => return Err(PathError::Unknown),
        };
        if !is_repository(repository) {
            return Err(PathError::Repository);
        }
        let reference = parse_reference(kind, reference)?;
        Ok(Self::Content(ContentPath { repository: repository.to_owned(), kind, reference }))
    }
}

fn parse_reference(kind: ContentKind, text: &str) -> Result<Reference, PathError> {
    if kind == ContentKind::Blob || text.contains(':') {
        return Ok(Reference::Digest(text.parse()?));
    }
    if is_tag(text) { Ok(Reference::Tag(text.to_owned())) } else { Err(PathError::Tag) }
}

/// Whether `name` is a repository name:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
pub fn is_repository(name: &str) -> bool {
    name.len() <= REPOSITORY_BYTES_MAX && name.split('/').all(is_repository_part)
}

fn is_repository_part(part: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_alphanumeric(first)
        && is_alphanumeric(last)
        && bytes
            .split(is_alphanumeric)
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'))
}

/// Whether `tag` is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.as_bytes().first().is_some_and(|first| is_word(*first))
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Whether `registry` can be a registry's host, with a port where there is one, as the `ns` parameter names it.
pub fn is_registry(registry: &str) -> bool {
    !registry.is_empty()
        && registry.len() <= REPOSITORY_BYTES_MAX
        && registry.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        && url::Url::parse(&format!("https://{registry}/v2/")).is_ok_and(|url| url.has_host())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn content(path: &str) -> ContentPath {
        match path.parse() {
            Ok(ApiPath::Content(content)) => content,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn the_base_is_recognised_with_and_without_a_slash() {
        assert_eq!("/v2".parse(), Ok(ApiPath::Base));
        assert_eq!("/v2/".parse(), Ok(ApiPath::Base));
    }

    #[test]
    fn names_may_contain_slashes_and_the_words_of_the_api() {
        let parsed = content("/v2/manifests/blobs/manifests/blobs");
        assert_eq!(parsed.repository, "manifests/blobs");
        assert_eq!(parsed.reference, Reference::Tag("blobs".to_owned()));

        let parsed = content(&format!("/v2/a/b/c/blobs/{DIGEST}"));
        assert_eq!(parsed.repository, "a/b/c");
        assert_eq!(parsed.kind, ContentKind::Blob);
        assert_eq!(parsed.reference, Reference::Digest(DIGEST.parse().unwrap()));
    }

    #[test]
    fn malformed_paths_say_what_is_wrong() {
        for path in ["", "/", "/v1/", "/v2/_catalog", "/v2/a/tags/list", "/v2//", "/v2/manifests/latest"] {
            assert_eq!(path.parse::<ApiPath>(), Err(PathError::Unknown), "{path}");
        }
        for name in ["", "A", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a.-b", "..", "a b", "%61"] {
            let path = format!("/v2/{name}/manifests/latest");
            assert_eq!(path.parse::<ApiPath>(), Err(PathError::Repository), "{path}");
        }
        for tag in ["", ".a", "-a", "a b", "a%20", &"x".repeat(129)] {
            let path = format!("/v2/a/manifests/{tag}");
            assert_eq!(path.parse::<ApiPath>(), Err(PathError::Tag), "{path}");
        }
        for digest in ["sha256:00", "md5:00", ":", &DIGEST.to_uppercase()] {
            let path = format!("/v2/a/manifests/{digest}");
            assert!(matches!(path.parse::<ApiPath>(), Err(PathError::Digest(_))), "{path}");
        }
        assert!(matches!("/v2/a/blobs/latest".parse::<ApiPath>(), Err(PathError::Digest(_))));
    }

    #[test]
    fn lengths_are_bounded() {
        let longest = format!("/v2/{}/manifests/{}", "a".repeat(REPOSITORY_BYTES_MAX), "t".repeat(TAG_BYTES_MAX));
        assert!(longest.parse::<ApiPath>().is_ok());
        let longer = format!("/v2/{}/manifests/t", "a".repeat(REPOSITORY_BYTES_MAX + 1));
        assert_eq!(longer.parse::<ApiPath>(), Err(PathError::Repository));
    }

    #[test]
    fn registries_are_hosts_with_or_without_a_port() {
        for good in ["docker.io", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "my_registry.internal"] {
            assert!(is_registry(good), "{good}");
        }
        for bad in ["", "a/b", "user@host", "a?b", "a:port", "a#b", "::", "a b", "host:99999"] {
            assert!(!is_registry(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(path in "\\PC*") {
            let _ = path.parse::<ApiPath>();
            let _ = format!("/v2/{path}").parse::<ApiPath>();
            let _ = format!("/v2/{path}/blobs/{path}").parse::<ApiPath>();
            let _ = is_registry(&path);
        }

        #[test]
        fn whatever_the_specification_allows_is_accepted(
            repository in "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}(/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}){0,3}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
        ) {
            let parsed = format!("/v2/{repository}/manifests/{tag}").parse();
            prop_assert_eq!(
                parsed,
                Ok(ApiPath::Content(ContentPath {
                    repository,
                    kind: ContentKind::Manifest,
                    reference: Reference::Tag(tag),
                }))
            );
        }
    }
}

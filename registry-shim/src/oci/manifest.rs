//! What a manifest says about other content: its own media type and the descriptors of its children.

use serde::Deserialize;
use shoal_runtime::{ContentKind, Digest};

/// Largest manifest that is read, in bytes. containerd refuses larger ones as well.
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Children of one manifest that are remembered. Real images have a few dozen.
pub const CHILDREN_MAX: usize = 4096;

/// An image index or an image manifest, of OCI or of Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type: what it says itself, or what its shape implies.
    pub media_type: String,
    /// What it refers to, in order; at most [`CHILDREN_MAX`].
    pub children: Vec<Child>,
}

/// Content that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Manifest or blob, by the list that it stands in.
    pub kind: ContentKind,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<DescriptorDocument>>,
    #[serde(default)]
    config: Option<DescriptorDocument>,
    #[serde(default)]
    layers: Option<Vec<DescriptorDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorDocument {
    digest: String,
    size: u64,
    #[serde(default)]
    media_type: String,
}

impl Manifest {
    /// Reads a manifest. `None` for anything else, such as a config or a layer.
    pub fn read(body: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(body).ok()?;
        if document.schema_version != 2 {
            return None;
        }
        let (implied, children) = match (document.manifests, document.config, document.layers) {
            (Some(manifests), _, _) => {
                ("application/vnd.oci.image.index.v1+json", children(manifests, ContentKind::Manifest))
            }
            (None, Some(config), Some(layers)) => {
                let blobs = std::iter::once(config).chain(layers);
                ("application/vnd.oci.image.manifest.v1+json", children(blobs, ContentKind::Blob))
            }
            _ => return None,
        };
        let media_type = document.media_type.filter(|text| is_media_type(text)).unwrap_or_else(|| implied.to_owned());
        Some(Self { media_type, children })
    }
}

fn children(documents: impl IntoIterator<Item = DescriptorDocument>, kind: ContentKind) -> Vec<Child> {
    let child = |document: DescriptorDocument| {
        let digest = document.digest.parse().ok()?;
        let media_type = if is_media_type(&document.media_type) { document.media_type } else { String::new() };
        Some(Child { digest, media_type, size: document.size, kind })
    };
    documents.into_iter().filter_map(child).take(CHILDREN_MAX).collect()
}

/// Whether a text can stand in a `Content-Type` header as a media type. Bounds what is remembered of hostile input.
pub fn is_media_type(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    #[test]
    fn an_index_refers_to_manifests() {
        let body = json!({
            "schemaVersion": 2,
            "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest('a'), "size": 7}],
        });
        let manifest = Manifest::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(manifest.media_type, "application/vnd.oci.image.index.v1+json");
        assert_eq!(
            manifest.children,
            [Child {
                digest: digest('a').parse().unwrap(),
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                size: 7,
                kind: ContentKind::Manifest,
            }]
        );
    }

    #[test]
    fn a_manifest_refers_to_its_config_and_layers() {
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let body = json!({
            "schemaVersion": 2,
            "mediaType": docker,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest('a'), "size": 1},
            "layers": [{"mediaType": "application/gzip", "digest": digest('b'), "size": 2}],
        });
        let manifest = Manifest::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(manifest.media_type, docker);
        let sizes: Vec<_> = manifest.children.iter().map(|child| (child.kind, child.size)).collect();
        assert_eq!(sizes, [(ContentKind::Blob, 1), (ContentKind::Blob, 2)]);
    }

    #[test]
    fn configs_and_other_documents_are_not_manifests() {
        for body in ["", "{}", "[]", r#"{"architecture":"amd64","rootfs":{}}"#, r#"{"schemaVersion":1,"layers":[]}"#] {
            assert_eq!(Manifest::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn children_are_bounded_and_malformed_ones_skipped() {
        let good = json!({"digest": digest('a'), "size": 1, "mediaType": "a/b"});
        let bad = json!({"digest": "sha256:short", "size": 1});
        let mut manifests = vec![bad];
        manifests.extend(std::iter::repeat_n(good, CHILDREN_MAX + 1));
        let body = json!({"schemaVersion": 2, "manifests": manifests});
        assert_eq!(Manifest::read(body.to_string().as_bytes()).unwrap().children.len(), CHILDREN_MAX);
    }

    #[test]
    fn a_media_type_that_cannot_be_a_header_is_not_used() {
        let body = json!({"schemaVersion": 2, "mediaType": "a/b\r\nSet-Cookie: x", "manifests": []});
        let manifest = Manifest::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(manifest.media_type, "application/vnd.oci.image.index.v1+json");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::read(&body);
        }
    }
}

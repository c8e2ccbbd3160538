//! Generated images: OCI layouts on disk with incompressible layers that containerd can unpack.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Size of a tar record; headers and padding are multiples of it.
const TAR_BLOCK: usize = 512;

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: &'static str,
}

/// An image in an OCI layout, tagged [`Image::TAG`].
#[derive(Clone, Debug)]
pub struct Image {
    layout: PathBuf,
    /// The index, where the image has one.
    pub index: Option<Blob>,
    /// The manifest.
    pub manifest: Blob,
    /// The configuration.
    pub config: Blob,
    /// The layers.
    pub layers: Vec<Blob>,
}

impl Image {
    /// The tag of every generated image.
    pub const TAG: &str = "v1";

    /// Generates an image at `layout`: one layer for each of `layer_bytes`, a tar with one file of that many bytes, which
    /// depend on `seed` alone.
    pub fn generate(layout: &Path, seed: u64, layer_bytes: &[u64]) -> Result<Self> {
        let image = Self::write_blobs(layout, seed, layer_bytes)?;
        image.write_layout(&image.manifest)?;
        Ok(image)
    }

    /// The same with an index over the manifest, as images for several platforms have.
    pub fn generate_with_index(layout: &Path, seed: u64, layer_bytes: &[u64]) -> Result<Self> {
        let mut image = Self::write_blobs(layout, seed, layer_bytes)?;
        let mut entry = descriptor(&image.manifest);
        entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
        let content = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let index = put(layout, INDEX, content.to_string().as_bytes())?;
        image.write_layout(&index)?;
        image.index = Some(index);
        Ok(image)
    }

    /// Directory of the layout.
    pub fn layout(&self) -> &Path {
        &self.layout
    }

    /// What the tag stands for: the index, or else the manifest.
    pub fn target(&self) -> &Blob {
        self.index.as_ref().unwrap_or(&self.manifest)
    }

    /// Every blob: index, manifest, configuration, layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.index.iter().chain([&self.manifest, &self.config]).chain(&self.layers)
    }

    /// Bytes of all layers.
    pub fn layer_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The largest layer.
    pub fn largest_layer(&self) -> &Blob {
        self.layers.iter().max_by_key(|layer| layer.size).unwrap_or(&self.config)
    }

    /// Content of a blob.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>> {
        let path = blob_path(&self.layout, &blob.digest);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write_blobs(layout: &Path, seed: u64, layer_bytes: &[u64]) -> Result<Self> {
        fs::create_dir_all(layout.join("blobs/sha256"))
            .with_context(|| format!("cannot create {}", layout.display()))?;
        let layers = layer_bytes
            .iter()
            .zip(0u64..)
            .map(|(&bytes, number)| put_layer(layout, seed.wrapping_mul(1000).wrapping_add(number), number, bytes))
            .collect::<Result<Vec<Blob>>>()?;
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = put(layout, CONFIG, config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(&config),
            "layers": layers.iter().map(descriptor).collect::<Vec<Value>>(),
        });
        let manifest = put(layout, MANIFEST, manifest.to_string().as_bytes())?;
        Ok(Self { layout: layout.to_owned(), index: None, manifest, config, layers })
    }

    fn write_layout(&self, target: &Blob) -> Result<()> {
        let mut entry = descriptor(target);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": Self::TAG});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(self.layout.join("index.json"), index.to_string())?;
        fs::write(self.layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }
}

/// Name of this machine's architecture in image configurations.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(blob: &Blob) -> Value {
    json!({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size})
}

/// Where an OCI layout, and containerd's content store, keep a blob.
pub fn blob_path(root: &Path, digest: &str) -> PathBuf {
    root.join("blobs").join(digest.replacen(':', "/", 1))
}

/// `sha256:<hex>` of `bytes`.
pub fn digest_of(bytes: &[u8]) -> String {
    format_digest(&Sha256::digest(bytes))
}

/// `sha256:<hex>` of a finished hash.
pub fn format_digest(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// `sha256:<hex>` of a file, and its size.
pub fn digest_of_file(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut sink = HashingWriter { inner: io::sink(), hash: Sha256::new(), bytes: 0 };
    io::copy(&mut file, &mut sink)?;
    Ok((format_digest(&sink.hash.finalize()), sink.bytes))
}

fn put(layout: &Path, media_type: &'static str, content: &[u8]) -> Result<Blob> {
    let digest = digest_of(content);
    fs::write(blob_path(layout, &digest), content)?;
    Ok(Blob { digest, size: content.len() as u64, media_type })
}

fn put_layer(layout: &Path, seed: u64, number: u64, file_bytes: u64) -> Result<Blob> {
    let path = layout.join(format!("layer-{number}"));
    let mut writer = HashingWriter {
        inner: io::BufWriter::with_capacity(1 << 20, File::create(&path)?),
        hash: Sha256::new(),
        bytes: 0,
    };
    write_tar(&mut writer, &format!("data-{number}"), file_bytes, seed)?;
    writer.flush()?;
    let blob = Blob { digest: format_digest(&writer.hash.finalize()), size: writer.bytes, media_type: LAYER };
    fs::rename(&path, blob_path(layout, &blob.digest))?;
    Ok(blob)
}

/// A tar (POSIX.1-1988 ustar) with one file of `bytes` seeded bytes.
fn write_tar(writer: &mut impl Write, name: &str, bytes: u64, seed: u64) -> Result<()> {
    writer.write_all(&tar_header(name, bytes)?)?;
    let mut generator = SplitMix64(seed);
    let mut left = bytes;
    let mut block = [0; 4096];
    while left > 0 {
        generator.fill(&mut block);
        let length = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        writer.write_all(&block[..length])?;
        left -= length as u64;
    }
    let padding = bytes.next_multiple_of(TAR_BLOCK as u64) - bytes;
    writer.write_all(&vec![0; usize::try_from(padding)? + 2 * TAR_BLOCK])?;
    Ok(())
}

fn tar_header(name: &str, bytes: u64) -> Result<[u8; TAR_BLOCK]> {
    let mut header = [0; TAR_BLOCK];
    let mut field = |offset: usize, text: &str| header[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    anyhow::ensure!(name.len() < 100 && bytes < 1 << 33, "a ustar header has no room for {name} of {bytes} bytes");
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{bytes:011o}\0"));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// `SplitMix64` (Steele, Lea and Flood 2014): seeded bytes that do not compress.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `buffer`.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_image_and_another_seed_another() {
        let dir = tempfile::tempdir().expect("directory");
        let image =
            |name: &str, seed| Image::generate(&dir.path().join(name), seed, &[1000, 70_000]).expect("generated");
        let (first, again, other) = (image("a", 7), image("b", 7), image("c", 8));
        assert_eq!(first.manifest, again.manifest);
        assert_ne!(first.manifest, other.manifest);
        assert_ne!(first.layers[0].digest, first.layers[1].digest);
    }

    #[test]
    fn blobs_are_stored_under_their_digests_and_layers_are_tars() {
        let dir = tempfile::tempdir().expect("directory");
        let image = Image::generate_with_index(dir.path(), 1, &[1000, 4096]).expect("generated");
        for blob in image.blobs() {
            let found = digest_of_file(&blob_path(dir.path(), &blob.digest)).expect("stored");
            assert_eq!(found, (blob.digest.clone(), blob.size));
        }
        let listing = std::process::Command::new("tar")
            .arg("tvf")
            .arg(blob_path(dir.path(), &image.layers[0].digest))
            .output()
            .expect("tar runs");
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(listing.contains("1000") && listing.contains("data-0"), "{listing}");
    }
}

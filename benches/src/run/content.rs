//! What is pulled: an image with incompressible layers, the same for the same seed, laid out as docker-registry stores it.
//!
//! A scenario of one blob has an image of one layer, of which clients pull that layer alone. A layer is a tar archive of
//! one file (POSIX.1-1988, "ustar"), so that containerd can unpack it; one that is too small for that is plain bytes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use shoal_core::rng::Stream;
use shoal_sim::scenario::Content;

use crate::agent::{
    blob::digest_text,
    protocol::{BlobName, Wanted},
};

/// Repository of the image.
const REPOSITORY: &str = "laboratory/image";
/// Tag of the image.
const TAG: &str = "v1";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Tar archives count in blocks of this many bytes; a header is one block.
const TAR_BLOCK: u64 = 512;
/// A tar archive ends with two empty blocks.
const TAR_END: u64 = 2 * TAR_BLOCK;
/// Smallest tar archive of one file: header, one block, end.
const TAR_MIN: u64 = 2 * TAR_BLOCK + TAR_END;
/// Bytes made and hashed before signals have their turn.
const STEP: usize = 1 << 20;

/// An image in a registry's storage.
#[derive(Debug)]
pub(crate) struct Stock {
    storage: PathBuf,
    manifest: BlobName,
    config: BlobName,
    layers: Vec<BlobName>,
    only_layer: bool,
}

impl Stock {
    /// Makes the image below `storage`, a new directory.
    pub(crate) async fn make(storage: &Path, content: &Content, seed: u64) -> anyhow::Result<Self> {
        let (sizes, only_layer) = match content {
            Content::Blob(bytes) => (vec![*bytes], true),
            Content::Image(sizes) => (sizes.clone(), false),
        };
        let shelf = Shelf { storage: storage.to_owned() };
        let mut layers = Vec::with_capacity(sizes.len());
        for (index, size) in sizes.iter().enumerate() {
            layers.push(shelf.put_layer(index, *size, seed).await?);
        }
        let config = shelf.put_document(&config_of(&layers))?;
        let manifest = shelf.put_document(&manifest_of(&config, &layers))?;
        shelf.link(&manifest)?;
        for blob in layers.iter().chain([&config]) {
            shelf.link_blob(blob)?;
        }
        Ok(Self { storage: storage.to_owned(), manifest, config, layers, only_layer })
    }

    /// The `rootdirectory` of the registry.
    pub(crate) fn storage(&self) -> &Path {
        &self.storage
    }

    /// What a client is to pull.
    pub(crate) fn wanted(&self) -> Wanted {
        let only = if self.only_layer { self.layers.first().cloned() } else { None };
        Wanted { repository: REPOSITORY.into(), tag: TAG.into(), manifest: self.manifest.digest.clone(), only }
    }

    /// Full name of the image in the registry at `host`.
    pub(crate) fn reference(host: &str) -> String {
        format!("{host}/{REPOSITORY}:{TAG}")
    }

    /// Bytes of all layers.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Bytes of the manifest and the configuration.
    pub(crate) fn small_bytes(&self) -> u64 {
        self.manifest.size + self.config.size
    }

    /// The largest layer.
    pub(crate) fn largest(&self) -> &BlobName {
        self.layers.iter().max_by_key(|layer| layer.size).unwrap_or(&self.config)
    }

    /// Reads all layers once, so that they are in the page cache and the disk does not decide what the upstream sends.
    pub(crate) async fn warm_page_cache(&self) -> anyhow::Result<()> {
        for layer in &self.layers {
            let path = data_path(&self.storage, &layer.digest);
            let mut file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut buffer = vec![0; STEP];
            while std::io::Read::read(&mut file, &mut buffer)? > 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

fn config_of(layers: &[BlobName]) -> serde_json::Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

fn manifest_of(config: &BlobName, layers: &[BlobName]) -> serde_json::Value {
    let descriptor = |media_type: &str, blob: &BlobName| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size });
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": layers.iter().map(|layer| descriptor(LAYER_TYPE, layer)).collect::<Vec<_>>(),
    })
}

/// docker-registry's file system storage, version 2 of its layout.
struct Shelf {
    storage: PathBuf,
}

impl Shelf {
    async fn put_layer(&self, index: usize, size: u64, seed: u64) -> anyhow::Result<BlobName> {
        let path = self.storage.join(format!("layer-{index}"));
        create_parent(&path)?;
        let error = || format!("cannot write {}", path.display());
        let mut file = fs::File::create(&path).with_context(error)?;
        let mut hash = Sha256::new();
        let mut layer = LayerBytes::new(index, size, seed);
        let mut buffer = vec![0; STEP];
        loop {
            let length = layer.fill(&mut buffer);
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            file.write_all(&buffer[..length]).with_context(error)?;
            tokio::task::yield_now().await;
        }
        let blob = BlobName { digest: digest_text(&hash.finalize()), size };
        let place = data_path(&self.storage, &blob.digest);
        create_parent(&place)?;
        fs::rename(&path, &place).with_context(error)?;
        Ok(blob)
    }

    fn put_document(&self, document: &serde_json::Value) -> anyhow::Result<BlobName> {
        let bytes = document.to_string();
        let blob = BlobName { digest: digest_text(&Sha256::digest(&bytes)), size: bytes.len() as u64 };
        write(&data_path(&self.storage, &blob.digest), &bytes)?;
        Ok(blob)
    }

    fn link_blob(&self, blob: &BlobName) -> anyhow::Result<()> {
        write(&self.in_repository("_layers").join(in_folders(&blob.digest)).join("link"), &blob.digest)
    }

    fn link(&self, manifest: &BlobName) -> anyhow::Result<()> {
        let manifests = self.in_repository("_manifests");
        let hex = in_folders(&manifest.digest);
        let tag = manifests.join("tags").join(TAG);
        for place in [manifests.join("revisions").join(&hex), tag.join("current"), tag.join("index").join(&hex)] {
            write(&place.join("link"), &manifest.digest)?;
        }
        Ok(())
    }

    fn in_repository(&self, part: &str) -> PathBuf {
        self.storage.join("docker/registry/v2/repositories").join(REPOSITORY).join(part)
    }
}

/// `sha256:<hex>` as two folders.
fn in_folders(digest: &str) -> PathBuf {
    digest.split(':').collect()
}

fn data_path(storage: &Path, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    let prefix: String = hex.chars().take(2).collect();
    storage.join("docker/registry/v2/blobs/sha256").join(prefix).join(hex).join("data")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    create_parent(path)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn create_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}

/// The bytes of a layer, in order.
struct LayerBytes {
    header: Option<Vec<u8>>,
    random: Stream,
    random_left: u64,
    zeros_left: u64,
}

impl LayerBytes {
    fn new(index: usize, size: u64, seed: u64) -> Self {
        let random = Stream::new(seed, &format!("layer-{index}"));
        if size < TAR_MIN {
            return Self { header: None, random, random_left: size, zeros_left: 0 };
        }
        // What follows the end of the archive is ignored: sizes need not be multiples of a block.
        let file = (size - TAR_BLOCK - TAR_END) / TAR_BLOCK * TAR_BLOCK;
        let header = tar_header(&format!("layer-{index}.bin"), file);
        Self { header: Some(header), random, random_left: file, zeros_left: size - TAR_BLOCK - file }
    }

    /// Fills `buffer` from its start, and returns how many bytes there were; 0 at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if let Some(header) = self.header.take() {
            buffer[..header.len()].copy_from_slice(&header);
            return header.len();
        }
        if self.random_left > 0 {
            let length = at_most(buffer.len(), self.random_left);
            for word in buffer[..length].chunks_mut(8) {
                let bits = self.random.bits().to_le_bytes();
                word.copy_from_slice(&bits[..word.len()]);
            }
            self.random_left -= length as u64;
            return length;
        }
        let length = at_most(buffer.len(), self.zeros_left);
        buffer[..length].fill(0);
        self.zeros_left -= length as u64;
        length
    }
}

fn at_most(length: usize, left: u64) -> usize {
    usize::try_from(left).map_or(length, |left| length.min(left))
}

fn tar_header(name: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn every_blob_has_its_digest_and_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let sizes = vec![3 << 20, 10_000, 2048, 100, 1];
        let stock = block_on(Stock::make(directory.path(), &Content::Image(sizes.clone()), 7)).unwrap();
        assert_eq!(stock.layers.iter().map(|layer| layer.size).collect::<Vec<_>>(), sizes);
        for blob in stock.layers.iter().chain([&stock.config, &stock.manifest]) {
            let bytes = fs::read(data_path(directory.path(), &blob.digest)).unwrap();
            assert_eq!((digest_text(&Sha256::digest(&bytes)), bytes.len() as u64), (blob.digest.clone(), blob.size));
        }
        assert_eq!(stock.largest().size, 3 << 20);
        assert_eq!(stock.bytes(), sizes.iter().sum::<u64>());
        assert_eq!(stock.small_bytes(), stock.config.size + stock.manifest.size);
        assert_eq!(stock.wanted().only, None);
    }

    #[test]
    fn the_seed_and_the_index_decide_the_bytes() {
        let digests = |seed| {
            let directory = tempfile::tempdir().unwrap();
            let stock = block_on(Stock::make(directory.path(), &Content::Image(vec![5000, 5000]), seed)).unwrap();
            (stock.layers[0].digest.clone(), stock.layers[1].digest.clone())
        };
        let (first, second) = digests(1);
        assert_ne!(first, second);
        assert_eq!((first.clone(), second), digests(1));
        assert_ne!(first, digests(2).0);
    }

    #[test]
    fn a_scenario_of_one_blob_pulls_that_alone() {
        let directory = tempfile::tempdir().unwrap();
        let stock = block_on(Stock::make(directory.path(), &Content::Blob(1 << 20), 7)).unwrap();
        assert_eq!(stock.wanted().only.as_ref(), Some(stock.largest()));
        assert_eq!(stock.bytes(), 1 << 20);
    }

    #[test]
    fn a_layer_of_any_size_is_an_archive_that_tar_reads() {
        for size in [TAR_MIN, 5000, 70_001] {
            let directory = tempfile::tempdir().unwrap();
            let stock = block_on(Stock::make(directory.path(), &Content::Blob(size), 7)).unwrap();
            let layer = data_path(directory.path(), &stock.largest().digest);
            let output = std::process::Command::new("tar").arg("-tvf").arg(layer).output().unwrap();
            let listing = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && listing.contains("layer-0.bin"), "{size}: {listing}");
        }
    }
}

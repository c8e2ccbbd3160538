//! A whole pull: the manifest, then the configuration and the layers, three blobs at once.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    blob::{self, check},
    http::Client,
    meter::Meter,
    protocol::{BlobName, Wanted},
};

/// containerd's `max_concurrent_downloads`.
const BLOBS_AT_ONCE: usize = 3;

#[derive(Debug, Deserialize)]
struct Manifest {
    config: BlobName,
    layers: Vec<BlobName>,
}

/// By whom and how, see [`super::protocol::ClientOrder::Http`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) endpoint: SocketAddr,
    pub(super) mirror_of: Option<&'a str>,
    pub(super) ranges_at_once: u32,
    pub(super) files: Option<&'a Path>,
}

/// Pulls what is wanted, and fails unless every digest is right.
pub(super) async fn pull(what: &Wanted, way: Way<'_>, meter: &Meter) -> anyhow::Result<()> {
    let client = Client::new(way.endpoint, way.mirror_of, what)?;
    let blobs = match &what.only {
        Some(blob) => vec![blob.clone()],
        None => blobs_of_the_image(&client, what).await?,
    };
    let client = &client;
    let reading = blobs
        .iter()
        .map(|blob| async move { blob::read(client, blob, way.ranges_at_once, way.files, meter).await });
    stream::iter(reading).buffer_unordered(BLOBS_AT_ONCE).try_collect::<()>().await
}

async fn blobs_of_the_image(client: &Client, what: &Wanted) -> anyhow::Result<Vec<BlobName>> {
    client.resolve(&what.tag, &what.manifest).await?;
    let bytes = client.manifest(&what.manifest).await?;
    let length = bytes.len() as u64;
    check(&BlobName { digest: what.manifest.clone(), size: length }, length, &Sha256::digest(&bytes))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).context("the manifest is not that of an image")?;
    Ok(std::iter::once(manifest.config).chain(manifest.layers).collect())
}

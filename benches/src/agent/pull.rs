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

/// Pulls what is wanted, and fails unless every digest is right. `meter` counts the bytes of layers.
pub(super) async fn pull(what: &Wanted, way: Way<'_>, meter: &Meter) -> anyhow::Result<()> {
    let client = Client::new(way.endpoint, way.mirror_of, what)?;
    let (config, layers) = match &what.only {
        Some(blob) => (None, vec![blob.clone()]),
        None => blobs_of_the_image(&client, what).await?,
    };
    // The configuration is small and often there already, so that its first byte would say nothing.
    let uncounted = Meter::start();
    let config = config.iter().map(|blob| (blob, &uncounted));
    let blobs = config.chain(layers.iter().map(|blob| (blob, meter)));
    let client = &client;
    let reading = blobs.map(|(blob, meter)| blob::read(client, blob, way.ranges_at_once, way.files, meter));
    stream::iter(reading).buffer_unordered(BLOBS_AT_ONCE).try_collect::<()>().await
}

async fn blobs_of_the_image(client: &Client, what: &Wanted) -> anyhow::Result<(Option<BlobName>, Vec<BlobName>)> {
    client.resolve(&what.tag, &what.manifest).await?;
    let bytes = client.manifest(&what.manifest).await?;
    let length = bytes.len() as u64;
    check(&BlobName { digest: what.manifest.clone(), size: length }, length, &Sha256::digest(&bytes))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).context("the manifest is not that of an image")?;
    Ok((Some(manifest.config), manifest.layers))
}

//! Reads one blob and checks its digest: in one request, or in several ranges at once.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::{fs::File, io::AsyncWriteExt};

use super::{
    http::{Client, is_reset},
    meter::Meter,
    protocol::BlobName,
};

/// Bytes of one range request where a blob is read by several at once. Ranges in flight are kept in memory, so that their
/// number times this bounds it.
const RANGE_BYTES: u64 = 4 << 20;
/// Requests in a row that bring no byte before a pull is given up, as in containerd.
const FRUITLESS_MAX: u32 = 3;

/// Reads `blob` and checks it; `files` keeps it.
pub(super) async fn read(
    client: &Client,
    blob: &BlobName,
    ranges_at_once: u32,
    files: Option<&Path>,
    meter: &Meter,
) -> anyhow::Result<()> {
    let mut sink = Sink::open(blob, files).await?;
    if ranges_at_once > 1 && blob.size > RANGE_BYTES {
        by_ranges(client, blob, ranges_at_once, meter, &mut sink).await?;
    } else {
        in_one(client, blob, meter, &mut sink).await?;
    }
    sink.finish(blob).await
}

async fn in_one(client: &Client, blob: &BlobName, meter: &Meter, sink: &mut Sink) -> anyhow::Result<()> {
    let mut fruitless = 0;
    while sink.length < blob.size {
        let offset = sink.length;
        let response = client.blob_from(&blob.digest, offset).await?;
        if let Err(error) = drain(response, meter, sink).await? {
            fruitless = if sink.length > offset { 0 } else { fruitless + 1 };
            if is_reset(&error) || fruitless == FRUITLESS_MAX {
                let at = sink.length;
                return Err(error).with_context(|| format!("{} broke off after {at} bytes", blob.digest));
            }
        } else {
            ensure!(sink.length == blob.size, "{} has {} bytes, expected {}", blob.digest, sink.length, blob.size);
        }
    }
    Ok(())
}

/// Reads a body to its end. The inner error is the connection's, the outer one that of the file.
async fn drain(mut response: Response, meter: &Meter, sink: &mut Sink) -> anyhow::Result<reqwest::Result<()>> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                meter.count(chunk.len() as u64);
                sink.write(&chunk).await?;
            }
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

async fn by_ranges(
    client: &Client,
    blob: &BlobName,
    at_once: u32,
    meter: &Meter,
    sink: &mut Sink,
) -> anyhow::Result<()> {
    let first = client.blob_range(&blob.digest, 0, RANGE_BYTES).await?;
    if first.status() == StatusCode::OK {
        // No ranges here: the whole blob comes at once.
        return drain(first, meter, sink).await?.with_context(|| format!("{} broke off", blob.digest));
    }
    let mut first = Some(first);
    let starts = (0..blob.size).step_by(usize::try_from(RANGE_BYTES).context("a range fits into memory")?);
    let ranges = starts.map(|from| {
        let length = RANGE_BYTES.min(blob.size - from);
        let open = first.take();
        async move {
            let response = match open {
                Some(response) => response,
                None => client.blob_range(&blob.digest, from, length).await?,
            };
            collect(response, length, meter).await.with_context(|| format!("{} from {from}", blob.digest))
        }
    });
    let mut ranges = stream::iter(ranges).buffered(at_once as usize);
    while let Some(bytes) = ranges.try_next().await? {
        sink.write(&bytes).await?;
    }
    Ok(())
}

async fn collect(mut response: Response, length: u64, meter: &Meter) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).context("a range fits into memory")?);
    while let Some(chunk) = response.chunk().await? {
        meter.count(chunk.len() as u64);
        bytes.extend_from_slice(&chunk);
        ensure!(bytes.len() as u64 <= length, "more than {length} bytes");
    }
    ensure!(bytes.len() as u64 == length, "{} bytes instead of {length}", bytes.len());
    Ok(bytes)
}

/// Where the bytes of a blob go, in order.
struct Sink {
    hash: Sha256,
    length: u64,
    file: Option<File>,
}

impl Sink {
    async fn open(blob: &BlobName, files: Option<&Path>) -> anyhow::Result<Self> {
        let file = match files {
            Some(directory) => {
                let path = directory.join(blob.digest.replace(':', "-"));
                Some(File::create(&path).await.with_context(|| format!("cannot create {}", path.display()))?)
            }
            None => None,
        };
        Ok(Self { hash: Sha256::new(), length: 0, file })
    }

    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            file.write_all(bytes).await.context("cannot write a blob's file")?;
        }
        Ok(())
    }

    async fn finish(mut self, blob: &BlobName) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush().await.context("cannot write a blob's file")?;
        }
        check(blob, self.length, &self.hash.finalize())
    }
}

/// Compares what came with what was promised.
pub(super) fn check(blob: &BlobName, length: u64, hash: &[u8]) -> anyhow::Result<()> {
    let found = digest_text(hash);
    if found != blob.digest || length != blob.size {
        bail!("wrong content: {length} bytes with {found}, expected {} bytes with {}", blob.size, blob.digest);
    }
    Ok(())
}

/// A SHA-256 as OCI writes it.
pub(crate) fn digest_text(hash: &[u8]) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

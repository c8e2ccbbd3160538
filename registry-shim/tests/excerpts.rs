//! Parts at the end of a blob, by HTTP from nodes that do not have all of it.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Router, extract::Request};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use shoal_runtime::{
    BlobRequest, ClusterSecret, ContentKind, CoreConfig, Descriptor, Digest, Engine, EngineConfig, Name, Upstream,
    UpstreamBody, UpstreamFailure, UpstreamSource,
};
use shoal_shim::{http::server::Server, oci::endpoint::Endpoint, registries::Registries};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, time::timeout};

const PIECE: usize = 256 * 1024;

/// A registry in memory that keeps the second piece of its blob back until it is opened.
struct Registry {
    blob: Vec<u8>,
    digest: Digest,
    open: watch::Sender<bool>,
}

#[async_trait]
impl Upstream for Registry {
    async fn resolve(&self, _name: &Name) -> Result<Descriptor, UpstreamFailure> {
        Ok(Descriptor { media_type: String::new(), digest: self.digest, size: self.blob.len() as u64 })
    }

    async fn fetch(&self, _: &UpstreamSource, _: &Digest, range: Range<u64>) -> Result<UpstreamBody, UpstreamFailure> {
        let index = |offset| usize::try_from(offset).expect("a small blob");
        let offsets = (index(range.start)..index(range.end)).step_by(PIECE);
        let end = index(range.end);
        let pieces: Vec<_> = offsets.map(|at| (at, self.blob[at..end.min(at + PIECE)].to_vec())).collect();
        let open = self.open.subscribe();
        let stream = stream::iter(pieces).then(move |(at, piece)| {
            let mut open = open.clone();
            async move {
                if at == PIECE {
                    let _ = open.wait_for(|open| *open).await;
                }
                Ok(Bytes::from(piece))
            }
        });
        Ok(UpstreamBody { whole: false, stream: stream.boxed() })
    }
}

async fn start(registry: &Arc<Registry>, directory: &TempDir, seeds: &[SocketAddr]) -> Engine {
    let config = EngineConfig {
        data_dir: directory.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        secret: ClusterSecret([1; 32]),
        seeds: seeds.iter().map(ToString::to_string).collect(),
        zone: String::new(),
        upload_bytes_per_s: None,
        download_bytes_per_s: None,
        link_bytes_per_s: None,
        spool_bytes: 1 << 30,
        core: CoreConfig::default(),
    };
    Engine::start(config, registry.clone()).await.expect("a node starts")
}

/// Serves what `engine` has; returns the address.
async fn serve(engine: &Engine) -> (SocketAddr, Server) {
    let endpoint = Arc::new(Endpoint::new(Arc::new(engine.clone()), Arc::new(Registries::default())));
    let router = Router::new().fallback(move |request: Request| {
        let endpoint = endpoint.clone();
        async move { endpoint.answer(request).await }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (address, Server::start(listener, router, 100))
}

async fn read(engine: Engine, request: BlobRequest) -> Vec<u8> {
    let mut reader = engine.open(request).await.expect("it can be read");
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk.expect("good"));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_at_the_end_does_not_wait_for_the_whole_blob() {
    let blob: Vec<u8> =
        (0..11 * PIECE + 1000).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let digest = Digest::Sha256(Sha256::digest(&blob).into());
    let registry = Arc::new(Registry { blob, digest, open: watch::Sender::new(false) });
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let first = start(&registry, &directories[0], &[]).await;
    let seeds = [first.status().listen];
    let others = [start(&registry, &directories[1], &seeds).await, start(&registry, &directories[2], &seeds).await];
    while first.status().members.len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (kind, size) = (ContentKind::Blob, registry.blob.len() as u64);
    let source = UpstreamSource {
        registry: "registry.test".to_owned(),
        repository: "team/app".to_owned(),
        kind,
        media_type: String::new(),
    };
    let request = BlobRequest { digest, size, source: Some(source), range: None, excerpt: false };
    let pulls: Vec<_> = others.iter().map(|engine| tokio::spawn(read(engine.clone(), request.clone()))).collect();

    let (address, server) = serve(&first).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{address}/v2/team/app/blobs/{digest}?ns=registry.test");
    let get = async |range: &str| {
        let answer = client.get(&url).header("range", format!("bytes={range}")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.bytes().await.expect("a body"))
    };
    let footer = 11 * PIECE + 100;
    for range in ["-900".to_owned(), format!("{footer}-{}", size - 1)] {
        let (status, body) = get(&range).await;
        assert_eq!(status, 206, "{range}");
        assert!(body == registry.blob[footer..], "{range}");
    }
    let resumed = format!("{footer}-");
    assert!(timeout(Duration::from_secs(1), get(&resumed)).await.is_err(), "it may be the rest of a pull");
    registry.open.send_replace(true);
    assert!(get(&resumed).await == (206, Bytes::copy_from_slice(&registry.blob[footer..])));
    assert!(get("0-").await == (206, Bytes::copy_from_slice(&registry.blob)));
    for pull in pulls {
        assert!(pull.await.expect("no panic") == registry.blob);
    }
    drop(client);
    server.stop(Duration::from_secs(1)).await;
    for engine in others.iter().chain([&first]) {
        engine.shutdown().await;
    }
}

use std::net::SocketAddr;

use axum::{extract::Request, routing::get};
use shoal_runtime::{BlobError, ContentKind, Digest, UpstreamFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    oci::endpoint::Endpoint,
    registries::Registries,
    testing::{End, Memory, by_digest, digest_of},
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn serve_router(router: Router, connections: usize) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Server::start(listener, router, connections), address)
}

async fn serve_memory(memory: Arc<Memory>) -> (Server, SocketAddr) {
    let endpoint = Arc::new(Endpoint::new(memory, Arc::new(Registries::default())));
    let router = Router::new().fallback(move |request: Request| {
        let endpoint = endpoint.clone();
        async move { endpoint.answer(request).await }
    });
    serve_router(router, CONNECTIONS_MAX).await
}

/// A blob of `size` bytes of which reading gives the first `sent` and then `end`.
fn scripted(memory: &Memory, size: usize, sent: usize, end: End) -> (Digest, Vec<u8>) {
    let content: Vec<u8> = (0..=250).flat_map(|value| [value; 7]).cycle().take(size).collect();
    let digest = digest_of(&content);
    memory.publish(&by_digest("r.example", "a", ContentKind::Blob, digest), "", &content);
    memory.script(digest, &content[..sent], end);
    (digest, content)
}

async fn request_blob(address: SocketAddr, digest: Digest) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v2/a/blobs/{digest}?ns=r.example HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// Everything until the connection's end, and how it ended.
async fn read_to_end(client: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut received = Vec::new();
    let end = client.read_to_end(&mut received).await.map(|_| ());
    (received, end)
}

fn body_of(received: &[u8]) -> &[u8] {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    &received[end + 4..]
}

#[tokio::test]
async fn a_blob_that_cannot_be_finished_ends_cleanly_after_all_that_was_there() {
    let memory = Arc::new(Memory::default());
    let unavailable = End::Fails(BlobError::Unavailable(UpstreamFailure::Unavailable));
    // More than all buffers on the way hold, so that the failure meets a connection that is still full.
    let (digest, content) = scripted(&memory, 24 << 20, 16 << 20, unavailable);
    let (server, address) = serve_memory(memory).await;

    let mut client = request_blob(address, digest).await;
    let (received, end) = read_to_end(&mut client).await;
    end.expect("a clean end is FIN, not RST");
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(String::from_utf8_lossy(&received[..400]).contains("content-length: 25165824\r\n"));
    assert!(body_of(&received) == &content[..16 << 20], "every byte that was right arrives");
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_stream_that_just_stops_ends_cleanly_too() {
    let memory = Arc::new(Memory::default());
    let (digest, content) = scripted(&memory, 1000, 999, End::Complete);
    let (server, address) = serve_memory(memory).await;
    let (received, end) = read_to_end(&mut request_blob(address, digest).await).await;
    end.expect("a clean end is FIN, not RST");
    assert_eq!(body_of(&received), &content[..999]);
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn wrong_bytes_end_in_a_reset() {
    for sent in [1000, 1 << 20, 16 << 20] {
        let memory = Arc::new(Memory::default());
        let (digest, _) = scripted(&memory, 24 << 20, sent, End::Fails(BlobError::Corrupt));
        let (server, address) = serve_memory(memory).await;
        let (_, end) = read_to_end(&mut request_blob(address, digest).await).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "after {sent} bytes");
        server.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_stream_of_too_many_bytes_ends_in_a_reset() {
    let memory = Arc::new(Memory::default());
    let digest = digest_of(b"promised");
    memory.publish(&by_digest("r.example", "a", ContentKind::Blob, digest), "", b"promised");
    let (server, address) = serve_memory(memory.clone()).await;
    // One byte more than was promised.
    memory.script(digest, b"promised!", End::Complete);
    let (_, end) = read_to_end(&mut request_blob(address, digest).await).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let memory = Arc::new(Memory::default());
    let (digest, content) = scripted(&memory, 300_000, 300_000, End::Complete);
    let (server, address) = serve_memory(memory).await;
    let mut client = request_blob(address, digest).await;
    let request = format!("GET /v2/a/blobs/{digest}?ns=r.example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (received, end) = read_to_end(&mut client).await;
    end.unwrap();
    let first = &body_of(&received)[..content.len()];
    let second = body_of(&body_of(&received)[content.len()..]);
    assert!(first == content && second == content);
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_interest_in_the_blob() {
    let memory = Arc::new(Memory::default());
    let (digest, _) = scripted(&memory, 1000, 500, End::Hangs);
    let (server, address) = serve_memory(memory.clone()).await;
    let mut client = request_blob(address, digest).await;
    client.read_exact(&mut [0; 100]).await.unwrap();
    drop(client);
    let dropped = memory.dropped.lock().unwrap().take().unwrap();
    assert!(dropped.await.is_err(), "the stream is dropped when the client is gone");
    server.stop(PATIENCE).await;
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_closes_idle_connections() {
    let (release, released) = tokio::sync::watch::channel(false);
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let router = Router::new().route(
        "/",
        get(move || {
            let (mut released, entered) = (released.clone(), entered.clone());
            async move {
                entered.send(()).await.unwrap();
                released.wait_for(|released| *released).await.unwrap();
                "done"
            }
        }),
    );
    let (server, address) = serve_router(router, CONNECTIONS_MAX).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    has_entered.recv().await.unwrap();

    let stopping = tokio::spawn(server.stop(PATIENCE));
    assert!(read_to_end(&mut idle).await.0.is_empty(), "an idle connection is closed");
    release.send(true).unwrap();
    let (received, end) = read_to_end(&mut busy).await;
    end.unwrap();
    assert!(received.ends_with(b"done"));
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn stopping_cuts_off_what_does_not_finish() {
    let memory = Arc::new(Memory::default());
    let (digest, content) = scripted(&memory, 1000, 500, End::Hangs);
    let (server, address) = serve_memory(memory).await;
    let mut client = request_blob(address, digest).await;
    // The header must be out before, or there is nothing to cut off.
    let mut first = [0; 64];
    client.read_exact(&mut first).await.unwrap();
    server.stop(Duration::from_millis(50)).await;
    let (rest, end) = read_to_end(&mut client).await;
    end.expect("a client can go on elsewhere");
    assert!(content[..500].ends_with(&body_of(&[&first[..], &rest[..]].concat())[400..]));
}

#[tokio::test]
async fn beyond_the_bound_connections_wait() {
    let router = Router::new().route("/", get(|| async { "hello" }));
    let (server, address) = serve_router(router, 1).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    first.read_exact(&mut [0; 8]).await.unwrap();

    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(waited.is_err(), "the second connection is not served beside the first");
    drop(first);
    let (received, _) = read_to_end(&mut second).await;
    assert!(received.ends_with(b"hello"));
    server.stop(PATIENCE).await;
}

use axum::{Router, routing::get};
use shoal_runtime::MemberId;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};

use super::*;
use crate::http::server::Server;

struct FakeNode {
    members: u8,
    unreached: Vec<String>,
}

impl NodeView for FakeNode {
    fn status(&self) -> EngineStatus {
        let member = |number: u8| (MemberId([number; 16]), ([127, 0, 0, 1], 5001).into());
        EngineStatus {
            id: MemberId([0; 16]),
            listen: ([127, 0, 0, 1], 5001).into(),
            members: (0..self.members).map(member).collect(),
            seeds_unreached: self.unreached.clone(),
        }
    }

    fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            counters: vec![("pieces_stored", "Pieces", 7)],
            gauges: vec![("members_alive", "Members", 3)],
        }
    }
}

async fn page(path: &str, members: u8, seeds: &[&str], unreached: &[&str]) -> (String, String) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let node: Arc<dyn NodeView> = Arc::new(FakeNode { members, unreached: owned(unreached) });
    let requests = crate::upstream::UpstreamRequests::default();
    requests.count("r.example", "GET", "200");
    let memory = Arc::new(crate::testing::Memory::default());
    let endpoint = crate::oci::endpoint::Endpoint::new(memory, Arc::default());
    let router: Router = crate::http::router(endpoint, node, owned(seeds), &requests).route("/extra", get(|| async {}));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start(listener, router, 8);
    let ask = async |path: &str| {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    ask("/v2/").await;
    let answer = ask(path).await;
    server.stop(std::time::Duration::from_secs(30)).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_node_is_ready_whether_it_has_joined_or_not_and_says_which() {
    for (members, seeds, unreached, said) in [
        (1, &[][..], &[][..], "no seeds configured, members: 1"),
        (3, &["a:1"][..], &[][..], "ready: joined, members: 3"),
        (3, &["a:1", "b:1"][..], &["b:1"][..], "ready: joined, members: 3, no answer yet from b:1"),
        (1, &["a:1"][..], &["a:1"][..], "ready: not joined yet, no answer from a:1"),
    ] {
        let (head, body) = page("/readyz", members, seeds, unreached).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(body.contains(said), "{body}");
    }
}

#[tokio::test]
async fn the_status_is_an_object_with_the_members() {
    let (head, body) = page("/status", 2, &["a:1"], &["a:1"]).await;
    assert!(head.contains("content-type: application/json"));
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        status,
        json!({
            "id": "00".repeat(16),
            "swarm": "127.0.0.1:5001",
            "members": [
                {"id": "00".repeat(16), "address": "127.0.0.1:5001"},
                {"id": "01".repeat(16), "address": "127.0.0.1:5001"},
            ],
            "seeds_unreached": ["a:1"],
        })
    );
}

#[tokio::test]
async fn the_metrics_have_the_engines_values_and_the_servers_own() {
    let (head, body) = page("/metrics", 1, &[], &[]).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    for line in [
        "shoal_pieces_stored_total 7",
        "shoal_members_alive 3",
        "http_request_duration_seconds_count{handler=\"v2\",method=\"GET\",code=\"200\"} 1",
        "http_requests_inflight{handler=\"v2\"} 0",
        "http_requests_inflight{handler=\"metrics\"} 1",
        "upstream_http_requests_total{registry=\"r.example\",method=\"GET\",status=\"200\"} 1",
        "# EOF",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} is missing in\n{body}");
    }
}

#[tokio::test]
async fn the_process_is_alive() {
    assert_eq!(page("/livez", 1, &[], &[]).await.1, "ok\n");
}

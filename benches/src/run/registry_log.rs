//! What docker-registry's log says that it sent: one line of JSON for each answered request, written when its answer ends.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;

use crate::result::UpstreamResult;

/// The fields of a line that count.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "http.request.method")]
    method: String,
    #[serde(rename = "http.request.uri")]
    uri: String,
    #[serde(rename = "http.response.status")]
    status: u16,
    #[serde(rename = "http.response.written")]
    written: u64,
}

/// Adds up the log in the file `path`, from the byte `from` on.
pub(crate) fn add_up(path: &Path, from: u64) -> anyhow::Result<UpstreamResult> {
    let error = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(error)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from)).with_context(error)?;
    let mut sum = UpstreamResult::default();
    for line in BufReader::new(file).lines() {
        count(&mut sum, &line.with_context(error)?);
    }
    Ok(sum)
}

fn count(sum: &mut UpstreamResult, line: &str) {
    // Other lines, about the registry's start for example, lack the fields.
    let Ok(line) = serde_json::from_str::<Line>(line) else { return };
    sum.requests += 1;
    if line.uri.contains("/manifests/") {
        sum.manifest_requests += 1;
    }
    if line.uri.contains("/blobs/") {
        sum.blob_requests += 1;
        if line.method == "GET" && line.status < 300 {
            sum.blob_bytes += line.written;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, uri: &str, status: u16, written: u64) -> String {
        format!(
            r#"{{"http.request.method":"{method}","http.request.uri":"{uri}","http.response.status":{status},"http.response.written":{written},"msg":"response completed"}}"#
        )
    }

    #[test]
    fn bodies_of_blobs_count_and_other_answers_are_requests() {
        let mut sum = UpstreamResult::default();
        for text in [
            line("GET", "/v2/", 200, 2),
            line("HEAD", "/v2/a/manifests/v1", 200, 500),
            line("GET", "/v2/a/manifests/sha256:00", 200, 500),
            line("GET", "/v2/a/blobs/sha256:11", 200, 1000),
            line("GET", "/v2/a/blobs/sha256:11?x=1", 206, 50),
            line("HEAD", "/v2/a/blobs/sha256:11", 200, 0),
            line("GET", "/v2/a/blobs/sha256:22", 404, 120),
            r#"{"msg":"listening on [::]:5000"}"#.to_owned(),
            "not JSON".to_owned(),
        ] {
            count(&mut sum, &text);
        }
        let expected = UpstreamResult { blob_bytes: 1050, blob_requests: 4, manifest_requests: 2, requests: 7 };
        assert_eq!(sum, expected);
    }

    #[test]
    fn what_was_logged_before_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let before = line("GET", "/v2/a/blobs/sha256:11", 200, 7) + "\n";
        std::fs::write(&path, before.clone() + &line("GET", "/v2/a/blobs/sha256:11", 200, 5)).unwrap();
        assert_eq!(add_up(&path, 0).unwrap().blob_bytes, 12);
        assert_eq!(add_up(&path, before.len() as u64).unwrap().blob_bytes, 5);
    }
}

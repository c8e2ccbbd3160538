//! Bytes of content: range requests, and what registries make of them.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::Response;
use shoal_runtime::{ContentKind, Digest, UpstreamBody, UpstreamFailure, UpstreamSource};

use super::{RegistryClient, failure::failure_of, resolve::MANIFEST_TYPES};
use crate::registries::Endpoint;

impl RegistryClient {
    pub(super) async fn fetch_range(
        &self,
        source: &UpstreamSource,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure> {
        if range.is_empty() {
            return Ok(UpstreamBody { whole: false, stream: Box::pin(stream::empty()) });
        }
        let mut failure = UpstreamFailure::NoUpstream;
        let candidates = self.candidates(&source.registry, &source.repository);
        for endpoint in &candidates.endpoints {
            match self.fetch_at(endpoint, source, digest, &range).await {
                Ok(body) => return Ok(body),
                Err(error) => failure = error,
            }
            tracing::debug!(%digest, base = %endpoint.base, ?failure, "a range was not fetched");
        }
        Err(candidates.failure(failure))
    }

    async fn fetch_at(
        &self,
        endpoint: &Endpoint,
        source: &UpstreamSource,
        digest: &Digest,
        range: &Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure> {
        let (tail, headers) = match source.kind {
            ContentKind::Manifest => (format!("manifests/{digest}"), manifest_headers(&source.media_type)),
            ContentKind::Blob => (format!("blobs/{digest}"), range_headers(range)),
        };
        let answer = self.send(&source.registry, endpoint, Method::GET, &tail, headers).await?;
        let status = answer.response.status();
        match status {
            StatusCode::PARTIAL_CONTENT => partial_body(answer.response, range),
            StatusCode::OK => Ok(whole_body(answer.response, source.kind, range)),
            _ => Err(failure_of(status, answer.response.headers())),
        }
    }
}

/// Registries do not serve ranges of manifests, and some refuse the header.
fn manifest_headers(media_type: &str) -> HeaderMap {
    let told = HeaderValue::from_str(&format!("{media_type}, */*")).ok().filter(|_| !media_type.is_empty());
    HeaderMap::from_iter([(header::ACCEPT, told.unwrap_or(HeaderValue::from_static(MANIFEST_TYPES)))])
}

fn range_headers(range: &Range<u64>) -> HeaderMap {
    let text = format!("bytes={}-{}", range.start, range.end - 1);
    HeaderMap::from_iter(HeaderValue::from_str(&text).ok().map(|value| (header::RANGE, value)))
}

fn partial_body(response: Response, range: &Range<u64>) -> Result<UpstreamBody, UpstreamFailure> {
    let answered = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    if answered.and_then(read_content_range).as_ref() != Some(range) {
        tracing::warn!(url = %response.url(), ?range, ?answered, "a registry answers with another range than it was asked for");
        return Err(UpstreamFailure::Unavailable);
    }
    Ok(UpstreamBody { whole: false, stream: Box::pin(ExactBody::new(response, Some(range.end - range.start))) })
}

/// A 200 to a range starts at byte 0. Where that is also all that was asked for, the answer is as good as a 206.
fn whole_body(response: Response, kind: ContentKind, range: &Range<u64>) -> UpstreamBody {
    let length = response.content_length();
    let asked = range.end - range.start;
    let is_the_range =
        range.start == 0 && (length == Some(asked) || (kind == ContentKind::Manifest && length.is_none()));
    let expected = if is_the_range { Some(asked) } else { length };
    UpstreamBody { whole: !is_the_range, stream: Box::pin(ExactBody::new(response, expected)) }
}

/// Reads `bytes <first>-<last>/<total>`.
fn read_content_range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.trim().strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

/// Reads a small body of at most `limit` bytes.
pub(super) async fn read_bounded(response: Response, limit: u64) -> Result<Vec<u8>, UpstreamFailure> {
    let mut stream = ExactBody::new(response, None);
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await.transpose()? {
        if (body.len() + bytes.len()) as u64 > limit {
            tracing::warn!(limit, "a registry's answer is larger than it may be");
            return Err(UpstreamFailure::WrongContent);
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// A body that has exactly the expected number of bytes, or ends with an error.
struct ExactBody {
    /// `None` after its end.
    stream: Option<Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>>,
    /// Bytes to come; `None` where the registry did not say.
    remaining: Option<u64>,
}

impl ExactBody {
    fn new(response: Response, length: Option<u64>) -> Self {
        Self { stream: Some(Box::pin(response.bytes_stream())), remaining: length }
    }

    fn end(&mut self, failed: bool) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        self.stream = None;
        Poll::Ready(failed.then_some(Err(UpstreamFailure::Unavailable)))
    }
}

impl Stream for ExactBody {
    type Item = Result<Bytes, UpstreamFailure>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = self.get_mut();
        let Some(stream) = &mut body.stream else {
            return Poll::Ready(None);
        };
        if body.remaining == Some(0) {
            return body.end(false);
        }
        match ready!(stream.as_mut().poll_next(context)) {
            Some(Ok(mut bytes)) => {
                if let Some(remaining) = &mut body.remaining {
                    // More than was asked for is cut off.
                    bytes.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
                    *remaining -= bytes.len() as u64;
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a registry's body broke off");
                body.end(true)
            }
            None => {
                let short = body.remaining.is_some();
                body.end(short)
            }
        }
    }
}

#[cfg(test)]
mod unit_tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(read_content_range("bytes 0-9/100"), Some(0..10));
        assert_eq!(read_content_range("bytes 5-5/*"), Some(5..6));
        for wrong in ["", "bytes", "bytes */100", "bytes 9-0/100", "items 0-9/100", "bytes 0-18446744073709551615/1"] {
            assert_eq!(read_content_range(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_content_range_is_read_without_panic(text in "(bytes )?[0-9\\-/*]{0,50}|\\PC*") {
            let _ = read_content_range(&text);
        }
    }
}

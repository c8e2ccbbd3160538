//! Errors as the distribution API writes them.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shoal_runtime::{BlobError, ContentKind, ResolveError, UpstreamFailure};

use super::path::PathError;

/// An error of the distribution API: a status and a body of `{"errors":[{"code","message","detail"}]}`.
///
/// Statuses are chosen for containerd: any of 400 and above makes it ask the next host. 408 and 429 would be repeated
/// at once on the same host, and a challenge with 401 would make it hand over pull secrets; none of them occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u16>,
}

impl OciError {
    /// Neither this node, nor the cluster, nor an upstream has it: 404.
    pub fn unknown(kind: ContentKind, message: impl Into<String>) -> Self {
        let code = match kind {
            ContentKind::Manifest => "MANIFEST_UNKNOWN",
            ContentKind::Blob => "BLOB_UNKNOWN",
        };
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// It cannot be delivered now; containerd goes on with its next host: 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
    }

    /// A method that changes things: 405.
    pub fn unsupported() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "only GET and HEAD are served")
    }

    /// The `ns` parameter is not a host: 400.
    pub fn invalid_registry() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", "ns is not a registry host, as host or host:port")
    }

    /// What a failure of the upstream means to the client.
    pub fn upstream(failure: UpstreamFailure, kind: ContentKind) -> Self {
        match failure {
            UpstreamFailure::NotFound => Self::unknown(kind, "the registry does not have it"),
            UpstreamFailure::NoUpstream => {
                Self::unknown(kind, "the cluster does not have it, and no registry is known")
            }
            UpstreamFailure::Denied => Self::new(
                StatusCode::FORBIDDEN,
                "DENIED",
                "the registry refuses it; check configs.<host>.auth in registries.yaml",
            ),
            UpstreamFailure::RateLimited { retry_after_s } => Self {
                retry_after_s: Some(retry_after_s),
                ..Self::unavailable("the registry limits the rate of requests")
            },
            UpstreamFailure::Unavailable => Self::unavailable("neither the cluster nor the registry delivers it"),
            UpstreamFailure::WrongContent => Self::unavailable("the registry's content does not have its digest"),
        }
    }

    /// What a failed name query means to the client.
    pub fn resolve(error: ResolveError, kind: ContentKind) -> Self {
        match error {
            ResolveError::Upstream(failure) => Self::upstream(failure, kind),
            ResolveError::Stopping => Self::unavailable(error.to_string()),
        }
    }

    /// What a failed read means to the client, as long as no byte was sent.
    pub fn read(error: &BlobError, kind: ContentKind) -> Self {
        match error {
            BlobError::Unavailable(failure) => Self::upstream(*failure, kind),
            other => Self::unavailable(other.to_string()),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_s: None }
    }
}

impl From<PathError> for OciError {
    fn from(error: PathError) -> Self {
        let (status, code) = match error {
            PathError::Unknown => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            PathError::Repository | PathError::Tag => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            PathError::Digest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for OciError {
    fn into_response(self) -> Response<Body> {
        let error = serde_json::json!({"code": self.code, "message": self.message, "detail": null});
        let body = serde_json::json!({"errors": [error]}).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body_of(error: OciError) -> serde_json::Value {
        let response = error.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn the_body_is_a_list_of_code_message_and_detail() {
        let body = body_of(OciError::unknown(ContentKind::Blob, "gone")).await;
        assert_eq!(body, serde_json::json!({"errors": [{"code": "BLOB_UNKNOWN", "message": "gone", "detail": null}]}));
    }

    #[test]
    fn a_busy_registry_is_never_reported_with_a_status_that_containerd_repeats_at_once() {
        for kind in [ContentKind::Manifest, ContentKind::Blob] {
            for failure in [
                UpstreamFailure::NotFound,
                UpstreamFailure::Denied,
                UpstreamFailure::RateLimited { retry_after_s: 7 },
                UpstreamFailure::Unavailable,
                UpstreamFailure::WrongContent,
                UpstreamFailure::NoUpstream,
            ] {
                let response = OciError::upstream(failure, kind).into_response();
                assert!(![401, 408, 429].contains(&response.status().as_u16()), "{failure:?}");
                assert!(response.status().as_u16() >= 400, "{failure:?}");
                assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
            }
        }
        let limited = OciError::upstream(UpstreamFailure::RateLimited { retry_after_s: 7 }, ContentKind::Blob);
        assert_eq!(limited.into_response().headers()[header::RETRY_AFTER], "7");
    }
}

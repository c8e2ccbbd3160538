//! What a registry's refusal means to the swarm.

use std::time::SystemTime;

use axum::http::{HeaderMap, StatusCode, header};
use shoal_runtime::UpstreamFailure;

/// Seconds to wait where a registry limits the rate and does not say for how long.
const RETRY_AFTER_DEFAULT_S: u16 = 10;

/// The failure behind a status that is not a success.
pub(super) fn failure_of(status: StatusCode, headers: &HeaderMap) -> UpstreamFailure {
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            UpstreamFailure::RateLimited { retry_after_s: retry_after(headers).unwrap_or(RETRY_AFTER_DEFAULT_S) }
        }
        StatusCode::SERVICE_UNAVAILABLE => match retry_after(headers) {
            Some(retry_after_s) => UpstreamFailure::RateLimited { retry_after_s },
            None => UpstreamFailure::Unavailable,
        },
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => UpstreamFailure::Denied,
        StatusCode::REQUEST_TIMEOUT | StatusCode::RANGE_NOT_SATISFIABLE => UpstreamFailure::Unavailable,
        status if status.is_client_error() => UpstreamFailure::NotFound,
        _ => UpstreamFailure::Unavailable,
    }
}

/// Seconds of a `Retry-After` header, which holds a number or a date.
fn retry_after(headers: &HeaderMap) -> Option<u16> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(u16::try_from(seconds).unwrap_or(u16::MAX));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let wait = date.duration_since(SystemTime::now()).unwrap_or_default();
    Some(u16::try_from(wait.as_secs()).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, retry_after: Option<&str>) -> UpstreamFailure {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        }
        failure_of(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn each_status_has_its_consequence() {
        assert_eq!(failure(401, None), UpstreamFailure::Denied);
        assert_eq!(failure(403, None), UpstreamFailure::Denied);
        assert_eq!(failure(404, None), UpstreamFailure::NotFound);
        assert_eq!(failure(416, None), UpstreamFailure::Unavailable);
        assert_eq!(failure(500, None), UpstreamFailure::Unavailable);
        assert_eq!(failure(503, None), UpstreamFailure::Unavailable);
        assert_eq!(failure(302, None), UpstreamFailure::Unavailable);
    }

    #[test]
    fn a_rate_limit_says_how_long_to_wait() {
        assert_eq!(failure(429, Some("7")), UpstreamFailure::RateLimited { retry_after_s: 7 });
        assert_eq!(failure(429, Some("99999999")), UpstreamFailure::RateLimited { retry_after_s: u16::MAX });
        assert_eq!(failure(503, Some("3")), UpstreamFailure::RateLimited { retry_after_s: 3 });
        let past = failure(429, Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(past, UpstreamFailure::RateLimited { retry_after_s: 0 });
        for unreadable in [None, Some("soon")] {
            let expected = UpstreamFailure::RateLimited { retry_after_s: RETRY_AFTER_DEFAULT_S };
            assert_eq!(failure(429, unreadable), expected);
        }
    }
}

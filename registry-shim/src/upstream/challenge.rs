//! `WWW-Authenticate` (RFC 9110, section 11.6.1) as registries use it.

use axum::http::{HeaderMap, header};

/// A way to log in that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from a token service (distribution specification, "Token Authentication").
    Bearer {
        /// URL of the token service.
        realm: String,
        /// The registry's name there.
        service: Option<String>,
        /// What the token has to allow.
        scope: Option<String>,
    },
}

/// All challenges that are understood, in order.
pub(super) fn read_challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(header::WWW_AUTHENTICATE);
    texts.iter().filter_map(|value| value.to_str().ok()).flat_map(read_header).collect()
}

/// One header may hold several challenges: `Basic realm="x", Bearer realm="y",service="z"`.
fn read_header(text: &str) -> Vec<Challenge> {
    let mut schemes: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in split_outside_quotes(text) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (scheme, key) = match name.trim().split_once(char::is_whitespace) {
            Some((scheme, key)) => (Some(scheme), key.trim()),
            None if part.contains('=') => (None, name.trim()),
            None => (Some(name.trim()), ""),
        };
        if let Some(scheme) = scheme {
            schemes.push((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let Some((_, parameters)) = schemes.last_mut()
            && !key.is_empty()
        {
            parameters.push((key.to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    schemes.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, &parameters)).collect()
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let parameter = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope"),
        }),
        _ => None,
    }
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |character| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && character == '\\';
        if character == '"' && !was_escaped {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn the_forms_that_registries_send() {
        assert_eq!(
            read_header(
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#
            ),
            [bearer("https://auth.example/token", Some("r.example"), Some("repository:a/b:pull,push"))]
        );
        assert_eq!(
            read_header("bearer realm=https://a.example/t?x=1"),
            [bearer("https://a.example/t?x=1", None, None)]
        );
        assert_eq!(read_header(r#"Basic realm="a, b""#), [Challenge::Basic]);
        assert_eq!(read_header("Basic"), [Challenge::Basic]);
        assert_eq!(
            read_header(r#"Basic realm="x", Negotiate, Bearer realm="y\"z" , service="s""#),
            [Challenge::Basic, bearer("y\"z", Some("s"), None)]
        );
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for text in ["", ",", "=", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "realm=\"x\""] {
            assert_eq!(read_header(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(text in "(Bearer|Basic)?[ -~]{0,60}|\\PC*") {
            let _ = read_header(&text);
        }
    }
}

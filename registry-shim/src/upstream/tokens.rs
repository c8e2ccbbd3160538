//! Logins: one for each endpoint and repository, fetched once however many requests need it, kept until it expires.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use shoal_runtime::UpstreamFailure;
use tokio::time::Instant;
use url::Url;

use super::{
    challenge::Challenge,
    failure::failure_of,
    fetch::read_bounded,
    transport::{Call, Transport},
};
use crate::{
    bounded::BoundedMap,
    registries::{Credentials, Endpoint},
};

/// Logins that are kept.
const LOGINS_MAX: usize = 1024;

/// Largest answer of a token service, in bytes.
const TOKEN_ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Life of a token whose service does not say; shorter ones are not believed (distribution specification).
const TOKEN_LIFE_MIN_S: u64 = 60;

/// Longest life of a token that is believed.
const TOKEN_LIFE_MAX_S: u64 = 24 * 3600;

/// The logins of this process.
#[derive(Debug)]
pub(super) struct Tokens {
    logins: Mutex<BoundedMap<LoginKey, Arc<Login>>>,
}

/// Base URL and repository: tokens are given for one repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LoginKey {
    base: String,
    repository: String,
}

/// The lock is held while a token is fetched, so that others wait for it.
type Login = tokio::sync::Mutex<Option<Grant>>;

#[derive(Clone, Debug)]
struct Grant {
    authorization: HeaderValue,
    /// `None` for a login that does not expire.
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { logins: Mutex::new(BoundedMap::new(LOGINS_MAX)) }
    }
}

impl Tokens {
    /// The `Authorization` that worked before. Waits while another request fetches one.
    pub(super) async fn current(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let login = self.logins.lock().unwrap_or_else(PoisonError::into_inner).get(&key_of(endpoint)).cloned()?;
        let grant = login.lock().await;
        grant.as_ref().filter(|grant| grant.is_fresh()).map(|grant| grant.authorization.clone())
    }

    /// A login after `rejected` was answered with `challenges`.
    pub(super) async fn renew(
        &self,
        endpoint: &Endpoint,
        rejected: Option<&HeaderValue>,
        challenges: &[Challenge],
        credentials: Option<&Credentials>,
        transport: &Transport,
        registry: &str,
    ) -> Result<HeaderValue, UpstreamFailure> {
        let login = self.login(endpoint);
        let mut grant = login.lock().await;
        if let Some(grant) = grant.as_ref()
            && grant.is_fresh()
            && Some(&grant.authorization) != rejected
        {
            return Ok(grant.authorization.clone());
        }
        *grant = None;
        let asked = Asked { endpoint, credentials, transport, registry };
        let granted = asked.log_in(challenges).await?;
        if rejected == Some(&granted.authorization) {
            return Err(UpstreamFailure::Denied);
        }
        let authorization = granted.authorization.clone();
        *grant = Some(granted);
        Ok(authorization)
    }

    fn login(&self, endpoint: &Endpoint) -> Arc<Login> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key_of(endpoint);
        if let Some(login) = logins.get(&key) {
            return login.clone();
        }
        let login = Arc::new(Login::default());
        logins.insert(key, login.clone());
        login
    }
}

fn key_of(endpoint: &Endpoint) -> LoginKey {
    LoginKey { base: endpoint.base.to_string(), repository: endpoint.repository.clone() }
}

impl Grant {
    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| expires > Instant::now())
    }
}

/// One login that is being made.
struct Asked<'a> {
    endpoint: &'a Endpoint,
    credentials: Option<&'a Credentials>,
    transport: &'a Transport,
    registry: &'a str,
}

impl Asked<'_> {
    /// Takes a token where one is offered, as containerd does.
    async fn log_in(&self, challenges: &[Challenge]) -> Result<Grant, UpstreamFailure> {
        for challenge in challenges {
            if let Challenge::Bearer { realm, service, scope } = challenge {
                return self.fetch_token(realm, service.as_deref(), scope.as_deref()).await;
            }
        }
        match self.credentials {
            Some(Credentials::Password { username, password }) if challenges.contains(&Challenge::Basic) => {
                Ok(Grant { authorization: basic(username, password)?, expires: None })
            }
            _ => Err(UpstreamFailure::Denied),
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Grant, UpstreamFailure> {
        let realm = self.checked_realm(realm)?;
        let default_scope = format!("repository:{}:pull", self.endpoint.repository);
        let mut parameters = vec![("scope", scope.unwrap_or(&default_scope))];
        parameters.extend(service.map(|service| ("service", service)));
        let (call, form) = self.token_call(realm, parameters)?;
        let asked = Instant::now();
        let answer = self.transport.send_form(&call, form).await.map_err(|error| {
            tracing::warn!(registry = self.registry, url = %call.url, %error, "the token service was not reached");
            UpstreamFailure::Unavailable
        })?;
        let status = answer.response.status();
        if !status.is_success() {
            tracing::warn!(registry = self.registry, url = %call.url, %status, "the token service refuses");
            return Err(failure_of(status, answer.response.headers()));
        }
        let body = read_bounded(answer.response, TOKEN_ANSWER_BYTES_MAX).await?;
        grant_of(&body, asked)
    }

    /// `GET` with the parameters in the query, or for an identity token `POST` with them in a form (OAuth 2).
    fn token_call<'a>(
        &'a self,
        mut realm: Url,
        mut parameters: Vec<(&'a str, &'a str)>,
    ) -> Result<(Call<'a>, Option<String>), UpstreamFailure> {
        let mut authorization = None;
        let mut form = None;
        match self.credentials {
            Some(Credentials::IdentityToken(token)) => {
                parameters.extend([("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "shoal")]);
                form = Some(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish());
            }
            Some(Credentials::Password { username, password }) => {
                authorization = Some(basic(username, password)?);
                realm.query_pairs_mut().extend_pairs(parameters);
            }
            None => {
                realm.query_pairs_mut().extend_pairs(parameters);
            }
        }
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let mut headers = HeaderMap::new();
        if form.is_some() {
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form_type);
        }
        Ok((Call { registry: self.registry, method, url: realm, headers, authorization }, form))
    }

    /// The registry chooses the token service, but not that credentials travel in the clear.
    fn checked_realm(&self, realm: &str) -> Result<Url, UpstreamFailure> {
        let refuse = |reason: &str| {
            tracing::warn!(registry = self.registry, realm, reason, "the token service is not used");
            UpstreamFailure::Denied
        };
        let realm = Url::parse(realm).map_err(|_| refuse("not a URL"))?;
        match (self.endpoint.base.scheme(), realm.scheme()) {
            (_, "https") | ("http", "http") => Ok(realm),
            _ => Err(refuse("not https")),
        }
    }
}

fn grant_of(body: &[u8], asked: Instant) -> Result<Grant, UpstreamFailure> {
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| UpstreamFailure::Unavailable)?;
    let token =
        answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or(UpstreamFailure::Denied)?;
    let life_s = answer.expires_in.unwrap_or(0).clamp(TOKEN_LIFE_MIN_S, TOKEN_LIFE_MAX_S);
    Ok(Grant {
        authorization: secret_header(&format!("Bearer {token}"))?,
        // A tenth early, so that a token does not expire on its way.
        expires: Some(asked + Duration::from_secs(life_s - life_s / 10)),
    })
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, UpstreamFailure> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret_header(text: &str) -> Result<HeaderValue, UpstreamFailure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| UpstreamFailure::Denied)?;
    value.set_sensitive(true);
    Ok(value)
}

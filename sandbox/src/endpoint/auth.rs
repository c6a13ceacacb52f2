//! The endpoint API's login: one application token, bearer tokens that look like JWTs, and the
//! lockout.
//!
//! Documented: an application token gives an `auth_token` that is valid for 240 minutes and cannot
//! be renewed; a refused token is 401, usually with an empty body; three refusals in a row lock the
//! account for five minutes, which is answered as `TooManyRequests`. Inferred: that a login leaves
//! earlier tokens alone, that attempts while locked do not extend the lock, and that the lock
//! leaves existing tokens alone. Not modeled: username and password (deprecated).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    switches::Switches,
    wire::{self, Refusal},
};

const MAX_FAILURES: u32 = 3;
/// Most tokens remembered; the oldest are forgotten, and are unknown from then on.
const MAX_TOKENS: usize = 16_384;

pub(super) struct Auth {
    application_token: String,
    failures: u32,
    locked_until: Option<Instant>,
    /// When each expires.
    tokens: HashMap<Arc<str>, Instant>,
    /// In the order of issue, for forgetting the oldest.
    issued: VecDeque<Arc<str>>,
}

impl Auth {
    pub(super) fn new(application_token: String) -> Self {
        Self {
            application_token,
            failures: 0,
            locked_until: None,
            tokens: HashMap::new(),
            issued: VecDeque::new(),
        }
    }

    /// A new token for the application token in the body.
    pub(super) fn login(&mut self, body: &[u8], switches: &Switches) -> Result<String, Refusal> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(given) = body.get("application_token").and_then(Value::as_str) else {
            // Documented: malformed is 400. Inferred: that there is a body of the usual form.
            return Err(Refusal::error(
                StatusCode::BAD_REQUEST,
                wire::BAD_REQUEST,
                "Application token is missing.",
            ));
        };
        if let Some(until) = self.locked_until {
            if Instant::now() < until {
                return Err(Refusal::error(
                    StatusCode::UNAUTHORIZED,
                    wire::TOO_MANY_REQUESTS,
                    "Too many failed authentication attempts, try again later.",
                ));
            }
            self.unlock();
        }
        if given != self.application_token {
            self.failures += 1;
            if self.failures >= MAX_FAILURES {
                self.locked_until = Some(Instant::now() + Duration::from_millis(switches.lock_ms));
            }
            return Err(Refusal::Empty(StatusCode::UNAUTHORIZED));
        }
        self.failures = 0;
        Ok(self.issue(Duration::from_millis(switches.token_ttl_ms)))
    }

    /// Whether `Authorization: Bearer <token>` lets the request in.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(header) = headers.get(http::header::AUTHORIZATION) else {
            // Observed form; the words for this case are the gateway product's own.
            return Err(Refusal::Gateway {
                error_type: "UnauthorizedException",
                message: "Unauthorized",
            });
        };
        let token = header.to_str().ok().and_then(|header| header.strip_prefix("Bearer "));
        match token.and_then(|token| self.tokens.get(token)) {
            Some(expires) if Instant::now() < *expires => Ok(()),
            Some(_) => Err(Refusal::error(
                StatusCode::UNAUTHORIZED,
                wire::TOKEN_EXPIRED,
                "Token has expired.",
            )),
            None => Err(Refusal::Gateway {
                error_type: "AccessDeniedException",
                message: "token contains an invalid number of segments",
            }),
        }
    }

    /// Makes all tokens expired, or unknown.
    pub(super) fn expire(&mut self, forget: bool) {
        if forget {
            self.tokens.clear();
            self.issued.clear();
        } else {
            let now = Instant::now();
            self.tokens.values_mut().for_each(|expires| *expires = (*expires).min(now));
        }
    }

    pub(super) fn unlock(&mut self) {
        self.failures = 0;
        self.locked_until = None;
    }

    fn issue(&mut self, ttl: Duration) -> String {
        let token = jwt(ttl);
        let shared: Arc<str> = token.as_str().into();
        while self.issued.len() >= MAX_TOKENS {
            if let Some(oldest) = self.issued.pop_front() {
                self.tokens.remove(&oldest);
            }
        }
        self.issued.push_back(Arc::clone(&shared));
        self.tokens.insert(shared, Instant::now() + ttl);
        token
    }
}

/// Three parts like a real one, with `iat` and `exp` to read. The signature is random: the
/// simulator remembers the tokens that it issued.
fn jwt(ttl: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "jti": Uuid::new_v4().to_string(),
        "iss": "simulated-endpoint-api",
        "iat": now.as_secs(),
        // Rounded down: a client must not consider a token valid for longer than we do.
        "exp": (now + ttl).as_secs(),
    });
    let header = json!({"alg": "HS512", "typ": "JWT"});
    let signature = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    [
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        URL_SAFE_NO_PAD.encode(signature),
    ]
    .join(".")
}

//! SFT's login: one user, tokens that look like JWTs, renewal, and the lockout after wrong
//! passwords.
//!
//! Documented: the shapes, that the access token is short-lived and the refresh token long-lived,
//! and the codes for bad credentials, an incorrect value and a blocked account. Inferred: that a
//! login leaves earlier sessions alone, that a renewal leaves the earlier access token alone and
//! revokes the refresh token it used, that five failures in a row block, that a block leaves
//! existing tokens alone, and HTTP 200 with an envelope on login failures.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{switches::Switches, verdict::Verdict};
use crate::options::Options;

/// Wrong passwords in a row that block the account. The real number is not documented.
const MAX_FAILURES: u32 = 5;
/// Most tokens remembered; the oldest are forgotten, which their holders see as expiry.
const MAX_TOKENS: usize = 16_384;

pub(super) struct Auth {
    username: String,
    password: String,
    child_accounts: Vec<String>,
    failures: u32,
    tokens: HashMap<Arc<str>, (TokenKind, Instant)>,
    /// In the order of issue, for forgetting the oldest. May name tokens that are gone already.
    issued: VecDeque<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Access,
    Refresh,
}

pub(super) struct TokenPair {
    pub access: String,
    pub refresh: String,
}

impl Auth {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            username: options.username.clone(),
            password: options.password.clone(),
            child_accounts: options.child_accounts.clone(),
            failures: 0,
            tokens: HashMap::new(),
            issued: VecDeque::new(),
        }
    }

    /// Checks username, password and, if given, the target account.
    pub(super) fn login(
        &mut self,
        body: &Value,
        switches: &Switches,
    ) -> Result<TokenPair, Verdict> {
        let username = required(body, "username")?;
        let password = required(body, "password")?;
        if username != self.username {
            // There is no account to block for an unknown user.
            return Err(Verdict::BadCredentials);
        }
        if self.failures >= MAX_FAILURES {
            return Err(Verdict::AccountLocked);
        }
        if password != self.password {
            self.failures += 1;
            return Err(Verdict::BadCredentials);
        }
        self.failures = 0;
        match body.get("targetAccountId") {
            None => {}
            Some(Value::String(target)) if self.child_accounts.contains(target) => {}
            Some(_) => return Err(Verdict::IncorrectValue("targetAccountId".to_owned())),
        }
        Ok(self.issue(switches))
    }

    /// Exchanges a refresh token for a new pair; the token cannot be used again.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        switches: &Switches,
    ) -> Result<TokenPair, Verdict> {
        if !self.accepts(token, TokenKind::Refresh) {
            return Err(Verdict::Unauthorized);
        }
        self.tokens.remove(token);
        Ok(self.issue(switches))
    }

    pub(super) fn accepts(&self, token: &str, kind: TokenKind) -> bool {
        self.tokens.get(token).is_some_and(|(of, expires)| *of == kind && Instant::now() < *expires)
    }

    /// Makes all tokens of a kind expire now.
    pub(super) fn expire(&mut self, kind: TokenKind) {
        self.tokens.retain(|_, (of, _)| *of != kind);
    }

    /// Unblocks the account, as "forgot password" does.
    pub(super) fn unlock(&mut self) {
        self.failures = 0;
    }

    fn issue(&mut self, switches: &Switches) -> TokenPair {
        TokenPair {
            access: self.issue_one(TokenKind::Access, switches.token_ttl),
            refresh: self.issue_one(TokenKind::Refresh, switches.refresh_ttl),
        }
    }

    fn issue_one(&mut self, kind: TokenKind, ttl: Duration) -> String {
        let token = jwt(&self.username, kind, ttl);
        let shared: Arc<str> = token.as_str().into();
        while self.issued.len() >= MAX_TOKENS {
            if let Some(oldest) = self.issued.pop_front() {
                self.tokens.remove(&oldest);
            }
        }
        self.issued.push_back(Arc::clone(&shared));
        self.tokens.insert(shared, (kind, Instant::now() + ttl));
        token
    }
}

fn required<'a>(body: &'a Value, name: &str) -> Result<&'a str, Verdict> {
    body.get(name).and_then(Value::as_str).ok_or_else(|| Verdict::IncorrectValue(name.to_owned()))
}

/// Three parts like a real one, with `iat` and `exp` to read. The signature is random: the
/// simulator remembers the tokens that it issued.
fn jwt(username: &str, kind: TokenKind, ttl: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "sub": username,
        "typ": match kind { TokenKind::Access => "access", TokenKind::Refresh => "refresh" },
        "jti": Uuid::new_v4().to_string(),
        "iat": now.as_secs(),
        // Rounded down: a client must not consider a token valid for longer than we do.
        "exp": (now + ttl).as_secs(),
    });
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let signature = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    [
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        URL_SAFE_NO_PAD.encode(signature),
    ]
    .join(".")
}

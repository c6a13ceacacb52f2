//! The BICS SFT simulator: service profiles behind `/api/...`.
//!
//! What is modeled: login and token renewal with lockout, the four service profile operations with
//! their rules and result codes, and the cascades between the profiles of one account. What is not:
//! plans and child accounts themselves (a profile is only marked as used by one), rate limits, and
//! the vendor's own 30 s timeout (all three can be armed as faults).
//!
//! HTTP status: business success and business failure are both 200 (documented), and so is a
//! refused token (observed). A request that never reaches the application gets an HTML page:
//! unknown path 404, wrong method 405, body that is not JSON 400 (inferred). Paths are matched with
//! exact case (inferred).

mod auth;
mod distort;
mod seed;
mod services;
mod stamp;
mod state;
mod switches;
#[cfg(test)]
mod tests;
mod verdict;
mod wire;

use std::collections::HashMap;

use axum::extract::Query;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ALLOW};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};

pub(super) use self::switches::Expiry;
use self::{
    auth::{Auth, TokenKind},
    state::{Account, Profile},
    switches::{SwitchSettings, Switches},
    verdict::Verdict,
};
use super::{
    answer::Answer,
    fault_kind::FaultKind,
    lagging::Lagging,
    options::Options,
    simulator::{Call, Carry, Outcome, Simulator},
};

const LOGIN: &str = "login";
const REFRESH: &str = "RefreshToken";
const CREATE: &str = "CreateServiceProfile";
const GET: &str = "GetServiceProfile";
const MODIFY: &str = "ModifyServiceProfile";
const DELETE: &str = "DeleteServiceProfile";
const OPERATIONS: &[&str] = &[LOGIN, REFRESH, CREATE, GET, MODIFY, DELETE];

/// Longest id of a raw profile.
const MAX_ID: usize = 64;
/// Maximum length of the additional members of a raw profile.
const MAX_EXTRA: usize = 16 * 1_024;

pub(super) struct Sft {
    options: Options,
    /// Held only while a request is carried out, never over a wait.
    inner: Mutex<Inner>,
}

struct Inner {
    auth: Auth,
    account: Lagging<Account>,
    switches: Switches,
}

impl Sft {
    pub(super) fn new(options: Options) -> Self {
        let inner = Mutex::new(Inner::new(&options));
        Self { options, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn new(options: &Options) -> Self {
        Self {
            auth: Auth::new(options),
            account: Lagging::new(match options.seed_profiles {
                true => seed::account(options.max_profiles),
                false => Account::new(options.max_profiles),
            }),
            switches: Switches::new(options),
        }
    }
}

impl Simulator for Sft {
    fn name(&self) -> &'static str {
        "sft"
    }

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/api/")
    }

    fn operation(&self, call: &Call) -> Result<&'static str, Box<Answer>> {
        let name = call.uri.path().strip_prefix("/api/");
        let operation = OPERATIONS
            .iter()
            .copied()
            .find(|operation| Some(*operation) == name)
            .ok_or_else(|| Box::new(Answer::page(StatusCode::NOT_FOUND)))?;
        let method = match operation {
            GET | REFRESH => Method::GET,
            _ => Method::POST,
        };
        if call.method == method {
            return Ok(operation);
        }
        let mut refusal = Answer::page(StatusCode::METHOD_NOT_ALLOWED);
        if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
            refusal.headers.insert(ALLOW, allowed);
        }
        Err(Box::new(refusal))
    }

    fn carry(&self, operation: &'static str, call: &Call, carry: Carry) -> Outcome {
        let mut inner = self.lock();
        let saved = inner.account.before(carry, call.method == Method::GET);
        let done = inner.carry_out(operation, call);
        inner.account.after(carry, saved);
        match done {
            Ok(done) => done,
            Err(Refusal::NotJson) => {
                Outcome { answer: Answer::page(StatusCode::BAD_REQUEST), code: None, effect: None }
            }
            Err(Refusal::Verdict(verdict)) => {
                outcome(wire::envelope(&verdict, inner.switches.codes()), &verdict)
            }
        }
    }

    fn result(&self, code: &str, description: Option<&str>, outer: Option<&str>) -> Answer {
        Answer::json(StatusCode::OK, wire::any_result(code, description, outer))
    }

    fn distort(&self, fault: &FaultKind, body: &mut Value) {
        distort::apply(fault, body);
    }

    fn reset(&self) {
        *self.lock() = Inner::new(&self.options);
    }
}

/// What the control API uses.
impl Sft {
    pub(super) fn switches(&self) -> SwitchSettings {
        self.lock().switches.settings()
    }

    /// # Errors
    ///
    /// Says what is allowed; nothing has changed then.
    pub(super) fn set_switches(&self, wanted: &SwitchSettings) -> Result<(), String> {
        self.lock().switches.set(wanted)
    }

    pub(super) fn expire_tokens(&self, which: &Expiry) {
        let mut inner = self.lock();
        if which.access {
            inner.auth.expire(TokenKind::Access);
        }
        if which.refresh {
            inner.auth.expire(TokenKind::Refresh);
        }
    }

    pub(super) fn unlock(&self) {
        self.lock().auth.unlock();
    }

    /// All profiles as they are, in the order of ids.
    pub(super) fn raw_profiles(&self) -> Vec<Value> {
        self.lock().account.now.iter().map(|(id, profile)| with_id(id, profile)).collect()
    }

    pub(super) fn raw_profile(&self, id: &str) -> Option<Value> {
        self.lock().account.now.get(id).map(|profile| with_id(id, profile))
    }

    /// Inserts or replaces a profile without regard to the vendor's rules.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(super) fn put_raw_profile(&self, id: &str, profile: Profile) -> Result<Value, String> {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(format!("a profile id must have 1 to {MAX_ID} bytes"));
        }
        let extra: usize =
            profile.extra.iter().map(|(name, member)| name.len() + member.to_string().len()).sum();
        if extra > MAX_EXTRA {
            return Err(format!("`extra` must be at most {MAX_EXTRA} bytes"));
        }
        let shown = with_id(id, &profile);
        if self.lock().account.now.put(id, profile) {
            Ok(shown)
        } else {
            Err(format!("the account is full ({} profiles)", self.options.max_profiles))
        }
    }

    pub(super) fn delete_raw_profile(&self, id: &str) -> bool {
        self.lock().account.now.remove(id)
    }
}

/// Why a request was refused.
enum Refusal {
    /// The body is not JSON, so the application never saw it.
    NotJson,
    Verdict(Verdict),
}

impl From<Verdict> for Refusal {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl Inner {
    fn carry_out(&mut self, operation: &'static str, call: &Call) -> Result<Outcome, Refusal> {
        if self.switches.require_x_requested_with && !call.headers.contains_key("x-requested-with")
        {
            // Inferred: the code for "Incorrect value in ..."; no document says what happens.
            return Err(Verdict::IncorrectValue("X-Requested-With".to_owned()).into());
        }
        match operation {
            LOGIN => {
                let body = json(call)?;
                let pair = self.auth.login(&body, &self.switches)?;
                return Ok(tokens(wire::token_answer(&pair)));
            }
            REFRESH => {
                let token = bearer(&call.headers).ok_or(Verdict::Unauthorized)?;
                let pair = self.auth.refresh(token, &self.switches)?;
                return Ok(tokens(wire::token_answer(&pair)));
            }
            _ => {}
        }
        let token = bearer(&call.headers).ok_or(Verdict::Unauthorized)?;
        if !self.auth.accepts(token, TokenKind::Access) {
            return Err(Verdict::Unauthorized.into());
        }
        match operation {
            GET => self.get(call),
            CREATE => self.create(&json(call)?),
            MODIFY => self.modify(&json(call)?),
            _ => self.delete(&json(call)?),
        }
    }

    fn get(&self, call: &Call) -> Result<Outcome, Refusal> {
        let query = Query::<HashMap<String, String>>::try_from_uri(&call.uri)
            .map(|Query(query)| query)
            .unwrap_or_default();
        let profiles: Vec<Value> = match query.get("serviceProfileId") {
            Some(id) => self
                .account
                .now
                .get(id)
                .map(|profile| wire::read_model(id, profile))
                .into_iter()
                .collect(),
            None => {
                self.account.now.iter().map(|(id, profile)| wire::read_model(id, profile)).collect()
            }
        };
        if profiles.is_empty() {
            // Documented for a list; inferred for an unknown id.
            return Err(Verdict::NoData.into());
        }
        Ok(outcome(wire::list_answer(profiles, self.switches.codes()), &Verdict::GetSuccess))
    }

    fn create(&mut self, body: &Value) -> Result<Outcome, Refusal> {
        let fields = wire::profile_fields(body).ok_or(Verdict::CreateFailure)?;
        let id = self.account.now.create(fields)?;
        let mut done = self.success(&Verdict::CreateSuccess);
        if let super::answer::Content::Json(answer) = &mut done.answer.content {
            wire::add_created_id(answer, &id);
        }
        done.effect = Some(serde_json::json!({ "created": id }));
        Ok(done)
    }

    fn modify(&mut self, body: &Value) -> Result<Outcome, Refusal> {
        let fields = wire::profile_fields(body).ok_or(Verdict::ModifyFailure)?;
        let (id, cascaded) = self.account.now.modify(fields)?;
        let mut effect = serde_json::json!({ "modified": id });
        if let (Some(members), false) = (effect.as_object_mut(), cascaded.is_empty()) {
            members.insert("cascaded".to_owned(), cascaded.into());
        }
        let mut done = self.success(&Verdict::ModifySuccess);
        done.effect = Some(effect);
        Ok(done)
    }

    fn delete(&mut self, body: &Value) -> Result<Outcome, Refusal> {
        let fields = wire::profile_fields(body).ok_or(Verdict::DeleteFailure)?;
        let id = self.account.now.delete(fields)?;
        let mut done = self.success(&Verdict::DeleteSuccess);
        done.effect = Some(serde_json::json!({ "deleted": id }));
        Ok(done)
    }

    fn success(&self, verdict: &Verdict) -> Outcome {
        outcome(wire::envelope(verdict, self.switches.codes()), verdict)
    }
}

fn outcome(body: Value, verdict: &Verdict) -> Outcome {
    // Taken from the body, because some codes depend on switches.
    let code = body
        .pointer("/Response/resultParam/resultCode")
        .and_then(Value::as_str)
        .map_or_else(|| verdict.code().to_owned(), str::to_owned);
    Outcome { answer: Answer::json(StatusCode::OK, body), code: Some(code), effect: None }
}

fn tokens(body: Value) -> Outcome {
    Outcome { answer: Answer::json(StatusCode::OK, body), code: None, effect: None }
}

fn json(call: &Call) -> Result<Value, Refusal> {
    serde_json::from_slice(&call.body).map_err(|_| Refusal::NotJson)
}

/// The token of `X-Authorization: Bearer <token>` (documented). The standard `Authorization` header
/// is ignored.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

/// A profile as the control API shows it.
fn with_id(id: &str, profile: &Profile) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), id.into());
    if let Ok(Value::Object(rest)) = serde_json::to_value(profile) {
        members.extend(rest);
    }
    Value::Object(members)
}

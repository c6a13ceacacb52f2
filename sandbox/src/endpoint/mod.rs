//! The "endpoint" API simulator: service profiles behind `/api/v1/...`. emnify makes this API, and
//! BICS offers it under its own label.
//!
//! What is modeled: login by application token with its lockout, service profiles with their
//! services, the assignable traffic limits and the data limits, the catalog and the lookups that
//! profiles refer to, and the limits of requests and logins. What is not: endpoints themselves (a
//! profile only counts how many use it), quotas (`/quota`; the BICS documents do not have them),
//! changing the lookups, and login by username.
//!
//! An unknown path is 404 without a body, a method that a path does not have 405 without a body
//! (inferred).

mod auth;
mod catalog;
mod data_limits;
mod distort;
mod fields;
mod rate;
mod route;
mod seed;
mod state;
mod switches;
#[cfg(test)]
mod tests;
mod wire;

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, LOCATION},
};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    auth::Auth,
    rate::{Bucket, Windows},
    state::Account,
    switches::{Expiry, Switches},
    wire::Refusal,
};
use super::{
    answer::Answer,
    fault_kind::FaultKind,
    lagging::Lagging,
    options::Options,
    simulator::{Call, Carry, Outcome, Simulator},
    store::{self, Members, Seed},
};

/// Observed: `Location` names this host, no matter which host got the request.
const LOCATION_BASE: &str = "https://cdn.emnify.net/api/v1/service_profile/";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

pub(super) struct Endpoint {
    options: Options,
    /// Held only while a request is carried out, never over a wait.
    inner: Mutex<Inner>,
}

struct Inner {
    auth: Auth,
    account: Lagging<Account>,
    reads: Bucket,
    windows: Windows,
    switches: Switches,
}

impl Endpoint {
    pub(super) fn new(options: Options) -> Self {
        let inner = Mutex::new(Inner::new(&options));
        Self { options, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Simulator for Endpoint {
    fn name(&self) -> &'static str {
        "endpoint"
    }

    fn operations(&self) -> &'static [&'static str] {
        route::OPERATIONS
    }

    fn owns(&self, path: &str) -> bool {
        path == "/api/v1" || path.starts_with("/api/v1/")
    }

    fn operation(&self, call: &Call) -> Result<&'static str, Box<Answer>> {
        let route = route::find(call.uri.path())
            .ok_or_else(|| Box::new(Answer::empty(StatusCode::NOT_FOUND)))?;
        if let Some((_, operation)) = route.methods.iter().find(|(is, _)| *is == call.method) {
            return Ok(operation);
        }
        let allowed: Vec<&str> = route.methods.iter().map(|(method, _)| method.as_str()).collect();
        let mut refusal = Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
            refusal.headers.insert(ALLOW, allowed);
        }
        Err(Box::new(refusal))
    }

    fn carry(&self, operation: &'static str, call: &Call, carry: Carry) -> Outcome {
        let mut inner = self.lock();
        let saved = inner.account.before(carry, call.method == http::Method::GET);
        let done = inner.carry_out(operation, call);
        inner.account.after(carry, saved);
        let mut outcome = match done {
            Ok(outcome) => outcome,
            Err(refusal) => refusal.outcome(&inner.switches),
        };
        // Inferred: the gateway whose error header was observed stamps every answer.
        if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            outcome.answer.headers.insert(REQUEST_ID, id);
        }
        outcome
    }

    fn result(&self, code: &str, description: Option<&str>, _outer: Option<&str>) -> Answer {
        wire::any_result(code, description)
    }

    fn check_fault(&self, fault: &FaultKind) -> Result<(), String> {
        distort::check(fault)
    }

    fn distort(&self, fault: &FaultKind, body: &mut Value) {
        distort::apply(fault, body);
    }

    fn reset(&self) {
        *self.lock() = Inner::new(&self.options);
    }
}

/// What the control API uses.
impl Endpoint {
    pub(super) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// # Errors
    ///
    /// Says what is allowed; nothing has changed then.
    pub(super) fn set_switches(&self, wanted: Members) -> Result<(), String> {
        let mut inner = self.lock();
        let switches = store::changed(&inner.switches, wanted)?;
        switches.check()?;
        inner.switches = switches;
        Ok(())
    }

    pub(super) fn expire_tokens(&self, how: &Expiry) {
        self.lock().auth.expire(how.forget);
    }

    pub(super) fn unlock(&self) {
        self.lock().auth.unlock();
    }

    /// All profiles as they are, in the order of ids.
    pub(super) fn raw_profiles(&self) -> Vec<Value> {
        let inner = self.lock();
        inner
            .account
            .now
            .profiles
            .iter()
            .map(|(_, profile)| Value::Object(profile.clone()))
            .collect()
    }

    pub(super) fn raw_profile(&self, id: i64) -> Option<Value> {
        self.lock().account.now.profiles.get(id).cloned().map(Value::Object)
    }

    /// Inserts or replaces a profile verbatim: reads show only the members that it has.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(super) fn put_raw_profile(&self, id: i64, profile: Members) -> Result<Value, String> {
        store::check_size(&profile)?;
        let mut inner = self.lock();
        if !inner.account.now.profiles.put(id, profile) {
            return Err(format!("the account is full ({} profiles)", self.options.max_profiles));
        }
        Ok(inner.account.now.profiles.get(id).cloned().map(Value::Object).unwrap_or_default())
    }

    pub(super) fn delete_raw_profile(&self, id: i64) -> bool {
        self.lock().account.now.remove(id)
    }

    /// Adds many profiles and returns the first and the last id.
    ///
    /// # Errors
    ///
    /// Says what is allowed; nothing was added then.
    pub(super) fn seed(&self, seed: Seed) -> Result<Value, String> {
        let mut template = fields::new_profile();
        template.extend(seed.profile);
        store::check_size(&template)?;
        let is_named = template.get("name").is_some_and(Value::is_string);
        let mut inner = self.lock();
        let room = inner.account.now.profiles.room();
        if seed.count == 0 || seed.count > room {
            return Err(format!("`count` must be 1 to {room}, what the account has room for"));
        }
        let mut ids = Vec::new();
        for number in 1..=seed.count {
            let mut profile = template.clone();
            if !is_named {
                profile.insert("name".to_owned(), format!("Seeded {number:05}").into());
            }
            ids.extend(inner.account.now.profiles.add(profile));
        }
        Ok(json!({ "count": ids.len(), "first": ids.first(), "last": ids.last() }))
    }
}

impl Inner {
    fn new(options: &Options) -> Self {
        Self {
            auth: Auth::new(options.endpoint_application_token.clone()),
            account: Lagging::new(Account::new(options.max_profiles, options.seed_profiles)),
            reads: Bucket::default(),
            windows: Windows::default(),
            switches: Switches::new(options),
        }
    }

    fn carry_out(&mut self, operation: &'static str, call: &Call) -> Result<Outcome, Refusal> {
        let route = route::find(call.uri.path()).ok_or(Refusal::Empty(StatusCode::NOT_FOUND))?;
        let is_login = operation == route::AUTHENTICATE;
        if self.switches.rate_limit && !self.windows.take(is_login, &self.switches) {
            return Err(Refusal::Throttled);
        }
        if is_login {
            let token = self.auth.login(&call.body, &self.switches)?;
            return Ok(done(StatusCode::OK, Some(json!({ "auth_token": token })), None));
        }
        self.auth.check(&call.headers)?;
        let is_profile_read = [route::LIST, route::GET].contains(&operation);
        if is_profile_read && self.switches.rate_limit && !self.reads.take(&self.switches) {
            return Err(Refusal::Throttled);
        }
        let [profile, service, limit] = route.numbers()?;
        match operation {
            route::CREATE => self.create(call),
            route::PATCH => self.patch(profile, call),
            route::DELETE => {
                self.account.now.delete(profile)?;
                let effect = json!({ "deleted": profile.to_string() });
                Ok(done(StatusCode::NO_CONTENT, None, Some(effect)))
            }
            route::PUT_SERVICE => {
                self.account.now.put_service(profile, service)?;
                let effect = json!({ "attached": format!("{profile}/{service}") });
                Ok(done(StatusCode::NO_CONTENT, None, Some(effect)))
            }
            route::DELETE_SERVICE => {
                self.account.now.delete_service(profile, service)?;
                let effect = json!({ "detached": format!("{profile}/{service}") });
                Ok(done(StatusCode::NO_CONTENT, None, Some(effect)))
            }
            route::PUT_LIMIT => {
                let is_new = self.account.now.put_limit(profile, service, limit, &self.switches)?;
                let effect = json!({ "attached": format!("{profile}/{service}/{limit}") });
                Ok(done(StatusCode::OK, None, is_new.then_some(effect)))
            }
            route::DELETE_LIMIT => {
                self.account.now.delete_limit(profile, service, limit)?;
                let effect = json!({ "detached": format!("{profile}/{service}/{limit}") });
                Ok(done(StatusCode::OK, None, Some(effect)))
            }
            route::LIST_DATA_LIMITS
            | route::ADD_DATA_LIMIT
            | route::DELETE_DATA_LIMITS
            | route::DELETE_DATA_LIMIT => self.data_limits(operation, call, profile, limit),
            read => self.read(read, profile, service),
        }
    }

    fn data_limits(
        &mut self,
        operation: &'static str,
        call: &Call,
        profile: i64,
        limit: i64,
    ) -> Result<Outcome, Refusal> {
        let limits = self.account.now.data_limits(profile)?;
        match operation {
            route::ADD_DATA_LIMIT => {
                let added = limits.add(profile, &object(call)?)?;
                let effect = json!({ "attached": format!("{profile}/data/{added}") });
                Ok(done(StatusCode::CREATED, None, Some(effect)))
            }
            route::DELETE_DATA_LIMITS => {
                limits.clear(profile);
                let effect = json!({ "detached": format!("{profile}/data") });
                Ok(done(StatusCode::NO_CONTENT, None, Some(effect)))
            }
            route::DELETE_DATA_LIMIT => {
                limits.remove(profile, limit)?;
                let effect = json!({ "detached": format!("{profile}/data/{limit}") });
                Ok(done(StatusCode::NO_CONTENT, None, Some(effect)))
            }
            _ => Ok(done(StatusCode::OK, Some(limits.list(profile).into()), None)),
        }
    }

    fn read(&self, operation: &str, profile: i64, service: i64) -> Result<Outcome, Refusal> {
        let body = match operation {
            route::LIST => {
                let as_text = self.switches.list_used_count_as_text;
                let profiles = self.account.now.profiles.iter();
                profiles.map(|(_, profile)| wire::short_view(profile, as_text)).collect()
            }
            route::GET => Value::Object(self.account.now.get(profile)?.clone()),
            route::LIST_SERVICE_LIMITS => {
                catalog::find(catalog::SERVICE, service)
                    .ok_or(Refusal::Missing { what: "Service", id: service })?;
                catalog::limits_of(service).into()
            }
            lookup => {
                let kind = route::lookup(lookup).ok_or(Refusal::Empty(StatusCode::NOT_FOUND))?;
                catalog::list(kind).to_vec().into()
            }
        };
        Ok(done(StatusCode::OK, Some(body), None))
    }

    fn create(&mut self, call: &Call) -> Result<Outcome, Refusal> {
        let id = self.account.now.create(&object(call)?, &self.switches)?;
        let mut outcome =
            done(StatusCode::CREATED, None, Some(json!({ "created": id.to_string() })));
        if self.switches.create_location
            && let Ok(location) = HeaderValue::from_str(&format!("{LOCATION_BASE}{id}"))
        {
            outcome.answer.headers.insert(LOCATION, location);
        }
        Ok(outcome)
    }

    fn patch(&mut self, id: i64, call: &Call) -> Result<Outcome, Refusal> {
        self.account.now.patch(id, &object(call)?, &self.switches)?;
        // Documented: 201; observed on siblings: 204.
        let status =
            StatusCode::from_u16(self.switches.patch_status).unwrap_or(StatusCode::CREATED);
        Ok(done(status, None, Some(json!({ "modified": id.to_string() }))))
    }
}

fn done(status: StatusCode, body: Option<Value>, effect: Option<Value>) -> Outcome {
    let answer = match body {
        Some(body) => Answer::json(status, body),
        None => Answer::empty(status),
    };
    Outcome { answer, code: None, effect }
}

/// Inferred: a body that is not a JSON object is 400.
fn object(call: &Call) -> Result<Members, Refusal> {
    serde_json::from_slice(&call.body).map_err(|_| {
        Refusal::error(StatusCode::BAD_REQUEST, wire::BAD_REQUEST, "Cannot parse request body.")
    })
}

//! The PCC (SPCM) simulator: provisioning profiles behind `/pcc/spcm/provisionProfile`.
//!
//! What is modeled: Basic authentication with a tenant, the five operations with their rules and
//! status codes, and XML for clients that do not ask for JSON. What is not: subscribers and plans
//! themselves (a profile is only marked as used; plans are a list of names), permissions of users,
//! and a rule that exactly one profile is the default (no document states one).
//!
//! The documents show the paths without a prefix; links in them and public clients have the servlet
//! prefix `/spcm-rest-ws`: both work. A request that reaches no application gets an HTML page:
//! unknown path 404, wrong method 405 (inferred).

mod auth;
mod distort;
mod state;
mod switches;
#[cfg(test)]
mod tests;
mod wire;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HOST},
};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use self::{
    state::Tenant,
    switches::Switches,
    wire::{Format, Refusal},
};
use super::{
    answer::Answer,
    fault_kind::FaultKind,
    lagging::Lagging,
    options::Options,
    simulator::{Call, Carry, Outcome, Simulator},
    store::{self, Members, Seed},
};

const LIST: &str = "ListProfiles";
const GET: &str = "GetProfile";
const CREATE: &str = "CreateProfile";
const UPDATE: &str = "UpdateProfile";
const DELETE: &str = "DeleteProfile";
const OPERATIONS: &[&str] = &[LIST, GET, CREATE, UPDATE, DELETE];
const SERVLET: &str = "/spcm-rest-ws";
const PROFILES: &str = "/pcc/spcm/provisionProfile";

pub(super) struct Pcc {
    options: Options,
    /// Held only while a request is carried out, never over a wait.
    inner: Mutex<Inner>,
}

struct Inner {
    tenant: Lagging<Tenant>,
    switches: Switches,
}

impl Pcc {
    pub(super) fn new(options: Options) -> Self {
        let inner = Mutex::new(Inner::new(&options));
        Self { options, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Simulator for Pcc {
    fn name(&self) -> &'static str {
        "pcc"
    }

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn owns(&self, path: &str) -> bool {
        ["/pcc/", "/spcm-rest-ws/"].iter().any(|prefix| path.starts_with(prefix))
    }

    fn operation(&self, call: &Call) -> Result<&'static str, Box<Answer>> {
        let id = profile_id(call.uri.path())
            .ok_or_else(|| Box::new(Answer::page(StatusCode::NOT_FOUND)))?;
        let (methods, allowed): (&[(Method, &'static str)], _) = if id.is_empty() {
            (&[(Method::GET, LIST), (Method::POST, CREATE)], "GET, POST")
        } else {
            (
                &[(Method::GET, GET), (Method::PUT, UPDATE), (Method::DELETE, DELETE)],
                "GET, PUT, DELETE",
            )
        };
        if let Some((_, operation)) = methods.iter().find(|(method, _)| *method == call.method) {
            return Ok(operation);
        }
        let mut refusal = Answer::page(StatusCode::METHOD_NOT_ALLOWED);
        refusal.headers.insert(ALLOW, HeaderValue::from_static(allowed));
        Err(Box::new(refusal))
    }

    fn carry(&self, operation: &'static str, call: &Call, carry: Carry) -> Outcome {
        let mut inner = self.lock();
        let saved = inner.tenant.before(carry, call.method == Method::GET);
        let format = Format::asked(&call.headers, inner.switches.json_by_default);
        let done = auth::check(&self.options, &call.headers)
            .and_then(|()| inner.carry_out(operation, call, format));
        inner.tenant.after(carry, saved);
        match done {
            Ok(outcome) => outcome,
            Err(refusal) => refusal.outcome(format, inner.switches.error_body),
        }
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
impl Pcc {
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

    /// All profiles as they are, in the order of ids.
    pub(super) fn raw_profiles(&self) -> Vec<Value> {
        let inner = self.lock();
        inner
            .tenant
            .now
            .profiles
            .iter()
            .map(|(_, profile)| Value::Object(profile.clone()))
            .collect()
    }

    pub(super) fn raw_profile(&self, id: i64) -> Option<Value> {
        self.lock().tenant.now.profiles.get(id).cloned().map(Value::Object)
    }

    /// Inserts or replaces a profile verbatim: reads show only the members that it has. The member
    /// `sandbox_in_use` makes it one that cannot be deleted.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(super) fn put_raw_profile(&self, id: i64, profile: Members) -> Result<Value, String> {
        if profile.get(state::IN_USE).is_some_and(|flag| !flag.is_boolean()) {
            return Err(format!("`{}` must be true or false", state::IN_USE));
        }
        store::check_size(&profile)?;
        let mut inner = self.lock();
        if !inner.tenant.now.profiles.put(id, profile) {
            return Err(format!("the tenant is full ({} profiles)", self.options.max_profiles));
        }
        Ok(inner.tenant.now.profiles.get(id).cloned().map(Value::Object).unwrap_or_default())
    }

    pub(super) fn delete_raw_profile(&self, id: i64) -> bool {
        self.lock().tenant.now.profiles.remove(id)
    }

    /// Adds many profiles and returns the first and the last id.
    ///
    /// # Errors
    ///
    /// Says what is allowed; nothing was added then.
    pub(super) fn seed(&self, seed: Seed) -> Result<Value, String> {
        let name = seed.profile.get("name").and_then(Value::as_str).unwrap_or("Seeded").to_owned();
        let mut template = state::new_profile();
        template.retain(|_, member| !member.is_null());
        template.insert("defaultProfile".to_owned(), false.into());
        template.extend(seed.profile);
        store::check_size(&template)?;
        let mut inner = self.lock();
        let room = inner.tenant.now.profiles.room();
        if seed.count == 0 || seed.count > room {
            return Err(format!("`count` must be 1 to {room}, what the tenant has room for"));
        }
        let mut ids = Vec::new();
        for number in 1..=seed.count {
            let mut profile = template.clone();
            profile.insert("name".to_owned(), format!("{name} {number:05}").into());
            ids.extend(inner.tenant.now.profiles.add(profile));
        }
        Ok(json!({ "count": ids.len(), "first": ids.first(), "last": ids.last() }))
    }
}

impl Inner {
    fn new(options: &Options) -> Self {
        Self {
            tenant: Lagging::new(Tenant::new(options.max_profiles, options.seed_profiles)),
            switches: Switches::default(),
        }
    }

    fn carry_out(
        &mut self,
        operation: &'static str,
        call: &Call,
        format: Format,
    ) -> Result<Outcome, Refusal> {
        let Self { tenant: Lagging { now: tenant, .. }, switches } = self;
        if operation == LIST {
            let profiles: Vec<Value> = tenant
                .profiles
                .iter()
                .map(|(_, one)| shown(one, switches, &call.headers))
                .collect();
            let list = json!({"length": profiles.len(), "provisioningProfileDTOList": profiles});
            return Ok(done(format.answer(StatusCode::OK, list), None));
        }
        if operation == CREATE {
            let id = tenant.create(&object(call)?, switches)?;
            let effect = json!({ "created": id.to_string() });
            // Documented: either.
            let answer = if switches.create_status == 204 {
                Answer::empty(StatusCode::NO_CONTENT)
            } else {
                format.answer(StatusCode::CREATED, shown(tenant.get(id)?, switches, &call.headers))
            };
            return Ok(done(answer, Some(effect)));
        }
        // Inferred: an id that is not an integer is not found.
        let id = profile_id(call.uri.path())
            .and_then(|id| id.parse().ok())
            .ok_or(Refusal::Status(StatusCode::NOT_FOUND))?;
        match operation {
            DELETE => {
                tenant.delete(id)?;
                let effect = json!({ "deleted": id.to_string() });
                Ok(done(Answer::empty(StatusCode::NO_CONTENT), Some(effect)))
            }
            UPDATE => {
                tenant.update(id, &object(call)?, switches)?;
                let effect = json!({ "modified": id.to_string() });
                let body = shown(tenant.get(id)?, switches, &call.headers);
                Ok(done(format.answer(StatusCode::OK, body), Some(effect)))
            }
            _ => {
                let body = shown(tenant.get(id)?, switches, &call.headers);
                Ok(done(format.answer(StatusCode::OK, body), None))
            }
        }
    }
}

/// The id in a path as written; empty for the collection, `None` for an unknown path.
fn profile_id(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(SERVLET).unwrap_or(path).strip_prefix(PROFILES)?;
    let id = match rest {
        "" => "",
        // Documented: leaving out the id gives all, so the slash may stay.
        _ => rest.strip_prefix('/')?,
    };
    (!id.contains('/')).then_some(id)
}

/// A profile as reads show it.
fn shown(profile: &Members, switches: &Switches, headers: &HeaderMap) -> Value {
    let mut members = profile.clone();
    members.shift_remove(state::IN_USE);
    if switches.absent_as_null {
        for name in state::TEXTS {
            members.entry(name).or_insert(Value::Null);
        }
    }
    if switches.links {
        let host =
            headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost:8080");
        let id = members.get("id").map(Value::to_string).unwrap_or_default();
        let href = format!("http://{host}{SERVLET}{PROFILES}/{id}");
        members.insert(state::LINKS.to_owned(), json!({"self": {"href": href}}));
    }
    Value::Object(members)
}

fn done(answer: Answer, effect: Option<Value>) -> Outcome {
    Outcome { answer, code: None, effect }
}

/// The body of a write. Documented: 400 for what is malformed. Inferred: 415 for any content type
/// but JSON.
fn object(call: &Call) -> Result<Members, Refusal> {
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    if !wire::is_json(media_type) {
        return Err(Refusal::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    serde_json::from_slice(&call.body).map_err(|_| Refusal::Status(StatusCode::BAD_REQUEST))
}

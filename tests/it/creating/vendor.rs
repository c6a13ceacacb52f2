//! An endpoint API that carries requests out, or does what a test says in their place. It keeps
//! profiles as JSON, and shares nothing with the sandbox, which has no such faults.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use crate::kit::{
    double::{self, Answer, Double, OTHER, Seen, double, http},
    gateway::{Gateway, gateway},
};

/// The id of the next new profile.
pub const NEW: i64 = 101;

pub struct Vendor {
    pub gateway: Gateway,
    double: Double,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    profiles: BTreeMap<i64, Value>,
    created: i64,
    /// The answer to the next creation in place of the vendor's own, and whether it is carried out.
    create: VecDeque<(Answer, bool)>,
    /// The answers to the next steps, and whether they are carried out.
    steps: VecDeque<(Answer, bool)>,
    /// The answers to the next removals, which are not carried out.
    delete: VecDeque<Answer>,
    /// Another client's profile, which appears when the next creation arrives.
    appears: Option<(i64, &'static str)>,
    /// How many reads of single profiles do not find what is there.
    blind: usize,
    lists_fail: bool,
    /// How many lists do not show what was created yet.
    lists_lag: usize,
    /// After so many writes, this is the answer to reads of single profiles.
    get_after: Option<(usize, Answer)>,
    writes: usize,
    /// The members that another client sets when the next step arrives.
    meddling: Option<Value>,
}

/// A vendor with these profiles, and a gateway over it where every call has this long.
pub async fn vendor(time: &str, there: &[(i64, &str)]) -> Vendor {
    vendor_with(time, there, "").await
}

/// The same with these lines in the gateway's section.
pub async fn vendor_with(time: &str, there: &[(i64, &str)], lines: &str) -> Vendor {
    let profile = |(id, name): &(i64, &str)| (*id, object(*id, name));
    let profiles = there.iter().map(profile).collect();
    let state = Arc::new(Mutex::new(State { profiles, ..State::default() }));
    let (double, inside) = (double().await, Arc::clone(&state));
    double.always(OTHER, double::by(move |seen| inside.lock().unwrap().answer(seen)));
    let section = format!(
        "[backends.endpoint]\ndialect = \"endpoint\"\nbase_url = \"{}\"\n\
         auth_token = \"token-of-the-kit\"\nrequests_per_second = 100000\n\
         request_limit = \"off\"\n{lines}\n",
        double.base_url
    );
    let server = format!("default_timeout = \"{time}\"");
    let gateway = gateway().server(&server).section(&section).start().await;
    Vendor { gateway, double, state }
}

fn object(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "service": []})
}

/// An answer of the vendor without a body.
pub fn empty(status: u16) -> Answer {
    http(status, "application/json", "")
}

/// A creation's answer with this location.
pub fn located(location: &str) -> Answer {
    let headers = vec![("location".to_owned(), location.to_owned())];
    Answer::Http { status: 201, headers, body: Vec::new() }
}

/// A 429 that asks to come back after so many seconds.
pub fn throttled(seconds: u64) -> Answer {
    double::come_back(429, seconds)
}

/// A conflict in the vendor's form.
pub fn conflict() -> Answer {
    let body = json!({"error_code": 1405, "error_token": "Duplicated", "message": "twice"});
    http(409, "application/json", body.to_string())
}

impl Vendor {
    /// What the next creation is answered, and whether it is carried out.
    pub fn on_create(&self, answer: Answer, carried_out: bool) -> &Self {
        self.state().create.push_back((answer, carried_out));
        self
    }

    /// What the next step of a creation is answered, and whether it is carried out.
    pub fn on_step(&self, answer: Answer, carried_out: bool) -> &Self {
        self.state().steps.push_back((answer, carried_out));
        self
    }

    /// The next reads of single profiles find nothing.
    pub fn blind(&self, reads: usize) -> &Self {
        self.state().blind = reads;
        self
    }

    /// What the next removal is answered, which is not carried out.
    pub fn on_delete(&self, answer: Answer) -> &Self {
        self.state().delete.push_back(answer);
        self
    }

    /// Another client's profile appears when the next creation arrives.
    pub fn appears_with_the_creation(&self, theirs: (i64, &'static str)) -> &Self {
        self.state().appears = Some(theirs);
        self
    }

    /// Another client sets these members of the profile when the next step arrives.
    pub fn changes_with_the_step(&self, members: Value) -> &Self {
        self.state().meddling = Some(members);
        self
    }

    /// The account may not list profiles.
    pub fn lists_fail(&self) -> &Self {
        self.state().lists_fail = true;
        self
    }

    /// The next lists do not show yet what was created.
    pub fn lists_lag(&self, lists: usize) -> &Self {
        self.state().lists_lag = lists;
        self
    }

    /// After so many writes, this is the answer to reads of single profiles.
    pub fn on_get_after(&self, writes: usize, answer: Answer) -> &Self {
        self.state().get_after = Some((writes, answer));
        self
    }

    /// The profile as it is there.
    pub fn profile(&self, id: i64) -> Option<Value> {
        self.state().profiles.get(&id).cloned()
    }

    /// The ids of all profiles.
    pub fn ids(&self) -> Vec<i64> {
        self.state().profiles.keys().copied().collect()
    }

    /// The requests that could change something, without the common prefix.
    pub fn writes(&self) -> Vec<String> {
        let writes = self.double.seen().into_iter().filter(|seen| seen.method != "GET");
        writes.map(|seen| format!("{} {}", seen.method, short(&seen.path))).collect()
    }

    /// All requests, without the common prefix.
    pub fn requests(&self) -> Vec<String> {
        let line = |seen: Seen| format!("{} {}", seen.method, short(&seen.path));
        self.double.seen().into_iter().map(line).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn short(path: &str) -> &str {
    path.strip_prefix("/api/v1/").unwrap()
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let path: Vec<&str> = short(&seen.path).split('/').collect();
        self.writes += usize::from(seen.method != "GET");
        match (seen.method.as_str(), path.as_slice()) {
            ("GET", ["service_profile"]) if self.lists_fail => empty(403),
            ("GET", ["service_profile"]) => self.list(),
            ("GET", ["service_profile", id]) => self.get(id.parse().unwrap()),
            ("POST", ["service_profile"]) => self.post(seen),
            ("PUT", [_, id, "service", rest @ ..]) => {
                let (id, service) = (id.parse().unwrap(), rest[0].parse().unwrap());
                if let Some(members) = self.meddling.take() {
                    self.set(id, members);
                }
                match self.steps.pop_front() {
                    Some((answer, true)) => {
                        self.attach(id, service, rest.get(2));
                        answer
                    }
                    Some((answer, false)) => answer,
                    None => self.attach(id, service, rest.get(2)),
                }
            }
            ("PATCH", ["service_profile", id]) => {
                self.set(id.parse().unwrap(), seen.json());
                empty(204)
            }
            ("DELETE", ["service_profile", id]) => {
                if let Some(answer) = self.delete.pop_front() {
                    return answer;
                }
                self.profiles.remove(&id.parse().unwrap());
                empty(204)
            }
            (method, path) => panic!("unexpected {method} {path:?}"),
        }
    }

    fn list(&mut self) -> Answer {
        let lags = self.lists_lag > 0;
        self.lists_lag -= usize::from(lags);
        let shown = self.profiles.iter().filter(|(id, _)| !lags || **id < NEW);
        double::json(shown.map(|(_, profile)| profile.clone()).collect())
    }

    fn get(&mut self, id: i64) -> Answer {
        if let Some((writes, answer)) = &self.get_after
            && self.writes >= *writes
        {
            return answer.clone();
        }
        if self.blind > 0 {
            self.blind -= 1;
            return missing();
        }
        self.profiles.get(&id).cloned().map_or_else(missing, double::json)
    }

    fn post(&mut self, seen: &Seen) -> Answer {
        if let Some((id, name)) = self.appears.take() {
            self.profiles.insert(id, object(id, name));
        }
        match self.create.pop_front() {
            Some((answer, carried_out)) => {
                if carried_out {
                    self.create(seen);
                }
                answer
            }
            None => {
                let id = self.create(seen);
                located(&format!("https://cdn.example.net/api/v1/service_profile/{id}"))
            }
        }
    }

    fn create(&mut self, seen: &Seen) -> i64 {
        let id = NEW + self.created;
        self.created += 1;
        let mut profile = seen.json();
        profile["id"] = id.into();
        profile["service"] = json!([]);
        self.profiles.insert(id, profile);
        id
    }

    fn set(&mut self, id: i64, members: Value) {
        let profile = self.profiles.get_mut(&id).unwrap().as_object_mut().unwrap();
        profile.extend(members.as_object().unwrap().clone());
    }

    fn attach(&mut self, id: i64, service: i64, limit: Option<&&str>) -> Answer {
        let Some(profile) = self.profiles.get_mut(&id) else { return missing() };
        let services = profile["service"].as_array_mut().unwrap();
        let there = services.iter_mut().find(|there| there["id"] == service);
        match (there, limit) {
            (Some(_), None) => return conflict(),
            (Some(there), Some(limit)) => {
                let limit: i64 = limit.parse().unwrap();
                there["traffic_limit"].as_array_mut().unwrap().push(json!({"id": limit}));
            }
            (None, _) => services.push(json!({"id": service, "traffic_limit": []})),
        }
        empty(204)
    }
}

/// The answer to a read of a profile that is not there.
pub fn missing() -> Answer {
    let body = json!({"error_code": 1401, "error_token": "InvalidReference", "message": "none"});
    http(404, "application/json", body.to_string())
}

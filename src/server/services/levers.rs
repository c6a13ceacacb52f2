//! Levers over HTTP: which are in force, and how they are set and ended.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{RawPathParams, Request, State},
    response::IntoResponse,
    routing::{MethodRouter, get, post},
};
use http::{Method, StatusCode};
use hyper::body::Body;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{asker::Asker, page::Page};
use crate::{
    levers::{Asked, BackendLevers, InForce, LONGEST, Lever, Levers, SHORTEST},
    text,
};

/// How long a lever stays if that is not said.
const USUAL: Duration = Duration::from_secs(60 * 60);
/// The longest note, in bytes.
const MAX_NOTE_BYTES: usize = 256;
/// So many backends are named to those who ask for another one.
const MAX_NAMES: usize = 10;

const NO_OPERATOR: &str = "a lever has to be set by someone whom the audit log can name: set \
                           `admin_token`, or `token` in `[operators.NAME]`, and send it as \
                           `Authorization: Bearer TOKEN`\n";
const HAS_BODY: &str = "a body is not read here: send `for`, `note` and `filter` in the query, as \
                        in `?for=30m&note=INC-123`\n";
const WRONG_METHOD: &str = "POST sets it, and DELETE ends it\n";

/// The names of the backends that are configured now.
pub type BackendNames = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Why a request is refused.
type Refused = (StatusCode, String);

/// What sets and ends levers.
#[derive(Clone)]
struct Panel {
    levers: Levers,
    backends: BackendNames,
}

/// The routes of all levers.
pub(super) fn routes(levers: Levers, backends: BackendNames) -> Router {
    let panel = Panel { levers, backends };
    Router::new()
        .route("/levers", get(list).with_state(panel.clone()))
        .route("/writes/freeze", lever(Lever::WritesFrozen, &panel))
        .route("/log-level", lever(Lever::LogLevel, &panel))
        .route("/backends/{name}/read-only", lever(Lever::ReadOnly, &panel))
        .route("/backends/{name}/circuit/open", lever(Lever::CircuitOpen, &panel))
        .route("/backends/{name}/circuit/closed", lever(Lever::CircuitClosed, &panel))
}

async fn list(State(panel): State<Panel>) -> Page {
    Page(json!({ "in_force": panel.in_force() }))
}

fn lever(lever: Lever, panel: &Panel) -> MethodRouter {
    let panel = panel.clone();
    let move_it = async move |Extension(asker): Extension<Asker>,
                              path: RawPathParams,
                              request: Request| {
        let name = path.iter().find(|(name, _)| *name == "name").map(|(_, value)| value.to_owned());
        match panel.act(lever, name.as_deref(), &asker, &request) {
            Ok(answer) => Page(answer).into_response(),
            Err((status, why)) => (status, format!("{why}\n")).into_response(),
        }
    };
    post(move_it.clone())
        .delete(move_it)
        .fallback(async || (StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD))
}

impl Panel {
    /// Sets or ends a lever, and says what is in force then.
    fn act(
        &self,
        lever: Lever,
        name: Option<&str>,
        asker: &Asker,
        request: &Request,
    ) -> Result<Value, Refused> {
        let refused = |status: StatusCode, why: &str| (status, why.trim_end().to_owned());
        if !asker.named {
            return Err(refused(StatusCode::FORBIDDEN, NO_OPERATOR));
        }
        if !request.body().is_end_stream() {
            return Err(refused(StatusCode::BAD_REQUEST, HAS_BODY));
        }
        let ends = *request.method() == Method::DELETE;
        let backend = name.map(|name| self.backend(name, ends)).transpose()?;
        let (backend, operator) = (backend.as_deref(), &asker.operator);
        let query = request.uri().query().unwrap_or_default();
        if ends {
            if !query.is_empty() {
                let why = "an end takes no parameters: leave out what is after the `?`";
                return Err(refused(StatusCode::BAD_REQUEST, why));
            }
            let ended = self.levers.end(lever, backend, operator);
            let ended = ended.map(|ended| ended.shown());
            return Ok(json!({ "ended": ended, "in_force": self.in_force() }));
        }
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        let asked = asked(query, lever == Lever::LogLevel).map_err(bad)?;
        let set = self.levers.set(lever, backend, operator, asked);
        let set = set.map_err(|why| bad(format!("`filter` cannot be used: {why}")))?;
        Ok(json!({
            "set": set.set.shown(),
            "replaced": set.replaced.map(|replaced| replaced.shown()),
            "in_force": self.in_force(),
        }))
    }

    /// The levers of a backend that is configured. Those that a backend has left when it was
    /// removed can be ended too.
    fn backend(&self, name: &str, ends: bool) -> Result<Arc<BackendLevers>, Refused> {
        let names = (self.backends)();
        let in_force = || self.levers.in_force();
        let has_left = || in_force().iter().any(|set| set.backend.as_deref() == Some(name));
        if names.iter().any(|known| known == name) || ends && has_left() {
            return Ok(self.levers.of_backend(name));
        }
        let known: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
        let why = format!(
            "no backend {} is configured; the backends are {}",
            text::quoted(name),
            known.join(", ")
        );
        Err((StatusCode::NOT_FOUND, why))
    }

    fn in_force(&self) -> Vec<Value> {
        self.levers.in_force().iter().map(|lever| InForce::shown(lever)).collect()
    }
}

/// Reads what is asked for out of a query.
fn asked(query: &str, takes_filter: bool) -> Result<Asked, String> {
    let (mut time, mut note, mut filter) = (None, None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        let before = match &*key {
            "for" => time.replace(value),
            "note" => note.replace(value),
            "filter" if takes_filter => filter.replace(value),
            _ => {
                let known = if takes_filter { "`for`, `note`, `filter`" } else { "`for`, `note`" };
                return Err(format!(
                    "there is no parameter {}; there are {known}",
                    text::quoted(&key)
                ));
            }
        };
        if before.is_some() {
            return Err(format!("`{key}` is there twice: send it once"));
        }
    }
    if takes_filter && filter.as_deref().is_none_or(|filter| filter.trim().is_empty()) {
        let why = "`filter` is missing: send one such as `?filter=info,profile_gateway=debug`";
        return Err(why.to_owned());
    }
    let time = time.map_or(Ok(USUAL), |time| duration(&time))?;
    let note = note.map_or(Ok(String::new()), |note| shown(&note))?;
    Ok(Asked { time, note, filter })
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text.trim()).ok();
    parsed.filter(|time| (SHORTEST..=LONGEST).contains(time)).ok_or_else(|| {
        format!(
            "`for` must be a time with its unit such as `30m` or `1h 30m`, from {} to {}, got {}",
            humantime::format_duration(SHORTEST),
            "24h",
            text::quoted(text)
        )
    })
}

/// The note as it can be shown. What looks like markup is a person's text, and stays.
fn shown(note: &str) -> Result<String, String> {
    if note.len() > MAX_NOTE_BYTES {
        let length = note.len();
        return Err(format!("`note` is {length} bytes long; the limit is {MAX_NOTE_BYTES}"));
    }
    let plain = note.replace('<', "‹").replace('>', "›");
    match text::presentable(&plain) {
        Some(shown) => Ok(shown),
        None if note.is_empty() => Ok(String::new()),
        None => Err("`note` has nothing that can be shown: write why in plain text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_with_its_defaults() {
        let read = |query, filter| asked(query, filter).unwrap();
        let usual = read("", false);
        assert_eq!((usual.time, usual.note.as_str(), usual.filter), (USUAL, "", None));
        let all = read("for=1h+30m&note=INC-123%20%3Cvendor%3E&filter=info,access%3Dwarn", true);
        assert_eq!(all.time, Duration::from_secs(90 * 60));
        assert_eq!(all.note, "INC-123 ‹vendor›");
        assert_eq!(all.filter.as_deref(), Some("info,access=warn"));
        assert_eq!(read("for=24h", false).time, LONGEST);
        assert_eq!(read("for=1s", false).time, SHORTEST);
        assert_eq!(read("note=", false).note, "");
        assert_eq!(read("note=Bearer+abc.def%0Ax%E2%80%AE", false).note, "Bearer [redacted] x");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_do() {
        let long = format!("note={}", "x".repeat(257));
        for (query, filter, said) in [
            ("for=0s", false, "from 1s to 24h"),
            ("for=25h", false, "from 1s to 24h"),
            ("for=30", false, "with its unit"),
            ("for=-1h", false, "got \"-1h\""),
            ("for=", false, "got \"\""),
            ("for=584942417355y", false, "from 1s to 24h"),
            ("for=1m&for=2m", false, "`for` is there twice"),
            ("fro=1m", false, "there is no parameter \"fro\""),
            ("filter=debug", false, "there are `for`, `note`"),
            ("for=1m", true, "`filter` is missing"),
            ("filter=+", true, "`filter` is missing"),
            ("note=%E2%80%8B", false, "nothing that can be shown"),
            (&long, false, "the limit is 256"),
        ] {
            let why = asked(query, filter).unwrap_err();
            assert!(why.contains(said), "{query}: {why}");
        }
    }
}

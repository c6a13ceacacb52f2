//! The admin port: probes, metrics, the configuration and levers over plain HTTP, for operators
//! only.
//!
//! What can be changed through it are the levers, each for a time, and an operator can end the
//! pause of a backend.

use std::{fmt, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    asker::Asker,
    guard::Guard,
    health::Health,
    levers::{self, BackendNames},
    page::Page,
};
use crate::{
    levers::Levers,
    server::{
        metrics::AdminRefusals,
        settings::{AdminSettings, Operators},
    },
    telemetry::{Format, Registry},
};

const INDEX: &str = "profile-gateway admin\n\
    /livez    whether the process is running\n\
    /readyz   whether it accepts calls\n\
    /metrics  metrics for Prometheus, as OpenMetrics or as text\n\
    /config   the configuration in force, without secrets\n\
    /reload   how the latest reload of the configuration ended\n\
    /levers   what operators have set for a time\n\
    POST /backends/NAME/end-pause  ends the pause of a backend\n\
    POST or DELETE, with ?for=30m&note=WHY, 1h unless said and 24h at most:\n\
    /backends/NAME/read-only       refuses writes to a backend\n\
    /backends/NAME/circuit/open    sends nothing to a backend\n\
    /backends/NAME/circuit/closed  keeps the circuit of a backend from opening\n\
    /writes/freeze                 refuses writes to all backends\n\
    /log-level?filter=FILTER       changes what is logged\n";

/// What needs no token: probes have none to send, and what they learn is no secret.
const OPEN: [&str; 3] = ["/", "/livez", "/readyz"];

const SCHEME: HeaderValue = HeaderValue::from_static("Bearer realm=\"admin\"");

const NO_PAUSE: &str = "there is no pause to end: no 429 of this upstream asks for one, and its \
                        credentials were not refused; an open circuit is something else\n";

/// Ends the pause of a backend. Returns whether there was one, if there is such a backend.
pub type EndPause = Arc<dyn Fn(&str) -> BoxFuture<'static, Option<bool>> + Send + Sync>;

/// What a page of the admin port shows now.
pub type Shows = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the admin port serves.
pub struct Admin {
    /// The metrics of the whole process.
    pub metrics: Arc<Registry>,
    /// The configuration as it is now, served as it is: secrets must already be removed.
    pub config: Shows,
    /// How the latest reload of the configuration ended, served in the same way.
    pub reload: Shows,
    /// How this replica does among those that share a store, if it does.
    pub shared_store: Option<Shows>,
    /// Who may use it.
    pub settings: AdminSettings,
    /// Who may use it by a name.
    pub operators: Operators,
    /// How a pause ends.
    pub end_pause: EndPause,
    /// What operators set, each for a time.
    pub levers: Levers,
    /// Of which backends.
    pub backends: BackendNames,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The routes of the admin port.
pub(crate) fn router(admin: Admin, health: Health, refusals: AdminRefusals) -> Router {
    let Admin { metrics, config, reload, shared_store, settings, operators, .. } = admin;
    let Admin { end_pause, levers, backends, .. } = admin;
    let guard = Arc::new(Guard::new(&settings, &operators));
    let pauses = (end_pause, levers.clone());
    Router::new()
        .route("/", get(INDEX))
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz).with_state((health, shared_store)))
        .route("/metrics", get(scrape).with_state(metrics))
        .route("/config", get(async move || Page(config())))
        .route("/reload", get(async move || Page(reload())))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; see / for the list of paths\n"))
        .layer(from_fn(get_only))
        .route("/backends/{name}/end-pause", post(ends_pause).with_state(pauses))
        .merge(levers::routes(levers, backends))
        .layer(from_fn_with_state((guard, refusals), guarded))
}

// Outside the routes, so that it also applies to unknown paths.
async fn guarded(
    State((guard, refusals)): State<(Arc<Guard>, AdminRefusals)>,
    mut request: Request,
    next: Next,
) -> Response {
    let why = match guard.check(&request, OPEN.contains(&request.uri().path())) {
        Ok(principal) => {
            let asker = Asker::of(principal, request.extensions());
            request.extensions_mut().insert(asker);
            return next.run(request).await;
        }
        Err(why) => why,
    };
    refusals.refused(why);
    let mut response = (why.status(), why.message()).into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, SCHEME);
    }
    response
}

// Outside the routes, so that it also applies to unknown paths.
pub(super) async fn get_only(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let refused = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "GET only\n");
    refused.into_response()
}

/// Ready once all is there that is waited for, and until the drain begins. A backend that is down
/// does not count: the others must still be served, and a restart would not bring it back. Nor does
/// the store that replicas share: all of them lose it together, and reads go on without it.
async fn readyz(State((health, shared_store)): State<(Health, Option<Shows>)>) -> Response {
    let (draining, awaited) = (health.is_draining(), health.awaited());
    let ready = health.is_ready();
    let names: serde_json::Map<String, Value> = health
        .all()
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, status)| (name, status.as_str_name().into()))
        .collect();
    let listener = if draining { "draining" } else { "ok" };
    let awaited = awaited.into_iter().map(|name| (name, "awaited".into()));
    let checks = [("listener".to_owned(), listener.into())].into_iter().chain(awaited);
    let checks: serde_json::Map<String, Value> = checks.collect();
    let mut body = json!({ "ready": ready, "checks": checks, "health": names });
    if let (Some(shows), Some(body)) = (shared_store, body.as_object_mut()) {
        body.insert("shared_store".to_owned(), shows());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Page(body)).into_response()
}

async fn ends_pause(
    State((end_pause, levers)): State<(EndPause, Levers)>,
    Extension(asker): Extension<Asker>,
    Path(backend): Path<String>,
) -> (StatusCode, &'static str) {
    match end_pause(&backend).await {
        Some(true) => {
            levers.ended_pause(&backend, &asker.operator);
            (StatusCode::OK, "ok\n")
        }
        Some(false) => (StatusCode::OK, NO_PAUSE),
        None => (StatusCode::NOT_FOUND, "no such backend\n"),
    }
}

async fn scrape(State(metrics): State<Arc<Registry>>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::wanted(&accepted.collect::<Vec<_>>().join(","));
    ([(header::CONTENT_TYPE, format.content_type())], metrics.encode_as(format))
}

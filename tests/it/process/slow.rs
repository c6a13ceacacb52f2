//! An upstream that answers reads only when it is told to, so that a test decides how long a call
//! takes.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::any};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};

/// The token that it hands out; it must never be shown.
pub(super) const TOKEN: &str = "slow-access-token-2f4c";
pub(super) const REFRESH: &str = "slow-refresh-token-91ad";

/// Served until the test's runtime ends.
pub(super) struct Slow {
    pub url: String,
    gate: Arc<Semaphore>,
}

impl Slow {
    pub(super) async fn start() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let router = Router::new()
            .route("/api/login", any(login))
            .route("/api/GetServiceProfile", any(get))
            .with_state(Arc::clone(&gate));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, router));
        Self { url, gate }
    }

    /// Lets all reads pass, those that wait and those to come.
    pub(super) fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

async fn serve(listener: TcpListener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let stream = hyper_util::rt::TokioIo::new(stream);
        let connection = hyper::server::conn::http1::Builder::new();
        // A client that leaves is its own business.
        tokio::spawn(async move { drop(connection.serve_connection(stream, service).await) });
    }
}

async fn login() -> Json<Value> {
    Json(json!({ "AccessToken": TOKEN, "RefreshToken": REFRESH }))
}

async fn get(State(gate): State<Arc<Semaphore>>) -> Json<Value> {
    drop(gate.acquire().await.unwrap());
    let profile = json!({
        "profileId": "SP_2", "profileName": "DEFAULT", "status": "1", "category": "0",
        "serviceName": "DATA|MO-SMS|MT-SMS", "ratTypeName": "2G/3G/4G/5G",
    });
    Json(json!({ "Response": {
        "responseId": "1",
        "resultCode": "0",
        "resultParam": { "resultCode": "1331", "resultDescription": "Get service profile success" },
        "responseParam": { "totalCount": "1", "serviceProfileList": [profile] },
    } }))
}

//! What a list costs where the upstream's lists are short views: one request for the list and one
//! for each profile, beside the same requests made by a bare client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use profile_gateway::pb::{ListProfilesRequest, profile_service_client::ProfileServiceClient};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tonic::transport::Endpoint;

use crate::child::Child;

/// As many as the gateway has under way at once.
const PARALLEL: usize = 8;
/// What a request takes upstream: without it nothing would ever run side by side.
const ANSWER: Duration = Duration::from_millis(2);

/// Counts what it is asked.
#[derive(Default)]
pub(crate) struct Seen {
    requests: AtomicUsize,
    under_way: AtomicUsize,
    peak: AtomicUsize,
}

impl Seen {
    fn take(&self) -> (usize, usize) {
        (self.requests.swap(0, Ordering::SeqCst), self.peak.swap(0, Ordering::SeqCst))
    }
}

/// Lists `profiles` profiles through the gateway and by a bare client, and prints both.
pub(crate) async fn compare(profiles: usize, rounds: usize) {
    let seen = Arc::new(Seen::default());
    let url = upstream(profiles, Arc::clone(&seen)).await;
    let gateway = Child::gateway_over_endpoint(&url);
    let channel = Endpoint::try_from(format!("http://{}", gateway.address)).unwrap();
    let mut client = ProfileServiceClient::new(channel.connect().await.unwrap())
        .max_decoding_message_size(64 << 20);
    let bare = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();

    let (mut through, mut direct) = (Vec::new(), Vec::new());
    // The first turn warms up.
    for round in 0..=rounds {
        seen.take();
        let started = Instant::now();
        let request = ListProfilesRequest {
            parent: "backends/iot".to_owned(),
            page_size: 1000,
            ..ListProfilesRequest::default()
        };
        let mut request = tonic::Request::new(request);
        // Each round is to ask the upstream.
        request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
        let list = client.list_profiles(request).await.unwrap().into_inner();
        let gateway = (started.elapsed(), seen.take());
        assert_eq!(list.total_size, i32::try_from(profiles).unwrap());
        let started = Instant::now();
        assert_eq!(bare_list(&bare, &url).await, profiles);
        if round > 0 {
            through.push(gateway);
            direct.push((started.elapsed(), seen.take()));
        }
    }
    through.sort_unstable();
    direct.sort_unstable();
    let ((own, (calls, peak)), (unit, (bare_calls, bare_peak))) =
        (through[rounds / 2], direct[rounds / 2]);
    println!("\n| list of {profiles} endpoint profiles | upstream calls | at once | ms | ratio |");
    println!("|---|---:|---:|---:|---:|");
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("| bare reqwest client | {bare_calls} | {bare_peak} | {:.0} | 1.00 |", ms(unit));
    println!(
        "| through the gateway | {calls} | {peak} | {:.0} | {:.2} |",
        ms(own),
        ms(own) / ms(unit)
    );
    println!(
        "\nmedians of {rounds} rounds; each answer takes the upstream {} ms",
        ANSWER.as_millis()
    );
}

async fn bare_list(client: &reqwest::Client, url: &str) -> usize {
    let get = async |path: String| -> Value {
        let request = client.get(format!("{url}/api/v1/service_profile{path}"));
        let answer = request.header("authorization", "Bearer bench").send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    };
    let list = get(String::new()).await;
    let ids: Vec<i64> =
        list.as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect();
    let whole: Vec<Value> =
        stream::iter(ids).map(|id| get(format!("/{id}"))).buffered(PARALLEL).collect().await;
    whole.len()
}

/// Has so many profiles. Its list shows their names alone.
pub(crate) async fn upstream(profiles: usize, seen: Arc<Seen>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let short: Vec<Value> =
        (1..=profiles).map(|id| json!({ "id": id, "name": format!("Profile {id}") })).collect();
    let list = Bytes::from(Value::from(short).to_string());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (seen, list) = (Arc::clone(&seen), list.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (seen, list) = (Arc::clone(&seen), list.clone());
                async move {
                    seen.requests.fetch_add(1, Ordering::SeqCst);
                    let now = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.peak.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(ANSWER).await;
                    let body = match request.uri().path().rsplit_once('/') {
                        Some((_, "service_profile")) => list,
                        Some((_, id)) => Bytes::from(whole(id).to_string()),
                        None => Bytes::new(),
                    };
                    seen.under_way.fetch_sub(1, Ordering::SeqCst);
                    let answer =
                        http::Response::builder().header("content-type", "application/json");
                    answer.body(Full::new(body))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

fn whole(id: &str) -> Value {
    let id: i64 = id.parse().unwrap();
    json!({
        "id": id, "name": format!("Profile {id}"), "description": "Data and SMS",
        "allowed_3g": true, "allowed_4g": true, "allowed_nb_iot": false, "apply_data_quota": false,
        "retail": false, "sms_p2p_int": true, "sms_p2p_ext": true, "prepaid": false, "nipdp": false,
        "used_count": 12,
        "service": [{
            "id": 38, "description": "Data", "used_with_vlr": false, "used_with_sgsn": true,
            "traffic_type": { "id": 5, "description": "Data", "unit": "MB" }, "traffic_limit": [],
        }],
    })
}

//! The least that a read past the cache has to do, with the same libraries: behind the gateway's
//! server it asks the upstream in a task that goes on without its caller, within a time limit,
//! reads the answer into the model, makes its etag, keeps it, and answers.
//!
//! It copes with nothing: no limits, no circuit, no retries, no tokens, no writes, and no answer
//! other than the expected one.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use profile_gateway::{
    call::Admitted,
    pb::{GetProfileRequest, Profile, Service},
};
use prost::Message;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{sync::oneshot, time::timeout};
use tonic::{Code, Request, Response, Status, codegen::BoxFuture, server::UnaryService};

use crate::roles::behind_the_stack;

/// Serves such reads of an upstream.
pub(crate) async fn serve(upstream: &str) {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
    let url = format!("{upstream}/api/GetServiceProfile?serviceProfileId=").into();
    behind_the_stack(Reader { client, url, kept: Cache::new(1_000_000) }).await;
}

#[derive(Clone)]
struct Reader {
    client: reqwest::Client,
    url: Arc<str>,
    kept: Cache<Box<str>, Arc<[u8]>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    response: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    result_param: ResultParam,
    response_param: ResponseParam,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultParam {
    result_code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseParam {
    service_profile_list: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    profile_id: String,
    profile_name: String,
    service_name: String,
}

impl Reader {
    async fn read(self, id: Box<str>) -> Profile {
        let request = self.client.get(format!("{}{id}", self.url));
        let request = request.header("x-authorization", "Bearer token");
        let body = request.send().await.unwrap().bytes().await.unwrap();
        let Answer { response } = serde_json::from_slice(&body).unwrap();
        assert_eq!(response.result_param.result_code, "1331");
        let mut found = response.response_param.service_profile_list;
        let mut profile = present(found.swap_remove(0));
        let hash = Sha256::digest(profile.encode_to_vec());
        profile.etag = format!("\"{}\"", hex::encode(&hash[..16]));
        self.kept.insert(id, profile.encode_to_vec().into());
        profile
    }
}

fn present(entry: Entry) -> Profile {
    let service = |name: &str| Service { id: name.to_owned(), ..Service::default() };
    Profile {
        name: format!("backends/sft/profiles/{}", entry.profile_id),
        display_name: entry.profile_name,
        services: entry.service_name.split('|').map(service).collect(),
        ..Profile::default()
    }
}

impl UnaryService<GetProfileRequest> for Reader {
    type Response = Profile;
    type Future = BoxFuture<Response<Profile>, Status>;

    fn call(&mut self, request: Request<GetProfileRequest>) -> Self::Future {
        if let Some(call) = request.extensions().get::<Admitted>() {
            call.record.set_backend("sft");
        }
        let reader = self.clone();
        Box::pin(async move {
            let (_, id) = request.get_ref().name.rsplit_once('/').unwrap();
            let id: Box<str> = id.into();
            assert!(reader.kept.get(&id).is_none());
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move {
                let read = timeout(Duration::from_secs(300), reader.read(id)).await;
                let _ = sender.send(read.unwrap());
            });
            let read = timeout(Duration::from_secs(45), receiver).await;
            let read = read.map_err(|_| Status::new(Code::DeadlineExceeded, "too late"))?;
            Ok(Response::new(read.unwrap()))
        })
    }
}

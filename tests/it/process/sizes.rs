//! Responses as clients and proxies can take them: few bytes of headers and trailers, and pages
//! below the limits of clients. Requests with larger metadata are refused.

use profile_gateway::pb::{
    BatchGetProfilesRequest, CreateProfileRequest, GetProfileRequest, ListProfilesRequest, Profile,
};
use prost::Message;
use prost_types::FieldMask;
use serde_json::json;
use tonic::Code;

use super::{
    calls::{GET, LIST, failure, metadata, named, profiles},
    child::{Gateway, gateway, serve, sft},
    wire::{ask, frame, list, put, send},
};
use crate::kit::{
    bodies,
    double::{self, double, json},
};

const BATCH: &str = "profilegateway.v1.ProfileService/BatchGetProfiles";
const CREATE: &str = "profilegateway.v1.ProfileService/CreateProfile";
const WEB: (&str, &str) = ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true");

fn missing(count: u32) -> BatchGetProfilesRequest {
    let names = (0..count).map(|n| named(&format!("SP_{}", 900_000 + n)).name).collect();
    BatchGetProfilesRequest { parent: "backends/sft".to_owned(), names }
}

/// Requests that fail with more to say than a header can take.
fn wordy() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let paths = (0..60).map(|n| format!("no.such.field_number_{n}_of_a_profile")).collect();
    let mask = GetProfileRequest { name: named("SP_2").name, read_mask: Some(FieldMask { paths }) };
    let create = |name: &str| CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(Profile { display_name: name.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let name = GetProfileRequest { name: "\u{1f600}{}\"".repeat(5000), read_mask: None };
    let mut filter = list(1);
    filter.filter = "é".repeat(3000);
    filter.order_by = "x,".repeat(500);
    filter.page_token = "?".repeat(3000);
    vec![
        ("25 missing names", BATCH, missing(25).encode_to_vec()),
        ("1000 missing names", BATCH, missing(1000).encode_to_vec()),
        ("60 unknown paths", GET, mask.encode_to_vec()),
        ("a long display name", CREATE, create(&"é".repeat(20_000)).encode_to_vec()),
        ("a long name", GET, name.encode_to_vec()),
        ("a long query", LIST, filter.encode_to_vec()),
    ]
}

#[tokio::test]
async fn an_error_takes_few_bytes_of_headers_and_counts_what_it_leaves_out() {
    let gateway = gateway(&[], &[]).await;
    for (what, path, message) in wordy() {
        let sent = send(gateway.grpc, path, &[], frame(0, &message)).await;
        assert!(sent.metadata_bytes() <= 3000, "{what}: {} bytes", sent.metadata_bytes());
        let (_, reason, details) = failure(&sent.status());
        assert!(!reason.is_empty() && sent.status().message().len() <= 512, "{what}");
        let expected = match what {
            "25 missing names" => 25,
            "1000 missing names" => 1000,
            "60 unknown paths" => 60,
            _ => continue,
        };
        let fields = details.bad_request().unwrap().field_violations.clone();
        let named = fields.iter().filter(|one| one.field != "*").count();
        let omitted: usize =
            metadata(&details).get("omitted_violations").map_or(0, |n| n.parse().unwrap());
        assert_eq!(named + omitted, expected, "{what}: {named} named");
        assert!(named >= 8, "{what}: {named} named");
        let last = fields.last().filter(|one| one.field == "*");
        let counted = (omitted > 0).then(|| format!("and {omitted} more violations"));
        assert_eq!(last.map(|one| one.description.clone()), counted, "{what}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_at_length_is_cut() {
    let double = double().await;
    let mut body = bodies::result_with("1324", "1", &"words of the upstream, ".repeat(500));
    body["Response"]["responseId"] = json!("1".repeat(4000));
    double.always(double::GET, json(body));
    double.always(double::LOGIN, json(bodies::tokens("access-of-the-kit", "refresh-of-the-kit")));
    let gateway = serve(&sft(&double.base_url, "ops", "of-the-kit"), &[]).await;
    let sent = ask(&gateway, GET, &named("SP_2")).await;
    assert!(sent.metadata_bytes() <= 3000, "{} bytes", sent.metadata_bytes());
    let (code, reason, details) = failure(&sent.status());
    assert_eq!((code, reason.as_str()), (Code::Unknown, "UPSTREAM_FAILURE"));
    assert_eq!(metadata(&details)["upstream_code"], "1324");
}

#[tokio::test]
async fn the_room_for_headers_is_a_setting() {
    for (set, at_least) in [("1KiB", 300), ("8KiB", 3000)] {
        let env = [("PROFILE_GATEWAY__SERVER__MAX_RESPONSE_METADATA_BYTES", set)];
        let gateway = gateway(&[], &env).await;
        let sent = ask(&gateway, BATCH, &missing(1000)).await;
        let bound = if set == "1KiB" { 1024 } else { 8192 };
        let bytes = sent.metadata_bytes();
        assert!((at_least..=bound).contains(&bytes), "{bytes} of {bound}");
        assert_eq!(failure(&sent.status()).1, "PROFILE_NOT_FOUND");
    }
}

/// All pages, as a default client reads them.
async fn pages(gateway: &Gateway, mut request: ListProfilesRequest) -> Vec<Vec<Profile>> {
    let mut client = profiles(gateway).await;
    let mut pages = Vec::new();
    loop {
        let page = client.list_profiles(request.clone()).await.unwrap().into_inner();
        pages.push(page.profiles);
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_page_that_default_clients_could_not_receive_ends_earlier() {
    let gateway = gateway(&[], &[]).await;
    let seeded = pages(&gateway, list(1000)).await.concat().len();
    put(&gateway, 110, 60_000).await;
    let mut fresh = tonic::Request::new(list(1));
    fresh.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    profiles(&gateway).await.list_profiles(fresh).await.unwrap();

    let all = pages(&gateway, list(1000)).await;
    assert_eq!(all.len(), 3, "{:?}", all.iter().map(Vec::len).collect::<Vec<_>>());
    let mut names: Vec<String> = all.concat().into_iter().map(|profile| profile.name).collect();
    assert_eq!(names.len(), seeded + 110);
    names.dedup();
    assert_eq!(names.len(), seeded + 110);
    // In another order, and with a filter, it is the same.
    let mut sorted = list(1000);
    sorted.order_by = "display_name desc".to_owned();
    sorted.filter = "display_name = \"9*\"".to_owned();
    assert_eq!(pages(&gateway, sorted).await.concat().len(), 110);
    // What is not asked for takes no room.
    let mut masked = list(1000);
    masked.read_mask = Some(FieldMask { paths: vec!["name".to_owned()] });
    assert_eq!(pages(&gateway, masked).await.len(), 1);

    let names = (9000..9110).map(|id| named(&format!("SP_{id}")).name).collect();
    let batch = BatchGetProfilesRequest { parent: "backends/sft".to_owned(), names };
    let mut client = profiles(&gateway).await;
    let status = client.batch_get_profiles(batch).await.unwrap_err();
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert!(status.message().contains("at most the first 52 of"), "{}", status.message());
}

#[tokio::test]
async fn a_profile_larger_than_a_page_is_a_page_of_its_own() {
    let env = [("PROFILE_GATEWAY__MAX_PAGE_BYTES", "1KiB")];
    let gateway = gateway(&[], &env).await;
    put(&gateway, 3, 5000).await;
    let mut large = list(1000);
    large.filter = "display_name = \"9*\"".to_owned();
    let sizes: Vec<usize> = pages(&gateway, large).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1]);
    let one = BatchGetProfilesRequest {
        parent: "backends/sft".to_owned(),
        names: vec![named("SP_9001").name],
    };
    profiles(&gateway).await.batch_get_profiles(one).await.unwrap();
}

#[tokio::test]
async fn metadata_over_the_limit_are_refused_in_grpc() {
    let default = gateway(&[], &[WEB]).await;
    let message = frame(0, &named("SP_2").encode_to_vec());
    let large = |bytes: usize| "x".repeat(bytes);
    let ok = send(default.grpc, GET, &[("x-a", &large(15_000))], message.clone()).await;
    assert_eq!(ok.status().code(), Code::Ok);
    for bytes in [17_000, 60_000, 110_000] {
        let sent = send(default.grpc, GET, &[("x-a", &large(bytes))], message.clone()).await;
        let (code, reason, details) = failure(&sent.status());
        assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        assert_eq!(metadata(&details)["operation"], "GetProfile");
        assert!(sent.status().message().ends_with("the limit is 16384 bytes"), "{sent:?}");
    }
    // Over HTTP/1.1 too, and in many small ones.
    let client = reqwest::Client::builder().http1_only().no_proxy().build().unwrap();
    let mut post = client.post(format!("http://{}/{GET}", default.grpc));
    for n in 0..60 {
        post = post.header(format!("x-{n}"), large(300));
    }
    let post = post.header("content-type", "application/grpc-web+proto").body(message.clone());
    let answer = post.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("grpc-status: 8"));

    let env = [("PROFILE_GATEWAY__SERVER__MAX_REQUEST_METADATA_BYTES", "64KiB")];
    let raised = gateway(&[], &env).await;
    let ok = send(raised.grpc, GET, &[("x-a", &large(60_000))], message).await;
    assert_eq!(ok.status().code(), Code::Ok);
}

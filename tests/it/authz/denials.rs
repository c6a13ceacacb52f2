//! What the audit log has of calls that were denied, and of those that were not.

use profile_gateway::pb::{GetProfileRequest, PurgeCacheRequest};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Request, transport::Channel};

use crate::kit::{
    gateway::{Gateway, gateway},
    model::profile,
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::{Issuer, by, caller, good, role},
};

struct Bench {
    gateway: Gateway,
    directory: TempDir,
    _sandbox: Sandbox,
    _issuer: Issuer,
}

/// A reader, a writer of backend `sft` who may purge too, and an audit log in a file.
async fn bench() -> Bench {
    let (issuer, sandbox, directory) =
        (Issuer::new(), sandbox().await, tempfile::tempdir().unwrap());
    let rules = role("reader", "read", "sft")
        + &role("writer", "read, preview, write", "sft")
        + &role("janitor", "admin", "sft")
        + &caller("one", "reader")
        + &caller("two", "reader, writer, janitor");
    let file = directory.path().join("audit.log").display().to_string();
    let config = issuer.config("xfcc_from = \"127.9.9.9\"", &rules);
    let builder = gateway().audit(&file).section(&config);
    let gateway = builder.section(&sandbox.config()).start().await;
    Bench { gateway, directory, _sandbox: sandbox, _issuer: issuer }
}

impl Bench {
    /// Ends the gateway. Gives the lines of the file.
    async fn lines(self) -> Vec<Value> {
        let file = self.directory.path().join("audit.log");
        self.gateway.stop().await;
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn purge(name: &str) -> PurgeCacheRequest {
    PurgeCacheRequest { name: name.to_owned() }
}

fn read(backend: &str) -> GetProfileRequest {
    let name = format!("backends/{backend}/profiles/SP_1");
    GetProfileRequest { name, ..GetProfileRequest::default() }
}

async fn get(channel: Channel, request: Request<GetProfileRequest>) -> String {
    use profile_gateway::pb::profile_service_client::ProfileServiceClient;
    failure(ProfileServiceClient::new(channel).get_profile(request).await).reason
}

/// These members of a line, as they are.
fn members<'l>(line: &'l Value, names: &[&str]) -> Vec<&'l str> {
    names.iter().map(|name| line[*name].as_str().unwrap_or("-")).collect()
}

const WHO: [&str; 5] = ["caller", "caller_via", "subject", "issuer", "token_id"];
const WHAT: [&str; 6] = ["decision", "role", "right", "backend", "method", "outcome"];

#[tokio::test]
async fn a_call_that_is_denied_has_a_line_with_who_called_and_what_was_missing() {
    let bench = bench().await;
    // Each from an address of its own, or of a caller of its own: they are sampled.
    let anonymous = bench.gateway.channel_of_another();
    assert_eq!(get(anonymous, Request::new(read("sft"))).await, "CALLER_UNAUTHENTICATED");
    let forged = bench.gateway.channel_of_another();
    assert_eq!(get(forged, by(&(good("one") + "x"), read("sft"))).await, "CALLER_UNAUTHENTICATED");
    let stranger = bench.gateway.channel_of_another();
    assert_eq!(get(stranger, by(&good("someone"), read("sft"))).await, "CALLER_NOT_ALLOWED");
    let own = bench.gateway.channel_of_another();
    assert_eq!(get(own, by(&good("one"), read("not there"))).await, "CALLER_NOT_ALLOWED");
    let mut backends = bench.gateway.backends.clone();
    backends.purge_cache(by(&good("two"), purge("backends/pcc"))).await.unwrap_err();
    let lines = bench.lines().await;
    let issuer = "https://idp.example";
    let expected = [
        (["-"; 5], ["unauthenticated", "-", "-", "-", "GetProfile", "CALLER_UNAUTHENTICATED"]),
        (["-"; 5], ["unauthenticated", "-", "-", "-", "GetProfile", "CALLER_UNAUTHENTICATED"]),
        (
            ["-", "jwt", "someone", issuer, "id-of-the-token"],
            ["denied", "", "read", "-", "GetProfile", "CALLER_NOT_ALLOWED"],
        ),
        (
            ["one", "jwt", "one", issuer, "id-of-the-token"],
            ["denied", "reader", "read", "not there", "GetProfile", "CALLER_NOT_ALLOWED"],
        ),
        (
            ["two", "jwt", "two", issuer, "id-of-the-token"],
            ["denied", "reader,writer,janitor", "admin", "pcc", "PurgeCache", "CALLER_NOT_ALLOWED"],
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (who, what)) in lines.iter().zip(expected) {
        assert_eq!((members(line, &WHO), members(line, &WHAT)), (who.into(), what.into()));
        assert!(line["peer"].as_str().unwrap().starts_with("127."), "{line}");
        assert_eq!((&line["target"], &line["left_out"]), (&"audit".into(), &0.into()), "{line}");
        assert_eq!(line["call_id"].as_str().unwrap().len(), 16, "{line}");
        let token = good("one");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!line.to_string().contains(signature), "the text of a token: {line}");
    }
    assert_eq!(members(&lines[0], &["why", "cause"]), ["missing", "nothing was sent"]);
    assert_eq!(lines[1]["why"], "invalid");
}

#[tokio::test]
async fn a_write_and_a_purge_that_were_allowed_say_by_which_role_and_right() {
    let bench = bench().await;
    let request = profile_gateway::pb::CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile("of a caller with roles")),
        ..Default::default()
    };
    let checked = profile_gateway::pb::CreateProfileRequest { validate_only: true, ..request };
    let mut profiles = bench.gateway.profiles.clone();
    profiles.create_profile(by(&good("two"), checked.clone())).await.unwrap();
    let request = profile_gateway::pb::CreateProfileRequest { validate_only: false, ..checked };
    profiles.create_profile(by(&good("two"), request)).await.unwrap();
    let mut backends = bench.gateway.backends.clone();
    backends.purge_cache(by(&good("two"), purge("backends/sft"))).await.unwrap();
    let lines = bench.lines().await;
    let told: Vec<_> = lines
        .iter()
        .map(|l| members(l, &["target", "method", "role", "right", "decision"]))
        .collect();
    let expected = [
        ["audit", "CreateProfile", "writer", "preview", "allowed"],
        ["journal", "CreateProfile", "writer", "write", "allowed"],
        ["audit", "CreateProfile", "writer", "write", "allowed"],
        ["audit", "PurgeCache", "janitor", "admin", "allowed"],
    ];
    assert_eq!(told, expected, "{lines:#?}");
    let purged = lines.last().unwrap();
    assert_eq!((&purged["resource"], &purged["outcome"]), (&"backends/sft".into(), &"OK".into()));
    assert!(purged["dropped"].is_u64(), "{purged}");
}

#[tokio::test]
async fn a_flood_of_denied_calls_is_no_flood_of_lines_and_takes_no_room_from_writes() {
    const CALLS: u64 = 300;
    let bench = bench().await;
    let begun = tokio::time::Instant::now();
    let flood = bench.gateway.channel_of_another();
    for _ in 0..CALLS {
        get(flood.clone(), Request::new(read("sft"))).await;
    }
    let seconds = begun.elapsed().as_secs();
    // Someone else is told of at once, and the one of before again when a second is over.
    let other = bench.gateway.channel_of_another();
    get(other, Request::new(read("sft"))).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    get(flood, Request::new(read("sft"))).await;
    let counted = bench.gateway.metric("audit_lines_left_out_total", "").await;
    let lines = bench.lines().await;
    assert!(lines.len() as u64 <= seconds + 3, "{} lines in {seconds} s", lines.len());
    assert!(lines.len() >= 3, "{lines:#?}");
    let told: u64 = lines.iter().map(|line| line["left_out"].as_u64().unwrap()).sum();
    assert_eq!(told + lines.len() as u64, CALLS + 2, "{lines:#?}");
    assert!(counted >= told as f64, "{counted}");
}

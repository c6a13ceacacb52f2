//! Requests of few bytes that would be much in memory: refused by their bytes, before anything of
//! them is built.

use bytes::Bytes;
use tonic::Code;

use super::{
    calls::{GET, failure, metric, named},
    child::{Gateway, confined, started, until},
    frames::Frames,
    wire::{ENCODINGS, ask, frame, send},
};

const MIB: usize = 1024 * 1024;
/// What the whole process may take.
const ADDRESSES: u64 = 512 * MIB as u64;
/// What one of these messages may take at most.
const EACH: u64 = 64 * MIB as u64;
const LARGE: (&str, &str) = ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "4MiB");

const CREATE: &str = "profilegateway.v1.ProfileService/CreateProfile";
const UPDATE: &str = "profilegateway.v1.ProfileService/UpdateProfile";
const PREVIEW: &str = "profilegateway.v1.ProfileService/PreviewWrite";
const BATCH: &str = "profilegateway.v1.ProfileService/BatchGetProfiles";
const ATTACH: &str = "profilegateway.v1.ProfileService/AttachService";

/// A field with a value of bytes.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend(value);
    bytes
}

/// The value of a Struct's member that is a list of so many values.
fn list(values: usize) -> Vec<u8> {
    let list = field(6, &[0x0a, 0].repeat(values));
    field(1, &[field(1, b"k"), field(2, &list)].concat())
}

fn nested(levels: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for _ in 0..levels {
        value = field(6, &field(1, &value));
    }
    field(1, &[field(1, b"k"), field(2, &value)].concat())
}

/// Methods with requests, and the field that is too wide; nothing if it is not a request.
fn wide() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let service = field(9, &[0x0a, 1, b'x']);
    let create = |profile: &[u8]| field(2, profile);
    let limits = [0x42, 0].repeat(2_000_000);
    let half = create(&[0x4a, 0].repeat(40));
    vec![
        (CREATE, create(&service.repeat(700_000)), "profile.services"),
        (CREATE, create(&field(8, &vec![1; 4_000_000])), "profile.radio_access"),
        (CREATE, create(&[0x40, 1].repeat(2_000_000)), "profile.radio_access"),
        (CREATE, create(&[0x4a, 0].repeat(2_000_000)), "profile.services"),
        (CREATE, create(&field(9, &limits)), "profile.services[0].traffic_limits"),
        (ATTACH, field(2, &limits), "service.traffic_limits"),
        (CREATE, create(&field(20, &list(2_000_000))), "profile.unmapped"),
        (CREATE, create(&field(20, &nested(100_000))), ""),
        (CREATE, half.repeat(20_000), "profile.services"),
        (CREATE, [0x78, 1].repeat(2_000_000), "*"),
        (UPDATE, field(2, &[0x0a, 0].repeat(2_000_000)), "update_mask"),
        (PREVIEW, field(1, &create(&[0x4a, 0].repeat(2_000_000))), "create.profile.services"),
        (BATCH, [0x12, 0].repeat(2_000_000), "names"),
        (GET, field(2, &[0x0a, 0].repeat(2_000_000)), "read_mask"),
    ]
}

async fn refused(gateway: &Gateway, what: &str, headers: &[(&'static str, &str)], sent: Bytes) {
    gateway.program.forget_peak();
    let (before, _) = gateway.program.memory();
    let path = what.split(' ').next().unwrap();
    let status = send(gateway.grpc, path, headers, sent).await.status();
    let (code, reason, details) = failure(&status);
    assert_eq!(code, Code::InvalidArgument, "{what}: {status:?}");
    let (_, field) = what.split_once(' ').unwrap();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    let fields: Vec<&str> = fields.iter().map(|one| one.field.as_str()).collect();
    match field {
        "" => assert_eq!(reason, "MALFORMED_REQUEST", "{what}"),
        _ => assert_eq!((reason.as_str(), fields), ("VALIDATION_FAILED", vec![field]), "{what}"),
    }
    let (_, peak) = gateway.program.memory();
    let grown = peak.saturating_sub(before);
    assert!(grown < EACH, "{what}: {} MiB", grown / MIB as u64);
}

#[tokio::test]
async fn a_wide_message_is_refused_before_it_is_built() {
    let mut gateway = started(&[LARGE], |env| confined(ADDRESSES, &[], env)).await;
    assert!(ask(&gateway, GET, &named("SP_2")).await.status().code() == Code::Ok);
    for (path, message, field) in wide() {
        let what = format!("{path} {field}");
        assert!(message.len() <= 4 * MIB, "{what}: {}", message.len());
        refused(&gateway, &what, &[], frame(0, &message)).await;
        for (name, compress) in ENCODINGS {
            let headers = [("grpc-encoding", name)];
            refused(&gateway, &what, &headers, frame(1, &compress(&message))).await;
        }
    }
    assert!(gateway.program.is_running());
    assert_eq!(ask(&gateway, GET, &named("SP_2")).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn a_message_of_more_than_256_kib_is_refused_by_its_length() {
    let gateway = started(&[], |env| confined(ADDRESSES, &[], env)).await;
    for (length, reason) in
        [(256 * 1024, "VALIDATION_FAILED"), (256 * 1024 + 1, "MESSAGE_TOO_LARGE")]
    {
        // The name, its key and its length.
        let message = field(1, &vec![b'x'; length - 4]);
        assert_eq!(message.len(), length);
        let status = send(gateway.grpc, GET, &[], frame(0, &message)).await.status();
        assert_eq!(failure(&status).1, reason, "{length}");
    }
    // By its length alone: of the message, nothing has come.
    let mut frames = Frames::connect(gateway.grpc).await;
    let stream = frames.begin(GET).await;
    frames.piece(stream, &[0, 0, 4, 0, 1], false).await;
    let end = "code=\"RESOURCE_EXHAUSTED\",reason=\"MESSAGE_TOO_LARGE\"";
    let refusals = format!("profile_gateway_calls_total{{method=\"{GET}\",{end}}}");
    until("the refusal", async || metric(&gateway, &refusals).await == 2).await;
}

//! A call as its bytes over HTTP/2, and the response as it was sent.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use profile_gateway::pb::ListProfilesRequest;
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;
use tonic::Status;

use super::child::{Gateway, patiently};

/// A whole response, as it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Sent {
    pub(super) fn status(&self) -> Status {
        let status = Status::from_header_map(&self.trailers);
        status.or_else(|| Status::from_header_map(&self.headers)).unwrap()
    }

    /// Headers and trailers as a proxy may write them.
    pub(super) fn metadata_bytes(&self) -> usize {
        let all = self.headers.iter().chain(&self.trailers);
        all.map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
    }

    /// The flag of the one message, and its bytes.
    pub(super) fn message(&self) -> (u8, &[u8]) {
        let (head, message) = self.body.split_at(5);
        assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
        (head[0], message)
    }
}

/// A frame of a message; `flag` is 1 for a compressed one.
pub(super) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = vec![flag];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

pub(super) async fn send(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Sent {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let mut request = Request::post(format!("http://{address}/{path}")).version(Version::HTTP_2);
    let plain = [("te", "trailers"), ("content-type", "application/grpc")];
    for (name, value) in plain.iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // Refused before it was read, which is as good.
    drop(stream.send_data(body, true));
    let (head, mut data) = patiently("a response", response).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let mut body = Vec::new();
    while let Some(piece) = patiently("the body", data.data()).await {
        let piece = piece.unwrap();
        data.flow_control().release_capacity(piece.len()).unwrap();
        body.extend(piece);
    }
    let trailers = data.trailers().await.unwrap().unwrap_or_default();
    Sent { headers: head.headers, body, trailers }
}

pub(super) async fn ask(gateway: &Gateway, path: &str, message: &impl Message) -> Sent {
    send(gateway.grpc, path, &[], frame(0, &message.encode_to_vec())).await
}

pub(super) fn list(page_size: i32) -> ListProfilesRequest {
    let parent = "backends/sft".to_owned();
    ListProfilesRequest { parent, page_size, ..Default::default() }
}

/// Puts profiles whose names have so many bytes into the embedded sandbox.
pub(super) async fn put(gateway: &Gateway, count: u32, bytes: usize) {
    let client = reqwest::Client::new();
    for id in 9000..9000 + count {
        let url = format!("{}/sandbox/sft/profiles/SP_{id}", gateway.sandbox.as_ref().unwrap());
        let name = format!("{id} {}", "x".repeat(bytes));
        let profile = json!({ "name": name, "services": ["DATA"], "rat": "2G" });
        let put = client.put(url).json(&profile).send().await.unwrap();
        assert_eq!(put.status(), 200, "{}", put.text().await.unwrap());
    }
}

type Compress = fn(&[u8]) -> Vec<u8>;

/// What the gateway reads, with a way to write it.
pub(super) const ENCODINGS: [(&str, Compress); 2] = [("gzip", gzip), ("zstd", zstd)];

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

//! What clients and proxies send that is not quite a gRPC call: refused before anything is
//! executed, or served as HTTP defines it. Speaks HTTP by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{Reason, SendStream, client::SendRequest};
use http::{HeaderMap, Method, Request, Response, Version};
use profile_gateway::pb::{DeleteProfileRequest, GetProfileRequest};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status};

use super::{
    calls::{GET, failure, metric, named, profiles},
    child::{Gateway, gateway, patiently, until},
    frames::{DATA, Frames, RST_STREAM},
};

const DELETE: &str = "profilegateway.v1.ProfileService/DeleteProfile";
const WEB: (&str, &str) = ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true");
/// A profile that nothing uses.
const VICTIM: &str = "SP_352";

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client.ready().await.unwrap()
}

fn request(address: SocketAddr, method: Method, path: &str, content_type: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://{address}/{path}"));
    let request = request.header("te", "trailers").header("content-type", content_type);
    request.version(Version::HTTP_2).body(()).unwrap()
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    bytes.extend(message.encode_to_vec());
    bytes.into()
}

fn delete() -> Bytes {
    framed(&DeleteProfileRequest { name: named(VICTIM).name, ..DeleteProfileRequest::default() })
}

/// Sends a request whose body ends as it should.
async fn send(gateway: &Gateway, request: Request<()>, body: Bytes) -> Response<h2::RecvStream> {
    let mut client = connect(gateway.grpc).await;
    let (response, mut stream) = client.send_request(request, false).unwrap();
    // Refused before it was read, which is as good.
    drop(stream.send_data(body, true));
    patiently("an answer", response).await.unwrap()
}

/// A call that is open: the headers have left.
fn open(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    client.send_request(request, false).unwrap()
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The status, wherever it is.
async fn status(response: Response<h2::RecvStream>) -> Code {
    assert_eq!(response.status(), 200);
    if let Some(code) = code(response.headers()) {
        return code;
    }
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        drop(data.unwrap());
    }
    code(&body.trailers().await.unwrap().unwrap()).unwrap()
}

/// That the profile is still there. Sent after the call in question, and past the cache.
async fn assert_not_deleted(gateway: &Gateway) {
    let mut request = tonic::Request::new(named(VICTIM));
    request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    profiles(gateway).await.get_profile(request).await.unwrap();
}

fn ended(method: &str, code: &str, reason: &str) -> String {
    format!(
        "profile_gateway_calls_total{{method=\"{method}\",code=\"{code}\",reason=\"{reason}\"}}"
    )
}

/// The response to a request as it is written here, over HTTP/1.
async fn over_http_1(gateway: &Gateway, head: &str, body: &[u8]) -> String {
    let mut tcp = TcpStream::connect(gateway.grpc).await.unwrap();
    tcp.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    tcp.write_all(body).await.unwrap();
    let mut response = Vec::new();
    patiently("a response", tcp.read_to_end(&mut response)).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn grpc_over_http_1_is_refused_before_it_is_executed() {
    let gateway = gateway(&[], &[WEB]).await;
    let length = delete().len();
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        for te in ["", "te: trailers\r\n"] {
            let head = format!(
                "POST /{DELETE} {version}\r\nhost: a\r\nconnection: close\r\n{te}\
                 content-type: application/grpc\r\ncontent-length: {length}"
            );
            let response = over_http_1(&gateway, &head, &delete()).await;
            assert!(response.starts_with(&format!("{version} 505")), "{response}");
            assert!(response.contains("must use HTTP/2"), "{response}");
        }
    }
    assert_not_deleted(&gateway).await;
    assert_eq!(metric(&gateway, &ended(DELETE, "HTTP_505", "")).await, 4);
}

#[tokio::test]
async fn only_post_is_a_call() {
    const METHODS: [&str; 6] = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"];
    let gateway = gateway(&[], &[WEB]).await;
    for content_type in ["application/grpc", "application/grpc-web+proto"] {
        for method in METHODS {
            let http = Method::from_bytes(method.as_bytes()).unwrap();
            let request = request(gateway.grpc, http, DELETE, content_type);
            let response = send(&gateway, request, delete()).await;
            assert_eq!(response.status(), 405, "{method} {content_type}");
            assert_eq!(response.headers()["allow"], "POST");
            let said = response.into_body().data().await;
            assert_eq!(said.is_none(), method == "HEAD", "{method}");

            let length = delete().len();
            let head = format!(
                "{method} /{DELETE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                 content-type: {content_type}\r\ncontent-length: {length}"
            );
            let response = over_http_1(&gateway, &head, &delete()).await;
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 405"), "{method} {content_type}: {head}");
            assert_eq!(body.is_empty(), method == "HEAD", "{method}: {body}");
        }
    }
    assert_not_deleted(&gateway).await;
    assert_eq!(metric(&gateway, &ended(DELETE, "HTTP_405", "")).await, 24);
}

#[tokio::test]
async fn head_of_what_is_not_grpc_has_no_body() {
    let gateway = gateway(&[], &[]).await;
    let request = request(gateway.grpc, Method::HEAD, "", "text/html");
    let response = send(&gateway, request, Bytes::new()).await;
    assert_eq!(response.status(), 415);
    assert!(response.into_body().data().await.is_none());
}

/// A library would not send them, so these are the frames by hand.
#[tokio::test]
async fn headers_of_http_1_are_refused_over_http_2() {
    let gateway = gateway(&[], &[]).await;
    for (name, value) in [("te", "gzip"), ("connection", "keep-alive"), ("upgrade", "h2c")] {
        let mut frames = Frames::connect(gateway.grpc).await;
        frames.call(&[("te", "trailers"), (name, value)], DELETE, &delete()).await;
        let reset = frames.until(RST_STREAM).await;
        assert_eq!(reset, u32::from(Reason::PROTOCOL_ERROR).to_be_bytes(), "{name}: {value}");
    }
    assert_not_deleted(&gateway).await;
}

/// Clients send what they dial: a Unix socket, a list of addresses, a name of xDS.
#[tokio::test]
async fn any_authority_is_served() {
    let gateway = gateway(&[], &[]).await;
    let long = "/".repeat(120);
    for authority in [
        "/tmp/s.sock",
        "%2Ftmp%2Fs.sock",
        "a:1,b:2",
        "extension/x",
        "",
        "[::1",
        "a b",
        &long,
        "localhost:50051",
    ] {
        let mut frames = Frames::connect(gateway.grpc).await;
        for _ in 0..3 {
            frames.call(&[(":authority", authority)], GET, &framed(&named("SP_2"))).await;
            let message = frames.until(DATA).await;
            assert!(message.len() > 5, "{authority:?}");
        }
    }
    let mut frames = Frames::connect(gateway.grpc).await;
    frames.call(&[], GET, &framed(&named("SP_2"))).await;
    assert!(frames.until(DATA).await.len() > 5, "without one");
    // They are as any other call in the log and the metrics.
    assert_eq!(metric(&gateway, &ended(GET, "OK", "")).await, 28);
}

/// A proxy sends the calls of all its clients over one connection, and names by a number what it
/// sent before.
#[tokio::test]
async fn authorities_may_differ_from_call_to_call() {
    // With its name and to be kept: `ok`, `/tmp/s.sock` in Huffman's code, and an empty one.
    const GOOD: &[u8] = b"\x40\x0a:authority\x02ok";
    const FOREIGN: &[u8] = b"\x41\x88\x61\x34\xd6\xc2\x17\x41\xc9\xd7";
    const EMPTY: &[u8] = b"\x41\x00";
    // Entries by their numbers: the latest, the one before, and that before.
    const LAST: &[u8] = b"\xbe";
    const SECOND: &[u8] = b"\xbf";
    const THIRD: &[u8] = b"\xc0";
    // `a:1,b:2` under the name of an entry.
    const NAMED: &[u8] = b"\x0f\x2f\x07a:1,b:2";
    let gateway = gateway(&[], &[]).await;
    let mut frames = Frames::connect(gateway.grpc).await;
    let body = framed(&named("SP_2"));
    for authority in
        [GOOD, FOREIGN, SECOND, LAST, GOOD, NAMED, EMPTY, LAST, SECOND, THIRD, b"\x81", GOOD]
    {
        let path = format!("/{GET}");
        let length = u8::try_from(path.len()).unwrap();
        // `:method: POST`, `:scheme: http`, and a content type.
        let before = [b"\x83\x86\x04", &[length][..], path.as_bytes()].concat();
        let block = [&before[..], authority, b"\x0f\x10\x10application/grpc"].concat();
        frames.coded(&[&block], &body).await;
        assert!(frames.until(DATA).await.len() > 5, "{authority:?}");
    }
    // The authority begins in one frame and ends in another.
    let path = format!("/{GET}");
    let head = [b"\x83\x86", FOREIGN].concat();
    let rest = [b"\x04\x2c", path.as_bytes(), b"\x0f\x10\x10application/grpc"].concat();
    assert_eq!(path.len(), 0x2c);
    let (first, second) = head.split_at(6);
    frames.coded(&[first, second, &rest], &body).await;
    assert!(frames.until(DATA).await.len() > 5, "in several frames");
}

#[tokio::test]
async fn content_types_are_compared_as_http_does_and_only_protobuf_is_read() {
    let gateway = gateway(&[], &[]).await;
    for accepted in
        ["Application/gRPC", "application/grpc ; charset=utf-8", "APPLICATION/GRPC+proto"]
    {
        let request = request(gateway.grpc, Method::POST, GET, accepted);
        let response = send(&gateway, request, framed(&named("SP_2"))).await;
        assert_eq!(status(response).await, Code::Ok, "{accepted}");
    }
    for refused in ["application/grpc+json", "application/grpc+cbor", "application/grpc+thrift"] {
        let request = request(gateway.grpc, Method::POST, GET, refused);
        let response = send(&gateway, request, framed(&named("SP_2"))).await;
        assert_eq!(response.status(), 415, "{refused}");
    }
}

#[tokio::test]
async fn a_request_without_its_end_is_not_executed() {
    let gateway = gateway(&[], &[]).await;
    let mut client = connect(gateway.grpc).await;
    for (reason, promised) in [
        (Reason::CANCEL, 0),
        (Reason::NO_ERROR, 0),
        (Reason::INTERNAL_ERROR, 0),
        (Reason::CANCEL, 10),
        (Reason::NO_ERROR, 10),
    ] {
        let mut request = request(gateway.grpc, Method::POST, DELETE, "application/grpc");
        if promised > 0 {
            let length = (delete().len() + promised).to_string();
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let (response, mut stream) = open(&mut client, request);
        stream.send_data(delete(), false).unwrap();
        // The message is there before the reset, which would overtake it here.
        until("the call", async || metric(&gateway, "profile_gateway_calls_in_flight").await == 1)
            .await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        stream.send_reset(reason);
        assert!(patiently("the end", response).await.is_err());
        until("the end of the call", async || {
            metric(&gateway, "profile_gateway_calls_in_flight").await == 0
        })
        .await;
        assert_not_deleted(&gateway).await;
    }
    let cancelled = ended(DELETE, "CANCELLED", "CALLER_CANCELLED");
    assert!(metric(&gateway, &cancelled).await >= 4);
}

#[tokio::test]
async fn a_request_that_ends_before_or_after_its_content_length_is_not_executed() {
    let gateway = gateway(&[], &[WEB]).await;
    for difference in [-1_i64, 1, 100] {
        let length = i64::try_from(delete().len()).unwrap() + difference;
        let mut client = connect(gateway.grpc).await;
        let mut request = request(gateway.grpc, Method::POST, DELETE, "application/grpc");
        request.headers_mut().insert("content-length", length.to_string().parse().unwrap());
        let (response, mut stream) = open(&mut client, request);
        stream.send_data(delete(), false).unwrap();
        drop(stream.send_data(Bytes::new(), true));
        let error = patiently("a reset", response).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{difference}");

        let mut tcp = TcpStream::connect(gateway.grpc).await.unwrap();
        let head = format!(
            "POST /{DELETE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
             content-type: application/grpc-web+proto\r\ncontent-length: {length}\r\n\r\n"
        );
        tcp.write_all(&[head.as_bytes(), &*delete()].concat()).await.unwrap();
        tcp.shutdown().await.unwrap();
        drop(patiently("the end", tcp.read_to_end(&mut Vec::new())).await);
        assert_not_deleted(&gateway).await;
    }
}

/// A caller cannot page an operator.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_is_logged_as_cancelled() {
    let gateway = gateway(&[], &[WEB]).await;
    let half = delete().slice(..delete().len() / 2);
    let in_flight = async |n| metric(&gateway, "profile_gateway_calls_in_flight").await == n;

    let tcp = TcpStream::connect(gateway.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = request(gateway.grpc, Method::POST, DELETE, "application/grpc");
    let (_response, mut stream) = open(&mut client, request);
    stream.send_data(half.clone(), false).unwrap();
    until("the call", async || in_flight(1).await).await;
    connection.abort();
    until("the end of the call", async || in_flight(0).await).await;

    let mut tcp = TcpStream::connect(gateway.grpc).await.unwrap();
    let head = format!(
        "POST /{DELETE} HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n",
        delete().len()
    );
    tcp.write_all(&[head.as_bytes(), &*half].concat()).await.unwrap();
    until("the call", async || in_flight(1).await).await;
    drop(tcp);
    until("the end of the call", async || in_flight(0).await).await;

    assert_eq!(metric(&gateway, &ended(DELETE, "CANCELLED", "CALLER_CANCELLED")).await, 2);
}

#[tokio::test]
async fn a_second_message_in_a_unary_call_is_refused_before_the_first_is_executed() {
    let gateway = gateway(&[], &[]).await;
    let twice = Bytes::from([delete(), delete()].concat());
    let request = request(gateway.grpc, Method::POST, DELETE, "application/grpc");
    let response = send(&gateway, request, twice).await;
    let status = Status::from_header_map(response.headers()).unwrap();
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unimplemented, "MALFORMED_REQUEST"));
    assert_not_deleted(&gateway).await;
    let whole = framed(&GetProfileRequest { name: named("SP_2").name, read_mask: None });
    let request = self::request(gateway.grpc, Method::POST, GET, "application/grpc");
    assert_eq!(self::status(send(&gateway, request, whole).await).await, Code::Ok);
}

//! Clients over HTTP/1.1 that ask and do not read the answers.

use std::{net::SocketAddr, time::Duration};

use profile_gateway::pb::ListProfilesRequest;
use prost::Message;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    calls::{LIST, metric},
    child::{gateway, patiently, until},
    crowds::Victim,
};

const WEB: (&str, &str) = ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true");
const UNREAD: &str = r#"profile_gateway_connections_closed_total{port="grpc",reason="unread"}"#;
const CLIENTS: u64 = 30;
/// A program that takes nothing for so long waits for its client.
const STALLED: Duration = Duration::from_millis(500);

/// A connection with more calls than the buffers of both ends hold answers. None is read.
async fn asks(address: SocketAddr, header: &str) -> TcpStream {
    let (parent, page_size) = ("backends/pcc".to_owned(), 1000);
    let request = ListProfilesRequest { parent, page_size, ..Default::default() };
    let body = request.encode_to_vec();
    let length = body.len() + 5;
    let mut call = format!(
        "POST /{LIST} HTTP/1.1\r\nhost: a\r\n{header}content-length: {length}\r\n\
         content-type: application/grpc-web+proto\r\n\r\n"
    )
    .into_bytes();
    call.push(0);
    call.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    call.extend(body);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let calls = call.repeat(50);
    // Until the program takes no more, because its answers cannot leave.
    let write = async {
        while timeout(STALLED, tcp.write_all(&calls)).await.is_ok_and(|written| written.is_ok()) {}
    };
    patiently("a program that takes no more", write).await;
    tcp
}

async fn all_are_closed(env: &[(&str, &str)], header: &str) {
    let gateway = gateway(&[], env).await;
    let url = format!("{}/sandbox/pcc/seed", gateway.sandbox.as_ref().unwrap());
    let seeded = reqwest::Client::new().post(url).json(&json!({ "count": 1000 })).send().await;
    assert_eq!(seeded.unwrap().status(), 200);
    let victim = Victim::start(&gateway).await;
    let clients = (0..CLIENTS).map(|_| asks(gateway.grpc, header));
    let _clients = futures_util::future::join_all(clients).await;
    until("all closed", async || metric(&gateway, UNREAD).await == CLIENTS).await;
    until("all gone", async || metric(&gateway, "profile_gateway_connections").await == 1).await;
    victim.stays_unharmed().await;
}

#[tokio::test]
async fn who_reads_nothing_is_closed() {
    // No deadline ends the calls meanwhile.
    let env = [
        WEB,
        ("PROFILE_GATEWAY__SERVER__WRITE_TIMEOUT", "1s"),
        ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "5m"),
    ];
    all_are_closed(&env, "").await;
}

#[tokio::test]
async fn an_answer_ends_with_its_deadline() {
    let env = [WEB, ("PROFILE_GATEWAY__SERVER__WRITE_TIMEOUT", "1h")];
    all_are_closed(&env, "grpc-timeout: 500m\r\n").await;
}

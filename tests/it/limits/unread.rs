//! Readers who take nothing of a response: cut off after half a minute, and not before.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Version};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::kit::{
    bodies,
    double::{self, Double, LIST, double},
    gateway::{Gateway, gateway},
    later, model, until,
};

/// The largest piece of a message that is handed over at once.
const PIECE: u32 = 64 * 1024;

/// A gateway whose lists are larger than two pieces, and whose deadlines are later than all else.
async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let profiles: Vec<_> =
        (0..50).map(|n| bodies::profile(&format!("SP_{n}"), &"n".repeat(3000))).collect();
    upstream.always(LIST, double::json(bodies::profiles(&profiles)));
    let server = "default_timeout = \"5m\"";
    let gateway = gateway().server(server).fixed("sft", &upstream.base_url, "").start().await;
    (upstream, gateway)
}

/// The body of a list, of which the gateway may send so many bytes before any are taken.
async fn list(gateway: &Gateway, window: u32) -> RecvStream {
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(8 * PIECE);
    let (client, connection) = builder.handshake::<_, Bytes>(tcp).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let path = "http://gateway/profilegateway.v1.ProfileService/ListProfiles";
    let request = Request::post(path).version(Version::HTTP_2);
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let message = model::list(model::BACKEND).encode_to_vec();
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend(message);
    stream.send_data(body.into(), true).unwrap();
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(head.headers.get("grpc-status"), None, "{head:?}");
    body
}

#[tokio::test]
async fn a_reader_who_takes_nothing_for_half_a_minute_is_cut_off() {
    let (_upstream, gateway) = start().await;
    let in_flight = async || gateway.metric("calls_in_flight", "").await;
    // Room for nothing, and for the beginning of the message.
    for window in [0, 10] {
        let mut body = list(&gateway, window).await;
        later(Duration::from_secs(28)).await;
        assert_eq!(in_flight().await, 1.0, "{window}");
        later(Duration::from_secs(3)).await;
        until("the reader is cut off", async || in_flight().await == 0.0).await;
        let mut last = body.data().await;
        while let Some(Ok(_)) = last {
            last = body.data().await;
        }
        assert!(last.unwrap().unwrap_err().is_reset(), "{window}");
    }
    assert_eq!(gateway.metric("calls_total", "code=\"CANCELLED\"").await, 2.0);
}

/// However long it takes for the whole message.
#[tokio::test]
async fn a_reader_who_takes_a_piece_within_half_a_minute_gets_the_next_one() {
    let (_upstream, gateway) = start().await;
    let mut body = list(&gateway, PIECE).await;
    let (mut received, mut taken) = (0, 0);
    while let Some(data) = body.data().await {
        received += data.unwrap().len();
        if received - taken == PIECE as usize {
            later(Duration::from_secs(20)).await;
            body.flow_control().release_capacity(PIECE as usize).unwrap();
            taken = received;
        }
    }
    assert_eq!(taken, 2 * PIECE as usize, "{received}");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
}

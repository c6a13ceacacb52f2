//! Readers who take nothing of a response: cut off after half a minute, and not before.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::kit::{
    bodies,
    double::{self, LIST, double},
    gateway::gateway,
    later, model, until,
};

#[tokio::test]
async fn a_reader_who_takes_nothing_for_half_a_minute_is_cut_off() {
    let upstream = double().await;
    // More than one piece: the last one is left to the connection.
    let profiles: Vec<_> =
        (0..50).map(|n| bodies::profile(&format!("SP_{n}"), &"n".repeat(3000))).collect();
    upstream.always(LIST, double::json(bodies::profiles(&profiles)));
    // Their deadlines are later.
    let server = "default_timeout = \"5m\"";
    let gateway = gateway().server(server).fixed("sft", &upstream.base_url, "").start().await;
    let in_flight = async || gateway.metric("calls_in_flight", "").await;
    // Room for nothing, and for the beginning of the message.
    for window in [0, 10] {
        let tcp = TcpStream::connect(gateway.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (client, connection) =
            builder.initial_window_size(window).handshake::<_, Bytes>(tcp).await.unwrap();
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
        let (head, mut body) = response.await.unwrap().into_parts();
        assert_eq!(head.headers.get("grpc-status"), None, "{head:?}");
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

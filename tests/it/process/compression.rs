//! Compressed requests, and compressed responses for those who read them.

use profile_gateway::pb::{ListProfilesResponse, profile_service_client::ProfileServiceClient};
use prost::Message;
use tonic::{
    Code,
    codec::CompressionEncoding::{self, Gzip, Zstd},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    calls::{GET, LIST, channel, named},
    child::{Gateway, gateway},
    wire::{frame, list, put, send},
};

/// A client that compresses what it sends, and reads compressed responses.
async fn compressing(
    gateway: &Gateway,
    encoding: CompressionEncoding,
) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(channel(gateway.grpc).await)
        .send_compressed(encoding)
        .accept_compressed(encoding)
}

#[tokio::test]
async fn requests_may_be_compressed_and_large_responses_are_for_those_who_read_it() {
    let gateway = gateway(&[], &[]).await;
    put(&gateway, 20, 1000).await;
    let message = frame(0, &list(1000).encode_to_vec());
    let mut lists = Vec::new();
    for encoding in [Gzip, Zstd] {
        let mut client = compressing(&gateway, encoding).await;
        lists.push(client.list_profiles(list(1000)).await.unwrap().into_inner());
        client.get_profile(named("SP_2")).await.unwrap();
        let mut health = HealthClient::new(channel(gateway.grpc).await).send_compressed(encoding);
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
    // The caller's first one that the gateway has.
    for (accepted, expected) in [
        ("identity, deflate, gzip", "gzip"),
        ("identity, zstd", "zstd"),
        ("gzip,zstd", "gzip"),
        ("zstd,gzip", "zstd"),
    ] {
        let accepts = [("grpc-accept-encoding", accepted)];
        let sent = send(gateway.grpc, LIST, &accepts, message.clone()).await;
        assert_eq!(sent.status().code(), Code::Ok);
        assert_eq!(sent.headers["grpc-encoding"], expected);
        let (flag, compressed) = sent.message();
        assert!(flag == 1 && compressed.len() < 8 * 1024, "{flag} {}", compressed.len());
    }
    let accepts = [("grpc-accept-encoding", "gzip, zstd")];
    let plain = send(gateway.grpc, LIST, &[], message.clone()).await;
    assert_eq!(plain.headers.get("grpc-encoding"), None);
    let (flag, bytes) = plain.message();
    assert!(flag == 0 && bytes.len() > 20_000);
    let decoded = ListProfilesResponse::decode(bytes).unwrap();
    assert!(lists.iter().all(|list| list.profiles == decoded.profiles));
    let other = [("grpc-accept-encoding", "identity,deflate,snappy")];
    assert_eq!(send(gateway.grpc, LIST, &other, message.clone()).await.message().0, 0);
    // A small one is not worth it.
    let small = frame(0, &named("SP_2").encode_to_vec());
    assert_eq!(send(gateway.grpc, GET, &accepts, small).await.message().0, 0);

    let env = [("PROFILE_GATEWAY__SERVER__MIN_COMPRESSED_BYTES", "off")];
    let off = self::gateway(&[], &env).await;
    assert_eq!(send(off.grpc, LIST, &accepts, message).await.message().0, 0);
}

//! Requests to list or close writes in doubt that are refused, and change nothing.

use profile_gateway::pb::{CloseDoubtfulWriteRequest, DoubtOutcome};
use tonic::Code;

use super::{Lost, benches, close, doubts, lost, page};
use crate::{kit::status::fails, request_ids::THREE};

const TOOK_EFFECT: DoubtOutcome = DoubtOutcome::TookEffect;

#[tokio::test]
async fn names_that_no_write_has_are_refused() {
    let bench = benches().await.remove(0);
    let Lost { writes, .. } = lost(&bench, THREE).await;
    let (parent, write) = (bench.parent(), &writes[1].name);
    for bad in [
        "",
        "backends/-/doubtfulWrites/1",
        parent.as_str(),
        &format!("{parent}/profiles/1"),
        &format!("{write}/more"),
        &format!("{write}\0"),
        &format!("{parent}/doubtfulWrites/{}", "1".repeat(100_000)),
    ] {
        let refused = close(&bench, bad, TOOK_EFFECT, "").await;
        let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(refused.fields, ["name"], "{bad:.80}");
    }
    let (_, number) = write.rsplit_once('/').unwrap();
    for id in ["0", "1", "-1", "+1", "seven", "../1", "18446744073709551616", &format!("0{number}")]
    {
        let name = format!("{parent}/doubtfulWrites/{}", id.replace('/', "%2F"));
        let missing = close(&bench, &name, TOOK_EFFECT, "").await;
        fails(missing, Code::NotFound, "DOUBTFUL_WRITE_NOT_FOUND");
    }
    let elsewhere = close(&bench, &write.replace(&parent, "backends/nope"), TOOK_EFFECT, "").await;
    fails(elsewhere, Code::NotFound, "BACKEND_NOT_FOUND");
    assert_eq!(doubts(&bench).await.len(), writes.len());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    for bench in benches().await {
        let Lost { there, writes, .. } = lost(&bench, THREE).await;
        let [creation, change] = [&writes[0].name, &writes[1].name];
        let other = bench.create(bench.full()).await.unwrap();
        let impossible = bench.name(bench.sample.impossible[0]);
        for (write, profile) in [
            (creation, there.name.as_str()),
            (creation, &other.name),
            (creation, &impossible),
            (creation, "backends/other/profiles/1"),
            (creation, "1"),
            (change, &there.name),
        ] {
            let refused = close(&bench, write, TOOK_EFFECT, profile).await;
            let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
            assert_eq!(refused.fields, ["profile"], "{write}: {profile}");
        }
        let all = CloseDoubtfulWriteRequest { name: creation.clone(), ..Default::default() };
        let refused = bench.gateway.backends.clone().close_doubtful_write(all).await;
        let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(refused.fields, ["outcome", "note"]);
        assert_eq!(doubts(&bench).await.len(), writes.len());

        for (parent, page_size, field) in
            [("", 0, "parent"), ("nope", 0, "parent"), (bench.parent().as_str(), -1, "page_size")]
        {
            let refused = page(&bench, parent, page_size, "").await;
            let refused = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
            assert_eq!(refused.fields, [field]);
        }
        let nowhere = page(&bench, "backends/nope", 0, "").await;
        fails(nowhere, Code::NotFound, "BACKEND_NOT_FOUND");
    }
}

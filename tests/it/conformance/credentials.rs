//! Credentials that an upstream no longer accepts, for every operation of every dialect.

use serde_json::json;
use tonic::Code::Internal;

use super::{
    bench,
    errors::{ALL, attempt},
    samples::registered,
};
use crate::kit::status::failure;

#[tokio::test]
async fn refused_credentials_are_the_gateway_s_own_fault() {
    for sample in registered() {
        for call in ALL {
            let fault = json!({"kind": "status", "status": 401});
            let bench = bench::bench(sample).await;
            let there = bench.create(bench.full()).await.unwrap();
            let (result, happened) = attempt(&bench, (*call, &there), &fault, 0).await;
            let failed = failure(result);
            let what = format!("{}: {call:?} {failed:#?}", sample.dialect);
            assert!(failed.is(Internal, "UPSTREAM_AUTH_FAILED") && !happened, "{what}");
        }
    }
}

//! What is under way while its backend changes, is removed, or another one is added.

use std::{future::Future, sync::Arc};

use profile_gateway::pb::{DeleteProfileRequest, ListDoubtfulWritesRequest, ListProfilesResponse};
use tokio::sync::Semaphore;
use tonic::{Code, Response, Status};

use crate::{
    kit::{
        bodies::{fixture, profile, profiles},
        double::{self, Answer, DELETE, Double, GET, LIST, double},
        gateway::{Builder, Gateway, gateway},
        model,
        reloading::{Files, Reloading, reloading},
        status::fails,
        until,
    },
    request_ids::ONE,
};

/// An upstream that shows every profile that is asked for.
async fn upstream() -> Double {
    let upstream = double().await;
    upstream
        .always(GET, double::by(|seen| double::json(profiles(&[profile(seen.id(), "One")]))))
        .always(LIST, double::json(profiles(&[profile("SP_1", "One")])))
        .always(DELETE, double::json(fixture("delete-success")));
    upstream
}

/// Two upstreams, of which the backend `sft` has the first.
struct Bench {
    one: Double,
    two: Double,
    reloading: Reloading,
}

async fn bench() -> Bench {
    let (one, two) = (upstream().await, upstream().await);
    let reloading = reloading(Files::new(), with(gateway(), &[("sft", &one, "")])).await;
    Bench { one, two, reloading }
}

fn with(builder: Builder, backends: &[(&str, &Double, &str)]) -> Builder {
    let add = |to: Builder, (name, at, lines): &(&str, &Double, &str)| {
        to.fixed(name, &at.base_url, &format!("max_attempts = 1\n{lines}"))
    };
    // A write whose outcome cannot be told ends then.
    backends.iter().fold(builder.server("default_timeout = \"3s\""), add)
}

fn delete(gateway: &Gateway) -> impl Future<Output = Result<(), Status>> + use<> {
    let mut client = gateway.profiles.clone();
    let (name, request_id) = (model::name("SP_1"), ONE.to_owned());
    let request = DeleteProfileRequest { name, request_id, ..<_>::default() };
    async move { client.delete_profile(request).await.map(drop) }
}

async fn list(gateway: &Gateway) -> Result<ListProfilesResponse, Status> {
    let request = crate::kit::gateway::fresh(model::list("backends/-"));
    gateway.profiles.clone().list_profiles(request).await.map(Response::into_inner)
}

async fn doubts(gateway: &Gateway, parent: &str) -> Result<usize, Status> {
    let request = ListDoubtfulWritesRequest { parent: parent.to_owned(), ..<_>::default() };
    let answer = gateway.backends.clone().list_doubtful_writes(request).await?;
    Ok(answer.into_inner().doubtful_writes.len())
}

/// Once these requests have come, changes the configuration, and then lets the upstream answer.
async fn meanwhile<T>(
    bench: &Bench,
    operation: &'static str,
    answer: Answer,
    call: impl Future<Output = T>,
    next: Builder,
) -> T {
    let gate = Arc::new(Semaphore::new(0));
    let before = bench.one.count(operation);
    bench.one.then(operation, Answer::Gated(Arc::clone(&gate), Box::new(answer)));
    let reload = async {
        until("the request", async || bench.one.count(operation) > before).await;
        bench.reloading.change(next).await;
        assert_eq!(bench.reloading.outcome().await.0, "applied");
        gate.add_permits(1);
    };
    tokio::join!(call, reload).0
}

#[tokio::test]
async fn a_write_under_way_ends_as_it_would() {
    let bench = bench().await;
    let Bench { one, two, reloading } = &bench;
    let deleted = || double::json(fixture("delete-success"));
    let gateway = &reloading.gateway;
    for next in [
        with(self::gateway(), &[("sft", one, "request_timeout = \"9s\"\n")]),
        with(self::gateway(), &[("sft", one, ""), ("other", two, "")]),
        with(self::gateway(), &[("sft", two, "")]),
        with(self::gateway(), &[("other", two, "")]),
    ] {
        reloading.change(with(self::gateway(), &[("sft", one, "")])).await;
        meanwhile(&bench, DELETE, deleted(), gateway.delete("SP_1"), next).await.unwrap();
    }
    assert_eq!((one.count(DELETE), two.count(DELETE)), (4, 0));
    fails(gateway.delete("SP_1").await, Code::NotFound, "BACKEND_NOT_FOUND");
}

/// Its answer is lost, and so is what would tell whether it was done, until the backend has gone
/// and come again.
#[tokio::test]
async fn a_write_in_doubt_waits_for_its_backend_to_come_again() {
    let bench = bench().await;
    let Bench { one, two, reloading } = &bench;
    let gateway = &reloading.gateway;
    one.always(GET, Answer::Close).always(LIST, Answer::Close);
    let other = || with(self::gateway(), &[("other", two, "")]);
    let ended = meanwhile(&bench, DELETE, Answer::Close, delete(gateway), other()).await;
    assert_eq!(crate::kit::status::failure(ended).reason, "WRITE_OUTCOME_UNKNOWN");
    fails(delete(gateway).await, Code::NotFound, "BACKEND_NOT_FOUND");
    fails(doubts(gateway, "backends/sft").await, Code::NotFound, "BACKEND_NOT_FOUND");
    assert_eq!(doubts(gateway, "backends/-").await.unwrap(), 1);

    one.always(GET, double::json(profiles(&[]))).always(LIST, double::json(profiles(&[])));
    reloading.change(with(self::gateway(), &[("sft", one, "")])).await;
    until("the outcome", async || delete(gateway).await.is_ok()).await;
    assert_eq!(one.count(DELETE), 1, "reads have told that it was done");
    assert_eq!(doubts(gateway, "backends/sft").await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_of_all_backends_has_those_that_there_were_when_it_began() {
    let bench = bench().await;
    let Bench { one, two, reloading } = &bench;
    let gateway = &reloading.gateway;
    let of = |answer: ListProfilesResponse| -> Vec<String> {
        answer.profiles.into_iter().map(|profile| profile.name).collect()
    };
    let listed = || double::json(profiles(&[profile("SP_1", "One")]));
    let both = || with(self::gateway(), &[("sft", one, ""), ("other", two, "")]);
    let call = async { of(list(gateway).await.unwrap()) };
    let names = meanwhile(&bench, LIST, listed(), call, both()).await;
    assert_eq!(names, ["backends/sft/profiles/SP_1"]);
    let call = async { of(list(gateway).await.unwrap()) };
    let next = with(self::gateway(), &[("other", two, "")]);
    let mut names = meanwhile(&bench, LIST, listed(), call, next).await;
    names.sort();
    assert_eq!(names, ["backends/other/profiles/SP_1", "backends/sft/profiles/SP_1"]);
    assert_eq!(of(list(gateway).await.unwrap()), ["backends/other/profiles/SP_1"]);
}

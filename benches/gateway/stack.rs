//! The layers around the services: the same service that answers the same message, once behind a
//! bare tonic server and once behind the gateway's own, with every layer, the access log and the
//! metrics.
//!
//! A read that the gateway answers from memory costs about this.

use profile_gateway::pb::{Profile, Service};

use crate::{Role, child::Child, load, load::Clients, measure, report};

/// About as many bytes as a profile of SFT with its services.
fn profile() -> Profile {
    let service = |name: &str| Service {
        id: name.to_owned(),
        description: Some(format!("the service {name} as the upstream's catalog has it")),
        ..Service::default()
    };
    Profile {
        name: "backends/sft/profiles/SP_2".to_owned(),
        display_name: "DEFAULT".to_owned(),
        description: Some(
            "Data and SMS at home and abroad, no voice; see the operator's handbook for \
                      what else is in it"
                .to_owned(),
        ),
        etag: "\"q1w2e3r4t5y6u7i8\"".to_owned(),
        services: ["DATA", "MO-SMS", "MT-SMS"].map(service).to_vec(),
        ..Profile::default()
    }
}

/// Makes the calls to both and prints both.
pub(crate) async fn compare(requests: usize, rounds: usize) {
    let text = load::to_text(&profile());
    let tonic = Child::role(Role::Tonic, &text);
    let stack = Child::logging_role(Role::Stack, &text);
    let (to_tonic, to_stack) =
        (Clients::connect(&tonic.address).await, Clients::connect(&stack.address).await);
    assert_eq!(to_tonic.get().await, to_stack.get().await);
    let each = (requests / rounds).max(1);
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    // The first turn warms up.
    for round in 0..=rounds {
        let turns = (
            measure(&tonic, async || to_tonic.load(each).await).await,
            measure(&stack, async || to_stack.load(each).await).await,
        );
        if round > 0 {
            bare.push(turns.0);
            whole.push(turns.1);
        }
    }
    println!();
    report(
        each,
        rounds,
        &[("bare tonic server", bare, &[]), ("the gateway's server, same service", whole, &[0])],
    );
}

//! `profile-gateway health`: one line that says whether a gateway serves.

use std::net::SocketAddr;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    child::{Ended, Gateway, command, file, gateway, run, started, until},
    probes::{PROBES, address},
};
use crate::kit::certificates::{Authority, Issued, Leaf};

const CERT: &str = "PROFILE_GATEWAY__SERVER__TLS__CERT";
const KEY: &str = "PROFILE_GATEWAY__SERVER__TLS__KEY";

async fn asked(address: SocketAddr) -> Ended {
    run(&["health", "--address", &address.to_string()], &[]).await
}

/// The exit code, after a look that there is one line on stdout and nothing beside it.
#[track_caller]
fn one_line(ended: &Ended, expected: &str) -> Option<i32> {
    let line = ended.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{}", ended.output()));
    assert!(line.ends_with(expected) && !line.contains('\n'), "{}", ended.output());
    assert_eq!(ended.stderr, "");
    ended.code()
}

#[tokio::test]
async fn a_gateway_that_serves_says_so_on_both_ports() {
    let gateway = gateway(&[], &[PROBES]).await;
    for address in [gateway.grpc, address(&gateway)] {
        let said = asked(address).await;
        assert_eq!(one_line(&said, &format!("{address}: SERVING")), Some(0));
    }
    // The admin port knows nothing of gRPC.
    assert_eq!(one_line(&asked(gateway.admin).await, ""), Some(1));
}

#[tokio::test]
async fn the_configuration_says_where_to_ask() {
    let gateway = gateway(&[], &[PROBES]).await;
    let (grpc, probes) = (gateway.grpc.to_string(), address(&gateway).to_string());
    let of_grpc = [("PROFILE_GATEWAY__LISTEN", grpc.as_str())];
    let said = run(&["health"], &of_grpc).await;
    assert_eq!(one_line(&said, &format!("{grpc}: SERVING")), Some(0));
    // The port for probes comes first, and the file says it as well as variables do. What listens
    // on all addresses is asked on this machine.
    let everywhere = format!("0.0.0.0:{}", address(&gateway).port());
    let file = file(&format!(
        "listen = {grpc:?}\nprobe_listen = {everywhere:?}\n[backends.sft]\n\
         dialect = \"bics-sft\"\nbase_url = \"http://127.0.0.1:9\"\naccess_token = \"x\"\n"
    ));
    let said = run(&["health", "--config", &file.path], &[]).await;
    assert_eq!(one_line(&said, &format!("{everywhere}: SERVING")), Some(0));
    let overridden = [("PROFILE_GATEWAY__PROBE_LISTEN", probes.as_str())];
    let said = run(&["health", "--config", &file.path], &overridden).await;
    assert_eq!(one_line(&said, &format!("{probes}: SERVING")), Some(0));
}

#[tokio::test]
async fn a_configuration_that_is_wrong_matters_only_if_it_is_needed() {
    let gateway = gateway(&[], &[]).await;
    let wrong = [("PROFILE_GATEWAY__LISTEN", "nowhere")];
    let said = run(&["health"], &wrong).await;
    assert_eq!(said.code(), Some(64), "{}", said.output());
    assert!(said.stderr.contains("PROFILE_GATEWAY__LISTEN"), "{}", said.stderr);
    let address = gateway.grpc.to_string();
    let said = run(&["health", "--address", &address], &wrong).await;
    assert_eq!(one_line(&said, "SERVING"), Some(0));
    let said = run(&["health", "--address", "gateway.example:50051"], &[]).await;
    assert_eq!(said.code(), Some(2), "{}", said.output());
}

#[tokio::test]
async fn one_that_drains_or_is_not_there_is_not_serving() {
    let slow = [("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "5m")];
    let gateway = gateway(&[], &slow).await;
    gateway.program.signal(Signal::TERM);
    until("NOT_SERVING", async || one_line(&asked(gateway.grpc).await, "SERVING") == Some(1)).await;
    assert_eq!(one_line(&asked(gateway.grpc).await, ": NOT_SERVING"), Some(1));
    gateway.program.signal(Signal::KILL);
    gateway.program.ended().await;
    let said = asked(gateway.grpc).await;
    assert!(said.stdout.contains("it cannot be reached: "), "{}", said.output());
    assert_eq!(one_line(&said, ""), Some(1));
}

#[tokio::test]
async fn what_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let said = asked(silent.local_addr().unwrap()).await;
    assert_eq!(one_line(&said, "it does not answer within 5 s"), Some(1));
}

#[tokio::test]
async fn a_unix_socket_is_asked_as_well() {
    let directory = TempDir::new().unwrap();
    let socket = format!("unix:{}/gateway.sock", directory.path().display());
    let listen = [("PROFILE_GATEWAY__LISTEN", socket.as_str())];
    let _gateway = gateway(&[], &listen).await;
    let said = run(&["health", "--address", &socket], &[]).await;
    assert_eq!(one_line(&said, &format!("{socket}: SERVING")), Some(0));
}

/// A gateway whose gRPC port has this certificate, with more variables.
async fn with_tls(own: &Issued, more: &[(&str, &str)]) -> Gateway {
    let env: Vec<_> = [(CERT, own.certificate.as_str()), (KEY, own.key.as_str())]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    started(&env, |env| command(&[], env)).await
}

#[tokio::test]
async fn tls_is_spoken_where_the_configuration_says_so() {
    let authority = Authority::new();
    // Not a name under which the command reaches it.
    let [own, other] = [(), ()].map(|()| authority.issue(&Leaf::server(&["gateway.example"])));
    let gateway = with_tls(&own, &[PROBES]).await;
    let (grpc, probes) = (gateway.grpc.to_string(), address(&gateway).to_string());
    let with = |own: &Issued, more: &[(&str, &str)]| {
        let env =
            [("PROFILE_GATEWAY__LISTEN", &*grpc), (CERT, &*own.certificate), (KEY, &*own.key)];
        let env = env.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string()));
        env.collect::<Vec<_>>()
    };
    let ask = async |env: Vec<(String, String)>| {
        let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        run(&["health"], &env).await
    };
    let said = ask(with(&own, &[])).await;
    assert_eq!(one_line(&said, &format!("{grpc}: SERVING")), Some(0));
    // Another process on the port is not taken for the gateway.
    let said = ask(with(&other, &[])).await;
    assert!(said.stdout.contains("the TLS handshake failed: "), "{}", said.output());
    assert_eq!(one_line(&said, ""), Some(1));
    assert_eq!(one_line(&asked(gateway.grpc).await, ""), Some(1));

    // Where clients need certificates, only the port for probes can be asked.
    let ca = authority.file("ca.pem");
    let demands = [("PROFILE_GATEWAY__SERVER__TLS__CLIENT_CA", ca.as_str())];
    let said = ask(with(&own, &demands)).await;
    assert_eq!(said.code(), Some(64), "{}", said.output());
    assert!(said.stderr.contains("set `probe_listen`"), "{}", said.stderr);
    let probed = [demands[0], ("PROFILE_GATEWAY__PROBE_LISTEN", probes.as_str())];
    let said = ask(with(&own, &probed)).await;
    assert_eq!(one_line(&said, &format!("{probes}: SERVING")), Some(0));
}

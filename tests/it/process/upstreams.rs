//! What happens on the connection to an upstream: connections that were idle for too long, and
//! HTTP/2 streams that the upstream refuses.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tonic::Code;

use super::{
    calls::{failure, profiles},
    child::{Gateway, Sandbox, sandbox, serve},
};
use crate::kit::{
    model::rename,
    tls::{Authority, Speaks, acceptor},
};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Passes one exchange of each connection on, and then closes it as soon as another request comes:
/// what a connection looks like whose idle time is over at the other end. Counts those requests.
async fn stale(sandbox: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = listener().await;
    let upstream: SocketAddr = sandbox.strip_prefix("http://").unwrap().parse().unwrap();
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move { drop(one_exchange(client, upstream, counted).await) });
        }
    });
    (address, lost)
}

async fn one_exchange(
    mut client: TcpStream,
    upstream: SocketAddr,
    lost: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut begun = false;
    loop {
        tokio::select! {
            n = client.read(&mut asked) => match n? {
                0 => return Ok(()),
                _ if begun => {
                    lost.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                n => server.write_all(&asked[..n]).await?,
            },
            n = server.read(&mut answered) => match n? {
                0 => return Ok(()),
                n => {
                    begun = true;
                    client.write_all(&answered[..n]).await?;
                }
            },
        }
    }
}

#[tokio::test]
async fn a_write_is_not_lost_on_a_connection_that_was_idle_for_too_long() {
    let Sandbox { url, config, program: _program } = sandbox().await;
    let (address, lost) = stale(&url).await;
    let gateway = serve(&config.replace(&url, &format!("http://{address}")), &[]).await;
    let mut client = profiles(&gateway).await;
    for round in 0..3 {
        let mut request = tonic::Request::new(rename("SP_352", &format!("Round {round}")));
        request.set_timeout(std::time::Duration::from_secs(20));
        let written = client.update_profile(request).await.unwrap().into_inner();
        assert_eq!(written.display_name, format!("Round {round}"));
    }
    // Reads met such connections, and were sent again; the proxy is what this test takes it for.
    assert!(lost.load(Ordering::Relaxed) > 0);
    let journal = reqwest::get(format!("{url}/sandbox/journal")).await.unwrap();
    let journal = journal.text().await.unwrap();
    assert_eq!(journal.matches("\"ModifyServiceProfile\"").count(), 3, "{journal}");
}

/// Accepts TLS connections; HTTP/2 streams on them are refused and counted.
async fn refusing(tls: TlsAcceptor) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = listener().await;
    let refused = Arc::new(AtomicUsize::new(0));
    let reset = Arc::clone(&refused);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (tls, reset) = (tls.clone(), Arc::clone(&reset));
            tokio::spawn(async move {
                let Ok(client) = tls.accept(client).await else { return };
                let Ok(mut h2) = h2::server::handshake(client).await else { return };
                while let Some(Ok((_, mut respond))) = h2.accept().await {
                    reset.fetch_add(1, Ordering::Relaxed);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    (address, refused)
}

/// A gateway that trusts this authority, with a fixed token, so that the first request is a read.
pub(super) async fn trusting(authority: &Path, base_url: &str) -> Gateway {
    let config = format!(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = {base_url:?}\n\
         access_token = \"fixed-token-of-the-test\"\n"
    );
    serve(&config, &[("SSL_CERT_FILE", authority.to_str().unwrap())]).await
}

#[tokio::test]
async fn a_write_whose_stream_was_refused_is_definite_and_sent_again() {
    let authority = Authority::new();
    let tls = acceptor(&authority.issue("127.0.0.1"), &Speaks::default());
    let (address, refused) = refusing(tls).await;
    let gateway = trusting(&authority.file(), &format!("https://{address}")).await;
    let mut client = profiles(&gateway).await;
    let deletion = profile_gateway::pb::DeleteProfileRequest {
        name: "backends/sft/profiles/SP_2".to_owned(),
        ..Default::default()
    };
    let status = client.delete_profile(deletion).await.unwrap_err();
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{status:?}");
    assert!(status.message().contains("refused to process"), "{}", status.message());
    assert_eq!(refused.load(Ordering::Relaxed), 3, "one for each attempt");
}

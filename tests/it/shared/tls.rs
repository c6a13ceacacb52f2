//! TLS to a server with a certificate of a private authority.

use std::{path::Path, sync::Arc};

use profile_gateway::shared::{
    Certificates, PrivateKey, SharedSettings, SharedTlsSettings, connection::Fault,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::bench::{Replica, at};
use crate::kit::{
    certificates::{Authority, Issued, Leaf},
    redis::Redis,
};

fn certificates(path: &str) -> Certificates {
    let der = CertificateDer::from_pem_file(path).unwrap();
    Certificates { path: path.to_owned(), der: vec![der] }
}

fn trusting(authority: &Authority) -> SharedTlsSettings {
    let ca_file = Some(certificates(&authority.file("ca.pem")));
    SharedTlsSettings { ca_file, ..SharedTlsSettings::default() }
}

fn showing(issued: &Issued, settings: SharedTlsSettings) -> SharedTlsSettings {
    let der = Arc::new(PrivateKeyDer::from_pem_file(Path::new(&issued.key)).unwrap());
    let key = Some(PrivateKey { path: issued.key.clone(), der });
    SharedTlsSettings { cert: Some(certificates(&issued.certificate)), key, ..settings }
}

async fn server(authority: &Authority, names: &[&str], clients: &str) -> Redis {
    let own = authority.issue(&Leaf::server(names));
    Redis::with_tls(&own.certificate, &own.key, &authority.file("ca.pem"), clients).await
}

fn to(server: &Redis, tls: SharedTlsSettings) -> SharedSettings {
    SharedSettings { tls, ..at(&format!("rediss://{}", server.address())) }
}

#[tokio::test]
async fn the_certificate_of_a_private_authority_is_accepted_where_it_is_trusted() {
    let authority = Authority::new();
    let server = server(&authority, &["127.0.0.1"], "no").await;
    Replica::start(&to(&server, trusting(&authority))).up().await;
    for tls in [SharedTlsSettings::default(), trusting(&Authority::new())] {
        let refused = Replica::start(&to(&server, tls));
        refused.down_for(Fault::CertificateNotAccepted).await;
    }
}

#[tokio::test]
async fn the_certificate_has_to_have_the_name_of_the_server() {
    let authority = Authority::new();
    let server = server(&authority, &["redis.example.com"], "no").await;
    let tls = trusting(&authority);
    let refused = Replica::start(&to(&server, tls.clone()));
    refused.down_for(Fault::CertificateNotAccepted).await;
    let server_name = Some("redis.example.com".to_owned());
    Replica::start(&to(&server, SharedTlsSettings { server_name, ..tls })).up().await;
}

#[tokio::test]
async fn a_server_may_want_a_client_certificate() {
    let authority = Authority::new();
    let server = server(&authority, &["127.0.0.1"], "yes").await;
    let tls = trusting(&authority);
    let without = Replica::start(&to(&server, tls.clone()));
    without.down_for(Fault::ClientCertificate).await;
    let others = Authority::new();
    let other = others.issue(&Leaf::client(&[]));
    let with_other = Replica::start(&to(&server, showing(&other, tls.clone())));
    with_other.down_for(Fault::ClientCertificate).await;
    let own = authority.issue(&Leaf::client(&[]));
    Replica::start(&to(&server, showing(&own, tls))).up().await;
}

//! The proxy of the environment, and that its password is in nothing that the program says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tonic::Code;

use super::{
    calls::{failure, metadata, named, profiles},
    child::{file, gateway, run},
};
use crate::kit::proxy::{Does, proxy};

const PASSWORD: &str = "hunter2-of-the-proxy";

#[tokio::test]
async fn the_password_in_the_environment_stays_inside() {
    // As HTTP has them.
    let encoded = STANDARD.encode(format!("gateway:{PASSWORD}"));
    let refuses = proxy(Does::ServeOnly("gateway:another")).await;
    let url = refuses.url().replace("http://", &format!("http://gateway:{PASSWORD}@"));
    let env = [
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "direct.invalid"),
        ("PROFILE_GATEWAY__LOG__LEVEL", "trace"),
    ];
    let config = file(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"https://pcc.invalid\"\n\
         proxy = \"environment\"\naccess_token = \"x\"\n\
         [backends.direct]\ndialect = \"bics-sft\"\nbase_url = \"https://direct.invalid\"\n\
         proxy = \"environment\"\naccess_token = \"x\"\n",
    );
    let checked = run(&["check", "--config", &config.path], &env).await.output();
    assert!(checked.contains("proxy = \"environment\""), "{checked}");
    let gateway = gateway(&["serve", "--config", &config.path], &env).await;
    let mut client = profiles(&gateway).await;
    let status = client.get_profile(named("SP_1")).await.unwrap_err();
    let (code, _, details) = failure(&status);
    assert_eq!(code, Code::Unavailable);
    assert_eq!(metadata(&details)["connection_fault"], "proxy_credentials_refused");
    assert!(refuses.heads().iter().any(|head| head.contains(&encoded)), "{:?}", refuses.heads());
    // The other one does not go through it.
    let mut direct = named("SP_1");
    direct.name = "backends/direct/profiles/SP_1".to_owned();
    let (_, _, details) = failure(&client.get_profile(direct).await.unwrap_err());
    assert_eq!(metadata(&details)["connection_fault"], "name_not_resolved");
    let shown = reqwest::get(format!("http://{}/config", gateway.admin)).await.unwrap();
    let shown = shown.text().await.unwrap();
    let log = gateway.program.logged("its proxy refuses").await;
    for said in [checked, shown, log, format!("{status:?}")] {
        for secret in [PASSWORD, &encoded] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

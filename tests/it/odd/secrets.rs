//! What an upstream says of the gateway's secrets, and markup in what it says, reaches no caller.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use profile_gateway::pb::{GetProfileRequest, ListProfilesRequest};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::kit::{
    bodies::{profile_with, profiles, result_with, tokens},
    double::{self, Answer, Double, GET, LIST, LOGIN, OTHER, double},
    gateway::{Gateway, fresh, gateway},
    status::{Failure, failure},
};

const TOKEN: &str = "opaqueTok002/abc+defXYZ";
const PASSWORD: &str = "päss word+7";

/// Ways to write a secret.
fn spellings(secret: &str) -> Vec<String> {
    let each = |form: &dyn Fn(u8) -> String| secret.bytes().map(form).collect::<String>();
    let halves = secret.split_at(secret.len() / 2 + 1);
    let ascii: String = secret.chars().filter(char::is_ascii).collect();
    assert!(!ascii.is_empty());
    vec![
        secret.to_owned(),
        secret.to_uppercase().replace('Ä', "ä"),
        secret.to_ascii_lowercase(),
        each(&|b| format!("%{b:02X}")),
        secret.replace('/', "%2F").replace('+', "%2B"),
        secret.replace('/', "\\/").replace('+', "\\u002b"),
        secret.replace('/', "&#47;").replace('+', "&#x2b;"),
        format!("{}\n  {}", halves.0, halves.1),
        format!("{}\u{200b}{}", halves.0, halves.1),
        secret.chars().map(|c| format!("%u{:04x}", u32::from(c))).collect(),
        secret.replace('/', "\\u{2f}").replace('+', "\\u{2B}"),
        secret.replace('/', "%u002f").replace('+', "%u002B"),
        secret.chars().map(wide).collect(),
        format!("{}…{}", cut_at(secret, 5), cut_from(secret, secret.len() - 5)),
        format!("{}[...]{}", cut_at(secret, 5), cut_from(secret, secret.len() - 5)),
        STANDARD.encode(secret),
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        STANDARD.encode(format!("operator:{secret}")),
        STANDARD.encode(format!("u:{secret}")).trim_end_matches('=').to_owned(),
    ]
}

/// The full-width letter, where there is one.
fn wide(c: char) -> char {
    match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
        c => c,
    }
}

fn cut_at(secret: &str, at: usize) -> &str {
    &secret[..secret.ceil_char_boundary(at)]
}

fn cut_from(secret: &str, at: usize) -> &str {
    &secret[secret.floor_char_boundary(at)..]
}

/// Texts that hold most of a secret: no part of it this long may be shown.
fn leaks(shown: &str, secret: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (shown, secret) = (plain(shown), plain(secret));
    let letters: Vec<char> = secret.chars().collect();
    letters.windows(8).any(|part| shown.contains(&part.iter().collect::<String>()))
}

fn told(failed: &Failure) -> String {
    format!("{failed:?}")
}

fn endpoint(upstream: &Double, credential: &str) -> String {
    format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\n{credential}\n",
        upstream.base_url
    )
}

async fn read(gateway: &Gateway, backend: &str, id: &str) -> Result<(), Status> {
    let name = format!("backends/{backend}/profiles/{id}");
    let request = GetProfileRequest { name, read_mask: None };
    gateway.profiles.clone().get_profile(fresh(request)).await.map(|_| ())
}

#[tokio::test]
async fn a_token_that_was_just_issued_is_not_repeated() {
    for spelled in spellings(TOKEN) {
        let upstream = double().await;
        let gateway = gateway()
            .section(&endpoint(&upstream, "application_token = \"app-of-the-kit\""))
            .start();
        let gateway = gateway.await;
        let words = format!("Token {spelled} is not valid");
        upstream.always(
            OTHER,
            double::by(move |seen| match seen.path.as_str() {
                "/api/v1/authenticate" => double::json(json!({"auth_token": TOKEN})),
                _ => double::http(
                    401,
                    "application/json",
                    json!({"error_code": 1102, "message": words}).to_string(),
                ),
            }),
        );
        let failed = failure(read(&gateway, "e", "1").await);
        assert!(!leaks(&told(&failed), TOKEN), "{spelled}: {failed:#?}");
        assert!(told(&failed).contains("[redacted]"), "{spelled}: {failed:#?}");
        let status = gateway.status("e").await.last_error.unwrap_or_default();
        assert!(!leaks(&status.message, TOKEN), "{spelled}: {status:?}");
    }
}

#[tokio::test]
async fn no_dialect_repeats_its_secrets() {
    for (secret, lines) in [
        (TOKEN, format!("[backends.s]\ndialect = \"bics-sft\"\naccess_token = \"{TOKEN}\"\n")),
        (
            PASSWORD,
            format!(
                "[backends.s]\ndialect = \"pcc\"\ntenant = \"t\"\nusername = \"operator\"\n\
                 password = \"{PASSWORD}\"\n"
            ),
        ),
    ] {
        for spelled in spellings(secret) {
            let upstream = double().await;
            let lines = format!("{lines}base_url = \"{}\"\n", upstream.base_url);
            let gateway = gateway().section(&lines).start().await;
            let words = format!("Authorization Failed for {spelled} here");
            let sft = double::json(result_with("9999", "1", &words));
            upstream.always(GET, sft);
            let pcc = json!({"message": words, "errorCode": spelled}).to_string();
            upstream.always(OTHER, double::http(422, "application/json", pcc));
            let id = if lines.contains("pcc") { "1" } else { "SP_1" };
            let failed = failure(read(&gateway, "s", id).await);
            assert!(!leaks(&told(&failed), secret), "{spelled}: {failed:#?}");
            assert!(told(&failed).contains("[redacted]"), "{spelled}: {failed:#?}");
            let encoded = STANDARD.encode(secret);
            assert!(!told(&failed).contains(&encoded[..12]), "{spelled}: {failed:#?}");
        }
    }
}

#[tokio::test]
async fn a_login_does_not_repeat_its_password_or_an_older_token() {
    let upstream = double().await;
    let lines = format!(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"{}\"\nusername = \"u\"\n\
         password = \"{PASSWORD}\"\n",
        upstream.base_url
    );
    let gateway = gateway().section(&lines).start().await;
    upstream.always(
        LOGIN,
        double::json(json!({
            "resultCode": format!("1 {PASSWORD}"),
            "resultDescription": format!("{} is wrong", PASSWORD.replace(' ', "%20")),
        })),
    );
    let failed = failure(gateway.get("SP_1").await);
    assert!(!leaks(&told(&failed), PASSWORD), "{failed:#?}");
    // Both tokens of one call are its own.
    let upstream = double().await;
    let lines = lines.replace(lines.split('"').nth(3).unwrap(), &upstream.base_url);
    let gateway = gateway_at(&lines).await;
    upstream
        .then(LOGIN, double::json(tokens("firstTokenOfAll", "")))
        .always(LOGIN, double::json(tokens("secondTokenOfAll", "")))
        .then(GET, double::http(401, "text/plain", "no"))
        .always(GET, double::json(result_with("401", "1", "firstTokenOfAll, SECONDTOKENOFALL")));
    let failed = failure(gateway.get("SP_1").await);
    assert!(!told(&failed).to_lowercase().contains("tokenofall"), "{failed:#?}");
}

async fn gateway_at(lines: &str) -> Gateway {
    gateway().section(lines).start().await
}

#[tokio::test]
async fn a_profile_that_a_list_cannot_read_repeats_no_secret() {
    let plain = |text: &str| text.to_owned();
    for (status, code, spelled) in [
        (403, 1104, plain(TOKEN)),
        (404, 1601, plain(TOKEN)),
        (404, 9999, TOKEN.to_uppercase()),
        (410, 9999, TOKEN.replace('/', "%2F")),
        (500, 1000, STANDARD.encode(TOKEN)),
    ] {
        let upstream = double().await;
        let lines = endpoint(&upstream, &format!("auth_token = \"{TOKEN}\""));
        let gateway = gateway_at(&lines).await;
        let words = format!("Token {spelled} is not valid");
        upstream.always(
            OTHER,
            double::by(move |seen| match seen.path.rsplit('/').next() {
                Some("service_profile") => double::json(json!([{"id": 1}, {"id": 2}])),
                Some("1") => double::json(json!({"id": 1, "name": "one"})),
                _ => double::http(
                    status,
                    "application/json",
                    json!({"error_code": code, "message": words}).to_string(),
                ),
            }),
        );
        let request = ListProfilesRequest {
            parent: "backends/e".to_owned(),
            ..ListProfilesRequest::default()
        };
        let failed = failure(gateway.profiles.clone().list_profiles(fresh(request)).await);
        assert!(failed.message.contains("profiles/2"), "{spelled}: {failed:#?}");
        assert!(!leaks(&told(&failed), TOKEN), "{spelled}: {failed:#?}");
        assert!(told(&failed).contains("[redacted]"), "{spelled}: {failed:#?}");
        let last = gateway.status("e").await.last_error.unwrap_or_default();
        assert!(!leaks(&last.message, TOKEN), "{spelled}: {last:?}");
        let encoded = STANDARD.encode(TOKEN);
        assert!(!told(&failed).contains(&encoded[..12]), "{spelled}: {failed:#?}");
        assert!(!last.message.contains(&encoded[..12]), "{spelled}: {last:?}");
    }
}

/// Spellings of the whole secret.
fn whole(secret: &str) -> Vec<String> {
    spellings(secret).into_iter().filter(|text| !text.contains(['…', '['])).collect()
}

#[tokio::test]
async fn what_is_read_is_not_shown_or_kept_if_it_repeats_a_secret() {
    for (secret, lines) in [
        (TOKEN, format!("access_token = \"{TOKEN}\"")),
        (PASSWORD, format!("username = \"operator\"\npassword = \"{PASSWORD}\"")),
        // One that a login has issued.
        (TOKEN, "username = \"operator\"\npassword = \"another-secret-1\"".to_owned()),
    ] {
        let issued = if secret == TOKEN { TOKEN } else { "a-token-of-this-test" };
        for spelled in whole(secret) {
            let upstream = double().await;
            let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
            let shown = |name: &str| profile_with("SP_1", name, json!({"comment": "all is well"}));
            let told = profile_with("SP_1", "one", json!({"comment": format!("Basic {spelled}")}));
            upstream.always(LOGIN, double::json(tokens(issued, "")));
            for item in [told, shown(&format!("called {spelled}."))] {
                upstream.always(GET, double::json(profiles(std::slice::from_ref(&item))));
                upstream.always(LIST, double::json(profiles(&[shown("other"), item])));
                for failed in
                    [failure(read(&gateway, "sft", "SP_1").await), failure(gateway.list().await)]
                {
                    let wrong = (Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
                    assert!(failed.is(wrong.0, wrong.1), "{spelled}: {failed:#?}");
                    assert!(!leaks(&self::told(&failed), secret), "{spelled}: {failed:#?}");
                }
                let name = "backends/sft/profiles/SP_1".to_owned();
                let request = GetProfileRequest { name, read_mask: None };
                let mut request = Request::new(request);
                let cached = "only-if-cached".parse().unwrap();
                request.metadata_mut().insert("cache-control", cached);
                let kept = failure(gateway.profiles.clone().get_profile(request).await);
                assert_eq!(kept.reason, "CACHE_MISS", "{spelled}");
            }
            // The upstream is not to blame for what else it says.
            upstream.always(GET, double::json(profiles(&[shown("one")])));
            read(&gateway, "sft", "SP_1").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_word_that_may_be_there_by_chance_is_no_secret() {
    for password in ["sandbox", "operator", "20240101"] {
        let upstream = double().await;
        let lines = format!("username = \"operator\"\npassword = \"{password}\"");
        let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
        upstream.always(LOGIN, double::json(tokens("a-token-of-this-test", "")));
        let named = profile_with("SP_1", &format!("the {password} of all"), json!({}));
        upstream.always(GET, double::json(profiles(&[named])));
        read(&gateway, "sft", "SP_1").await.unwrap_or_else(|failed| panic!("{failed:?}"));
    }
}

#[tokio::test]
async fn markup_and_direction_controls_never_pass() {
    let upstream = double().await;
    let lines = format!(
        "{}[backends.p]\ndialect = \"pcc\"\nbase_url = \"{}\"\ntenant = \"t\"\nusername = \"u\"\n\
         password = \"p-of-the-kit\"\n",
        endpoint(&upstream, "auth_token = \"t-of-the-kit\""),
        upstream.base_url
    );
    let gateway = gateway().fixed("sft", &upstream.base_url, "").section(&lines).start().await;
    for words in [
        "before <img src=x onerror=alert(1)> after",
        "before <img src=x onerror=alert(1)",
        "<script>alert(1)</script>",
        "x <script src=//evil",
        "a<br>b",
        "a<br/>b",
        "a <!-- onerror --> b",
        "a <!-- onerror",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "a &lt;img src=x onerror=alert(1)&gt; b",
        "a &amp;lt;img src=x onerror=alert(1)&amp;gt; b",
        "a &#x3c;img src=x onerror=alert(1)&#x3e; b",
        "abc\u{202e}def\u{2066}ghi\u{200b}j\u{feff}k\u{200e}l",
    ] {
        let code = json!({"error_code": 1000, "message": words}).to_string();
        let endpoint = double::http(400, "application/json", code);
        let pcc = json!({"message": words, "errorCode": words,
            "errors": [{"field": words, "description": words}]});
        let pcc = double::http(412, "application/json", pcc.to_string());
        let by = double::by(move |seen| -> Answer {
            if seen.path.starts_with("/pcc") { pcc.clone() } else { endpoint.clone() }
        });
        upstream.always(OTHER, by);
        let mut body = result_with("9999", "1", words);
        body["Response"]["responseId"] = json!(words);
        upstream.always(GET, double::json(body));
        for (backend, id) in [("sft", "SP_1"), ("e", "1"), ("p", "1")] {
            let failed = failure(read(&gateway, backend, id).await);
            let shown = told(&failed).to_lowercase();
            for never in ["<img", "<script", "<br", "<!--", "onerror", "&lt;", "alert(1)"] {
                assert!(!shown.contains(never), "{backend} {words}: {failed:#?}");
            }
            let unseen = |c: char| matches!(c, '\u{200b}'..='\u{206f}' | '\u{feff}');
            assert!(!failed.metadata.values().any(|value| value.contains(unseen)), "{failed:#?}");
            assert!(!failed.message.contains(unseen), "{failed:#?}");
        }
    }
    upstream.always(GET, double::json(result_with("9999", "1", "volume < 5 GB & more > 3")));
    let failed = failure(read(&gateway, "sft", "SP_1").await);
    assert_eq!(failed.meta("upstream_message"), "volume < 5 GB & more > 3");
    assert_eq!(failed.code, Code::Unknown);
}

#[tokio::test]
async fn a_secret_file_is_sent_without_its_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (content, sent) in [
        (&b"\xef\xbb\xbfpassword-of-the-kit"[..], "password-of-the-kit"),
        (b"\xef\xbb\xbfpassword-of-the-kit\r\n", "password-of-the-kit"),
        // Only the mark has no meaning; what else is invisible may belong to the secret.
        ("password-of-the-kit\u{a0}\n".as_bytes(), "password-of-the-kit\u{a0}"),
    ] {
        std::fs::write(&path, content).unwrap();
        let upstream = double().await;
        upstream.always(LOGIN, double::http(401, "text/plain", "no"));
        let lines = format!("username = \"u\"\npassword = {{ file = {path:?} }}\n");
        let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
        failure(gateway.get("SP_1").await);
        assert_eq!(upstream.requests(LOGIN)[0].json()["password"], sent);
    }
}

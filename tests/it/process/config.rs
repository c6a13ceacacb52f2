//! Configurations that are good and bad, as the program's exit code and output show it.

use std::process::Stdio;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::{
    calls::{named, profiles},
    child::{Ended, command, file, run, sandbox, serve, sft},
};

const SECRET: &str = "hunter2-in-the-clear";
const EXIT_CONFIG: Option<i32> = Some(64);

async fn check(config: &str, env: &[(&str, &str)]) -> Ended {
    let file = file(config);
    run(&["check", "--json", "--config", &file.path], env).await
}

#[tokio::test]
async fn check_prints_what_would_run_and_contacts_nothing() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    // A port that is in use does not concern it: it binds nothing.
    let config = format!("listen = \"{listen}\"\n{}", sft(&url, "ops", SECRET));
    let ended = check(&config, &[("PROFILE_GATEWAY__LOG__LEVEL", "trace")]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(shown["listen"], listen.to_string());
    assert_eq!(shown["backends"]["sft"]["base_url"], url.as_str());
    assert_eq!(shown["backends"]["sft"]["password"], "[redacted]");
    assert!(!ended.output().contains(SECRET), "{}", ended.output());
    for listener in [upstream, taken] {
        listener_is_unvisited(&listener);
    }
}

#[tokio::test]
async fn a_missing_key_for_page_tokens_is_said_by_check_and_at_the_start() {
    let warning = "`page_token_key` is not set";
    let backend = sft("http://127.0.0.1:9", "ops", SECRET);
    let keyed = format!("page_token_key = \"sixteen bytes or more\"\n{backend}");
    for (config, told) in [(backend, true), (keyed, false)] {
        let ended = check(&config, &[]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
        let warnings = shown["warnings"].as_array().unwrap();
        let said = warnings.iter().any(|one| one.as_str().unwrap().starts_with(warning));
        assert_eq!(said, told, "{}", ended.stdout);
        let warned = ended.stderr.contains(&format!("warning: {warning}"));
        assert_eq!(warned, told, "{}", ended.stderr);
        let gateway = serve(&config, &[]).await;
        gateway.program.signal(rustix::process::Signal::TERM);
        let ended = gateway.program.ended().await;
        let warns = |line: &str| line.contains("WARN") && line.contains(warning);
        assert_eq!(ended.stderr.lines().any(warns), told, "{}", ended.stderr);
    }
    // A trial with the sandbox has no replicas.
    let ended = run(&["check"], &[]).await;
    assert!(!ended.output().contains(warning), "{}", ended.stdout);
}

#[tokio::test]
async fn what_check_prints_is_a_file_of_the_same_configuration() {
    let secret = file("in-a-file-of-its-own");
    let written = format!(
        "page_token_key = \"{SECRET}\"\n\
         [store]\nkind = \"memory\"\n\
         [auth]\nmode = \"required\"\n\
         [auth.roles.reader]\nrights = \"read, fresh\"\nbackends = \"a b\"\n\
         [auth.jwt.idp]\nissuer = \"https://idp.example\"\naudience = \"gateway\"\n\
         jwks_url = \"https://idp.example/keys\"\n\
         [auth.callers.billing]\nroles = \"reader\"\nissuer = \"https://idp.example\"\n\
         subject = \"billing\"\n[auth.callers.billing.quota]\ncalls = 7\n\
         [backends.\"a b\"]\ndialect = \"bics-sft\"\nbase_url = \"https://a.example\"\n\
         username = \"ops \\\"quoted\\\"\"\npassword = {{ file = \"{}\" }}\n\
         [backends.b]\ndialect = \"endpoint\"\nbase_url = \"https://b.example\"\n\
         application_token = {{ env = \"B_TOKEN\" }}\ncircuit_breaker = \"off\"\n\
         [backends.c]\ndialect = \"bics-sft\"\nbase_url = \"https://c.example\"\n\
         username = \"c\"\npassword = \"{SECRET}\"\n\
         [backends.c.cache]\nttl = \"7s\"\n",
        secret.path
    );
    let written =
        written.replace("\"a b\"", "\"a-b\"").replace("[backends.\"a-b\"]", "[backends.a-b]");
    // What a variable sets is a reference to it from then on.
    let token = "PROFILE_GATEWAY__BACKENDS__C__PASSWORD";
    let env = [("B_TOKEN", SECRET), (token, SECRET), ("PROFILE_GATEWAY__LOG__LEVEL", "debug")];
    let printed = async |config: &str, env: &[(&str, &str)]| {
        let config = file(config);
        let ended = run(&["check", "--config", &config.path], env).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.output());
        assert!(!ended.output().contains(SECRET), "{}", ended.output());
        ended.stdout
    };
    let first = printed(&written, &env).await;
    let access = "# access of billing: {\"a-b\":\"read, fresh\",\"b\":\"\",\"c\":\"\"}\n";
    assert!(first.contains(access), "{first}");
    let left_out = "# left out, as it is a secret that is written as text: page_token_key\n";
    assert!(first.contains(left_out), "{first}");
    let shown: toml::Table = first.parse().unwrap();
    let backend = |name: &str, key: &str| shown["backends"][name][key].clone();
    let reference = |kind: &str, place: &str| toml::Table::from_iter([(kind.into(), place.into())]);
    assert_eq!(backend("a-b", "password"), reference("file", &secret.path).into());
    assert_eq!(backend("b", "application_token"), reference("env", "B_TOKEN").into());
    assert_eq!(backend("c", "password"), reference("env", token).into());
    assert_eq!(backend("c", "cache")["ttl"], "7s".into());
    assert_eq!(shown["log"]["level"], "debug".into());
    // The variable of the log is not needed any more, and nothing else changes.
    let second = printed(&first, &env[..2]).await;
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&second), values(&first));
}

#[tokio::test]
async fn check_says_what_would_replace_missing_backends() {
    let without = run(&["check"], &[]).await;
    let with = check(&sft("https://a", "ops", SECRET), &[]).await;
    for (ended, told) in [(without, true), (with, false)] {
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout.contains("an embedded sandbox"), told, "{}", ended.stdout);
    }
}

/// The listener's queue is empty: connections are in it as soon as their client has them.
#[track_caller]
fn listener_is_unvisited(listener: &TcpListener) {
    let accepted = futures_util::FutureExt::now_or_never(listener.accept());
    assert!(accepted.is_none(), "{accepted:?}");
}

#[tokio::test]
async fn all_mistakes_are_reported_at_once_before_anything_is_bound() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = free.local_addr().unwrap();
    let config = format!(
        "listen = \"{listen}\"\nlisten_admin = \"127.0.0.1:0\"\n\n[log]\nlevel = 7\n\n[server]\n\
         drain_timeout = 30\n\n[backends.sft]\ndialect = \"bics-stf\"\npassword = \"{SECRET}\"\n"
    );
    // The port is held, so a program that bound before it checked would say so instead.
    for command in ["serve", "check"] {
        let file = file(&config);
        let ended =
            run(&[command, "--config", &file.path], &[("PROFILE_GATEWAY__NOPE", "1")]).await;
        assert_eq!(ended.code(), EXIT_CONFIG, "{command}: {}", ended.stderr);
        for mistake in [
            ":2: unknown key `listen_admin`",
            ":5: `log.level` must be a string",
            ":8: `server.drain_timeout` needs a unit",
            ":10: `backends.sft.base_url` is missing",
            ":11: `backends.sft.dialect` must be one of",
            "PROFILE_GATEWAY__NOPE: unknown key",
        ] {
            assert!(ended.stderr.contains(mistake), "{command}: no {mistake} in\n{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("cannot listen"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        assert!(!ended.output().contains(SECRET), "{}", ended.output());
    }
    listener_is_unvisited(&free);
}

#[tokio::test]
async fn a_switch_of_a_dialect_is_refused_where_it_is_written() {
    let config = |line: &str| {
        format!(
            "[backends.a]\ndialect = \"endpoint\"\nbase_url = \"https://a.example\"\n\
             application_token = \"{SECRET}\"\n{line}\n"
        )
    };
    for (line, got) in [("\"1\"", "`1`"), ("true", "a boolean"), ("\"\"", "``")] {
        let file = file(&config(&format!("data_limits = {line}")));
        let ended = run(&["check", "--config", &file.path], &[]).await;
        let mistake = format!(":5: `backends.a.data_limits` must be `on` or `off`, got {got}");
        let empty = ":5: `backends.a.data_limits` must not be empty";
        let found =
            ended.stderr.contains(&mistake) || (got == "``" && ended.stderr.contains(empty));
        assert!(found, "{}", ended.stderr);
    }
    let variable = "PROFILE_GATEWAY__BACKENDS__A__DATA_LIMITS";
    let file = file(&config(""));
    let ended = run(&["check", "--config", &file.path], &[(variable, "1")]).await;
    let mistake = format!("{variable}: `backends.a.data_limits` must be `on` or `off`, got `1`");
    assert!(ended.stderr.contains(&mistake), "{}", ended.stderr);
    let ended = run(&["check", "--config", &file.path], &[(variable, "on")]).await;
    assert!(ended.stdout.contains("\ndata_limits = \"on\"\n"), "{}", ended.output());
}

#[tokio::test]
async fn what_looks_like_a_setting_and_is_not_read_is_a_mistake() {
    let file = file(&sft("http://127.0.0.1:9", "ops", SECRET));
    for command in [&["serve", "-c", &file.path][..], &["check", "-c", &file.path], &[]] {
        let stray = ("PROFILE_GATEWAY_BACKENDS__SFT__DIALECT", "bics-sft");
        let ended = run(command, &[stray, ("PROFILE_GATEWAY_SERVICE_HOST", "10.0.0.1")]).await;
        assert_eq!(ended.code(), EXIT_CONFIG, "{command:?}: {}", ended.output());
        let mistake =
            "PROFILE_GATEWAY_BACKENDS__SFT__DIALECT: looks like a setting and is not read";
        assert!(ended.stderr.contains(mistake), "{}", ended.stderr);
        assert!(!ended.stderr.contains("SERVICE_HOST"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn check_tries_each_upstream_if_it_is_asked_to() {
    let sandbox = sandbox().await;
    let good = file(&sandbox.config);
    let well = run(&["check", "--connect", "-c", &good.path], &[]).await;
    assert_eq!(well.code(), Some(0), "{}", well.output());
    assert!(
        well.stderr.contains("sft: it answers, and takes the credentials ("),
        "{}",
        well.stderr
    );

    let wrong = sft(&sandbox.url, "ops", SECRET);
    let gone = sft("http://127.0.0.1:9", "ops", SECRET).replace("backends.sft", "backends.gone");
    let both = file(&format!("{wrong}\n{gone}"));
    let ended = run(&["check", "-c", &both.path, "--connect"], &[]).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.output());
    for told in ["gone: UPSTREAM_UNAVAILABLE: ", "sft: UPSTREAM_AUTH_FAILED: "] {
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    assert!(!ended.output().contains(SECRET), "{}", ended.output());
}

#[tokio::test]
async fn what_is_right_is_said_to_be() {
    let file = file(&sft("http://127.0.0.1:9", "ops", SECRET));
    let ended = run(&["check"], &[("PROFILE_GATEWAY_CONFIG", &file.path)]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.output());
    assert!(ended.stderr.ends_with("ok; backends: 1, warnings: 3\n"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_log_level_that_is_not_a_filter_is_a_mistake_like_any_other() {
    let config =
        format!("[log]\nlevel = \"access=loud\"\n{}", sft("http://127.0.0.1:9", "ops", SECRET));
    for command in ["serve", "check"] {
        let file = file(&config);
        let ended = run(&[command, "--config", &file.path], &[]).await;
        assert_eq!(ended.code(), EXIT_CONFIG, "{command}: {}", ended.output());
        assert!(ended.stderr.contains("log.level"), "{command}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let missing = directory.path().join("missing.toml");
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    for path in [missing.as_path(), binary.as_path(), directory.path()] {
        for command in ["serve", "check"] {
            let ended = run(&[command, "--config", path.to_str().unwrap()], &[]).await;
            assert_eq!(ended.code(), EXIT_CONFIG, "{path:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn mistakes_are_reported_before_the_port_is_bound() {
    // Bound and left, so that it is free and stays so.
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = holder.local_addr().unwrap().to_string();
    drop(holder);
    let config = format!("listen = \"{listen}\"\n[backends.sft]\ndialect = \"bics-sft\"\n");
    let file = file(&config);
    let ended = run(&["serve", "--config", &file.path], &[]).await;
    assert_eq!(ended.code(), EXIT_CONFIG, "{}", ended.stderr);
    assert!(TcpStream::connect(&listen).await.is_err());
    TcpListener::bind(&listen).await.unwrap();
}

#[tokio::test]
async fn a_secret_is_a_literal_a_variable_or_a_file() {
    let sandbox = sandbox().await;
    let password = super::child::between(&sandbox.config, "password = \"", "\"").unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{password}\n")).unwrap();
    let path = secret.path().to_str().unwrap();
    let literal = format!("{password:?}");
    let from_file = format!("{{ file = {path:?} }}");
    let none: &[(&str, &str)] = &[];
    for (value, env) in [
        (Some(literal.as_str()), none),
        (Some(r#"{ env = "SFT_PASSWORD" }"#), &[("SFT_PASSWORD", password)]),
        (Some(&from_file), none),
        (None, &[("PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD", password)]),
        (None, &[("PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD__FILE", path)]),
        (
            None,
            &[
                ("PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD__ENV", "SFT_PASSWORD"),
                ("SFT_PASSWORD", password),
            ],
        ),
    ] {
        let line = value.map_or(String::new(), |value| format!("password = {value}\n"));
        let config = sandbox.config.replace(&format!("password = {literal}\n"), &line);
        let gateway = serve(&config, env).await;
        let answer = profiles(&gateway).await.get_profile(named("SP_2")).await;
        assert_eq!(answer.unwrap().into_inner().display_name, "DEFAULT", "{value:?} {env:?}");
        gateway.program.signal(rustix::process::Signal::TERM);
        let ended = gateway.program.ended().await;
        assert!(!ended.output().contains(password), "{}", ended.output());
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_and_not_shown() {
    let base = sft("http://127.0.0.1:9", "ops", "");
    for (value, says) in [
        (r#"{ env = "NOT_SET_ANYWHERE" }"#, "NOT_SET_ANYWHERE"),
        (r#"{ file = "/no/such/secret" }"#, "/no/such/secret"),
        (r#"{ environment = "hunter2-in-the-clear" }"#, "{ env = \"NAME\" }"),
        (r#""""#, "must not be empty"),
        (r#"["hunter2-in-the-clear"]"#, "{ file = \"PATH\" }"),
    ] {
        let config = base.replace("password = \"\"", &format!("password = {value}"));
        let ended = check(&config, &[]).await;
        assert_eq!(ended.code(), EXIT_CONFIG, "{value}: {}", ended.stderr);
        assert!(ended.stderr.contains("`backends.sft.password`"), "{value}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{value}: {}", ended.stderr);
        assert!(!ended.output().contains(SECRET), "{value}: {}", ended.output());
    }
}

#[tokio::test]
async fn a_file_without_backends_does_not_start_the_sandbox() {
    let file = file("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n");
    let mut command = command(&["serve", "--config", &file.path], &[]);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(output.status.code(), EXIT_CONFIG);
    assert!(String::from_utf8(output.stderr).unwrap().contains("no backend is configured"));
}

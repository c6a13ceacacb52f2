//! What can be written, what is wrong with what is written, and what is shown of it.

use std::collections::BTreeMap;

use super::*;
use crate::settings::{Errors, Node, Origin, Section, Table, Value, whole};

/// What was written, and what is wrong with it, each with its line.
fn read(written: &[(&'static str, Value)]) -> (SharedSettings, Vec<String>) {
    let at = |line| Origin::File { name: "gateway.toml".into(), line };
    let mut table: Table = BTreeMap::new();
    for (index, (key, value)) in written.iter().enumerate() {
        let value = match value {
            Value::Text(text) => Value::Text(text.clone()),
            Value::Integer(number) => Value::Integer(*number),
            _ => Value::Table(Table::from([(
                "server_name".to_owned(),
                Node { origin: at(index + 1), value: Value::Text("redis.example.com".to_owned()) },
            )])),
        };
        table.insert((*key).to_owned(), Node { origin: at(index + 1), value });
    }
    let mut errors = Errors::default();
    let section = Section::new("store".to_owned(), at(0), table, &[], &mut errors);
    let settings = whole(section);
    let warnings = errors.take_warnings();
    let public = match errors.is_empty() {
        true => Vec::new(),
        false => errors.into_public().iter().map(ToString::to_string).collect(),
    };
    (settings, public.into_iter().chain(warnings).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// What is wrong with settings that have this value.
fn wrong(key: &'static str, value: &str) -> Vec<String> {
    let url = ("url", text("unix:/run/redis.sock"));
    let keys = [url, (key, text(value))];
    // Its own line is the first.
    let keys = if key == "url" { &keys[1..] } else { &keys[..] };
    read(keys).1
}

#[test]
fn a_server_is_named_by_its_url() {
    for (written, address, encrypted) in [
        ("redis://cache.example.com", Address::Tcp("cache.example.com".into(), 6379), false),
        ("redis://localhost:80", Address::Tcp("localhost".into(), 80), false),
        ("rediss://10.0.0.1:6380/", Address::Tcp("10.0.0.1".into(), 6380), true),
        ("rediss://[::1]:6380", Address::Tcp("::1".into(), 6380), true),
        ("unix:/run/redis.sock", Address::Unix("/run/redis.sock".into()), false),
        ("redis+unix:///run/redis.sock", Address::Unix("/run/redis.sock".into()), false),
    ] {
        let endpoint: Endpoint = written.parse().unwrap();
        assert_eq!(endpoint, Endpoint { address, encrypted }, "{written}");
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "{written}");
    }
}

#[test]
fn a_url_that_is_not_understood_is_refused_and_not_repeated() {
    for (written, expected) in [
        ("http://cache", "must be `redis://host:6379`"),
        ("cache:6379", "must be `redis://host:6379`"),
        ("redis://:hunter2@cache", "no `@`"),
        ("redis://cache/hunter2@", "no `@`"),
        ("redis://cache/3", "`database`"),
        ("redis://cache?db=3", "`database`"),
        ("redis://", "with a host"),
        ("redis://cache:0", "no port 0"),
        ("redis://cache:99999", "invalid port number"),
        ("unix:run/redis.sock", "an absolute path"),
        ("unix:/run/redis.sock?db=3", "without `?`"),
    ] {
        let found = wrong("url", written);
        assert_eq!(found.len(), 1, "{written}: {found:?}");
        assert!(found[0].contains(expected), "{written}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn sentinels_are_all_encrypted_or_none_of_them() {
    let sentinels: Sentinels = "redis://a, redis://b:5000".parse().unwrap();
    let addresses: Vec<String> = sentinels.addresses().map(ToString::to_string).collect();
    assert_eq!((addresses.join(" "), sentinels.is_encrypted()), ("a:26379 b:5000".into(), false));
    assert_eq!(sentinels.to_string().parse(), Ok(sentinels));
    assert!("rediss://a, rediss://b".parse::<Sentinels>().unwrap().is_encrypted());
    for (written, expected) in [
        ("redis://a, rediss://b", "must be all"),
        ("redis://a,", "must be addresses"),
        ("a:26379", "must be addresses"),
    ] {
        let error = written.parse::<Sentinels>().unwrap_err();
        assert!(error.contains(expected), "{written}: {error}");
    }
    let many = vec!["redis://a"; 17].join(",");
    assert!(many.parse::<Sentinels>().unwrap_err().contains("more than 16"));
}

#[test]
fn all_that_is_wrong_is_reported_at_its_key() {
    let (_, found) = read(&[
        ("user", text("gate way")),
        ("sentinel_password", text("hunter2")),
        ("lease", text("1s")),
        ("acknowledge", text("nowhere")),
        ("durable_replicas", Value::Integer(Some(9))),
        ("when_unreachable", text("panic")),
        ("namespace", text("{prod}")),
        ("database", Value::Integer(Some(-1))),
        ("laese", text("2s")),
    ]);
    let lines: Vec<&str> = found.iter().map(|error| error.split(": ").next().unwrap()).collect();
    let expected: Vec<String> = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        .map(|line| match line {
            0 => "gateway.toml".to_owned(),
            line => format!("gateway.toml:{line}"),
        })
        .into();
    assert_eq!(lines, expected, "{found:#?}");
    assert!(!found.concat().contains("hunter2"), "{found:?}");
}

#[test]
fn keys_that_do_not_fit_together_are_reported() {
    let url = || ("url", text("redis://localhost"));
    let sentinels = || ("sentinels", text("redis://localhost"));
    let master = || ("master", text("pg"));
    let fits: [&[(&str, Value)]; 3] = [
        &[url(), ("user", text("gateway")), ("password", text("hunter2"))],
        &[sentinels(), master(), ("sentinel_password", text("hunter2"))],
        &[("url", text("rediss://redis")), ("tls", Value::Flag(true))],
    ];
    for keys in fits {
        assert_eq!(read(keys).1, [""; 0]);
    }
    for (keys, expected) in [
        (vec![master()], "has no place"),
        (vec![url(), sentinels(), master()], "keep `sentinels` or `url`"),
        (vec![sentinels()], "needs `master`"),
        (vec![url(), master()], "`master` needs `sentinels`"),
        (vec![url(), ("sentinel_user", text("x"))], "`sentinel_user` needs"),
        (vec![url(), ("user", text("x"))], "`user` needs `password`"),
        (vec![url(), ("tls", Value::Flag(true))], "write `rediss://`"),
    ] {
        let found = read(&keys).1.join("\n");
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn what_others_can_read_is_warned_of() {
    for (url, warned) in [
        ("redis://cache.example.com", true),
        ("rediss://cache.example.com", false),
        ("redis://localhost", false),
        ("redis://127.0.0.2", false),
        ("redis://[::1]", false),
        ("unix:/run/redis.sock", false),
    ] {
        let found = wrong("url", url);
        assert_eq!(found.iter().any(|found| found.contains("is not encrypted")), warned, "{url}");
    }
}

#[test]
fn what_is_shown_holds_no_secret_and_settings_with_other_secrets_are_others() {
    let with =
        |secret: &str| read(&[("url", text("unix:/run/redis.sock")), ("password", text(secret))]).0;
    let settings = with("hunter2");
    let shown = crate::settings::shown(&settings).to_string();
    assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings, with("hunter2"));
    assert_ne!(settings, with("hunter3"));
    let tls = SharedTlsSettings { server_name: Some("redis".to_owned()), ..settings.tls.clone() };
    assert_ne!(settings, SharedSettings { tls, ..settings.clone() });
}

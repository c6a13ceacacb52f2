//! The base URL of an upstream, which comes before the paths of its API.

use std::sync::Arc;

use serde_json::Value as Json;
use url::{Host, ParseError, Url};

use crate::settings::{Env, Kind, Node, Read, plain_text};

const MAX_LENGTH: usize = 2048;

const WANTED: &str = "must be an http or https URL such as `https://sft.example.com`";

/// An http or https URL with a host, without user name, password, query, fragment or trailing
/// slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    is_exposed: bool,
}

impl BaseUrl {
    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether requests travel unencrypted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.text.starts_with("http:")
    }

    /// Whether requests travel unencrypted to another machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Messages never contain the URL, because any part of an invalid one may be a password.
    pub(crate) fn parse(text: &str) -> Read<Self> {
        let scheme_end = text.find("://").map_or(0, |index| index + 3);
        let (scheme, rest) = text.split_at_checked(scheme_end).unwrap_or(("", text));
        if !["http://", "https://"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(WANTED.to_owned());
        }
        // The parser accepts both, and would then see a different host than intended.
        if rest.starts_with('/') || text.contains(|c: char| c == '\\' || c.is_whitespace()) {
            return Err(format!("{WANTED}, without spaces, backslashes or a third slash"));
        }
        // Checked everywhere, because a slash in a password moves its `@` into the path.
        if rest.contains('@') {
            return Err(
                "must not contain a user name or password (no `@`), the dialect has keys for \
                 them"
                    .to_owned(),
            );
        }
        let url = Url::parse(text).map_err(|error| format!("{WANTED}: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not contain a query (`?`) or a fragment (`#`)".to_owned());
        }
        if !url.has_host() || url.port() == Some(0) {
            return Err(format!("{WANTED}, with a host and no port 0"));
        }
        let is_exposed = url.scheme() == "http" && !is_loopback(&url);
        Ok(Self { text: url.as_str().trim_end_matches('/').to_owned(), is_exposed })
    }
}

/// The URL that requests are made for: the base, or the same under another name, and then the host
/// to look up for it.
pub(super) fn named(
    base: &BaseUrl,
    name: Option<&str>,
) -> Result<(Url, Option<Arc<str>>), ParseError> {
    let mut url = Url::parse(base.as_str())?;
    let Some(name) = name else { return Ok((url, None)) };
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        host => host.ok_or(ParseError::EmptyHost)?.to_string(),
    };
    url.set_host(Some(name))?;
    Ok((url, Some(host.into())))
}

/// The URL of a path and query below another URL. Only they are parsed, for each request.
pub(super) fn below(base: &Url, path_and_query: &str) -> Url {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut url = base.clone();
    match base.path().trim_end_matches('/') {
        "" => url.set_path(path),
        before => url.set_path(&format!("{before}{path}")),
    }
    url.set_query(query);
    url
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A base URL, which every backend needs.
pub(super) fn base_url() -> impl Kind<Value = BaseUrl> {
    Required
}

struct Required;

impl Kind for Required {
    type Value = BaseUrl;

    fn read(&self, node: &Node, env: &Env) -> Read<BaseUrl> {
        let text = plain_text(MAX_LENGTH).read(node, env);
        BaseUrl::parse(&text.map_err(|why| format!("{why}, {WANTED}"))?)
    }

    fn show(&self, value: &BaseUrl) -> Json {
        value.as_str().into()
    }

    fn form(&self) -> &'static str {
        "URL"
    }

    fn bounds(&self) -> String {
        format!(
            "http or https; no user name, password, `@`, query or fragment; up to {MAX_LENGTH} \
             characters"
        )
    }

    fn default_text(&self, _: &BaseUrl) -> String {
        "required".to_owned()
    }

    fn required(&self) -> Option<&str> {
        Some("an http or https URL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_its_own_name_at_the_address_of_the_base_url() {
        for (base, url, host) in [
            ("https://10.0.0.1:8443/iot", "https://pcc.example:8443/iot", "10.0.0.1"),
            ("https://[fd00::1]", "https://pcc.example/", "fd00::1"),
            ("https://lb.internal", "https://pcc.example/", "lb.internal"),
        ] {
            let base = BaseUrl::parse(base).unwrap();
            let (named_url, instead) = named(&base, Some("pcc.example")).unwrap();
            assert_eq!((named_url.as_str(), instead.as_deref()), (url, Some(host)));
            let (own, instead) = named(&base, None).unwrap();
            assert_eq!((own.as_str().trim_end_matches('/'), instead), (base.as_str(), None));
        }
    }

    #[test]
    fn a_path_is_put_below_the_base_url_as_it_is() {
        for base in
            ["http://host", "https://h\u{f6}st.example:8443/iot%20api", "http://[::1]:80/a/b"]
        {
            for path in
                ["/", "/api/x?id=SP_1&y=%2F%3F", "/a%2Fb/%3f?", "/api/v1/x", "//x/y", "/x?a?b"]
            {
                let whole = Url::parse(&format!("{base}{path}")).unwrap();
                assert_eq!(below(&Url::parse(base).unwrap(), path), whole, "{base} {path}");
            }
        }
    }
}

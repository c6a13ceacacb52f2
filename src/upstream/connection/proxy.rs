//! The proxy that connections to an upstream go through: as it is configured, and as it is in
//! force for one address.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value as Json;
use url::Url;

use crate::settings::{Env, Kind, Node, Read, Section, plain_text, secret, settings};

const MAX_LENGTH: usize = 2048;
const WANTED: &str =
    "must be an http or https URL such as `http://proxy.example.com:3128`, `environment` or `none`";

settings! {
    /// The proxy that connections to an upstream go through.
    #[derive(Debug, Clone)]
    pub struct ProxySettings {
        /// Proxy that connections to this upstream go through: its URL, or `environment` for what
        /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
        proxy: ProxyChoice = ProxyChoice::None, choice();
        /// Name of the gateway at that proxy. In the environment, name and password are part of the
        /// URL.
        proxy_username: Option<String> = None,
            plain_text(256)
                .checked("1 to 256 characters, no `:`", |name: &String| has_no_colon(name))
                .optional();
        /// Password of the gateway at that proxy.
        proxy_password: Option<SecretString> = None, secret(1).optional();
    }
    check fits_together;
}

impl PartialEq for ProxySettings {
    fn eq(&self, other: &Self) -> bool {
        let text = |settings: &Self| {
            settings.proxy_password.as_ref().map(|secret| secret.expose_secret().to_owned())
        };
        (&self.proxy, &self.proxy_username, text(self))
            == (&other.proxy, &other.proxy_username, text(other))
    }
}

impl Eq for ProxySettings {}

/// Where the proxy is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// Connections go directly.
    None,
    /// In the environment.
    Environment(Variables),
    /// This is its URL.
    Url(String),
}

/// What the environment says of proxies.
#[derive(Clone, PartialEq, Eq)]
pub struct Variables {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, and `ALL_PROXY`, whose values may hold passwords.
    proxies: [(&'static str, Option<String>); 3],
    /// `NO_PROXY`.
    without: Option<String>,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

/// The proxy for one upstream.
pub(crate) struct Proxy {
    uri: Uri,
    /// How the gateway shows who it is.
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// As the HTTP client takes it.
    pub(in crate::upstream) fn of_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(self.uri.to_string())?;
        Ok(match &self.authorization {
            Some(value) => proxy.custom_http_auth(value.clone()),
            None => proxy,
        })
    }

    /// Whether the gateway shows who it is.
    pub(in crate::upstream) fn knows_gateway(&self) -> bool {
        self.authorization.is_some()
    }

    /// Its URL, and how the gateway shows who it is.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> (String, Option<String>) {
        let value = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        (self.uri.to_string(), value.map(str::to_owned))
    }

    /// The secrets, as no text may show them.
    pub(in crate::upstream) fn secrets(&self) -> Vec<SecretString> {
        let shown = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let Some(code) = shown.and_then(|text| text.strip_prefix("Basic ")) else {
            return Vec::new();
        };
        let text = STANDARD.decode(code).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let password = text.as_ref().and_then(|text| text.split_once(':')).map(|(_, text)| text);
        [Some(code), password].into_iter().flatten().map(SecretString::from).collect()
    }
}

impl ProxySettings {
    /// The proxy for this address, if there is one, or why it cannot be used: the rest of a
    /// sentence that begins with `proxy`.
    pub(crate) fn in_force(&self, base_url: &str) -> Result<Option<Proxy>, String> {
        let address: Uri = base_url.parse().map_err(|_| "does not fit `base_url`".to_owned())?;
        match &self.proxy {
            ProxyChoice::None => Ok(None),
            ProxyChoice::Url(url) => {
                let uri = url.parse().map_err(|_| WANTED.to_owned())?;
                Ok(Some(Proxy { uri, authorization: self.authorization() }))
            }
            ProxyChoice::Environment(variables) => Ok(variables.proxy_of(&address)),
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let name = self.proxy_username.as_ref()?;
        let password = self.proxy_password.as_ref().map_or("", |secret| secret.expose_secret());
        let code = STANDARD.encode(format!("{name}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {code}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Variables {
    fn of(env: &Env) -> Read<Self> {
        let value = |name: &'static str| {
            // Lower case is as common, and the first one that is set counts.
            let names = [name.to_owned(), name.to_lowercase()];
            let found = names.iter().find_map(|name| env.iter().find(|(key, _)| key == name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, value(name)));
        for (name, value) in &proxies {
            if value.as_ref().is_some_and(|value| !is_proxy(value)) {
                // Without the value, which may hold a password.
                return Err(format!(
                    "is `environment`, and the variable `{name}` is not an http or https URL"
                ));
            }
        }
        Ok(Self { proxies, without: value("NO_PROXY") })
    }

    fn proxy_of(&self, address: &Uri) -> Option<Proxy> {
        let [https, http, all] = self.proxies.each_ref().map(|(_, value)| text(value.as_ref()));
        let matcher = Matcher::builder().https(https).http(http).all(all);
        let found = matcher.no(text(self.without.as_ref())).build().intercept(address)?;
        let authorization = found.basic_auth().cloned();
        Some(Proxy { uri: found.uri().clone(), authorization })
    }
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

/// Whether the client understands the value of a variable.
fn is_proxy(value: &str) -> bool {
    let found = Matcher::builder().all(value.to_owned()).build();
    let found = found.intercept(&Uri::from_static("http://any.example"));
    let scheme = found.as_ref().map(Intercept::uri).and_then(Uri::scheme_str);
    matches!(scheme, Some("http" | "https"))
}

fn has_no_colon(name: &str) -> Read<()> {
    match name.contains(':') {
        true => Err("must not contain `:`, which HTTP has between name and password".to_owned()),
        false => Ok(()),
    }
}

fn fits_together(settings: &ProxySettings, section: &mut Section<'_>) {
    let (name, password) = (settings.proxy_username.is_some(), settings.proxy_password.is_some());
    if name && !matches!(settings.proxy, ProxyChoice::Url(_)) {
        let message = format!(
            "{} is not used, because {} is not a URL",
            section.name("proxy_username"),
            section.name("proxy")
        );
        section.conflict(["proxy_username", "proxy"], message);
    }
    if password && !name {
        let (name, password) = (section.name("proxy_username"), section.name("proxy_password"));
        section.conflict(["proxy_password", "proxy_username"], format!("{password} needs {name}"));
    }
}

/// A URL, or one of two words.
fn choice() -> impl Kind<Value = ProxyChoice> {
    Choice
}

struct Choice;

impl Kind for Choice {
    type Value = ProxyChoice;

    fn read(&self, node: &Node, env: &Env) -> Read<ProxyChoice> {
        let text = plain_text(MAX_LENGTH).read(node, env);
        let text = text.map_err(|why| format!("{why}, {WANTED}"))?;
        match text.as_str() {
            "none" => Ok(ProxyChoice::None),
            "environment" => Variables::of(env).map(ProxyChoice::Environment),
            url => proxy_url(url).map(ProxyChoice::Url),
        }
    }

    fn show(&self, value: &ProxyChoice) -> Json {
        match value {
            ProxyChoice::None => "none".into(),
            ProxyChoice::Environment(_) => "environment".into(),
            ProxyChoice::Url(url) => url.as_str().into(),
        }
    }

    fn form(&self) -> &'static str {
        "URL"
    }

    fn bounds(&self) -> String {
        format!(
            "http or https, without user name, password and path, up to {MAX_LENGTH} characters; \
             `environment`; `none`"
        )
    }
}

/// Messages never contain the URL, because any part of an invalid one may be a password.
fn proxy_url(text: &str) -> Read<String> {
    if text.contains('@') {
        return Err("must not contain a user name or password (no `@`): write them as \
                    `proxy_username` and `proxy_password`"
            .to_owned());
    }
    let url = Url::parse(text).map_err(|_| WANTED.to_owned())?;
    let is_whole = ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.port() != Some(0)
        && (url.path(), url.query(), url.fragment()) == ("/", None, None);
    if !is_whole || text.contains(|c: char| c == '\\' || c.is_whitespace()) {
        return Err(format!("{WANTED}, without a path"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

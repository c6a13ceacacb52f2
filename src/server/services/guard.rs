//! Who may use the admin port: requests for its own host, and for some paths, with a token of those
//! who may use it. The token says who asks.
//!
//! A page in a browser can make a name of its own lead to this port (DNS rebinding), and then read
//! what it serves. Such a request has that name as its host. A page can also send a request whose
//! response it cannot read, and so change something. Such a request has an origin.

use std::{fmt, net::IpAddr, sync::Arc};

use hmac::{Hmac, Mac};
use http::{HeaderMap, Method, Request, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::server::{
    metrics::AdminRefusal,
    settings::{ADMIN, AdminSettings, Operators},
};

/// Whose token was sent; `None` where no token has to be sent.
pub(super) type Principal = Option<Arc<str>>;

/// Decides which requests the admin port answers.
pub(crate) struct Guard {
    hosts: Vec<String>,
    tokens: Vec<Token>,
    /// Of the codes of all tokens.
    key: [u8; 32],
}

/// What is kept of the token. Comparing codes takes the same time wherever they differ, and tells
/// nothing of the token's length.
struct Token {
    principal: Arc<str>,
    code: Vec<u8>,
}

impl Guard {
    pub(crate) fn new(settings: &AdminSettings, operators: &Operators) -> Self {
        let hosts = settings.admin_hosts.clone().unwrap_or_default();
        let key: [u8; 32] = rand::random();
        let shared = settings.admin_token.iter().map(|token| (ADMIN, token));
        let own = operators.iter().filter_map(|(name, operator)| {
            let token = operator.token.as_ref()?;
            Some((name.as_str(), token))
        });
        let tokens = shared.chain(own).filter_map(|(name, token)| Token::new(&key, name, token));
        Self { hosts, tokens: tokens.collect(), key }
    }

    /// Whether a request may be answered, and who asks. `open` paths need no token.
    pub(super) fn check<B>(
        &self,
        request: &Request<B>,
        open: bool,
    ) -> Result<Principal, AdminRefusal> {
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let named = request.headers().get_all(header::HOST).iter().map(|host| host.as_bytes());
        if !authority.into_iter().chain(named).all(|host| self.is_own(host)) {
            return Err(AdminRefusal::Host);
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        if changes && request.headers().contains_key(header::ORIGIN) {
            return Err(AdminRefusal::Origin);
        }
        match self.tokens.is_empty() || open {
            true => Ok(None),
            false => self.sender(request.headers()).map(Some).ok_or(AdminRefusal::Token),
        }
    }

    /// Whose token these headers have.
    fn sender(&self, headers: &HeaderMap) -> Principal {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, given) = value.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let given = code(&self.key, given)?;
        let is_sent = |token: &&Token| given.clone().verify_slice(&token.code).is_ok();
        self.tokens.iter().find(is_sent).map(|token| Arc::clone(&token.principal))
    }

    /// Whether a host is this one: by its address, which no name can stand for, or by a known name.
    fn is_own(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let name = without_port(host);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        name.parse::<IpAddr>().is_ok()
            || is("localhost")
            || self.hosts.iter().any(|known| is(known))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// `host`, `host:port`, `[address]`, or `[address]:port`. A final dot does not count.
fn without_port(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address,
        None => name.strip_suffix('.').unwrap_or(name),
    }
}

impl Token {
    fn new(key: &[u8; 32], principal: &str, token: &SecretString) -> Option<Self> {
        let code = code(key, token.expose_secret().as_bytes())?.finalize().into_bytes().to_vec();
        Some(Self { principal: principal.into(), code })
    }
}

fn code(key: &[u8], token: &[u8]) -> Option<Hmac<Sha256>> {
    let mut code = <Hmac<Sha256> as Mac>::new_from_slice(key).ok()?;
    code.update(token);
    Some(code)
}

impl AdminRefusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "the admin port is not reached under this host name; name it in `admin_hosts`, or \
                 use the address\n"
            }
            Self::Origin => "no page in a browser may change anything here\n",
            Self::Token => {
                "send the admin_token, or that of an operator, as `Authorization: Bearer TOKEN`\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::OperatorSettings;

    fn guard(hosts: &[&str]) -> Guard {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let settings = AdminSettings { admin_hosts: Some(hosts), ..AdminSettings::default() };
        Guard::new(&settings, &Operators::new())
    }

    #[test]
    fn addresses_and_known_names_are_its_own() {
        let guard = guard(&["gateway.ops.example"]);
        for own in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:9090",
            "[::1]:9090",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:1",
            "localhost.:80",
            "gateway.ops.example:9090",
            "Gateway.Ops.Example",
        ] {
            assert!(guard.is_own(own.as_bytes()), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "gateway.ops.example.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80@evil.example",
            "0x7f.1",
            "2130706433",
            "[evil.example]:9090",
            "",
            ":9090",
            "\u{e9}",
        ] {
            assert!(!guard.is_own(foreign.as_bytes()), "{foreign}");
        }
        assert!(!guard.is_own(b"\xff"));
    }

    #[test]
    fn every_host_that_a_request_names_counts() {
        let guard = guard(&[]);
        let check = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header("host", *host);
            }
            guard.check(&request.body(()).unwrap(), true).is_ok()
        };
        assert!(check("/", &[]) && check("/", &["127.0.0.1"]));
        assert!(!check("/", &["127.0.0.1", "evil.example"]));
        assert!(!check("http://evil.example/", &["127.0.0.1"]));
        assert!(!check("http://127.0.0.1/", &["evil.example"]));
    }

    #[test]
    fn only_the_whole_token_opens() {
        let admin_token = Some("sixteen bytes or more".into());
        let settings = AdminSettings { admin_token, ..AdminSettings::default() };
        let token = Some("of one person alone".into());
        let operators = Operators::from([("jane".parse().unwrap(), OperatorSettings { token })]);
        let guard = Guard::new(&settings, &operators);
        let check = |value: Option<&str>, open| {
            let mut request = Request::builder().uri("/config");
            if let Some(value) = value {
                request = request.header("authorization", value);
            }
            guard.check(&request.body(()).unwrap(), open).ok().map(Option::unwrap_or_default)
        };
        let named = |value, open| check(Some(value), open).as_deref() == Some("admin");
        assert!(named("Bearer sixteen bytes or more", false));
        assert!(named("bearer sixteen bytes or more", false));
        let jane = check(Some("Bearer of one person alone"), false);
        assert_eq!(jane.as_deref(), Some("jane"));
        assert_eq!(check(None, true).as_deref(), Some(""));
        for wrong in [
            None,
            Some(""),
            Some("Bearer "),
            Some("Bearer sixteen bytes or"),
            Some("Bearer sixteen bytes or more "),
            Some("Basic sixteen bytes or more"),
            Some("Bearer of one person"),
            Some("Bearer jane"),
            Some("sixteen bytes or more"),
        ] {
            assert_eq!(check(wrong, false), None, "{wrong:?}");
        }
        assert!(!format!("{guard:?}").contains("sixteen"));
    }
}

//! HTTP Basic credentials and the tenant, on every request. There is no login and no token renewal.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    dialect::registration::Settings,
    error::{Error, Reason, Result},
    upstream::{Auth, Reply, Request, Tokens},
};

/// The tenant of a request; bodies never contain it.
const TENANT: HeaderName = HeaderName::from_static("tenant");

pub(super) struct BasicAuth {
    tenant: HeaderValue,
    password: SecretString,
    /// `username:password` in base64 (RFC 7617, 2).
    credential: SecretString,
}

impl BasicAuth {
    pub(super) fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut get = |key: &str| {
            let value = settings.get(key).filter(|value| !value.expose_secret().is_empty());
            if value.is_none() {
                faults.push(format!("{key} is missing"));
            }
            value.cloned().unwrap_or_default()
        };
        let [tenant, username, password] = ["tenant", "username", "password"].map(&mut get);
        // No message contains a value.
        let name = username.expose_secret();
        if name.contains(':') {
            faults.push(
                "username contains a colon, which HTTP Basic credentials do not allow (RFC 7617)"
                    .to_owned(),
            );
        }
        for (key, value) in [("username", &username), ("password", &password)] {
            if value.expose_secret().chars().any(char::is_control) {
                faults.push(format!(
                    "{key} contains control characters, which HTTP Basic credentials do not allow \
                     (RFC 7617)"
                ));
            }
        }
        let tenant = header(&tenant).unwrap_or_else(|fault| {
            faults.push(fault.to_owned());
            HeaderValue::from_static("")
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let credential = STANDARD.encode(format!("{name}:{}", password.expose_secret())).into();
        Ok(Self { tenant, password, credential })
    }
}

/// The tenant as a header value.
fn header(tenant: &SecretString) -> Result<HeaderValue, &'static str> {
    let tenant = tenant.expose_secret();
    if tenant.trim_matches([' ', '\t']) != tenant {
        // HTTP would drop the space, so the upstream would see another tenant.
        return Err("tenant begins or ends with a space");
    }
    // RFC 9110, 5.5: the meaning of non-ASCII characters is undefined.
    HeaderValue::from_str(tenant)
        .ok()
        .filter(|_| tenant.is_ascii())
        .ok_or("tenant contains characters not allowed in an HTTP header")
}

impl Auth for BasicAuth {
    fn headers(&self, token: &SecretString) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let basic = format!("Basic {}", token.expose_secret());
        let mut basic = HeaderValue::try_from(basic).map_err(|_| {
            Error::new(
                Reason::GatewayInternal,
                "the credential contains characters not allowed in an HTTP header",
            )
        })?;
        basic.set_sensitive(true);
        Ok(vec![(AUTHORIZATION, basic), (TENANT, self.tenant.clone())])
    }

    fn fixed(&self) -> Option<&SecretString> {
        Some(&self.credential)
    }

    fn may_lock(&self) -> bool {
        // They hold a password.
        true
    }

    fn login(&self) -> Option<Request> {
        None
    }

    fn refresh(&self, _: &SecretString) -> Option<(Request, Vec<(HeaderName, HeaderValue)>)> {
        None
    }

    fn tokens(&self, _: &Reply) -> Result<Tokens> {
        Err(Error::new(Reason::GatewayInternal, "Basic credentials have no login"))
    }

    fn is_refused(&self, reply: &Reply) -> bool {
        reply.status == StatusCode::UNAUTHORIZED
    }

    fn secrets(&self) -> Vec<&SecretString> {
        vec![&self.password, &self.credential]
    }
}

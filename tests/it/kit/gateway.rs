//! A gateway of this process on ports of its own, and clients for it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use profile_gateway::{
    app::{self, App},
    config::{self, Config, Source},
    pb::{
        BackendStatus, CreateProfileRequest, DeleteProfileRequest, GetBackendRequest, Profile,
        UpdateProfileRequest, backend_service_client::BackendServiceClient,
        profile_service_client::ProfileServiceClient,
    },
    server::Drained,
};
use prost_types::FieldMask;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{model, sandbox::Sandbox};

/// A fixed access token.
pub const TOKEN: &str = "fixed-token-of-the-kit";
/// The password of a login.
pub const PASSWORD: &str = "password-of-the-kit";
/// A token for all operators, where one is demanded.
pub const OPERATORS: &str = "token-of-the-kit-for-all-operators";
const LOGIN: &str = "username = \"operator\"\npassword = \"password-of-the-kit\"\n";

/// A configuration under way.
pub struct Builder {
    listen: String,
    top: String,
    audit: String,
    backends: String,
    server: String,
}

/// A running gateway; ends with its last handle.
pub struct Gateway {
    /// Where it listens over TCP.
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub profiles: ProfileServiceClient<Channel>,
    pub backends: BackendServiceClient<Channel>,
    pub health: HealthClient<Channel>,
    stop: CancellationToken,
    end: JoinHandle<Drained>,
    _abort: DropGuard,
}

/// A gateway without backends.
pub fn gateway() -> Builder {
    let server = "drain_grace = \"0s\"\n".to_owned();
    let audit = "/dev/null".to_owned();
    let listen = "127.0.0.1:0".to_owned();
    Builder { listen, top: String::new(), audit, backends: String::new(), server }
}

/// A gateway with one backend `sft` at this address, with the fixed [`TOKEN`].
pub async fn fixed(base_url: &str) -> Gateway {
    gateway().fixed("sft", base_url, "").start().await
}

/// A gateway with one backend `sft` at this address, which logs in with [`PASSWORD`].
pub async fn login(base_url: &str) -> Gateway {
    gateway().backend("sft", base_url, LOGIN).start().await
}

/// A gateway with one backend `sft` at a sandbox.
pub async fn on(sandbox: &Sandbox) -> Gateway {
    gateway().backend("sft", &sandbox.base_url(), &sandbox.credentials()).start().await
}

/// The same, where every call has this long, such as `2s`.
///
/// The deadline comes from the configuration, because a client that gives one ends the call itself.
pub async fn within(time: &str, sandbox: &Sandbox) -> Gateway {
    let server = format!("default_timeout = \"{time}\"");
    let builder = gateway().server(&server);
    builder.backend("sft", &sandbox.base_url(), &sandbox.credentials()).start().await
}

/// A gateway with a backend for each upstream that the sandbox simulates, by the sandbox's own
/// configuration.
pub async fn over_all(sandbox: &Sandbox) -> Gateway {
    gateway().section(&sandbox.config()).start().await
}

/// Lines of a backend that asks as fast as it can, and once: what the upstream does shows as it is.
pub const AS_IT_IS: &str = "requests_per_second = 100000\nrequest_limit = \"off\"\n\
                            max_attempts = 1\ncircuit_breaker = \"off\"\n";

/// A gateway with one of them, where every call has this long, and with these lines in the section
/// of its cache. It has the lines of [`AS_IT_IS`].
pub async fn over(sandbox: &Sandbox, backend: &str, time: &str, cache: &str) -> Gateway {
    let lines = format!("{AS_IT_IS}[backends.{backend}.cache]\n{cache}");
    reaching(&sandbox.base_url(), sandbox, backend, time, &lines).await
}

/// A gateway with one of them, which it reaches at this address, and with these lines in its
/// section.
pub async fn reaching(
    base_url: &str,
    sandbox: &Sandbox,
    backend: &str,
    time: &str,
    lines: &str,
) -> Gateway {
    let config = sandbox.config().replace(&sandbox.base_url(), base_url);
    let header = format!("[backends.{backend}]");
    let mut sections = config.split("\n\n");
    let section = sections.find(|section| section.starts_with(&header));
    let section = section.unwrap_or_else(|| panic!("no {header} in the sandbox's configuration"));
    let server = format!("default_timeout = \"{time}\"");
    let section = format!("{section}\n{lines}\n");
    gateway().server(&server).section(&section).start().await
}

impl Builder {
    /// Adds lines above all sections.
    pub fn top(mut self, lines: &str) -> Self {
        self.top += lines;
        self
    }

    /// Listens there.
    pub fn listen(self, address: &str) -> Self {
        Self { listen: address.to_owned(), ..self }
    }

    /// Writes the audit log to this file.
    pub fn audit(self, file: &str) -> Self {
        Self { audit: file.to_owned(), ..self }
    }

    /// Adds whole sections.
    pub fn section(mut self, text: &str) -> Self {
        self.backends += text;
        self
    }

    /// Adds a backend with these lines of its own.
    pub fn backend(mut self, name: &str, base_url: &str, lines: &str) -> Self {
        self.backends += &format!(
            "[backends.{name}]\ndialect = \"bics-sft\"\nbase_url = \"{base_url}\"\n{lines}\n"
        );
        self
    }

    /// Adds a backend with the fixed [`TOKEN`].
    pub fn fixed(self, name: &str, base_url: &str, lines: &str) -> Self {
        let lines = format!("access_token = \"{TOKEN}\"\n{lines}");
        self.backend(name, base_url, &lines)
    }

    /// Adds lines to the section `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server += lines;
        self.server.push('\n');
        self
    }

    /// The whole sections that were added.
    pub fn sections(self) -> String {
        self.backends
    }

    /// The configuration as a file has it.
    pub fn text(self) -> String {
        let text = format!(
            "listen = \"{}\"\nadmin_listen = \"127.0.0.1:0\"\n{}\n\
             [audit]\nfile = \"{}\"\n[server]\n{}{}",
            self.listen, self.top, self.audit, self.server, self.backends
        );
        with_store(&text)
    }

    pub async fn start(self) -> Gateway {
        Gateway::running(App::start(loaded(&self.text())).await.unwrap())
    }
}

impl Gateway {
    /// The gateway of an application that is about to serve.
    pub fn running(app: App) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let [address, admin] =
            [app.address(), app.admin_address()].map(|address| address.dial().unwrap_or(nowhere));
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let end =
            tokio::spawn(app.run(stop.clone().cancelled_owned(), abort.clone().cancelled_owned()));
        let channel = Endpoint::new(format!("http://{address}")).unwrap().connect_lazy();
        Self {
            address,
            admin,
            profiles: ProfileServiceClient::new(channel.clone())
                .max_decoding_message_size(64 << 20)
                .max_encoding_message_size(64 << 20),
            backends: BackendServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
            stop,
            end,
            _abort: abort.drop_guard(),
        }
    }
}

/// The settings of a configuration.
pub fn loaded(text: &str) -> Config {
    let text = &with_store(text);
    config::load(Some(Source { file_name: "kit", text }), &[]).unwrap()
}

/// A configuration whose store is the memory, unless it has one.
pub fn with_store(text: &str) -> String {
    match text.contains("[backends.") && !text.contains("[store]") {
        true => format!("{text}\n{}", app::SANDBOX_STORE),
        false => text.to_owned(),
    }
}

impl Gateway {
    /// The profile as the upstream has it now.
    pub async fn get(&self, id: &str) -> Result<Profile, Status> {
        self.profiles
            .clone()
            .get_profile(fresh(model::get(id)))
            .await
            .map(tonic::Response::into_inner)
    }

    /// All profiles of backend `sft` as the upstream has them now, or the first thousand.
    pub async fn list(&self) -> Result<Vec<Profile>, Status> {
        let mut request = model::list(model::BACKEND);
        request.page_size = 1000;
        let answer = self.profiles.clone().list_profiles(fresh(request)).await?;
        Ok(answer.into_inner().profiles)
    }

    pub async fn create(&self, profile: Profile) -> Result<Profile, Status> {
        self.create_within(profile, None).await
    }

    /// Creates with a deadline.
    pub async fn create_within(
        &self,
        profile: Profile,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<Profile, Status> {
        let request = CreateProfileRequest {
            parent: model::BACKEND.to_owned(),
            profile: Some(profile),
            ..CreateProfileRequest::default()
        };
        let request = timed(request, deadline.into());
        self.profiles.clone().create_profile(request).await.map(tonic::Response::into_inner)
    }

    pub async fn update(&self, profile: Profile) -> Result<Profile, Status> {
        self.update_with(profile, None, None).await
    }

    pub async fn update_with(
        &self,
        profile: Profile,
        update_mask: Option<FieldMask>,
        deadline: Option<Duration>,
    ) -> Result<Profile, Status> {
        let request = UpdateProfileRequest {
            profile: Some(profile),
            update_mask,
            ..UpdateProfileRequest::default()
        };
        let request = timed(request, deadline);
        self.profiles.clone().update_profile(request).await.map(tonic::Response::into_inner)
    }

    pub async fn delete(&self, id: &str) -> Result<(), Status> {
        self.delete_within(id, None).await
    }

    /// Deletes with a deadline.
    pub async fn delete_within(
        &self,
        id: &str,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<(), Status> {
        let request =
            DeleteProfileRequest { name: model::name(id), ..DeleteProfileRequest::default() };
        let request = timed(request, deadline.into());
        self.profiles.clone().delete_profile(request).await.map(tonic::Response::into_inner)
    }

    /// A connection from one of this machine's addresses, which is a caller of its own.
    pub fn channel_from(&self, source: &str) -> Channel {
        let endpoint = Endpoint::new(format!("http://{}", self.address)).unwrap();
        endpoint.local_address(Some(source.parse().unwrap())).connect_lazy()
    }

    /// A channel of a caller that has not called before.
    pub fn channel_of_another(&self) -> Channel {
        static CALLERS: AtomicU16 = AtomicU16::new(0);
        let [high, low] = CALLERS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.channel_from(&format!("127.1.{high}.{low}"))
    }

    /// What the health service says of a name.
    pub async fn serving(&self, service: &str) -> bool {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = self.health.clone().check(request).await.unwrap().into_inner();
        answer.status() == ServingStatus::Serving
    }

    /// What `GetBackend` says of how a backend is.
    pub async fn status(&self, backend: &str) -> BackendStatus {
        let request = GetBackendRequest { name: format!("backends/{backend}") };
        let backend = self.backends.clone().get_backend(request).await.unwrap().into_inner();
        backend.status.unwrap()
    }

    /// The sum of a metric over all its series that have these labels.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let metrics = self.admin("/metrics").await;
        let series = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("profile_gateway_")?.strip_prefix(name)?;
            let value = rest.starts_with(['{', ' ']).then(|| rest.rsplit_once(' '))??;
            value.0.contains(labels).then(|| value.1.parse::<f64>().unwrap())
        });
        series.sum()
    }

    /// A page of the admin port.
    pub async fn admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.admin);
        let request = reqwest::Client::new().get(url).bearer_auth(OPERATORS);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Sends nothing to a page of the admin port. Returns the status.
    pub async fn post_admin(&self, path: &str) -> u16 {
        let url = format!("http://{}{path}", self.admin);
        reqwest::Client::new().post(url).send().await.unwrap().status().as_u16()
    }

    /// Ends it as a signal would, and waits.
    pub async fn stop(self) -> Drained {
        self.stop.cancel();
        self.end.await.unwrap()
    }
}

/// A read of the upstream, whatever the cache holds.
pub fn fresh<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    request
}

/// A request with a deadline.
pub fn timed<T>(message: T, deadline: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}

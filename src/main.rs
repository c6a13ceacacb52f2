//! Flags, runtime and exit code; nothing else.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use profile_gateway::{
    app::{
        self, App, EndSignals, HealthPort, ReloadRequests, Upstreams, heed_other_signals, upkeep,
    },
    config::{self, Config, ConfigErrors, Inputs, Unusable},
    server::{Drained, ListenAddress, raise_open_files},
    telemetry::{self, logs, panics},
};
#[cfg(feature = "sandbox")]
use profile_gateway_sandbox::{Options, Sandbox};
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// `EX_USAGE` of sysexits(3): the program was started in a way that cannot work.
const EXIT_CONFIG: u8 = 64;

/// One gRPC API over IoT service profiles that live in several upstream systems.
///
/// Without a command it serves on 127.0.0.1:50051, with an embedded sandbox of the upstreams unless
/// PROFILE_GATEWAY_CONFIG names a file, or PROFILE_GATEWAY__… variables configure backends.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    // Only to say where it belongs.
    #[arg(long, value_name = "FILE", hide = true, num_args = 0..=1)]
    config: Option<Option<PathBuf>>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the backends of a configuration.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        /// Address of the gRPC port, whatever the configuration says.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
        /// Serve simulated upstreams, and no others: what is written reaches no vendor.
        #[arg(long)]
        sandbox: bool,
    },
    /// Check a configuration and print what would run.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Also log in to each upstream and read from it, once, and try the store that replicas
        /// share. Without this, nothing is contacted.
        #[arg(long)]
        connect: bool,
        /// Print JSON, with the rights of callers and the warnings as members, in place of a file.
        #[arg(long)]
        json: bool,
    },
    /// Print what a caller may do in each backend, as JSON; contacts nothing.
    Access {
        #[command(flatten)]
        file: ConfigFile,
        /// The NAME of an `[auth.callers.NAME]` section.
        #[arg(long = "as", value_name = "NAME")]
        caller: String,
    },
    /// Look after the store that a gateway leaves behind; no gateway may be running on it.
    Store {
        #[command(subcommand)]
        task: StoreTask,
    },
    /// Print each write in doubt that a gateway has left in its store, as a line of JSON.
    ///
    /// A write in doubt was sent, and its outcome is not known. The exit code is 0 if the store
    /// could be read, whether there are any or not; 1 if not, also while a gateway is running on
    /// it: then ask that one with BackendService.ListDoubtfulWrites; and 64 if the configuration is
    /// wrong.
    Doubts(StorePlace),
    /// Ask a gateway whether it serves, over gRPC (grpc.health.v1), and print one line.
    ///
    /// Without an address, the configuration says where: the port for probes, or else the gRPC
    /// port, with TLS if it has that. The exit code is 0 if it serves, 1 if not or if it does not
    /// answer, and 64 if the configuration is wrong.
    Health {
        #[command(flatten)]
        file: ConfigFile,
        /// Where to ask, as `listen` is written; no configuration is read unless one is named.
        #[arg(long, value_name = "ADDRESS")]
        address: Option<ListenAddress>,
    },
    /// Say what a reason of an error means, who acts, and what to do.
    ///
    /// Without one, decode the error details that `buf curl` prints as base64, or the value of a
    /// grpc-status-details-bin trailer, from standard input; at a terminal, list all reasons.
    Explain {
        /// Such as WRITE_OUTCOME_UNKNOWN, in capitals or not.
        reason: Option<String>,
        /// List all reasons.
        #[arg(long, conflicts_with = "reason")]
        list: bool,
    },
    /// Run the simulated upstreams alone.
    Sandbox {
        /// Address to listen on; port 0 takes a free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// TOML file; PROFILE_GATEWAY__SECTION__KEY variables override it, or replace it.
    #[arg(short, long, value_name = "FILE", env = config::FILE_VARIABLE)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum StoreTask {
    /// Read all of it, and say whether it is whole.
    Check(StorePlace),
    /// Print how much is in it, as JSON.
    Stats(StorePlace),
    /// Print each write that is in it as a line of JSON.
    Export(StorePlace),
    /// Give back to the disk what is empty in its file.
    Compact(StorePlace),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct StorePlace {
    /// TOML file whose `store.path` is meant.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory itself.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Why the program ends without having served.
enum Failure {
    Config(ConfigErrors),
    /// Something else that the program was given cannot be used: a file, a level, a command.
    Usage(String),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

// A call allocates some dozens of times, and often another thread frees it: that is what this one
// is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A core file would hold every secret, and so does what a debugger reads. Where the system
    // refuses, there is nothing to be done about it.
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let code = start();
    // After the runtime, because calls that end with it are logged too.
    telemetry::finish();
    code
}

#[tokio::main]
async fn start() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(Failure::Config(errors)) => {
            eprintln!("invalid configuration:\n{errors}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Usage(error)) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Other(error)) => {
            eprintln!("profile-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Some(file) = cli.config {
        let file = file.map_or("FILE".to_owned(), |file| file.display().to_string());
        let message = format!(
            "`--config` comes after a command: write `profile-gateway serve --config {file}`"
        );
        Cli::command().error(ErrorKind::MissingSubcommand, message).exit();
    }
    match cli.command {
        None => {
            let file = std::env::var_os(config::FILE_VARIABLE).map(PathBuf::from);
            serve(Inputs::new(file, None), Upstreams::RealOrSandbox).await
        }
        Some(Command::Serve { file, listen, sandbox }) => {
            let upstreams = if sandbox { Upstreams::Sandbox } else { Upstreams::Real };
            serve(Inputs::new(file.config, listen), upstreams).await
        }
        Some(Command::Check { file, connect, json }) => {
            check(&load(&Inputs::new(file.config, None))?, connect, json).await
        }
        Some(Command::Access { file, caller }) => {
            access(&load(&Inputs::new(file.config, None))?, &caller)
        }
        Some(Command::Store { task }) => store(task),
        Some(Command::Doubts(place)) => doubts(place),
        Some(Command::Health { file, address }) => health(file.config, address).await,
        Some(Command::Explain { reason, list }) => {
            print(&app::explain(reason.as_deref(), list)?.map_err(Failure::Usage)?)
        }
        Some(Command::Sandbox { listen }) => run_sandbox(listen).await,
    }
}

/// Reads what the inputs have.
fn load(inputs: &Inputs) -> Result<Config, Failure> {
    inputs.read().map_err(|error| match error {
        Unusable::Wrong(errors) => Failure::Config(errors),
        unread @ Unusable::Unread(..) => Failure::Usage(unread.to_string()),
    })
}

async fn check(config: &Config, connect: bool, json: bool) -> Result<ExitCode, Failure> {
    // Beside the output, which has them too, for people whose eyes are not on its last lines.
    for warning in &config.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let (Ok(note) | Err(note)) = app::WITHOUT_BACKENDS;
    let note = Some(note).filter(|_| config.backends.is_empty());
    let shown = if json { config.as_json(note) } else { config.as_file(note) };
    let (backends, warnings) = (config.backends.len(), config.warnings.len());
    let _ = writeln!(io::stderr(), "ok; backends: {backends}, warnings: {warnings}");
    let printed = print(shown.trim_end())?;
    let tried = if connect { app::try_connections(config).await? } else { Vec::new() };
    tried.iter().for_each(|tried| drop(writeln!(io::stderr(), "{tried}")));
    let all_are_well = tried.iter().all(|tried| tried.is_well);
    Ok(if all_are_well { printed } else { ExitCode::FAILURE })
}

fn access(config: &Config, caller: &str) -> Result<ExitCode, Failure> {
    let unknown = || Failure::Usage(format!("no `[auth.callers.{caller}]` is configured"));
    print(&serde_json::to_string_pretty(&config.access_of(caller).ok_or_else(unknown)?)?)
}

fn store(task: StoreTask) -> Result<ExitCode, Failure> {
    let (upkeep, place): (fn(&Path) -> io::Result<String>, StorePlace) = match task {
        StoreTask::Check(place) => (upkeep::check, place),
        StoreTask::Stats(place) => (upkeep::stats, place),
        StoreTask::Export(place) => (upkeep::export, place),
        StoreTask::Compact(place) => (upkeep::compact, place),
    };
    let (path, _) = place.find()?;
    print(upkeep(&path)?.trim_end())
}

fn doubts(place: StorePlace) -> Result<ExitCode, Failure> {
    let (path, config) = place.find()?;
    match upkeep::doubts(&path, config.map(|config| config.request_ids.kept_for))?.trim_end() {
        "" => Ok(ExitCode::SUCCESS),
        lines => print(lines),
    }
}

impl StorePlace {
    /// The directory, and the configuration that names it.
    fn find(self) -> Result<(PathBuf, Option<Config>), Failure> {
        if let Some(path) = self.path {
            return Ok((path, None));
        }
        let config = load(&Inputs::new(self.config, None))?;
        match &config.store.path {
            Some(path) => Ok((path.into(), Some(config))),
            None => Err(Failure::Usage("this configuration has no store".to_owned())),
        }
    }
}

async fn health(
    file: Option<PathBuf>,
    address: Option<ListenAddress>,
) -> Result<ExitCode, Failure> {
    let config = match (&file, &address) {
        (None, Some(_)) => None,
        _ => Some(load(&Inputs::new(file, None))?),
    };
    let port = HealthPort::find(address, config.as_ref()).map_err(Failure::Usage)?;
    let found = port.ask().await;
    let printed = print(&found.to_string())?;
    Ok(if found.is_serving() { printed } else { ExitCode::FAILURE })
}

/// Writes the whole output of a command.
fn print(output: &str) -> Result<ExitCode, Failure> {
    match writeln!(io::stdout(), "{output}") {
        // A reader that closes the pipe early, as `head` does, has what it wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

async fn serve(inputs: Inputs, upstreams: Upstreams) -> Result<ExitCode, Failure> {
    let config = load(&inputs)?;
    upstreams.check(&config).map_err(|error| Failure::Usage(error.to_owned()))?;
    panics::install();
    let levels = logs::start(config.log.format, &config.log.level, config.log.buffer_bytes);
    levels.map_err(|error| Failure::Usage(format!("log.level: {error}")))?;
    for warning in &config.warnings {
        tracing::warn!(target: "config", "{warning}");
    }
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    // Before anything is announced, so that a signal right after it is not lost.
    let reloads = ReloadRequests::default();
    heed_other_signals(&reloads)?;
    let mut ends = EndSignals::listen()?;
    // Who reads audit lines there does not expect a greeting among them.
    let is_for_audit_lines = config.audit.is_on_stdout();
    let app = App::start(config).await?.reloading(inputs, reloads);
    app.log_start();
    greet(&app, is_for_audit_lines);
    let (stop, abort) = tokio::sync::watch::channel(0_u8);
    let watching = tokio::spawn(async move {
        for count in 1.. {
            ends.next().await;
            // The receiver is gone: the program is about to end.
            if stop.send(count).is_err() {
                break;
            }
        }
    });
    let mut first = abort.clone();
    let mut second = abort;
    let drained = app
        .run(async move { drop(first.wait_for(|count| *count >= 1).await) }, async move {
            drop(second.wait_for(|count| *count >= 2).await)
        })
        .await;
    watching.abort();
    Ok(match drained {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::Forced { .. } => ExitCode::FAILURE,
    })
}

/// Greets people: at a terminal, and in a trial run. All others read the log.
fn greet(app: &App, is_for_audit_lines: bool) {
    if app.sandbox_url().is_none() && !io::stdout().is_terminal() {
        return;
    }
    let greeting = app.greeting();
    // The parent process may have closed the output; that does not keep the program from serving.
    let _ = match is_for_audit_lines {
        true => io::stderr().lock().write_all(greeting.as_bytes()),
        false => io::stdout().lock().write_all(greeting.as_bytes()),
    };
}

#[cfg(not(feature = "sandbox"))]
async fn run_sandbox(_listen: SocketAddr) -> Result<ExitCode, Failure> {
    let error = "this build has no sandbox: build with the cargo feature `sandbox`";
    Err(Failure::Usage(error.to_owned()))
}

#[cfg(feature = "sandbox")]
async fn run_sandbox(listen: SocketAddr) -> Result<ExitCode, Failure> {
    logs::init(logs::Format::Auto, "info").map_err(Failure::Usage)?;
    let mut ends = EndSignals::listen()?;
    let sandbox = Sandbox::start(listen, Options::default())
        .await
        .map_err(|e| anyhow::anyhow!("cannot listen on {listen}: {e}"))?;
    // As above.
    let _ = io::stdout().lock().write_all(app::sandbox_greeting(&sandbox).as_bytes());
    ends.next().await;
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}

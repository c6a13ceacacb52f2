//! A page, followed from top to bottom in a directory of its own.
//!
//! What a page finds there: the repository's `deploy/`, `examples/`, `proto/` and `scripts/`, and a
//! gateway over its sandbox on the ports that the documents name, unless the page starts one. Ports
//! are mapped in both directions, so that pages can run side by side.

use std::{net::TcpStream, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    compare::{difference, matches},
    page::{Command, Page, Step},
    pages::{copied, ports, root, shims},
    shell::{Ended, Shell},
};

/// For a server to be ready, and for output of what runs in the background.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the gateway listens unless told otherwise.
const GRPC: u16 = 50051;

/// A command that does not do what its page shows.
pub(super) struct Mismatch {
    pub line: usize,
    pub output_at: usize,
    pub shown: Vec<String>,
    pub actual: Vec<String>,
    command: String,
    code: i32,
}

impl Mismatch {
    pub(super) fn told(&self, path: &str) -> String {
        let Self { line, command, code, shown, actual, .. } = self;
        let difference = difference(shown, actual);
        format!("{path}:{}: $ {command}\n{difference}(exit code {code})", line + 1)
    }
}

/// The ports that documents name, and those that stand for them in this run.
struct Ports(Vec<(String, String)>);

impl Ports {
    fn to_real(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (told, real)| text.replace(told, real))
    }

    fn to_told(&self, lines: &[String]) -> Vec<String> {
        let told = |line: &String| {
            self.0.iter().fold(line.clone(), |line, (told, real)| line.replace(real, told))
        };
        lines.iter().map(told).collect()
    }

    /// The first port that a command names, or the gateway's own.
    fn served(&self, command: &str) -> (&str, &str) {
        let named = self.0.iter().find(|(told, _)| command.contains(told.as_str()));
        let usual = format!(":{GRPC}");
        let (told, real) =
            named.or_else(|| self.0.iter().find(|(told, _)| *told == usual)).unwrap();
        (told, real)
    }
}

struct Session {
    shell: Shell,
    ports: Ports,
    directory: TempDir,
    /// Whether something runs in the background that may print at any time.
    background: bool,
    servers: usize,
}

/// Follows a page and tells what is not as it says.
pub(super) async fn run(page: Arc<Page>) -> Vec<Mismatch> {
    let mut session = Session::start();
    let first = page.steps.iter().find_map(|step| match step {
        Step::Command(command) => Some(command),
        Step::File { .. } => None,
    });
    if !first.is_some_and(|first| first.server) {
        session.serve("profile-gateway", &[]).await;
    }
    let mut mismatches = Vec::new();
    for step in &page.steps {
        match step {
            Step::File { name, text } => session.write(name, text),
            Step::Command(command) => mismatches.extend(session.follow(command).await),
        }
    }
    mismatches
}

impl Session {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        copied(directory.path());
        let shims = shims(directory.path());
        let path = std::env::var("PATH").unwrap_or_default();
        let env = [
            ("PATH", format!("{shims}:{path}")),
            ("HOME", directory.path().display().to_string()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
        ];
        let ports = Ports(ports());
        // What `scripts/replicas` uses, unless it is told this.
        let of_replicas = [
            ("BALANCER_PORT", ":50051"),
            ("REPLICA_PORTS", ":50052 :50053"),
            ("ADMIN_PORTS", ":9090 :9091"),
            ("SANDBOX_PORT", ":8080"),
        ];
        let of_replicas =
            of_replicas.map(|(name, told)| (name, ports.to_real(told).replace(':', "")));
        let env = env.into_iter().chain(of_replicas).map(|(name, value)| (name.to_owned(), value));
        let shell = Shell::start(directory.path(), &env.collect::<Vec<_>>());
        Self { shell, ports, directory, background: false, servers: 0 }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, self.ports.to_real(text)).unwrap();
    }

    async fn follow(&mut self, command: &Command) -> Option<Mismatch> {
        let (actual, code) = if command.server {
            (self.serve(&command.text, &command.output).await, 0)
        } else {
            self.ask(&command.text, &command.output).await
        };
        // Who shows no output says that it works.
        let fits = matches(&command.output, &actual) && (!command.output.is_empty() || code == 0);
        (!fits).then(|| Mismatch {
            line: command.line,
            output_at: command.output_at,
            shown: command.output.clone(),
            actual,
            command: command.text.clone(),
            code,
        })
    }

    async fn ask(&mut self, command: &str, shown: &[String]) -> (Vec<String>, i32) {
        self.background |= command.trim_end().ends_with('&');
        let Ended { lines, code } = self.shell.run(&self.ports.to_real(command)).await;
        let mut actual = self.ports.to_told(&lines);
        if self.background && !matches(shown, &actual) {
            let ports = &self.ports;
            let before = actual.clone();
            let whole = |more: &[String]| [before.clone(), ports.to_told(more)].concat();
            let more = self.shell.more(PATIENCE, |more| matches(shown, &whole(more))).await;
            actual.extend(self.ports.to_told(&more));
        }
        (actual, code)
    }

    /// Starts a server in place of the one that has its port, and waits until it listens and has
    /// said what is shown.
    async fn serve(&mut self, command: &str, shown: &[String]) -> Vec<String> {
        let (told, real) = self.ports.served(command);
        let (name, address) = (told.trim_start_matches(':').to_owned(), format!("127.0.0.1{real}"));
        self.servers += 1;
        let said = format!(".said-{}", self.servers);
        let mut start = format!(
            "if [ -n \"$server_{name}\" ]; then {{ kill -KILL $server_{name}; \
             wait $server_{name}; }} 2>/dev/null; fi\n\
             export PROFILE_GATEWAY__LISTEN=127.0.0.1:50051 \
             PROFILE_GATEWAY__ADMIN_LISTEN=127.0.0.1:9090\n\
             {{ {command} & }} >{said} 2>>.log\n\
             server_{name}=$!; unset PROFILE_GATEWAY__LISTEN PROFILE_GATEWAY__ADMIN_LISTEN\n"
        );
        start = self.ports.to_real(&start);
        let Ended { lines, code } = self.shell.run(&start).await;
        // What was cut off with the server before may say so.
        assert!(code == 0, "{command}: {lines:?}");
        let end = Instant::now() + PATIENCE;
        let path = self.directory.path().join(&said);
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let lines = self.ports.to_told(&lines);
            let said = shown.is_empty() || matches(shown, &lines);
            let ready = said && TcpStream::connect(&address).is_ok();
            if ready || Instant::now() > end {
                assert!(ready || !said, "{command} does not listen: {}", self.log());
                return if shown.is_empty() { Vec::new() } else { lines };
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join(".log")).unwrap_or_default()
    }
}

/// A program that a page needs is found where `make test` puts it.
#[test]
fn tools_are_installed() {
    for tool in ["node_modules/.bin/buf", "python/bin/python"] {
        let path = root().join("target/tools").join(tool);
        let found = path.exists() || tool.ends_with("buf") && on_path("buf");
        assert!(found, "{} is not there: `make test` installs it", path.display());
    }
    for tool in ["bash", "curl", "jq"] {
        assert!(on_path(tool), "{tool} is not installed, and commands of the documents use it");
    }
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).exists())
}

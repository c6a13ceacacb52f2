//! The measured processes: started, asked for their CPU time, killed when dropped.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use clap::ValueEnum;
use rustix::process::{Pid, Signal};

use crate::{Role, Turn, load};

const IN_MEMORY: (&str, &str) = ("PROFILE_GATEWAY__STORE__KIND", "memory");

/// A process that has said where it listens.
pub(crate) struct Child {
    process: process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
    /// The base URL of the admin port of the program.
    admin: String,
}

impl Child {
    /// This program in another role.
    pub(crate) fn role(role: Role, with: &str) -> Self {
        Self::start(&mut Self::command(role, with), "")
    }

    fn command(role: Role, with: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = role.to_possible_value().unwrap();
        command.args(["--role", name.get_name(), "--with", with]);
        command.args(["--at-once", &load::concurrency().to_string()]);
        command
    }

    /// This program in another role, its log read and thrown away: a log that goes to `/dev/null`
    /// costs less than one that is collected.
    pub(crate) fn logging_role(role: Role, with: &str) -> Self {
        let mut command = Self::command(role, with);
        Self::start(command.stderr(Stdio::piped()), "").with_its_log_read()
    }

    fn with_its_log_read(mut self) -> Self {
        let mut log = self.process.stderr.take().unwrap();
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        self
    }

    /// The real program over an SFT upstream, its log read and thrown away.
    pub(crate) fn gateway(upstream: &str) -> Self {
        Self::program(&[
            // As many as are made at once.
            ("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", "20000"),
            // What is to be a hit must not run out of time.
            ("PROFILE_GATEWAY__BACKENDS__SFT__CACHE__TTL", "1h"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", upstream),
            ("PROFILE_GATEWAY__BACKENDS__SFT__USERNAME", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD", "bench"),
        ])
    }

    /// The real program over an SFT upstream, with what a file configures beside that.
    pub(crate) fn gateway_configured(upstream: &str, file: &str) -> Self {
        Self::program(&[
            ("PROFILE_GATEWAY_CONFIG", file),
            ("PROFILE_GATEWAY__BACKENDS__SFT__CACHE__TTL", "1h"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", upstream),
            ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "bench"),
        ])
    }

    /// The real program over an SFT upstream, with a store in a directory, or in its memory, and
    /// room for all writes at once.
    pub(crate) fn gateway_with_store(upstream: &str, directory: Option<&Path>) -> Self {
        let file = directory.map(|path| ("PROFILE_GATEWAY__STORE__PATH", path.to_str().unwrap()));
        Self::program_with(
            file.unwrap_or(IN_MEMORY),
            &[
                ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
                ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", upstream),
                ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "bench"),
                ("PROFILE_GATEWAY__BACKENDS__SFT__MAX_CONCURRENT_CALLS", "64"),
                ("PROFILE_GATEWAY__BACKENDS__SFT__CACHE__TTL", "1h"),
                ("PROFILE_GATEWAY__REQUEST_IDS__MAX_ENTRIES", "10000000"),
                ("PROFILE_GATEWAY__REQUEST_IDS__MAX_BYTES", "16GiB"),
                ("PROFILE_GATEWAY__MEMORY__BUDGET_BYTES", "32GiB"),
                ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "0s"),
            ],
        )
    }

    /// The real program over an endpoint upstream that has no limits.
    pub(crate) fn gateway_over_endpoint(upstream: &str) -> Self {
        Self::program(&[
            ("PROFILE_GATEWAY__BACKENDS__IOT__DIALECT", "endpoint"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__BASE_URL", upstream),
            ("PROFILE_GATEWAY__BACKENDS__IOT__AUTH_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__REQUESTS_PER_SECOND", "off"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__REQUEST_LIMIT", "off"),
        ])
    }

    /// The real program over two SFT upstreams with the default bounds.
    pub(crate) fn gateway_over_two(well: &str, hanging: &str) -> Self {
        Self::program(&[
            // Each call is to reach its backend.
            ("PROFILE_GATEWAY__BACKENDS__SFT__CACHE__ENABLED", "false"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__CACHE__ENABLED", "false"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", well),
            ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__BASE_URL", hanging),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__ACCESS_TOKEN", "bench"),
        ])
    }

    /// The real program with the default bounds and shares, over an SFT upstream with so many slots
    /// and an endpoint upstream.
    pub(crate) fn gateway_in_shares(upstream: &str, slots: usize, lists: &str) -> Self {
        Self::program(&[
            ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "50"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", upstream),
            ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__MAX_CONCURRENT_CALLS", &slots.to_string()),
            ("PROFILE_GATEWAY__BACKENDS__IOT__DIALECT", "endpoint"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__BASE_URL", lists),
            ("PROFILE_GATEWAY__BACKENDS__IOT__AUTH_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__REQUESTS_PER_SECOND", "off"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__REQUEST_LIMIT", "off"),
            ("PROFILE_GATEWAY__BACKENDS__IOT__CACHE__TTL", "1h"),
        ])
    }

    /// The real program with so many places for calls, of which a caller may have half. The
    /// upstream that hangs is there twice: with room for all of them, and with one slot and a short
    /// queue.
    pub(crate) fn gateway_that_refuses(well: &str, hanging: &str, places: usize) -> Self {
        Self::program(&[
            ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "50"),
            ("PROFILE_GATEWAY__SERVER__MAX_CONCURRENT_CALLS", &places.to_string()),
            // What hangs has to for as long as it is measured.
            ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__BASE_URL", well),
            ("PROFILE_GATEWAY__BACKENDS__SFT__ACCESS_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__SFT__CACHE__TTL", "1h"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__BASE_URL", hanging),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__ACCESS_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__CIRCUIT_BREAKER", "off"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__HEADER_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__REQUEST_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__BACKENDS__HANGING__MAX_QUEUED_CALLS", "100000"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__DIALECT", "bics-sft"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__BASE_URL", hanging),
            ("PROFILE_GATEWAY__BACKENDS__FULL__ACCESS_TOKEN", "bench"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__CIRCUIT_BREAKER", "off"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__HEADER_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__REQUEST_TIMEOUT", "5m"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__MAX_CONCURRENT_CALLS", "1"),
            ("PROFILE_GATEWAY__BACKENDS__FULL__MAX_QUEUED_CALLS", "4"),
        ])
    }

    fn program(own: &[(&str, &str)]) -> Self {
        // What is not about the store does not wait for a disk.
        Self::program_with(IN_MEMORY, own)
    }

    fn program_with(store: (&str, &str), own: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_profile-gateway"));
        // Whatever configures a gateway on this machine must not configure this one.
        command.env_clear().stderr(Stdio::piped()).envs([
            ("PROFILE_GATEWAY__LISTEN", "127.0.0.1:0"),
            ("PROFILE_GATEWAY__ADMIN_LISTEN", "127.0.0.1:0"),
            // All load is from one caller, over few connections, unless a part has its own bounds.
            ("PROFILE_GATEWAY__CALLERS__SHARE_PERCENT", "100"),
            ("PROFILE_GATEWAY__SERVER__MAX_STREAMS_PER_CONNECTION", "10000"),
            store,
            ("PROFILE_GATEWAY__LOG__LEVEL", "info"),
            ("PROFILE_GATEWAY__LOG__FORMAT", "json"),
        ]);
        command.envs(own.iter().copied());
        Self::serving(&mut command)
    }

    /// The program, once its log says where it serves.
    fn serving(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"profile-gateway serves\"") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        }
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = said["grpc"].as_str().unwrap().to_owned();
        let admin = format!("http://{}", said["admin"].as_str().unwrap());
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { process, stdin, stdout: BufReader::new(stdout), address, admin }
    }

    /// The address is in the first line, after `before`.
    fn start(command: &mut Command, before: &str) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once(before).unwrap_or_else(|| panic!("{line}"));
        let address = address.to_owned();
        Self { process, stdin, stdout, address, admin: String::new() }
    }

    /// How many commits its store has made.
    pub(crate) async fn commits(&self) -> u64 {
        let metrics = reqwest::get(format!("{}/metrics", self.admin)).await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let name = "profile_gateway_store_commit_duration_seconds_count ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        count.parse().unwrap()
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(mut self) {
        let pid = i32::try_from(self.process.id()).unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }

    /// Has the program make a store as small as it can be.
    pub(crate) fn compact(directory: &Path) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_profile-gateway"));
        command.args(["store", "compact", "--path"]).arg(directory).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
    }

    /// User and system time of all threads so far; Linux only.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // proc(5): the name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        let per_second = rustix::param::clock_ticks_per_second();
        Duration::from_micros(ticks * 1_000_000 / per_second)
    }

    /// Has an HTTP client make some requests.
    pub(crate) fn exchange(&mut self, requests: usize) -> Turn {
        let before = self.cpu();
        writeln!(self.stdin, "{requests}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let took = Duration::from_micros(line.trim_end().parse().unwrap());
        Turn { took, cpu: self.cpu() - before }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

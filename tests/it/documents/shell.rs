//! One shell for all commands of a page, so that what one of them defines is there for the next.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::watch,
    time::timeout,
};

/// Ends a command's output; no program prints it.
const MARK: char = '\u{1e}';
/// Reads commands that end in a zero byte, runs each, and says with which code it ended.
const LOOP: &str = r#"exec 3<&0 </dev/null 2>&1
while IFS= read -r -d '' command <&3; do
    eval "$command" 3<&-
    printf '\036%d\036\n' $?
done"#;
/// For a command to end. Only a broken program needs it.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Shell {
    child: Child,
    stdin: ChildStdin,
    output: watch::Receiver<String>,
    /// How much of the output belongs to commands before.
    consumed: usize,
}

/// What a command printed and how it ended.
pub(super) struct Ended {
    pub lines: Vec<String>,
    pub code: i32,
}

impl Shell {
    pub(super) fn start(directory: &Path, env: &[(String, String)]) -> Self {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-c", LOOP]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PROFILE_GATEWAY__") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(directory)
            .envs(env.iter().cloned())
            .process_group(0)
            .kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, output) = watch::channel(String::new());
        tokio::spawn(async move {
            let (mut buffer, mut bytes) = ([0; 8192], Vec::new());
            while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..n]);
                sender.send_replace(String::from_utf8_lossy(&bytes).into_owned());
            }
        });
        Self { child, stdin, output, consumed: 0 }
    }

    /// Runs a command to its end.
    pub(super) async fn run(&mut self, command: &str) -> Ended {
        self.stdin.write_all(command.as_bytes()).await.unwrap();
        self.stdin.write_all(&[0]).await.unwrap();
        let begin = self.consumed;
        let ended = |output: &String| output[begin..].matches(MARK).count() == 2;
        let whole = match timeout(PATIENCE, self.output.wait_for(ended)).await {
            Ok(whole) => whole.map(|whole| whole.clone()),
            Err(_) => panic!("after {PATIENCE:?} there is no end of: {command}"),
        };
        let whole = whole.unwrap_or_else(|_| panic!("the shell ended in: {command}"));
        let mut parts = whole[begin..].split(MARK);
        let (text, code) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let behind = parts.next().unwrap_or_default();
        self.consumed = whole.len();
        let text = format!("{text}{}", behind.strip_prefix('\n').unwrap_or(behind));
        Ended { lines: lines(&text), code: code.parse().unwrap_or(-1) }
    }

    /// What processes in the background have printed since, once it is as wanted or when time is
    /// over.
    pub(super) async fn more(
        &mut self,
        time: Duration,
        mut wanted: impl FnMut(&[String]) -> bool,
    ) -> Vec<String> {
        let begin = self.consumed;
        let mut output = self.output.clone();
        let _ = timeout(time, output.wait_for(|all| wanted(&lines(&all[begin..])))).await;
        let whole = self.output.borrow().clone();
        self.consumed = whole.len();
        lines(&whole[begin..])
    }
}

impl Drop for Shell {
    /// Ends whatever the page has started.
    fn drop(&mut self) {
        let group = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

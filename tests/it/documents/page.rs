//! A page of the documents: its commands with the output that it shows for them, and its files.

/// A page: what it asks of a reader who follows it, in order.
pub(super) struct Page {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
    pub steps: Vec<Step>,
    /// Blocks of commands that no test can run.
    pub not_run: Vec<NotRun>,
    /// What is wrong with the page itself.
    pub faults: Vec<String>,
}

pub(super) enum Step {
    Command(Command),
    /// A block that shows a file.
    File {
        name: String,
        text: String,
    },
}

/// A command with its output. Lines are counted from 0.
pub(super) struct Command {
    pub line: usize,
    pub text: String,
    /// Whether it goes on running, as a server does.
    pub server: bool,
    /// The line where its output begins, and the lines shown.
    pub output_at: usize,
    pub output: Vec<String>,
}

pub(super) struct NotRun {
    pub command: String,
    pub reason: Option<String>,
}

/// Languages of blocks that hold no command.
const QUIET: [&str; 15] = [
    "markdown", "toml", "json", "proto", "text", "rust", "go", "java", "csharp", "python", "js",
    "ts", "yaml", "xml", "promql",
];

impl Page {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            steps: Vec::new(),
            not_run: Vec::new(),
            faults: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            let Some((fence, info)) = fence(line) else { continue };
            let begin = at;
            let is_end = |line: &&str| line.trim() == fence;
            at += lines[begin..].iter().take_while(|line| !is_end(line)).count();
            page.block(info, begin, &lines[begin..at], lines[..begin - 1].last().copied());
            at += 1;
        }
        page
    }

    /// Whether anything of it can be run.
    pub(super) fn runs(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Command(_)))
    }

    fn block(&mut self, info: &str, begin: usize, lines: &[&str], before: Option<&str>) {
        let mut words = info.split(',').map(str::trim);
        let (language, options) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
        match (language, options.as_slice()) {
            ("console", []) => self.commands(begin, lines, false),
            ("console", ["server"]) => self.commands(begin, lines, true),
            ("console", ["norun"]) => {
                let reason = before
                    .and_then(|line| line.strip_prefix("<!-- norun: ")?.strip_suffix(" -->"))
                    .map(str::to_owned);
                let command = lines.first().and_then(|line| line.strip_prefix("$ "));
                let command = command.unwrap_or_default().to_owned();
                self.not_run.push(NotRun { command, reason });
            }
            (quiet, options) if QUIET.contains(&quiet) => match options {
                [] => {}
                [option] if option.starts_with("file=") => {
                    let name = option.trim_start_matches("file=").to_owned();
                    self.steps.push(Step::File { name, text: lines.join("\n") + "\n" });
                }
                _ => self.fault(begin, &format!("`{info}` is not a kind of block")),
            },
            _ => self.fault(begin, &format!("`{info}` is not a kind of block")),
        }
        // What shows how pages are written shows blocks, not commands.
        if !["console", "markdown"].contains(&language)
            && lines.iter().any(|line| line.starts_with("$ "))
        {
            self.fault(begin, "commands belong into a block of `console`");
        }
    }

    fn fault(&mut self, line: usize, what: &str) {
        self.faults.push(format!("{}:{line}: {what}", self.path));
    }

    fn commands(&mut self, begin: usize, lines: &[&str], server: bool) {
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let number = begin + at;
            at += 1;
            let Some(first) = line.strip_prefix("$ ") else {
                self.fault(number + 1, "output before the first command of a block");
                return;
            };
            let mut text = first.to_owned();
            while is_open(&text) {
                let Some(line) = lines.get(at) else { break };
                text.push('\n');
                text.push_str(line);
                at += 1;
            }
            let output: Vec<String> = lines[at..]
                .iter()
                .take_while(|line| !line.starts_with("$ "))
                .map(|&line| line.to_owned())
                .collect();
            if output.iter().any(|line| line.starts_with("bash: ")) {
                self.fault(number + 1, "the shell does not understand this command");
            }
            let output_at = begin + at;
            at += output.len();
            let is_last = at == lines.len();
            let command =
                Command { line: number, text, server: server && is_last, output_at, output };
            self.steps.push(Step::Command(command));
        }
    }
}

/// The fence and the language of a block that begins here.
fn fence(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let info = line.trim_start_matches('`');
    let fence = line.get(..line.len() - info.len()).filter(|fence| fence.len() >= 3)?;
    Some((fence, info))
}

/// Whether a command goes on in the next line: a quote or a brace is open, a here-document has no
/// end yet, or the line ends in `\`, `|`, or `&&`.
fn is_open(command: &str) -> bool {
    if let Some((_, rest)) = command.split_once("<<'") {
        let end = rest.split('\'').next().unwrap_or_default();
        return command.lines().last() != Some(end) || command.lines().count() == 1;
    }
    let (mut quote, mut escaped, mut braces) = (None, false, 0);
    for c in command.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '{') => braces += 1,
            (None, '}') => braces -= 1,
            _ => {}
        }
    }
    let end = command.trim_end();
    quote.is_some()
        || escaped
        || braces > 0
        || ["\\", "|", "&&"].iter().any(|open| end.ends_with(open))
}

#[test]
fn a_command_that_the_shell_refuses_is_a_fault_of_its_page() {
    let page =
        Page::parse("page.md", "```console\n$ lst\nbash: line 3: lst: command not found\n```\n");
    assert_eq!(page.faults, ["page.md:2: the shell does not understand this command"]);
}

#[test]
fn a_page_is_its_commands_with_their_output() {
    let text = "# Title\n```console\n$ one\na\nb\n$ two '{\n  x }' |\n    three\n```\n\n\
                ```toml,file=x.toml\na = 1\n```\n<!-- norun: needs a cluster -->\n\
                ```console,norun\n$ kubectl\n```\n\
                ```console,server\n$ first\n$ serve\nready …\n```\n\
                ```console\n$ f() { one |\n  two\n  three ${1:-x}; }\n```\n";
    let page = Page::parse("page.md", text);
    assert_eq!(page.faults, Vec::<String>::new());
    let told = |step: &Step| match step {
        Step::Command(c) => {
            format!("{}{} {:?} {:?}", c.line, if c.server { "&" } else { "" }, c.text, c.output)
        }
        Step::File { name, text } => format!("{name} {text:?}"),
    };
    let told: Vec<String> = page.steps.iter().map(told).collect();
    assert_eq!(
        told,
        [
            r#"2 "one" ["a", "b"]"#,
            r#"5 "two '{\n  x }' |\n    three" []"#,
            r#"x.toml "a = 1\n""#,
            r#"18 "first" []"#,
            r#"19& "serve" ["ready …"]"#,
            r#"23 "f() { one |\n  two\n  three ${1:-x}; }" []"#,
        ]
    );
    assert_eq!(page.not_run.len(), 1);
    assert_eq!(page.not_run[0].reason.as_deref(), Some("needs a cluster"));
}

#[test]
fn a_block_of_another_kind_is_no_way_round() {
    for text in ["```sh\nls\n```", "```\nx\n```", "```text\n$ ls\n```", "```console\nls\n```"] {
        assert_eq!(Page::parse("page.md", text).faults.len(), 1, "{text}");
    }
}

//! The keys that the scripts use.

/// What the server has under one namespace.
#[derive(Debug, Clone)]
pub struct Keys {
    tag: String,
}

impl Keys {
    /// Those of a namespace, which has no braces.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { tag: format!("{{pg1:{namespace}}}") }
    }

    pub(in crate::shared) fn common(&self) -> [String; 5] {
        ["epoch", "tail", "log", "open", "members"].map(|name| format!("{}:{name}", self.tag))
    }

    /// A command that writes what means nothing.
    pub(in crate::shared) fn write_something(&self) -> redis::Cmd {
        let mut command = redis::cmd("HSET");
        command.arg(self.of("rights", "alive")).arg("a").arg(1);
        command
    }

    /// What is known of these credentials of an account.
    pub(super) fn of_credentials(&self, account: &str, credentials: &str) -> String {
        self.of("refused", &format!("{account}/{credentials}"))
    }

    pub(in crate::shared) fn of(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.tag)
    }
}

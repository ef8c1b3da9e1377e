//! What a server is started with: the lines of its configuration file.

use super::{Sink, WHSEC};

/// A configuration. Pauses and limits are wide open unless a test sets them; the log is at its loudest.
#[derive(Clone)]
pub struct Plan {
    server: String,
    simple: String,
    policy: String,
    limits: String,
    log: String,
    delivery: String,
    rest: String,
    pub variables: Vec<(String, String)>,
}

pub fn open() -> Plan {
    Plan {
        server: "listen = \"127.0.0.1:0\"".into(),
        simple: String::new(),
        policy: "resend_after = \"0s\"\nmax_sends = 1000".into(),
        limits: "[[limits]]\nper = \"application\"\nquota = 10000000\nwindow = \"1h\"".into(),
        log: "level = \"trace\"".into(),
        delivery: String::new(),
        rest: String::new(),
        variables: Vec::new(),
    }
}

/// One row of `[[limits]]`, `of` sends or checks.
pub fn limit(per: &str, of: &str, quota: u32, window: &str) -> String {
    format!("[[limits]]\nper = \"{per}\"\nof = \"{of}\"\nquota = {quota}\nwindow = \"{window}\"\n")
}

impl Plan {
    /// The server as it comes: its own policy and limits.
    pub fn defaults() -> Self {
        Self { policy: String::new(), limits: String::new(), ..open() }
    }

    pub fn server(mut self, lines: &str) -> Self {
        if lines.contains("listen") {
            self.server.clear();
        }
        self.server += &format!("\n{lines}");
        self
    }

    pub fn simple(mut self, lines: &str) -> Self {
        self.simple = lines.to_owned();
        self
    }

    /// In place of what `open` says.
    pub fn policy(mut self, lines: &str) -> Self {
        self.policy = lines.to_owned();
        self
    }

    /// On top of what `open` says.
    pub fn and_policy(mut self, lines: &str) -> Self {
        self.policy += &format!("\n{lines}");
        self
    }

    pub fn limits(mut self, rows: &[String]) -> Self {
        self.limits = rows.concat();
        self
    }

    pub fn log(mut self, lines: &str) -> Self {
        self.log = lines.to_owned();
        self
    }

    pub fn delivery(mut self, lines: &str) -> Self {
        self.delivery = lines.to_owned();
        self
    }

    /// More rows and tables.
    pub fn and(mut self, rows: &str) -> Self {
        self.rest += &format!("\n{rows}\n");
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A gateway of this name, by webhook.
    pub fn provider(self, name: &str, sink: &Sink) -> Self {
        let url = sink.url();
        self.and(&format!(
            "[[providers]]\nname = \"{name}\"\nuses = \"webhook\"\nurl = \"{url}\"\nsecret = \"{WHSEC}\""
        ))
    }

    /// With another text in place of one that stands in its rows.
    pub fn replace(mut self, text: &str, other: &str) -> Self {
        assert!(self.rest.contains(text), "{text} is not in {}", self.rest);
        self.rest = self.rest.replace(text, other);
        self
    }

    pub fn toml(&self) -> String {
        let Self { server, simple, policy, limits, log, delivery, rest, .. } = self;
        format!(
            "[server]\n{server}\n[server.simple]\n{simple}\n[policy]\n{policy}\n[log]\n{log}\n[delivery]\n{delivery}\n{limits}\n{rest}\n"
        )
    }
}

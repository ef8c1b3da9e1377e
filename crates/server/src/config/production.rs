//! What `production = true` refuses: whatever only fits a trial. Each refusal says what to do.

use countersign_providers::{Console, Inbox};

use super::Settings;
use super::section::Table;
use super::sections::WebhookKeys;

/// Reports everything that must not be so in production.
pub(crate) fn check(settings: &Settings, root: &Table<'_>) {
    let server = root.table("server");
    if settings.implicit_provider {
        root.problem(
            "providers",
            "production = true needs a provider: without [[providers]] messages only reach the inbox; add one (countersign provider list)",
        );
    }
    let rows = root.rows("providers").unwrap_or_default();
    for row in &rows {
        match settings.providers.iter().find(|provider| row.text("name") == Some(provider.config.name.as_str())) {
            Some(provider) if provider.config.uses == Inbox::NAME => row.problem(
                "uses",
                "production = true refuses the inbox, which shows every code to whoever opens its page; remove this row",
            ),
            Some(provider) if provider.config.uses == Console::NAME => row.problem(
                "uses",
                "production = true refuses the console, which writes every code to standard error; remove this row",
            ),
            _ => {}
        }
    }
    if let Some(row) = root.rows("test_destinations").unwrap_or_default().first() {
        row.problem(
            "code",
            "production = true refuses fixed codes, which let anybody in who knows them; remove [[test_destinations]]",
        );
    }
    for row in root.rows("applications").unwrap_or_default() {
        for webhook in row.rows("webhooks").unwrap_or_default() {
            let example = WebhookKeys::SECTION.key("secret").and_then(|key| key.example).unwrap_or_default();
            if webhook.text("secret").is_some_and(|secret| example.contains(secret.trim())) {
                webhook.problem(
                    "secret",
                    "production = true refuses the example, which everybody knows; make one of your own",
                );
            }
            if webhook.text("url").is_some_and(|url| url.trim().starts_with("http://") && !is_loopback(url.trim())) {
                webhook.problem(
                    "url",
                    "production = true needs https: whoever listens on the way would read the events; write \"https://…\"",
                );
            }
        }
    }
    let listen = settings.server.listen.0;
    if !listen.ip().is_loopback() && settings.server.trusted_proxies.is_empty() {
        server.problem(
            "listen",
            format!(
                "production = true refuses plain HTTP on {listen}: listen on 127.0.0.1:{} behind a proxy that ends TLS, or name that proxy in trusted_proxies",
                listen.port()
            ),
        );
    }
    if settings.server.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
        server.problem(
            "trusted_proxies",
            "production = true refuses to trust the whole world; name your proxy's own network",
        );
    }
    let url = &settings.server.public_url.0;
    if settings.public_url_is_set && url.starts_with("http://") && !is_loopback(url) {
        let secure = url.replacen("http://", "https://", 1);
        server.problem("public_url", format!("production = true needs https: write \"{secure}\""));
    }
    if !settings.public_url_is_set && !listen.ip().is_loopback() {
        server.problem(
            "public_url",
            "production = true needs the address that clients see; write public_url = \"https://…\"",
        );
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

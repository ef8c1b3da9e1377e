//! `webhook`: how endpoints fare, and what is to be sent again.

use std::sync::Arc;

use countersign::core::time::Timestamp;
use countersign::webhook::{Requeue, WebhookEndpoint};
use countersign_server::keys::rfc3339;
use countersign_server::setup::Parts;
use countersign_server::webhooks::{Endpoint, Said, account};
use serde_json::{Value, json};

use crate::args::Webhook;
use crate::context::{Context, close};
use crate::output::{Answer, Exit, Fault, Outcome, spoken};

pub async fn run(context: &Context, command: Webhook) -> Outcome {
    let parts = context.parts().await?;
    let outcome = match command {
        Webhook::List => list(&parts).await,
        Webhook::Replay { event, from, to, endpoint } => replay(&parts, event, from, to, endpoint).await,
        Webhook::Secret { endpoint } => secret(&parts, &endpoint).await,
        Webhook::Enable { endpoint } => enable(&parts, &endpoint).await,
        Webhook::Test { endpoint } => test(&parts, endpoint.as_deref()).await,
    };
    close(&parts).await;
    outcome
}

/// Those of the configuration, and those that accounts set up.
async fn all(parts: &Parts) -> Result<Vec<Arc<Endpoint>>, Fault> {
    let mut all: Vec<_> = parts.settings.webhook_endpoints().into_iter().map(Arc::new).collect();
    if parts.settings.tells_accounts() {
        all.extend(account::endpoints(&parts.verifier).await?);
    }
    Ok(all)
}

/// All, or the one that is meant.
async fn endpoints(parts: &Parts, wanted: Option<&str>) -> Result<Vec<Arc<Endpoint>>, Fault> {
    let mut all = all(parts).await?;
    if all.is_empty() {
        let message = "no endpoint is configured; add [[applications.webhooks]] (docs/webhooks.md)";
        return Err(Fault::usage("no_endpoint", message));
    }
    if let Some(wanted) = wanted {
        all.retain(|endpoint| endpoint.id == wanted);
    }
    match wanted {
        Some(wanted) if all.is_empty() => Err(Fault::usage(
            "unknown_endpoint",
            format!("there is no endpoint `{wanted}`; see: countersign webhook list"),
        )),
        _ => Ok(all),
    }
}

async fn list(parts: &Parts) -> Outcome {
    let (known, now) = (parts.verifier.store().webhook_endpoints().await?, parts.verifier.now());
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for endpoint in all(parts).await? {
        let fares = known.iter().find(|fares| fares.endpoint == endpoint.id).cloned().unwrap_or_default();
        lines.push(line(&endpoint, &fares, now));
        rows.push(row(&endpoint, &fares));
    }
    if lines.is_empty() {
        lines.push("no endpoint is configured; add [[applications.webhooks]] (docs/webhooks.md)".to_owned());
    }
    Ok(Answer::new(lines.join("\n"), json!({ "endpoints": rows })))
}

fn state(fares: &WebhookEndpoint) -> &'static str {
    match (&fares.disabled, fares.failing_since) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "failing",
        (None, None) => "ok",
    }
}

fn line(endpoint: &Endpoint, fares: &WebhookEndpoint, now: Timestamp) -> String {
    let mut line = format!("{}  {}  {}\n  {}", endpoint.id, endpoint.application, shown(endpoint), state(fares));
    if let Some((at, _)) = &fares.disabled {
        line.push_str(&format!(" since {}; enable it with: countersign webhook enable {}", rfc3339(*at), endpoint.id));
    } else if let Some(since) = fares.failing_since {
        line.push_str(&format!(" since {}", rfc3339(since)));
    }
    if fares.pending > 0 {
        let oldest = fares.oldest.map(|oldest| format!(", the oldest for {}", spoken(now.since(oldest))));
        line.push_str(&format!("; {} waiting{}", fares.pending, oldest.unwrap_or_default()));
    }
    if let Some(error) = fares.last_error.as_ref().filter(|_| state(fares) != "ok") {
        line.push_str(&format!("\n  last error: {error}"));
    }
    line
}

fn row(endpoint: &Endpoint, fares: &WebhookEndpoint) -> Value {
    let events = endpoint.events.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
    json!({
        "id": endpoint.id, "application": endpoint.application.as_str(), "url": shown(endpoint), "state": state(fares),
        "events": events.unwrap_or_else(|| vec!["*"]), "secrets": endpoint.keys.len(), "pending": fares.pending,
        "oldest": fares.oldest.map(rfc3339), "failing_since": fares.failing_since.map(rfc3339), "last_error": fares.last_error,
        "disabled_at": fares.disabled.as_ref().map(|(at, _)| rfc3339(*at)),
    })
}

/// The address without its query, which may hold a secret of the application's.
fn shown(endpoint: &Endpoint) -> String {
    let mut url = endpoint.url.clone();
    url.set_query(None);
    url.into()
}

async fn replay(
    parts: &Parts,
    event: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    endpoint: Option<String>,
) -> Outcome {
    let now = parts.verifier.now();
    let which = match (event, from) {
        (Some(id), _) => Requeue::Event(id),
        (None, Some(from)) => Requeue::Between(from, to.unwrap_or(now)),
        (None, None) => return Err(Fault::usage("usage", "name an event, or a time with --from")),
    };
    let ids: Vec<_> = endpoints(parts, endpoint.as_deref()).await?.iter().map(|endpoint| endpoint.id.clone()).collect();
    let requeued = parts.verifier.store().requeue_webhooks(&ids, &which, now).await?;
    if requeued == 0 {
        let message =
            "no such event is kept: it never happened, nobody wanted it, or it was cleaned up (cleanup.older_than)";
        return Err(Fault::refused("not_found", message));
    }
    let text = format!("{requeued} to be sent again, by the running service");
    Ok(Answer::new(text, json!({ "requeued": requeued })))
}

async fn secret(parts: &Parts, id: &str) -> Outcome {
    let endpoint = endpoints(parts, Some(id)).await?.remove(0);
    if endpoint.service.is_none() {
        let message = "its secret is in the configuration; only those that accounts set up have one to show";
        return Err(Fault::usage("not_of_an_account", message));
    }
    let secret = account::secret(&parts.verifier, &endpoint.application, id);
    Ok(Answer::new(secret.to_string(), json!({"id": id, "secret": *secret})))
}

async fn enable(parts: &Parts, id: &str) -> Outcome {
    let one = [endpoints(parts, Some(id)).await?.remove(0).id.clone()];
    let waiting = parts.verifier.store().requeue_webhooks(&one, &Requeue::Waiting, parts.verifier.now()).await?;
    let text = format!("{id} is enabled; {waiting} waiting, to be sent now");
    Ok(Answer::new(text, json!({"id": id, "enabled": true, "waiting": waiting})))
}

async fn test(parts: &Parts, wanted: Option<&str>) -> Outcome {
    let endpoints = endpoints(parts, wanted).await?;
    let webhooks = parts.webhooks(None)?;
    let (mut lines, mut rows, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    for endpoint in &endpoints {
        let said = match webhooks.test(endpoint).await {
            Said::Taken => Ok(()),
            Said::Gone => Err("answered 410: in service it would be disabled".to_owned()),
            Said::No { error, .. } => Err(error),
        };
        let word = said.as_ref().map_or_else(|error| format!("did not take it: {error}"), |()| "took it".to_owned());
        lines.push(format!("{}  {}  {word}", endpoint.id, shown(endpoint)));
        rows.push(
            json!({"id": endpoint.id, "url": shown(endpoint), "taken": said.is_ok(), "error": said.as_ref().err()}),
        );
        if said.is_err() {
            exit = Exit::Broken;
        }
    }
    Ok(Answer::new(lines.join("\n"), json!({ "tested": rows })).ending(exit))
}

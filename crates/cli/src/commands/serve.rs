//! `serve`: binds, opens, announces, serves, and ends gracefully.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign::core::id::ApplicationName;
use countersign::{NewKey, Observer};
use countersign_server::config::Settings;
use countersign_server::metrics::Metrics;
use countersign_server::service::Service;
use countersign_server::setup::{self, Parts, receipt_readers};
use countersign_server::telemetry;
use countersign_server::token::TokenSigner;
use serde_json::json;
use tokio::net::TcpListener;

use crate::context::Context;
use crate::output::{Answer, Fault, Outcome};

pub async fn run(context: &Context) -> Outcome {
    let settings = context.settings()?;
    telemetry::init(settings.log.level, settings.log.format)
        .map_err(|error| Fault::usage("invalid_config", error.to_string()))?;
    // The port first: a key that is shown once must not be made by a process that cannot serve.
    let listener = bind(settings.server.listen.0).await?;
    let bound = listener.local_addr().map_err(|error| Fault::broken("broken", error.to_string()))?;
    let metrics = Metrics::new();
    let observer: Arc<dyn Observer> = Arc::<Metrics>::clone(&metrics);
    let parts = setup::open(Arc::clone(&settings), Some(observer)).await?;
    for warning in &parts.warnings {
        context.out.note(&format!("warning: {warning}"));
    }
    for advice in settings.advice() {
        context.out.note(&format!("advice: {}: {}", advice.key, advice.text));
    }
    parts.create_applications().await?;
    parts.welcome_applications();
    let (application, key) = parts.first_key(&context.global.app).await?;
    let (service, tokens) = service(&parts, &settings, bound, metrics)?;
    let follow = parts.follow_keys(tokens);
    // Before the announcement, so that whoever reads it may end us at once, and gracefully.
    let shutdown = shutdown()?;
    announce(context, &parts, bound, &application, key.as_ref());
    drop(key);
    let served = service.serve(listener, shutdown).await;
    follow.abort();
    served?;
    Ok(Answer::silent())
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(listen).await.map_err(|error| {
        let (next, port) = (SocketAddr::new(listen.ip(), listen.port().wrapping_add(1).max(1024)), listen.port());
        let advice = format!("write another address into server.listen, or set COUNTERSIGN_SERVER__LISTEN={next}");
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("port {port} is taken by another program"),
            std::io::ErrorKind::PermissionDenied => format!("port {port} needs more rights than this process has"),
            std::io::ErrorKind::AddrNotAvailable => format!("{} is no address of this machine", listen.ip()),
            _ => error.to_string(),
        };
        Fault::usage("cannot_listen", format!("cannot listen on {listen}: {why}; {advice}"))
    })
}

fn service(
    parts: &Parts,
    settings: &Settings,
    bound: SocketAddr,
    metrics: Arc<Metrics>,
) -> Result<(Service, Arc<TokenSigner>), Fault> {
    let http = settings.http(bound);
    let tokens = Arc::new(parts.tokens(&http.public_url).map_err(setup::SetUpError::from)?);
    let webhooks = parts.webhooks(Some(Arc::clone(&metrics)))?;
    let service = Service::new(parts.verifier.clone(), http, Arc::clone(&tokens), metrics).cleanup(settings.cleanup());
    let mut service = service.webhooks(webhooks);
    if let Some(inbox) = &parts.inbox {
        service = service.inbox(inbox.clone());
    }
    for (provider, reader) in receipt_readers(settings).map_err(setup::SetUpError::from)? {
        service = service.receipts(provider, reader);
    }
    Ok((service, tokens))
}

/// Says where the service is, and how to try it: text to paste, or one object.
fn announce(context: &Context, parts: &Parts, bound: SocketAddr, application: &ApplicationName, key: Option<&NewKey>) {
    let local = format!("http://{}", reachable(bound));
    let public_url = parts.settings.public_url(bound);
    let inbox = parts.inbox.as_ref().filter(|_| !parts.settings.server.production).map(|_| format!("{local}/inbox"));
    let secret = key.map(|key| key.key.as_str());
    let shown = secret.unwrap_or("YOUR_API_KEY");
    let post = |path: &str, body: &str| {
        format!(
            "curl -sS {local}{path} \\\n    -H 'Authorization: Bearer {shown}' -H 'Content-Type: application/json' \\\n    -d '{body}'"
        )
    };
    let send = post("/v1/verifications", r#"{"to":"+255694230173"}"#);
    let check = post("/v1/verifications/check", r#"{"to":"+255694230173","code":"CODE"}"#);
    let json = json!({
        "address": local, "listen": bound.to_string(), "public_url": public_url, "inbox": inbox, "docs": format!("{local}/docs"),
        "application": application.as_str(), "api_key": secret, "curl": {"send": send, "check": check},
    });
    let mut text = format!("Countersign {} is ready.\n\n  Address  {local}\n", env!("CARGO_PKG_VERSION"));
    if public_url != local {
        text.push_str(&format!("  Public   {public_url}\n"));
    }
    if let Some(inbox) = &inbox {
        text.push_str(&format!(
            "  Inbox    {inbox}  (messages to the inbox are caught there; none leaves the machine)\n"
        ));
    }
    text.push_str(&format!("  Docs     {local}/docs\n"));
    match secret {
        Some(secret) => text.push_str(&format!(
            "  API key  {secret}\n           of the application `{application}`, made now and shown once: only its digest is kept\n"
        )),
        None => text.push_str(&format!("  API key  made on an earlier run; make another with: countersign key create {application}\n")),
    }
    let from = if inbox.is_some() { "the inbox shows it" } else { "the person who got it has it" };
    text.push_str(&format!("\nSend a code:\n\n  {send}\n\nCheck it, with the code in place of CODE ({from}):\n\n  {check}\n\nStop with Ctrl-C."));
    context.out.answer(&text, &json);
}

/// "Every address" is none that one could open.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    SocketAddr::from(([127, 0, 0, 1], bound.port()))
}

/// Ends with the first SIGTERM or SIGINT; a second one ends the process on the spot.
fn shutdown() -> Result<impl Future<Output = ()>, Fault> {
    let broken = |error: std::io::Error| Fault::broken("broken", format!("signals cannot be listened to: {error}"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tokio::spawn(async move {
                let code = tokio::select! {
                    _ = terminate.recv() => 143,
                    _ = interrupt.recv() => 130,
                };
                std::process::exit(code);
            });
        })
    }
    #[cfg(not(unix))]
    {
        let _ = broken;
        Ok(async {
            let _ = tokio::signal::ctrl_c().await;
            tokio::spawn(async {
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            });
        })
    }
}

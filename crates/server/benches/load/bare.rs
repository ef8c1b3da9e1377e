//! The yardstick: axum with the same two routes, the same POST to the sink, and a map in memory. No rule, no store, no token.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::{Deserialize, Serialize};

struct Bare {
    codes: Mutex<HashMap<String, String>>,
    next: AtomicU64,
    sink: String,
    client: reqwest::Client,
}

#[derive(Deserialize)]
pub struct Wanted {
    pub to: String,
}

#[derive(Deserialize)]
pub struct Offered {
    pub code: String,
}

#[derive(Serialize)]
pub struct Sent {
    pub id: String,
    pub status: &'static str,
    pub to: String,
}

#[derive(Serialize)]
struct Checked {
    valid: bool,
}

#[derive(Serialize)]
pub struct Message<'a> {
    pub id: &'a str,
    pub application: &'a str,
    pub channel: &'a str,
    pub to: &'a str,
    pub text: &'a str,
    pub locale: &'a str,
}

async fn send(State(bare): State<Arc<Bare>>, Json(wanted): Json<Wanted>) -> (StatusCode, Json<Sent>) {
    let nth = bare.next.fetch_add(1, Ordering::Relaxed);
    let id = format!("vf_{nth:032x}");
    let code = format!("{:06}", nth.wrapping_mul(7_919) % 1_000_000);
    bare.codes.lock().unwrap().insert(id.clone(), code.clone());
    let (to, message_id, carrier) = (wanted.to.clone(), id.clone(), Arc::clone(&bare));
    tokio::spawn(async move {
        let text = format!("Your Example code is {code}. It expires in 5 minutes.");
        let message =
            Message { id: &message_id, application: "default", channel: "sms", to: &to, text: &text, locale: "en" };
        let answer = carrier.client.post(&carrier.sink).json(&message).send().await.unwrap();
        answer.bytes().await.unwrap();
    });
    (StatusCode::CREATED, Json(Sent { id, status: "pending", to: wanted.to }))
}

async fn check(State(bare): State<Arc<Bare>>, Path(id): Path<String>, Json(offered): Json<Offered>) -> Json<Checked> {
    let mut codes = bare.codes.lock().unwrap();
    let valid = codes.get(&id).is_some_and(|code| *code == offered.code);
    if valid {
        codes.remove(&id);
    }
    Json(Checked { valid })
}

pub fn run() {
    let sink = std::env::var("COUNTERSIGN_BENCH_SINK").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(256).build().unwrap();
        let bare = Bare { codes: Mutex::default(), next: AtomicU64::new(1), sink, client };
        let app = axum::Router::new()
            .route("/v1/verifications", post(send))
            .route("/v1/verifications/{id}/check", post(check))
            .with_state(Arc::new(bare));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}\nnone", listener.local_addr().unwrap());
        tokio::select! {
            _ = axum::serve(listener, app) => {}
            () = crate::ours::until_stdin_ends() => {}
        }
    });
}

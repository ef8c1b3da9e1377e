//! The floor: the bare server plus the parts that no design of ours can leave out, each as small as it can be made.
//!
//! One Ed25519 signature for each approval, and the fewest durable writes that keep the promises: the send and the state of its outbox,
//! the counter of its destination, the outcome of the delivery, the check. Group commit by one thread, `synchronous=FULL`, prepared
//! statements, as in the real store. No rule, key, history, event, index for listing or for receipts, header, metric or bound on anything.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::bare::{Message, Offered, Sent, Wanted};

const SCHEMA: &str = "
PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
CREATE TABLE verification (place INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, destination TEXT NOT NULL, code TEXT NOT NULL,
    status INTEGER NOT NULL, carried INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE destination (destination TEXT PRIMARY KEY, latest INTEGER NOT NULL, tat INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

enum Ask {
    Send { id: [u8; 16], to: String, code: String },
    Carried { place: i64 },
    Check { id: [u8; 16], code: String },
}

struct Floor {
    writer: SyncSender<(Ask, oneshot::Sender<i64>)>,
    sink: String,
    client: reqwest::Client,
    key: Ed25519KeyPair,
}

impl Floor {
    /// Durable when it returns: the place of a send, or whether the code was right.
    async fn ask(&self, ask: Ask) -> i64 {
        let (done, answer) = oneshot::channel();
        self.writer.send((ask, done)).unwrap();
        answer.await.unwrap()
    }
}

#[derive(Serialize)]
struct Checked {
    valid: bool,
    token: Option<String>,
}

async fn send(State(floor): State<Arc<Floor>>, Json(wanted): Json<Wanted>) -> (StatusCode, Json<Sent>) {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    let id = format!("vf_{:032x}", u128::from_be_bytes(bytes));
    let code = format!("{:06}", u128::from_be_bytes(bytes) % 1_000_000);
    let place = floor.ask(Ask::Send { id: bytes, to: wanted.to.clone(), code: code.clone() }).await;
    let (to, message_id, carrier) = (wanted.to.clone(), id.clone(), Arc::clone(&floor));
    tokio::spawn(async move {
        let text = format!("Your Example code is {code}. It expires in 5 minutes.");
        let message =
            Message { id: &message_id, application: "default", channel: "sms", to: &to, text: &text, locale: "en" };
        let answer = carrier.client.post(&carrier.sink).json(&message).send().await.unwrap();
        answer.bytes().await.unwrap();
        carrier.ask(Ask::Carried { place }).await;
    });
    (StatusCode::CREATED, Json(Sent { id, status: "pending", to: wanted.to }))
}

async fn check(
    State(floor): State<Arc<Floor>>,
    UrlPath(id): UrlPath<String>,
    Json(offered): Json<Offered>,
) -> Json<Checked> {
    let bytes = u128::from_str_radix(&id[3..], 16).unwrap().to_be_bytes();
    let valid = floor.ask(Ask::Check { id: bytes, code: offered.code }).await == 1;
    let token = valid.then(|| {
        let claims =
            format!("{{\"iss\":\"http://127.0.0.1\",\"aud\":\"default\",\"sub\":\"+255690000000\",\"jti\":\"{id}\"}}");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"EdDSA\"}"), URL_SAFE_NO_PAD.encode(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(floor.key.sign(signed.as_bytes())))
    });
    Json(Checked { valid, token })
}

fn write_all(file: &Path, asked: &Receiver<(Ask, oneshot::Sender<i64>)>) {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let prepare = |sql| connection.prepare(sql).unwrap();
    let (mut begin, mut commit) = (prepare("BEGIN IMMEDIATE"), prepare("COMMIT"));
    let mut counter = prepare("SELECT latest, tat FROM destination WHERE destination = ?1");
    let mut insert =
        prepare("INSERT INTO verification (id, destination, code, status, carried, at) VALUES (?1, ?2, ?3, 0, 0, 0)");
    let mut charge = prepare("INSERT OR REPLACE INTO destination VALUES (?1, ?2, ?3)");
    let mut carried = prepare("UPDATE verification SET carried = 1 WHERE place = ?1");
    let mut find = prepare("SELECT place, code, status FROM verification WHERE id = ?1");
    let mut approve = prepare("UPDATE verification SET status = 1 WHERE place = ?1");
    let (mut batch, mut answers, mut busy) = (Vec::new(), Vec::new(), false);
    while let Ok(first) = asked.recv() {
        batch.push(first);
        if busy {
            std::thread::yield_now();
        }
        batch.extend(asked.try_iter().take(255));
        busy = batch.len() >= 12;
        begin.execute([]).unwrap();
        for (ask, done) in batch.drain(..) {
            let answer = match ask {
                Ask::Send { id, to, code } => {
                    let known = counter.query_row([&to], |row| row.get::<_, i64>(1)).optional().unwrap();
                    insert.execute(params![id, to, code]).unwrap();
                    let place = connection.last_insert_rowid();
                    charge.execute(params![to, place, known.unwrap_or(0) + 1]).unwrap();
                    place
                }
                Ask::Carried { place } => carried.execute([place]).unwrap() as i64,
                Ask::Check { id, code } => {
                    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    let (place, right, status): (i64, String, i64) = find.query_row([id], read).unwrap();
                    let valid = right == code && status == 0;
                    if valid {
                        approve.execute([place]).unwrap();
                    }
                    i64::from(valid)
                }
            };
            answers.push((done, answer));
        }
        commit.execute([]).unwrap();
        for (done, answer) in answers.drain(..) {
            let _ = done.send(answer);
        }
    }
}

pub fn run() {
    let sink = std::env::var("COUNTERSIGN_BENCH_SINK").unwrap();
    let folder = std::env::temp_dir().join(format!("countersign-floor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (writer, asked) = sync_channel(8192);
    let file = folder.join("floor.db");
    std::thread::spawn(move || write_all(&file, &asked));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(256).build().unwrap();
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let app = axum::Router::new()
            .route("/v1/verifications", post(send))
            .route("/v1/verifications/{id}/check", post(check))
            .with_state(Arc::new(Floor { writer, sink, client, key }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}\nnone", listener.local_addr().unwrap());
        tokio::select! {
            _ = axum::serve(listener, app) => {}
            () = crate::ours::until_stdin_ends() => {}
        }
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

//! `keys`: the key ring, by ids and dates alone.

use countersign::{Clock as _, SystemClock};
use countersign_server::keys::{Ring, rfc3339};
use countersign_server::setup::key_file;
use serde_json::{Value, json};

use crate::args::Keys;
use crate::context::Context;
use crate::output::{Answer, Fault, Outcome};

pub fn run(context: &Context, command: &Keys) -> Outcome {
    let settings = context.settings()?;
    let path = key_file(&settings);
    let (ring, news) = match command {
        Keys::Rotate => {
            let ring = Ring::rotate(&path, SystemClock.now())?;
            (
                ring,
                "\nrunning services take it up by themselves: new codes are made with it in 10 s, new tokens in 6 min",
            )
        }
        Keys::List => match Ring::open(&path)? {
            Some(ring) => (ring, ""),
            None => {
                let message = format!("{} is not there; `countersign serve` makes it on its first run", path.display());
                return Err(Fault::usage("no_key_ring", message));
            }
        },
    };
    let labels = ring.labels();
    let lines = labels.iter().map(|label| {
        let state = if label.active { "active" } else { "older" };
        format!("{}  {}  {}  {state}", label.id, label.kind.as_str(), rfc3339(label.created_at))
    });
    let rows = labels.iter().map(|label| {
        json!({"id": label.id, "kind": label.kind.as_str(), "created_at": rfc3339(label.created_at), "active": label.active})
    });
    let rows: Vec<Value> = rows.collect();
    let text = lines.collect::<Vec<_>>().join("\n") + news;
    Ok(Answer::new(text, json!({"file": path.display().to_string(), "keys": rows})))
}

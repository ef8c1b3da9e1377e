//! `key`: API keys, shown once.

use countersign::NewKey;
use countersign::store::KeyRecord;
use countersign_server::keys::rfc3339;
use serde_json::{Value, json};

use crate::args::Key;
use crate::context::{Context, close};
use crate::output::{Answer, Fault, Outcome};

pub async fn run(context: &Context, command: Key) -> Outcome {
    let parts = context.writing_parts().await?;
    let outcome = match command {
        Key::Create { app } => {
            let key = parts.verifier.create_key(&app.unwrap_or_else(|| context.app())).await;
            key.map(|key| created(&key)).map_err(Fault::from)
        }
        Key::List { app } => {
            let application = app.unwrap_or_else(|| context.app());
            let known = parts.verifier.application(&application).map_err(Fault::from);
            match known {
                Ok(_) => Ok(listed(&parts.verifier.store().keys(&application).await?)),
                Err(fault) => Err(fault),
            }
        }
        Key::Revoke { id } => match parts.verifier.store().revoke_key(&id, parts.verifier.now()).await? {
            true => Ok(Answer::new(format!("{id} is revoked"), json!({"id": id, "revoked": true}))),
            false => Err(Fault::refused("not_found", format!("there is no key `{id}`; see: countersign key list APP"))),
        },
    };
    close(&parts).await;
    outcome
}

fn created(key: &NewKey) -> Answer {
    let text = format!(
        "API key of {}; it is kept only as a digest, so write it down now\n  id           {}\n  key          {}\n\n\
         For clients that speak the Twilio Verify dialect\n  account sid  {}\n  auth token   {}\n  key sid      {}\n  key secret   {}",
        key.record.application,
        key.record.id,
        key.key.as_str(),
        key.account_sid,
        key.auth_token.as_str(),
        key.record.key_sid,
        key.key_secret.as_str(),
    );
    let json = json!({
        "id": key.record.id, "key": key.key.as_str(), "account_sid": key.account_sid, "auth_token": key.auth_token.as_str(),
        "key_sid": key.record.key_sid, "key_secret": key.key_secret.as_str(),
    });
    Answer::new(text, json)
}

fn listed(keys: &[KeyRecord]) -> Answer {
    let line = |key: &KeyRecord| {
        let revoked = key.revoked_at.map(|at| format!("  revoked {}", rfc3339(at))).unwrap_or_default();
        format!("{}  {}  {}{revoked}", key.id, key.key_sid, rfc3339(key.created_at))
    };
    let row = |key: &KeyRecord| {
        json!({
            "id": key.id, "application": key.application.as_str(), "key_sid": key.key_sid,
            "created_at": rfc3339(key.created_at), "revoked_at": key.revoked_at.map(rfc3339),
        })
    };
    let lines: Vec<_> = keys.iter().map(line).collect();
    let text =
        if lines.is_empty() { "no keys; make one with: countersign key create".to_owned() } else { lines.join("\n") };
    Answer::new(text, json!({"keys": keys.iter().map(row).collect::<Vec<Value>>()}))
}

//! `app`: the applications that the store knows.

use countersign_server::keys::rfc3339;
use serde_json::{Value, json};

use crate::args::App;
use crate::context::{Context, close};
use crate::output::{Answer, Outcome};

pub async fn run(context: &Context, command: App) -> Outcome {
    let parts = context.writing_parts().await?;
    let answer = match command {
        App::Create { name } => {
            let (record, created) = parts.verifier.create_application(&name).await?;
            let news = if created { "created" } else { "is there already" };
            let text = format!(
                "application {name} {news} ({})\n  make a key with: countersign key create {name}",
                record.account_sid
            );
            let json = json!({
                "name": name.as_str(), "account_sid": record.account_sid, "created_at": rfc3339(record.created_at), "created": created,
            });
            Answer::new(text, json)
        }
        App::List => {
            let records = parts.verifier.store().applications().await?;
            let lines = records
                .iter()
                .map(|record| format!("{}  {}  {}", record.name, record.account_sid, rfc3339(record.created_at)));
            let rows = records.iter().map(|record| {
                json!({"name": record.name.as_str(), "account_sid": record.account_sid, "created_at": rfc3339(record.created_at)})
            });
            Answer::new(lines.collect::<Vec<_>>().join("\n"), json!({"applications": rows.collect::<Vec<Value>>()}))
        }
    };
    close(&parts).await;
    Ok(answer)
}

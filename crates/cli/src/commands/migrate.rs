//! `migrate`: the schema, brought up to date or printed.

use countersign_server::setup::{lacking, open_store, schema_sql, store_name};
use serde_json::json;

use crate::args::Migrate;
use crate::context::Context;
use crate::output::{Answer, Outcome};

pub fn run(context: &Context, args: &Migrate) -> Outcome {
    let settings = context.settings()?;
    if args.print {
        let sql = schema_sql(&settings)?;
        let text = if sql.is_empty() { "-- nothing is lacking" } else { &sql };
        return Ok(Answer::new(text, json!({"sql": sql})));
    }
    let sql = lacking(&settings)?;
    open_store(&settings, true)?;
    let place = store_name(&settings);
    let shown = sql.as_ref().map(|sql| format!("-- the table lacked this, and it was added:\n{}\n\n", sql.trim_end()));
    let text = format!("{}the store is up to date: {place}", shown.unwrap_or_default());
    Ok(Answer::new(text, json!({"migrated": true, "store": place, "sql": sql})))
}

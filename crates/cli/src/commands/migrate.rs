//! `migrate`: the schema, brought up to date or printed.

use countersign_server::setup::{open_store, schema_sql, store_name};
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
    open_store(&settings, true)?;
    let place = store_name(&settings);
    Ok(Answer::new(format!("the store is up to date: {place}"), json!({"migrated": true, "store": place})))
}

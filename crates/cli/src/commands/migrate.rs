//! `migrate`: the schema, brought up to date or printed.

use countersign_server::setup::{migrations_sql, open_store, store_name};
use serde_json::json;

use crate::args::Migrate;
use crate::context::Context;
use crate::output::{Answer, Outcome};

pub fn run(context: &Context, args: &Migrate) -> Outcome {
    let settings = context.settings()?;
    if args.print {
        let sql = migrations_sql(&settings);
        return Ok(Answer::new(sql.clone(), json!({"sql": sql})));
    }
    open_store(&settings, true)?;
    let place = store_name(&settings);
    Ok(Answer::new(format!("the store is up to date: {place}"), json!({"migrated": true, "store": place})))
}

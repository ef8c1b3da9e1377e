//! `migrate`: the schema, brought up to date or printed.

use countersign_server::config::StoreUrl;
use countersign_server::setup::{migrations_sql, open_store};
use serde_json::json;

use crate::args::Migrate;
use crate::context::Context;
use crate::output::{Answer, Outcome};

pub fn run(context: &Context, args: &Migrate) -> Outcome {
    let settings = context.settings()?;
    if args.print {
        let sql = migrations_sql();
        return Ok(Answer::new(sql.clone(), json!({"sql": sql})));
    }
    open_store(&settings, true)?;
    let place = match &settings.store.url {
        StoreUrl::Sqlite(path) => path.clone(),
        StoreUrl::Memory => "memory".to_owned(),
    };
    Ok(Answer::new(format!("the store is up to date: {place}"), json!({"migrated": true, "store": place})))
}

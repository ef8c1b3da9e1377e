//! `[store] layout` and `[store.existing]` held side by side: which tables they mean.

use countersign_store::layout::{Columns, Existing, Layout as Tables, Name};

use super::section::Table;
use super::sections::{Store, StoreExisting};
use super::words::{ColumnNames, Layout, Preset, StoreUrl};

/// The tables that are meant; what cannot be is reported.
pub(crate) fn layout(store: &Store, existing: &StoreExisting, root: &Table<'_>) -> Tables {
    let (table, inner) = (root.table("store"), root.table("store").table("existing"));
    if store.url == StoreUrl::Memory && store.layout != Layout::Standalone {
        table.problem(
            "layout",
            "memory has one layout: write \"standalone\", or name a file or a database in store.url",
        );
    }
    if store.layout != Layout::Existing {
        let said = [
            ("preset", existing.preset.is_some()),
            ("table", existing.table.is_some()),
            ("destination_format", existing.destination_format.is_some()),
            ("columns", !existing.columns.0.is_empty()),
            ("keep_rows", existing.keep_rows),
        ];
        for (name, _) in said.into_iter().filter(|(_, said)| *said) {
            inner.problem(name, "is only for layout = \"existing\" in [store]; write that, or remove this");
        }
    }
    match store.layout {
        Layout::Standalone => Tables::Standalone,
        Layout::Minimal => {
            no_webhooks(root, "the layout \"minimal\" keeps no events");
            Tables::Minimal
        }
        Layout::Existing => {
            no_webhooks(root, "the layout \"existing\" does not send them yet");
            existing_table(existing, &table, &inner).map_or(Tables::Standalone, Tables::Existing)
        }
    }
}

/// Reports webhooks where they would never be sent.
fn no_webhooks(root: &Table<'_>, why: &str) {
    for row in root.rows("applications").unwrap_or_default() {
        if row.node("webhooks").is_some() {
            row.problem("webhooks", format!("{why}; write store.layout = \"standalone\", or remove them"));
        }
    }
}

/// The table, from the preset and what changes it; `None` if something is missing, which is then reported.
fn existing_table(said: &StoreExisting, store: &Table<'_>, inner: &Table<'_>) -> Option<Existing> {
    let columns = &said.columns.0;
    let mut existing = match said.preset {
        Some(Preset::Django) => Existing::django(),
        None => {
            let missing: Vec<_> = ColumnNames::KNOWN.into_iter().filter(|name| !columns.contains_key(*name)).collect();
            if said.table.is_none() {
                let what = "needs a table: write preset = \"django\" or table = \"…\" into [store.existing]";
                store.problem("layout", what);
                return None;
            }
            if !missing.is_empty() {
                let what = format!("without a preset every column needs a name; missing: {}", missing.join(", "));
                inner.problem("columns", what);
                return None;
            }
            Existing { destination_format: Default::default(), ..Existing::django() }
        }
    };
    if let Some(table) = &said.table {
        existing.table = table.clone();
    }
    if let Some(format) = said.destination_format {
        existing.destination_format = format;
    }
    existing.keep_rows = said.keep_rows;
    let Columns { id, destination, purpose, verified, created_at, expires_at } = &mut existing.columns;
    let slots: [&mut Name; 6] = [id, destination, purpose, verified, created_at, expires_at];
    for (key, slot) in ColumnNames::KNOWN.into_iter().zip(slots) {
        if let Some(name) = columns.get(key) {
            slot.clone_from(name);
        }
    }
    let named = existing.columns.named();
    for (number, (key, name)) in named.iter().enumerate() {
        let twice = named[..number].iter().find(|(_, other)| other.as_str().eq_ignore_ascii_case(name.as_str()));
        if let Some((other, _)) = twice {
            inner.problem("columns", format!("{other} and {key} are the same column, {name}"));
            return None;
        }
    }
    Some(existing)
}

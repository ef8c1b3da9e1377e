//! [`Wording`] as the stores write it: JSON.

use std::collections::BTreeMap;

use countersign::core::verification::Wording;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    android_app_hash: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// `None` if there is nothing to keep.
pub(crate) fn to_json(wording: &Wording) -> Option<String> {
    if *wording == Wording::default() {
        return None;
    }
    let Wording { name, android_app_hash, values, text } = wording.clone();
    serde_json::to_string(&Kept { name, android_app_hash, values, text }).ok()
}

pub(crate) fn from_json(json: &str) -> serde_json::Result<Wording> {
    let Kept { name, android_app_hash, values, text } = serde_json::from_str(json)?;
    Ok(Wording { name, android_app_hash, values, text })
}

//! Pages of a list, with the `meta` that SDKs read: every key is there, and every address is absolute and our own.

use axum::http::StatusCode;
use axum::response::Response;
use countersign::store::{Record, RecordFilter};
use serde::Serialize;
use serde_json::{Map, Value};

use super::call::{Call, url};
use super::no::No;
use crate::http::answer;
use crate::service::Door;

/// Which page is asked for.
#[derive(Debug)]
pub(super) struct Paging {
    /// How many rows.
    pub size: usize,
    page: u32,
    /// Where this page and those before it begin, the first one left out.
    places: Vec<u64>,
}

/// The longest chain of pages that knows its way back.
const MOST_PLACES: usize = 100;

impl Paging {
    pub fn read(call: &Call) -> Result<Self, No> {
        // More than is allowed is as much as is allowed, as there.
        let size = call.query.number("PageSize", 1..=u32::MAX)?.unwrap_or(50).min(1000);
        let page = call.query.number("Page", 0..=u32::MAX)?.unwrap_or(0);
        let token = call.query.text("PageToken")?.unwrap_or_default();
        let places = read_token(token).ok_or_else(|| No::invalid("PageToken"))?;
        Ok(Self { size: size as usize, page, places })
    }

    /// The place after which the page begins.
    pub fn after(&self) -> Option<u64> {
        self.places.last().copied()
    }

    /// The answer: rows under their key, and where the pages around are.
    pub fn answer<T: Serialize>(&self, door: &Door, call: &Call, key: &str, rows: &[T], next: Option<u64>) -> Response {
        let address = |page: u32, places: &[u64]| {
            let mut address = format!("{}?PageSize={}&Page={page}", url(door, &call.path), self.size);
            for (name, value) in call.query.others() {
                address.push_str(&format!("&{name}={value}"));
            }
            if !places.is_empty() {
                address.push_str(&format!("&PageToken={}", write_token(places)));
            }
            address
        };
        let next = next.map(|next| {
            let mut places = self.places.clone();
            places.push(next);
            let from = places.len().saturating_sub(MOST_PLACES);
            address(self.page.saturating_add(1), &places[from..])
        });
        let previous = self.places.split_last().map(|(_, before)| address(self.page.saturating_sub(1), before));
        let meta = Meta {
            key,
            page: self.page,
            page_size: self.size,
            first_page_url: address(0, &[]),
            previous_page_url: previous,
            next_page_url: next,
            url: address(self.page, &self.places),
        };
        let mut body = Map::new();
        body.insert(key.to_owned(), serde_json::to_value(rows).unwrap_or(Value::Null));
        body.insert("meta".to_owned(), serde_json::to_value(meta).unwrap_or(Value::Null));
        answer::response(answer::json(StatusCode::OK, &body))
    }
}

#[derive(Serialize)]
struct Meta<'a> {
    key: &'a str,
    page: u32,
    page_size: usize,
    first_page_url: String,
    previous_page_url: Option<String>,
    next_page_url: Option<String>,
    url: String,
}

fn write_token(places: &[u64]) -> String {
    let places: Vec<_> = places.iter().map(|place| format!("{place:x}")).collect();
    format!("PA{}", places.join("-"))
}

fn read_token(token: &str) -> Option<Vec<u64>> {
    if token.is_empty() {
        return Some(Vec::new());
    }
    let places = token.strip_prefix("PA")?.split('-').map(|place| {
        let digits = !place.is_empty() && place.bytes().all(|digit| digit.is_ascii_hexdigit());
        u64::from_str_radix(place, 16).ok().filter(|_| digits)
    });
    places.collect::<Option<Vec<_>>>().filter(|places| places.len() <= MOST_PLACES)
}

/// A page of records of one kind, each shown in its way.
pub(super) async fn records<T: Serialize>(
    door: &Door,
    call: &Call,
    (kind, parent, key): (&str, Option<&str>, &str),
    first: Option<T>,
    show: impl Fn(&Record) -> Option<T>,
) -> Result<Response, No> {
    let paging = Paging::read(call)?;
    let filter = RecordFilter {
        application: call.application().clone(),
        kind: kind.to_owned(),
        parent: parent.map(str::to_owned),
        limit: paging.size,
        after: paging.after(),
    };
    let page = door.verifier.records(&filter).await?;
    let mut rows: Vec<T> = page.rows.iter().filter_map(show).collect();
    let mut next = page.next;
    // What is there without a record comes last, as the oldest: behind every place, if this page has no room for it.
    if next.is_none() && first.is_some() {
        if page.rows.len() < paging.size {
            rows.extend(first);
        } else {
            next = Some(0);
        }
    }
    Ok(paging.answer(door, call, key, &rows, next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_back(places in prop::collection::vec(any::<u64>(), 1..100)) {
            prop_assert_eq!(read_token(&write_token(&places)), Some(places));
        }

        #[test]
        fn any_token_is_read_or_refused(token in "\\PC{0,60}|PA[0-9a-f+-]{0,40}") {
            let _ = read_token(&token);
        }
    }
}

//! An answer in XML, read into the shape that paths know: an element is an object of its children, or its text; attributes stand
//! beside the children, with `@`; elements of one name are a list.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// How deep elements may stand in each other.
const DEEPEST: usize = 32;

/// The document, by the name of its root; `None` if it is none, or a web page.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('<') {
        return None;
    }
    let mut reader = Reader::from_str(text);
    // From the outermost to the innermost open element.
    let mut open: Vec<(String, Map<String, Value>, String)> = Vec::new();
    let mut root = None;
    loop {
        let closed = match reader.read_event().ok()? {
            Event::Start(start) => {
                if root.is_some() || open.len() == DEEPEST {
                    return None;
                }
                open.push(element(&start)?);
                None
            }
            Event::Empty(start) if root.is_none() => Some(element(&start)?),
            Event::End(_) => Some(open.pop()?),
            Event::Text(piece) => {
                if let Some((.., text)) = open.last_mut() {
                    text.push_str(&unescape(&piece).ok()?);
                }
                None
            }
            Event::GeneralRef(name) => {
                let entity = format!("&{};", &*name);
                if let Some((.., text)) = open.last_mut() {
                    text.push_str(&unescape(&entity).ok()?);
                }
                None
            }
            Event::CData(piece) => {
                if let Some((.., text)) = open.last_mut() {
                    text.push_str(&piece);
                }
                None
            }
            // Definitions of entities are nothing that a gateway needs, and much that an attacker could use.
            Event::DocType(_) | Event::Empty(_) => return None,
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => None,
        };
        let Some((name, children, text)) = closed else { continue };
        let value = if children.is_empty() { Value::String(text.trim().to_owned()) } else { Value::Object(children) };
        match open.last_mut() {
            Some((_, parent, _)) => put(parent, name, value),
            None => root = Some((name, value)),
        }
    }
    let (name, value) = root.filter(|_| open.is_empty())?;
    if name.eq_ignore_ascii_case("html") {
        return None;
    }
    Some(Value::Object([(name, value)].into_iter().collect()))
}

/// Its name without a prefix, and its attributes.
fn element(start: &BytesStart<'_>) -> Option<(String, Map<String, Value>, String)> {
    let mut children = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let name: &str = attribute.key.as_ref();
        if !name.starts_with("xmlns") {
            let value = unescape(&attribute.value).ok()?.into_owned();
            children.insert(format!("@{name}"), Value::String(value));
        }
    }
    let name: &str = start.local_name().into_inner();
    Some((name.to_owned(), children, String::new()))
}

fn put(parent: &mut Map<String, Value>, name: String, value: Value) {
    match parent.get_mut(&name) {
        None => drop(parent.insert(name, value)),
        Some(Value::Array(list)) => list.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_objects_and_lists() {
        let text = "<?xml version=\"1.0\"?><r xmlns=\"urn:x\"><a>1 &amp; 2</a><b n=\"x\"/><b><c>y</c></b><d><![CDATA[<z>]]></d><e/></r>";
        let expected = json!({"r": {"a": "1 & 2", "b": [{"@n": "x"}, {"c": "y"}], "d": "<z>", "e": ""}});
        assert_eq!(read(text.as_bytes()), Some(expected));
    }

    #[test]
    fn what_is_no_document_or_a_page_is_nothing() {
        let bomb = "<!DOCTYPE r [<!ENTITY a \"aaaa\">]><r>&a;</r>";
        let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
        for text in
            ["", "x", "<a>", "<a></b>", "</a>", "<a/><b/>", "<html><body>x</body></html>", "<HTML/>", bomb, &deep]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[<>/a-c&;!\\[\\]= \"']{0,60}") {
            read(&bytes);
            read(text.as_bytes());
        }
    }
}

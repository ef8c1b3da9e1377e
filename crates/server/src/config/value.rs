//! What a key may hold: each type says what may be written, and what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::{Country, NumberType};
use countersign::core::id::{ApplicationName, Purpose};
use countersign::core::limit::{Of, Per};
use countersign::core::policy::{Countries, Unknown};
use countersign::core::route::{Price, Step};
use ipnet::IpNet;

use super::tree::{Data, Node};

/// A type that a key can hold.
pub(crate) trait Value: Sized {
    /// What may be written, as one would say it.
    const KIND: &'static str;

    /// The same of a list of it.
    const LIST: &'static str = "a list";

    /// Reads it; or says what to write instead.
    fn read(node: &Node) -> Result<Self, String>;

    /// Whether it is in a range, for types that have an order; bounds are read as the value is.
    fn within(&self, _low: &Self, _high: &Self) -> bool {
        true
    }
}

/// A type that a field of a section can have: it is never without a value while it is read.
pub(crate) trait Field: Value {
    /// What stands where there is neither a value nor a default.
    fn blank() -> Self;
}

macro_rules! blank {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn blank() -> Self {
                Self::default()
            }
        }
    )*};
}
blank!(String, bool, u8, u32, Duration, ApplicationName, PublicUrl, Prefix, Locale);
pub(crate) use blank;

impl<T: Value> Field for Vec<T> {
    fn blank() -> Self {
        Self::new()
    }
}

impl<T: Value> Field for Option<T> {
    fn blank() -> Self {
        None
    }
}

impl Field for Countries {
    fn blank() -> Self {
        Self::All
    }
}

impl Field for Unknown {
    fn blank() -> Self {
        Self::Wait
    }
}

impl Field for Of {
    fn blank() -> Self {
        Self::Sends
    }
}

pub(crate) fn instead<T>(node: &Node, kind: &str) -> Result<T, String> {
    Err(format!("must be {kind}, not {}", node.describe()))
}

pub(crate) fn text(node: &Node) -> Option<&str> {
    match &node.data {
        Data::Text(text) | Data::Raw(text) => Some(text.as_str()),
        _ => None,
    }
}

impl Value for String {
    const KIND: &'static str = "a text";
    const LIST: &'static str = "a list of names";
    fn read(node: &Node) -> Result<Self, String> {
        text(node).map_or_else(|| instead(node, Self::KIND), |text| Ok(text.to_owned()))
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";
    fn read(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Boolean(value) => Ok(*value),
            Data::Raw(text) => match text.trim().to_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => instead(node, Self::KIND),
            },
            _ => instead(node, Self::KIND),
        }
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const KIND: &'static str = "a whole number";
            fn read(node: &Node) -> Result<Self, String> {
                match &node.data {
                    Data::Integer(number) => Self::try_from(*number).or_else(|_| instead(node, Self::KIND)),
                    Data::Raw(text) => text.trim().parse().or_else(|_| instead(node, Self::KIND)),
                    _ => instead(node, Self::KIND),
                }
            }
            fn within(&self, low: &Self, high: &Self) -> bool {
                (low..=high).contains(&self)
            }
        }
    )*};
}
whole_number!(u8, u32);

impl Value for Duration {
    const KIND: &'static str =
        "a duration: a number and a unit (ms, s, m, h, d), for example \"30s\", \"5m\" or \"1h30m\"";
    fn read(node: &Node) -> Result<Self, String> {
        text(node).and_then(|text| read_duration(text.trim())).map_or_else(|| instead(node, Self::KIND), Ok)
    }
    fn within(&self, low: &Self, high: &Self) -> bool {
        (low..=high).contains(&self)
    }
}

/// `5m`, `30s`, `1h30m`; every part a whole number and a unit.
pub fn read_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: Option<Duration> = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?);
        total = Some(total.unwrap_or_default().checked_add(part)?);
        rest = tail;
    }
    total
}

/// A duration as [`read_duration`] reads it.
#[must_use]
pub fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) && !(unit == "d" && millis == size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

/// A type read from a word or a short text by `FromStr`, with what its error would not say.
macro_rules! word {
    ($type:ty, $kind:literal, $list:literal) => {
        impl Value for $type {
            const KIND: &'static str = $kind;
            const LIST: &'static str = $list;
            fn read(node: &Node) -> Result<Self, String> {
                text(node).and_then(|text| text.trim().parse().ok()).map_or_else(|| instead(node, Self::KIND), Ok)
            }
        }
    };
}
word!(SocketAddr, "an address and a port, for example \"127.0.0.1:8080\" or \"[::1]:8080\"", "a list of addresses");
word!(ApplicationName, "a name of 1 to 32 characters a-z, 0-9, `_` and `-`", "a list of names");
word!(
    Purpose,
    "a purpose of 1 to 32 characters a-z, 0-9, `_` and `-`",
    "a list of purposes: words of 1 to 32 characters a-z, 0-9, `_` and `-`"
);

word!(
    Price,
    "an amount and a currency, for example \"0.0071 EUR\"",
    "a list of amounts with their currency, for example [\"0.0071 EUR\"]"
);

impl Value for Step {
    const KIND: &'static str = "a channel and how long to wait before the next one, for example \"sms 30s\"";
    const LIST: &'static str = "a list of channels, each with the time before the next one: [\"sms 30s\", \"voice\"]";
    fn read(node: &Node) -> Result<Self, String> {
        let Some(text) = text(node) else { return instead(node, Self::KIND) };
        let mut words = text.split_whitespace();
        let channel = words.next().and_then(|word| word.parse().ok());
        // Only the last one may go without: the workflow as a whole is checked where it is read.
        let wait = words.next().map_or(Some(Duration::ZERO), read_duration);
        match (channel, wait, words.next()) {
            (Some(channel), Some(wait), None) => Ok(Self { channel, wait }),
            _ => instead(node, Self::KIND),
        }
    }
}

/// A type that is one of a few words.
macro_rules! choice {
    ($type:ty, $kind:literal, $($word:literal => $value:expr),+ $(,)?) => {
        impl Value for $type {
            const KIND: &'static str = $kind;
            fn read(node: &Node) -> Result<Self, String> {
                match $crate::config::value::text(node).map(str::trim) {
                    $(Some($word) => Ok($value),)+
                    Some(other) => {
                        let meant = $crate::config::suggest::nearest(other, [$($word),+]);
                        let meant = meant.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
                        Err(format!("must be {}, not {}{meant}", Self::KIND, node.describe()))
                    }
                    None => $crate::config::value::instead(node, Self::KIND),
                }
            }
        }
    };
}
choice!(Unknown, "\"wait\" or \"next\"", "wait" => Self::Wait, "next" => Self::Next);
choice!(Of, "\"sends\" or \"checks\"", "sends" => Self::Sends, "checks" => Self::Checks);
choice!(
    Per, "\"destination\", \"client\", \"prefix\", \"country\" or \"application\"",
    "destination" => Self::Destination, "client" => Self::Client, "prefix" => Self::Prefix,
    "country" => Self::Country, "application" => Self::Application,
);
choice!(
    Channel, "\"sms\", \"voice\", \"whatsapp\", \"telegram\" or \"email\"",
    "sms" => Self::Sms, "voice" => Self::Voice, "whatsapp" => Self::Whatsapp,
    "telegram" => Self::Telegram, "email" => Self::Email,
);
pub(crate) use choice;

impl Value for NumberType {
    const KIND: &'static str = "one of \"mobile\", \"fixed_line\", \"fixed_line_or_mobile\", \"toll_free\", \"premium_rate\", \"shared_cost\", \"voip\", \"personal\", \"pager\", \"uan\", \"voicemail\", \"satellite\", \"unknown\"";
    const LIST: &'static str = "a list of types: \"mobile\", \"fixed_line\", \"fixed_line_or_mobile\", \"toll_free\", \"premium_rate\", \"shared_cost\", \"voip\", \"personal\", \"pager\", \"uan\", \"voicemail\", \"satellite\", \"unknown\"";
    fn read(node: &Node) -> Result<Self, String> {
        text(node).and_then(|text| text.trim().parse().ok()).map_or_else(|| instead(node, Self::KIND), Ok)
    }
}

impl Value for Country {
    const KIND: &'static str = "a country as two letters (ISO 3166), for example \"TZ\"";
    fn read(node: &Node) -> Result<Self, String> {
        match text(node).map(str::trim) {
            Some("UK" | "uk") => Err("must be \"GB\" for the United Kingdom, not \"UK\"".to_owned()),
            Some(text) => match text.parse::<Self>() {
                Ok(country) if country.has_numbers() => Ok(country),
                Ok(country) => Err(format!("must be {}; no phone number is of \"{country}\"", Self::KIND)),
                Err(_) => instead(node, Self::KIND),
            },
            None => instead(node, Self::KIND),
        }
    }
}

impl Value for Countries {
    const KIND: &'static str = "a list of countries as two letters, or [\"*\"] for all";
    fn read(node: &Node) -> Result<Self, String> {
        let items = list(node)?;
        if items.iter().any(|item| text(item).map(str::trim) == Some("*")) {
            return match items.len() {
                1 => Ok(Self::All),
                _ => Err("\"*\" is every country already; leave out the others, or the \"*\"".to_owned()),
            };
        }
        if items.is_empty() {
            return Err("an empty list allows no country at all; write [\"*\"] for all".to_owned());
        }
        items.iter().map(Country::read).collect::<Result<_, _>>().map(Self::Only)
    }
}

impl Value for IpNet {
    const KIND: &'static str = "an address or a network, for example \"10.0.0.0/8\"";
    const LIST: &'static str = "a list of addresses and networks";
    fn read(node: &Node) -> Result<Self, String> {
        let Some(text) = text(node).map(str::trim) else { return instead(node, Self::KIND) };
        let address = || text.parse::<IpAddr>().ok().map(Self::from);
        text.parse().ok().or_else(address).map_or_else(|| instead(node, Self::KIND), Ok)
    }
}

impl<T: Value> Value for Vec<T> {
    const KIND: &'static str = T::LIST;
    fn read(node: &Node) -> Result<Self, String> {
        list(node)?.iter().map(T::read).collect()
    }
}

/// The items of a list; from the environment as a TOML array or separated by commas.
fn list(node: &Node) -> Result<Vec<Node>, String> {
    match &node.data {
        Data::List(items) => Ok(items.clone()),
        Data::Raw(text) if text.trim_start().starts_with('[') => match Node::from_value(text.trim(), &node.place) {
            Some(Node { data: Data::List(items), .. }) => Ok(items),
            _ => Err("is not a TOML array; write it as [\"a\", \"b\"] or as a,b".to_owned()),
        },
        Data::Raw(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Node { place: node.place.clone(), data: Data::Raw(item.to_owned().into()) })
            .collect()),
        _ => Err(format!("must be a list in brackets, for example [\"…\"], not {}", node.describe())),
    }
}

/// A key that may be left empty: `""` is as good as absent.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    fn read(node: &Node) -> Result<Self, String> {
        if text(node).is_some_and(|text| text.trim().is_empty()) {
            return Ok(None);
        }
        T::read(node).map(Some)
    }
}

/// The host that a browser binds a code to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(pub String);

impl Value for Host {
    const KIND: &'static str = "the host of the web page, lower-case and alone, for example \"example.com\"";
    fn read(node: &Node) -> Result<Self, String> {
        let Some(host) = text(node) else { return instead(node, Self::KIND) };
        if let Some(rest) = host.strip_prefix("https://").or_else(|| host.strip_prefix("http://")) {
            let alone = rest.split(['/', ':']).next().unwrap_or(rest).to_lowercase();
            return Err(format!("must be the host alone: write \"{alone}\""));
        }
        if !host.is_ascii() {
            return Err("must be ASCII: write an internationalised domain in its xn-- form".to_owned());
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if host.len() <= 253 && host.split('.').all(label) {
            Ok(Self(host.to_owned()))
        } else {
            instead(node, Self::KIND)
        }
    }
}

/// What Android's SMS Retriever finds an app by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndroidAppHash(pub String);

impl Value for AndroidAppHash {
    const KIND: &'static str = "the 11 characters (A-Z, a-z, 0-9, `+`, `/`) that Android's AppSignatureHelper prints";
    fn read(node: &Node) -> Result<Self, String> {
        match text(node) {
            Some(hash) if hash.len() == 11 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b)) => {
                Ok(Self(hash.to_owned()))
            }
            _ => instead(node, Self::KIND),
        }
    }
}

/// The URL that clients see, without a trailing slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicUrl(pub String);

impl Value for PublicUrl {
    const KIND: &'static str = "an http:// or https:// URL without a query, for example \"https://otp.example.com\"";
    fn read(node: &Node) -> Result<Self, String> {
        let Some(url) = text(node).map(|url| url.trim().trim_end_matches('/')) else {
            return instead(node, Self::KIND);
        };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let plain = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#@\"<>\\^`{|}".contains(&b))
        };
        if rest.is_some_and(|rest| plain(rest) && !rest.starts_with('/')) {
            Ok(Self(url.to_owned()))
        } else {
            instead(node, Self::KIND)
        }
    }
}

/// An origin that browsers may call from, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub String);

impl Value for Origin {
    const KIND: &'static str = "an origin, for example \"https://app.example.com\", or \"*\" for any";
    const LIST: &'static str = "a list of origins, or [\"*\"] for any";
    fn read(node: &Node) -> Result<Self, String> {
        match text(node).map(str::trim) {
            Some("*") => Ok(Self("*".to_owned())),
            Some(origin) => {
                let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
                let plain = |rest: &str| {
                    !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
                };
                // Browsers send origins in lower case.
                if rest.is_some_and(plain) { Ok(Self(origin.to_lowercase())) } else { instead(node, Self::KIND) }
            }
            None => instead(node, Self::KIND),
        }
    }
}

/// The path that the simple dialect is under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(pub String);

impl Value for Prefix {
    const KIND: &'static str = "a path, for example \"/api/users\"";
    fn read(node: &Node) -> Result<Self, String> {
        let Some(path) = text(node).map(|path| path.trim().trim_end_matches('/')) else {
            return instead(node, Self::KIND);
        };
        let part =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
        if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part)) {
            return instead(node, Self::KIND);
        }
        // The service's own doors, which this one must not stand in front of.
        let own = ["/v1", "/v2", "/inbox", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/.well-known"];
        match own.into_iter().find(|own| path == *own || path.starts_with(&format!("{own}/"))) {
            Some(own) => Err(format!("{own} is the service's own; write another path, for example \"/api/users\"")),
            None => Ok(Self(path.to_owned())),
        }
    }
}

/// A language, as a BCP 47 tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locale(pub String);

impl Locale {
    /// Whether a text is such a tag, by its shape.
    pub(crate) fn is_tag(text: &str) -> bool {
        let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        text.len() <= 35 && text.split('-').all(part)
    }
}

impl Value for Locale {
    const KIND: &'static str = "a language (BCP 47), for example \"en\" or \"pt-BR\"";
    fn read(node: &Node) -> Result<Self, String> {
        let tag = text(node).map(str::trim).filter(|tag| Self::is_tag(tag));
        tag.map_or_else(|| instead(node, Self::KIND), |tag| Ok(Self(tag.to_owned())))
    }
}

//! What countries make of the sender that a person sees: whether it may be a name, and whether a name must be registered before.
//!
//! From what vendors tell their customers, each row with the page that says so. These rules change, differ between operators, and are
//! softened by contracts: they are for advice and stop nothing. A country that is not here is unknown, and nothing is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::core::channel::Channel;
use countersign::core::destination::{Country, Destination};
use countersign::core::outcome::{Message, Outcome};
use countersign::sender::{BoxFuture, Sender};

/// What a country makes of a name as the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// It is shown as it is.
    Shown,
    /// It is shown if it was registered there before; else the message is blocked, or another sender put in its place.
    Registered,
    /// It is not: the message is blocked, or a number put in its place. The sender must be a number.
    NumbersOnly,
}

impl NameRule {
    /// The rule in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Shown => "names are shown",
            Self::Registered => "names must be registered before",
            Self::NumbersOnly => "numbers only",
        }
    }
}

/// A country's rule and the page that says so.
pub type Row = (&'static str, NameRule, &'static str);

const AWS_REGISTRATIONS: &str = "https://docs.aws.amazon.com/sms-voice/latest/userguide/registrations-country.md";
const AWS_SENDER_IDS: &str = "https://docs.aws.amazon.com/sms-voice/latest/userguide/sender-id.html";
const AWS_COUNTRIES: &str = "https://docs.aws.amazon.com/sns/latest/dg/sns-supported-regions-countries.html";
const TELNYX: &str = "https://developers.telnyx.com/docs/messaging/messages/alphanumeric-sender-id";
const TELNYX_COUNTRIES: &str = "https://developers.telnyx.com/docs/messaging/messages/international-sms-compliance";
const PUSHTECH: &str = "https://help.pushtech.com/hc/en-us/articles/15407493751954-SMS-International-SMS-Sender-ID-regulations-and-requirements-list-of-countries";

/// Every country whose rule is known, by its letters.
pub const COUNTRIES: &[Row] = &[
    ("AE", NameRule::Registered, AWS_COUNTRIES),
    ("AF", NameRule::Registered, PUSHTECH),
    ("AM", NameRule::Registered, PUSHTECH),
    (
        "AR",
        NameRule::NumbersOnly,
        "https://docs.bird.com/applications/channels/channels/supported-channels/sms/concepts/choose-the-right-sender-availability-and-restrictions-by-country/sms-country-information-guide-south-america",
    ),
    ("AU", NameRule::Registered, AWS_REGISTRATIONS),
    ("BD", NameRule::Registered, PUSHTECH),
    ("BR", NameRule::NumbersOnly, "https://suresms.com/en/resources/country-specific-rules-and-restrictions/brazil/"),
    ("BY", NameRule::Registered, AWS_COUNTRIES),
    ("CA", NameRule::NumbersOnly, TELNYX),
    (
        "CL",
        NameRule::NumbersOnly,
        "https://api.support.vonage.com/hc/en-us/articles/204017513-Chile-SMS-Features-and-Restrictions",
    ),
    ("CN", NameRule::NumbersOnly, AWS_SENDER_IDS),
    (
        "CO",
        NameRule::NumbersOnly,
        "https://support.wavecell.com/hc/en-us/sections/900000474246-North-South-America-SMS-Guidelines-",
    ),
    ("DE", NameRule::Shown, TELNYX_COUNTRIES),
    ("EG", NameRule::Registered, AWS_COUNTRIES),
    ("ID", NameRule::Registered, AWS_REGISTRATIONS),
    // The regulator's registry: the sender of a message under another name reads "Likely Scam".
    (
        "IE",
        NameRule::Registered,
        "https://irishtimes.com/business/2025/06/05/comreg-plans-overhaul-of-sms-text-message-system-to-help-block-scammers",
    ),
    ("IN", NameRule::Registered, AWS_COUNTRIES),
    ("JO", NameRule::Registered, AWS_COUNTRIES),
    (
        "KE",
        NameRule::Registered,
        "https://support.twilio.com/hc/en-us/articles/360039841994-Documents-Required-and-Instructions-to-Register-Your-Alphanumeric-Sender-ID-in-Kenya",
    ),
    ("KW", NameRule::Registered, AWS_COUNTRIES),
    ("KZ", NameRule::Registered, AWS_REGISTRATIONS),
    ("LK", NameRule::Registered, AWS_REGISTRATIONS),
    (
        "MX",
        NameRule::Registered,
        "https://help.nexmo.com/hc/en-us/articles/204017253-Mexico-SMS-Features-and-Restrictions",
    ),
    ("NG", NameRule::Registered, "https://help.clicksend.com/en/articles/44241-nigeria-234"),
    ("NZ", NameRule::NumbersOnly, "https://help.clicksend.com/en/articles/43924-new-zealand-64"),
    ("PH", NameRule::Registered, AWS_COUNTRIES),
    ("PR", NameRule::NumbersOnly, TELNYX),
    ("QA", NameRule::Registered, AWS_COUNTRIES),
    ("RU", NameRule::Registered, AWS_COUNTRIES),
    ("SA", NameRule::Registered, AWS_COUNTRIES),
    ("SG", NameRule::Registered, AWS_REGISTRATIONS),
    ("TH", NameRule::Registered, AWS_COUNTRIES),
    ("TR", NameRule::Registered, "https://docs.aws.amazon.com/sms-voice/latest/userguide/registrations-turkey.html"),
    (
        "TZ",
        NameRule::Registered,
        "https://support.twilio.com/hc/en-us/articles/360042501534-Document-s-Required-and-Instructions-to-Register-Your-Alphanumeric-Sender-ID-in-Tanzania",
    ),
    (
        "US",
        NameRule::NumbersOnly,
        "https://api.support.vonage.com/hc/en-us/articles/204017023-US-SMS-Features-and-Restrictions",
    ),
    ("VN", NameRule::Registered, AWS_COUNTRIES),
    ("ZA", NameRule::NumbersOnly, "https://help.clicksend.com/article/fqqv4xnzg4-south-africa"),
];

/// What a country makes of names; `None` where nobody could be found who says so.
#[must_use]
pub fn rule(country: Country) -> Option<Row> {
    COUNTRIES.iter().copied().find(|(code, ..)| *code == country.as_str())
}

/// Whether a sender is a name rather than a number.
#[must_use]
pub fn is_name(sender: &str) -> bool {
    sender.chars().any(char::is_alphabetic)
}

/// One provider with a sender of its own for some countries: one [`Sender`] for each, since what a request holds is fixed when it is
/// built.
pub(crate) struct ByCountry {
    pub(crate) otherwise: Arc<dyn Sender>,
    pub(crate) countries: BTreeMap<Country, Arc<dyn Sender>>,
}

impl ByCountry {
    fn of(&self, to: &Destination) -> &dyn Sender {
        // A table that keeps no country leaves it to the number.
        let read = || Destination::parse(to.reveal(), None).ok().and_then(|to| to.country());
        let country = to.country().or_else(read);
        country.and_then(|country| self.countries.get(&country)).unwrap_or(&self.otherwise).as_ref()
    }
}

impl Sender for ByCountry {
    fn name(&self) -> &str {
        self.otherwise.name()
    }

    fn channels(&self) -> &[Channel] {
        self.otherwise.channels()
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        self.of(&message.to).send(message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn each_country_has_one_row_with_a_source() {
        assert!(COUNTRIES.is_sorted_by(|(a, ..), (b, ..)| a < b));
        for (code, _, source) in COUNTRIES {
            assert_eq!(rule(code.parse().unwrap()).unwrap().0, *code);
            assert!(source.starts_with("https://"), "{code}");
        }
        let of = |code: &str| rule(code.parse().unwrap()).map(|(_, rule, _)| rule);
        assert_eq!(
            (of("US"), of("KE"), of("DE")),
            (Some(NameRule::NumbersOnly), Some(NameRule::Registered), Some(NameRule::Shown))
        );
        assert_eq!(of("UG"), None, "what was not found is not guessed");
    }

    #[test]
    fn a_sender_with_a_letter_is_a_name() {
        for (sender, expected) in
            [("MyApp", true), ("24x7", true), ("+15005550006", false), ("15005", false), ("", false)]
        {
            assert_eq!(is_name(sender), expected, "{sender}");
        }
    }
}

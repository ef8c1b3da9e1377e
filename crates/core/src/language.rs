//! The languages that texts come in: which one is taken for a tag or a country, and how its texts are put together.

use crate::catalogue::LANGUAGES;
use crate::channel::Channel;
use crate::destination::Country;

/// One language of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// Its BCP 47 tag.
    pub tag: &'static str,
    /// What it is called in English.
    pub english: &'static str,
    /// What it calls itself.
    pub name: &'static str,
    /// Whether it is written from right to left.
    pub right_to_left: bool,
    /// "5 min", with `{}` for the number: one pattern, or those of `one|other`, or the four of Arabic.
    pub(crate) minutes: &'static str,
    /// The same for seconds.
    pub(crate) seconds: &'static str,
    /// Both as an SMS writes them, where that leaves accents out.
    pub(crate) sms_units: Option<(&'static str, &'static str)>,
    /// The whole text message.
    pub(crate) sms: &'static str,
    /// The same for a payment.
    pub(crate) sms_payment: Option<&'static str>,
    /// "Your … code": the subject of an email, and how the other texts begin.
    pub(crate) label: &'static str,
    /// The sentence that says how long it works.
    pub(crate) valid: &'static str,
    /// The sentence for who did not ask for it.
    pub(crate) ignore: &'static str,
    /// What is said before the digits are spoken once more.
    pub(crate) again: &'static str,
    /// What is said before them where a key must be pressed first.
    pub(crate) press: &'static str,
}

/// Tags that mean a language of the catalogue under another name: older codes (the IANA language subtag registry's preferred
/// values), Norwegian, and the regions that write Chinese in its traditional script (CLDR's likely subtags).
const ALIASES: &[(&str, &str)] = &[
    ("fil", "tl"),
    ("in", "id"),
    ("iw", "he"),
    ("mo", "ro"),
    ("nn", "nb"),
    ("no", "nb"),
    ("sh", "sr"),
    ("zh-hk", "zh-Hant"),
    ("zh-mo", "zh-Hant"),
    ("zh-tw", "zh-Hant"),
];

/// The language of a number whose sender named none, where its country leaves little doubt; elsewhere it is the default.
///
/// From the Unicode CLDR's territory information, version 47: the language is official throughout the country, at least 60 % of its
/// people use it, and no other official language is used by half of them. Left out although they meet that: AE, BH, KW, OM and QA, most
/// of whose people come from elsewhere; KE and UG, where Swahili is spoken and English written; CM, IQ, LK and MK, each with a second
/// official language that is a large part's first; MM, whose phones read two encodings; CG, CV, EH, GA, GQ, GW, KP, MR and ST, and
/// whatever is no country of its own, because the figures are old, or nobody asked.
const BY_COUNTRY: &[(&str, &str)] = &[
    ("ar", "DZ EG JO LB LY PS SA SY YE"),
    ("az", "AZ"),
    ("bg", "BG"),
    ("bn", "BD"),
    ("bs", "BA"),
    ("cs", "CZ"),
    ("da", "DK"),
    ("de", "AT DE LI"),
    ("el", "CY GR"),
    ("es", "AR BO CL CO CR CU DO EC ES GT HN MX NI PA PE PR SV UY VE"),
    ("et", "EE"),
    ("fa", "IR"),
    ("fi", "FI"),
    ("fr", "FR GF GP MC MQ RE"),
    ("he", "IL"),
    ("hr", "HR"),
    ("hu", "HU"),
    ("hy", "AM"),
    ("id", "ID"),
    ("is", "IS"),
    ("it", "IT SM"),
    ("ja", "JP"),
    ("ka", "GE"),
    ("km", "KH"),
    ("ko", "KR"),
    ("lo", "LA"),
    ("lt", "LT"),
    ("lv", "LV"),
    ("mn", "MN"),
    ("ms", "BN MY"),
    ("nb", "NO"),
    ("nl", "NL SR"),
    ("pl", "PL"),
    ("pt", "AO PT"),
    ("pt-BR", "BR"),
    ("ro", "MD RO"),
    ("ru", "RU"),
    ("sk", "SK"),
    ("sl", "SI"),
    ("sq", "AL XK"),
    ("sr", "ME RS"),
    ("sv", "SE"),
    ("th", "TH"),
    ("tr", "TR"),
    ("uk", "UA"),
    ("uz", "UZ"),
    ("vi", "VN"),
    ("zh", "CN"),
    ("zh-Hant", "TW"),
];

/// Every language, in the order of the tags.
#[must_use]
pub fn all() -> &'static [Language] {
    LANGUAGES
}

/// The language of this very tag, whatever its case.
#[must_use]
pub fn find(tag: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.tag.eq_ignore_ascii_case(tag))
}

/// The tags under which a text is looked for, the nearest first: `zh-TW` is looked for as `zh-TW`, `zh-Hant`, `zh`. What is cut off
/// is the last part, and a single letter before it (RFC 4647, section 3.4).
#[must_use]
pub fn fallbacks(tag: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = tag;
    while !rest.is_empty() {
        tags.push(rest);
        if let Some((_, alias)) = ALIASES.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(rest)) {
            tags.push(alias);
        }
        rest = rest.rsplit_once('-').map_or("", |(rest, _)| rest);
        if let Some((shorter, single)) = rest.rsplit_once('-')
            && single.len() == 1
        {
            rest = shorter;
        }
    }
    tags
}

/// The language that a country leaves little doubt about.
#[must_use]
pub fn of_country(country: Country) -> Option<&'static Language> {
    // Two letters each, and a space: every text message asks here.
    let wanted = country.as_str().as_bytes();
    let has = |countries: &str| countries.as_bytes().chunks(3).any(|listed| listed.get(..2) == Some(wanted));
    BY_COUNTRY.iter().find(|(_, countries)| has(countries)).and_then(|(tag, _)| find(tag))
}

/// The countries that a language is taken for, as two letters each.
#[must_use]
pub fn countries_of(tag: &str) -> Vec<&'static str> {
    let row = BY_COUNTRY.iter().find(|(listed, _)| *listed == tag);
    row.map(|(_, countries)| countries.split(' ').collect()).unwrap_or_default()
}

impl Language {
    /// The text for a channel, with `{{ names }}` still in it.
    #[must_use]
    pub fn text(&self, channel: Channel) -> String {
        let Self { label, valid, ignore, again, .. } = self;
        let colon = self.colon();
        match channel {
            Channel::Sms => self.sms.to_owned(),
            Channel::Voice => format!("{label}{colon}{{{{ digits }}}}. {again}{colon}{{{{ digits }}}}."),
            Channel::Whatsapp | Channel::Telegram => format!("{label}{colon}{{{{ code }}}}\n{valid}"),
            Channel::Email => format!("{label}{colon}{{{{ code }}}}\n\n{valid}\n{ignore}"),
        }
    }

    /// The same for a code that confirms a payment: who is paid and how much comes first, in a line of its own where the language has
    /// no sentence for it, so that nobody confirms what is not seen.
    pub(crate) fn text_for(&self, channel: Channel, is_payment: bool) -> String {
        match (is_payment, channel, self.sms_payment) {
            (false, ..) => self.text(channel),
            (true, Channel::Sms, Some(sentence)) => sentence.to_owned(),
            (true, Channel::Voice, _) => format!("{{{{ payee }}}}, {{{{ amount }}}}. {}", self.text(channel)),
            (true, ..) => format!("{{{{ payee }}}}: {{{{ amount }}}}\n{}", self.text(channel)),
        }
    }

    /// What a voice says to ask for a key before the code: a mailbox presses none.
    #[must_use]
    pub const fn press_any_key(&self) -> &'static str {
        self.press
    }

    /// The line above an email, with `{{ names }}` still in it. It holds no code: mail servers log such lines.
    #[must_use]
    pub const fn subject(&self) -> &'static str {
        self.label
    }

    /// How long a code works, in words: "5 min".
    #[must_use]
    pub fn life(&self, seconds: u64, channel: Channel) -> String {
        let units = (self.minutes, self.seconds);
        let (minutes, seconds_as) = if channel == Channel::Sms { self.sms_units.unwrap_or(units) } else { units };
        if seconds < 60 { counted(seconds_as, seconds) } else { counted(minutes, whole_minutes(seconds)) }
    }

    const fn colon(&self) -> &'static str {
        match self.tag.as_bytes() {
            [b'f', b'r'] => "\u{a0}: ",
            [b'j', b'a'] | [b'z', b'h', ..] => "：",
            _ => ": ",
        }
    }
}

/// What is left of a life in minutes, rounded down, but for the seconds that sending again at once takes: 4:58 is 5 minutes, 4:30
/// is 4; never none.
#[must_use]
pub(crate) const fn whole_minutes(seconds: u64) -> u64 {
    let minutes = (seconds + 5) / 60;
    if minutes == 0 { 1 } else { minutes }
}

/// The form for a number: CLDR's plural rules, as far as the catalogue's words need them.
fn counted(forms: &str, number: u64) -> String {
    let forms: Vec<_> = forms.split('|').collect();
    let form = match (forms.as_slice(), number, number % 100) {
        ([one, ..], 1, _) => one,
        ([_, other], ..) => other,
        // Arabic: two, a few (3 to 10, 103 to 110), many.
        ([_, two, _, _], 2, _) => two,
        ([_, _, few, _], _, 3..=10) => few,
        ([.., last], ..) => last,
        ([], ..) => "",
    };
    form.replace("{}", &number.to_string())
}

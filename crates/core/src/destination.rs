//! Where a message goes: one number, one key, however it is written.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use rlibphonenumber::enums::NumberLengthType;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType, enums::Region};

/// A phone number or an email address in its one canonical form.
///
/// `Debug` and `Display` show a mask; [`Destination::reveal`] is the one way to the text itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A phone number in E.164.
    Phone(Phone),
    /// An email address.
    Email(Email),
}

/// A possible phone number, canonical in E.164. Two are equal if their canonical forms are, whether read or restored.
#[derive(Clone)]
pub struct Phone {
    e164: String,
    country: Option<Country>,
    /// `None` for a number that was taken back from the store: its type is looked up when a rule asks for it.
    kind: Option<NumberType>,
}

impl PartialEq for Phone {
    fn eq(&self, other: &Self) -> bool {
        self.e164 == other.e164
    }
}

impl Eq for Phone {}

impl Hash for Phone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.e164.hash(state);
    }
}

/// An email address: ASCII, lower-cased.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email {
    address: String,
}

/// What a numbering plan says a number is (libphonenumber's types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// Reaches a handset.
    Mobile,
    /// A line in a wall: no text message arrives there.
    FixedLine,
    /// Plans such as North America's do not tell the two apart.
    FixedLineOrMobile,
    /// The callee pays.
    TollFree,
    /// The caller pays the callee: what SMS pumping and call fraud live from.
    PremiumRate,
    /// Caller and callee share the cost.
    SharedCost,
    /// Internet telephony.
    Voip,
    /// A number that follows a person.
    Personal,
    /// A pager.
    Pager,
    /// A company's universal access number.
    Uan,
    /// A voicemail box.
    Voicemail,
    /// A satellite phone, or another network that is of no country (+870, +881, +882, +883): dear, and a favourite of pumping.
    Satellite,
    /// Possible by its length, in no range that the metadata knows. Ranges age, so this is a signal, not a verdict.
    Unknown,
}

impl NumberType {
    /// Every type, in the order of the documents.
    pub const ALL: [Self; 13] = [
        Self::Mobile,
        Self::FixedLine,
        Self::FixedLineOrMobile,
        Self::TollFree,
        Self::PremiumRate,
        Self::SharedCost,
        Self::Voip,
        Self::Personal,
        Self::Pager,
        Self::Uan,
        Self::Voicemail,
        Self::Satellite,
        Self::Unknown,
    ];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::FixedLine => "fixed_line",
            Self::FixedLineOrMobile => "fixed_line_or_mobile",
            Self::TollFree => "toll_free",
            Self::PremiumRate => "premium_rate",
            Self::SharedCost => "shared_cost",
            Self::Voip => "voip",
            Self::Personal => "personal",
            Self::Pager => "pager",
            Self::Uan => "uan",
            Self::Voicemail => "voicemail",
            Self::Satellite => "satellite",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for NumberType {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An ISO 3166-1 alpha-2 country code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }

    fn region(self) -> Option<Region> {
        Region::try_from(self.as_str()).ok()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Two letters were expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a country as two letters, for example `TZ`")]
pub struct InvalidCountry;

impl FromStr for Country {
    type Err = InvalidCountry;
    fn from_str(text: &str) -> Result<Self, InvalidCountry> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(InvalidCountry),
        }
    }
}

/// Why a text is no destination. The sentences are for people; none repeats the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidDestination {
    /// Not something that can be read as a number or an address.
    #[error(
        "neither a phone number nor an email address; write a number as +, country code and number, for example +255694230173"
    )]
    Unreadable,
    /// No country code, and no default country to assume.
    #[error(
        "the country code is missing or unknown; write the number as +, country code and number, or set policy.default_country"
    )]
    CountryCode,
    /// Too short to be a number of its country.
    #[error("too short for a number of its country")]
    TooShort,
    /// Too long to be a number of its country.
    #[error("too long for a number of its country")]
    TooLong,
    /// A number with an extension: an SMS would go to the switchboard.
    #[error("an extension cannot be reached; leave it out")]
    Extension,
    /// Not an address that mail can be sent to.
    #[error("not an email address that we can write to")]
    Email,
    /// The destination is fine; the channel cannot reach it (an SMS to an address, or to a fixed line).
    #[error("this channel cannot reach such a destination")]
    Channel,
}

impl Destination {
    /// Reads a phone number in any usual writing, or an email address.
    ///
    /// `default_country` is assumed for numbers in national writing. Digits alone without it are read as an international number
    /// that lost its `+`, since no other reading is possible.
    ///
    /// # Errors
    /// [`InvalidDestination`] says what is wrong with the text.
    pub fn parse(text: &str, default_country: Option<Country>) -> Result<Self, InvalidDestination> {
        // No number or address that exists is longer; the parsers below never see more.
        if text.len() > 320 {
            return Err(InvalidDestination::Unreadable);
        }
        if text.contains('@') {
            return Email::parse(text).map(Self::Email);
        }
        Phone::parse(text, default_country).map(Self::Phone)
    }

    /// Takes a canonical form back from the store.
    #[must_use]
    pub fn restored(canonical: String, country: Option<Country>) -> Self {
        if canonical.contains('@') {
            Self::Email(Email { address: canonical })
        } else {
            Self::Phone(Phone { e164: canonical, country, kind: None })
        }
    }

    /// The canonical text: E.164 or the address. For the message, the store and the answer to whoever sent it; never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        match self {
            Self::Phone(phone) => &phone.e164,
            Self::Email(email) => &email.address,
        }
    }

    /// The key under which budgets and limits count this destination. For an address the `+tag` and the dots of the local part
    /// are left out, so that one mailbox has one budget; for a number it is the number.
    #[must_use]
    pub fn budget_key(&self) -> String {
        self.budget().into_owned()
    }

    pub(crate) fn budget(&self) -> Cow<'_, str> {
        match self {
            Self::Phone(phone) => Cow::Borrowed(&phone.e164),
            Self::Email(email) => Cow::Owned(email.mailbox()),
        }
    }

    /// The country of a phone number, where the plan tells.
    #[must_use]
    pub const fn country(&self) -> Option<Country> {
        match self {
            Self::Phone(phone) => phone.country,
            Self::Email(_) => None,
        }
    }

    /// A phone number without its country's code, as gateways write it that serve one country; `None` for an address.
    #[must_use]
    pub fn national(&self) -> Option<&str> {
        let Self::Phone(phone) = self else { return None };
        let number = PHONE_NUMBER_UTIL.parse(&phone.e164, None).ok()?;
        let length = number.get_national_significant_number().len();
        phone.e164.len().checked_sub(length).and_then(|at| phone.e164.get(at..))
    }

    /// The type of a phone number; `None` for an address.
    #[must_use]
    pub fn number_type(&self) -> Option<NumberType> {
        match self {
            Self::Phone(phone) => Some(phone.kind()),
            Self::Email(_) => None,
        }
    }

    /// The block of numbers that this one is in: all but the last four digits, or the domain of an address.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.e164.get(..phone.e164.len().saturating_sub(4)).unwrap_or_default(),
            Self::Email(email) => email.domain(),
        }
    }

    /// What may stand in a log: enough to recognise a support case by, too little to write to.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Phone(phone) => {
                // By characters: a row that another program wrote may hold anything.
                let count = phone.e164.chars().count();
                let hidden = 4..count.saturating_sub(2);
                phone.e164.chars().enumerate().map(|(at, c)| if hidden.contains(&at) { '*' } else { c }).collect()
            }
            Self::Email(email) => {
                let first = email.address.chars().next().unwrap_or('*');
                format!("{first}***@{}", email.domain())
            }
        }
    }
}

impl Phone {
    fn parse(text: &str, default_country: Option<Country>) -> Result<Self, InvalidDestination> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(InvalidDestination::Unreadable);
        }
        let region = default_country.and_then(Country::region);
        let parsed = PHONE_NUMBER_UTIL.parse(text, region);
        let number = match parsed {
            Ok(number) => number,
            // Digits alone and no country to assume: the `+` was lost on the way (form encoding eats it), nothing else is possible.
            Err(_) if region.is_none() && starts_like_a_number(text) => {
                PHONE_NUMBER_UTIL.parse(format!("+{}", text.trim_start_matches("00")), None).map_err(invalid)?
            }
            Err(error) => return Err(invalid(error)),
        };
        if number.extension.as_deref().is_some_and(|extension| !extension.is_empty()) {
            return Err(InvalidDestination::Extension);
        }
        if contains_letters(text) {
            return Err(InvalidDestination::Unreadable);
        }
        match number.is_possible_with_reason() {
            Ok(NumberLengthType::IsPossible) => {}
            Err(rlibphonenumber::ValidationError::InvalidCountryCode) => return Err(InvalidDestination::CountryCode),
            Err(rlibphonenumber::ValidationError::TooLong) => return Err(InvalidDestination::TooLong),
            // A number without its area code can be dialled next door, and nowhere else.
            Ok(NumberLengthType::IsPossibleLocalOnly) | Err(_) => return Err(InvalidDestination::TooShort),
        }
        let e164 = number.format_as(PhoneNumberFormat::E164).into_owned();
        // The standard's own bound (ITU-T E.164: 15 digits), and less than any mobile number has; some plans' metadata is wider.
        if e164.len() > 16 {
            return Err(InvalidDestination::TooLong);
        }
        if e164.len() < 8 {
            return Err(InvalidDestination::TooShort);
        }
        // `+82 0 010…`: trunk prefixes are taken off one at a time, so what is left could be read as another number again. A key
        // that is not its own reading would be a second budget.
        if text != e164 && !is_own_reading(&e164) {
            return Err(InvalidDestination::Unreadable);
        }
        let kind = number_type(&e164, number.get_type());
        // A number that begins with a zero is one where its plan says so; elsewhere it is a trunk prefix that nobody took off.
        if number.italian_leading_zero() && kind == NumberType::Unknown {
            return Err(InvalidDestination::Unreadable);
        }
        let country = number.get_region_code().and_then(|region| region.as_region_str().as_str().parse().ok());
        Ok(Self { e164, country, kind: Some(kind) })
    }

    fn kind(&self) -> NumberType {
        self.kind.unwrap_or_else(|| {
            PHONE_NUMBER_UTIL
                .parse(&self.e164, None)
                .map_or(NumberType::Unknown, |number| number_type(&self.e164, number.get_type()))
        })
    }
}

fn is_own_reading(e164: &str) -> bool {
    PHONE_NUMBER_UTIL.parse(e164, None).is_ok_and(|number| number.format_as(PhoneNumberFormat::E164) == e164)
}

/// Vanity numbers and words are refused: `0800 FLOWERS` is read as digits by the library, and hides what is dialled.
fn contains_letters(text: &str) -> bool {
    let rest = text.strip_prefix("tel:").or_else(|| text.strip_prefix("TEL:")).unwrap_or(text);
    rest.split(';').next().unwrap_or(rest).chars().any(char::is_alphabetic)
}

fn starts_like_a_number(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_numeric() || first == '(')
}

fn invalid(error: rlibphonenumber::ParseError) -> InvalidDestination {
    use rlibphonenumber::ParseError as E;
    match error {
        E::InvalidCountryCode => InvalidDestination::CountryCode,
        E::TooShortAfterIdd | E::TooShortNsn => InvalidDestination::TooShort,
        E::TooLongNsn => InvalidDestination::TooLong,
        _ => InvalidDestination::Unreadable,
    }
}

/// Networks without a country: the plans call some of their ranges mobile.
const NO_COUNTRY: [&str; 4] = ["+870", "+881", "+882", "+883"];

fn number_type(e164: &str, kind: PhoneNumberType) -> NumberType {
    match kind {
        _ if NO_COUNTRY.iter().any(|network| e164.starts_with(network)) => NumberType::Satellite,
        PhoneNumberType::Mobile => NumberType::Mobile,
        PhoneNumberType::FixedLine => NumberType::FixedLine,
        PhoneNumberType::FixedLineOrMobile => NumberType::FixedLineOrMobile,
        PhoneNumberType::TollFree => NumberType::TollFree,
        PhoneNumberType::PremiumRate => NumberType::PremiumRate,
        PhoneNumberType::SharedCost => NumberType::SharedCost,
        PhoneNumberType::VoIP => NumberType::Voip,
        PhoneNumberType::PersonalNumber => NumberType::Personal,
        PhoneNumberType::Pager => NumberType::Pager,
        PhoneNumberType::UAN => NumberType::Uan,
        PhoneNumberType::VoiceMail => NumberType::Voicemail,
        PhoneNumberType::Unknown => NumberType::Unknown,
    }
}

impl Email {
    /// Reads `local@domain`, both ASCII (an internationalised domain in its `xn--` form), and lower-cases it.
    fn parse(text: &str) -> Result<Self, InvalidDestination> {
        let text = text.trim_matches(' ');
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidDestination::Email)?;
        if is_local_part(local) && is_domain(domain) && text.len() <= 254 {
            Ok(Self { address: text.to_ascii_lowercase() })
        } else {
            Err(InvalidDestination::Email)
        }
    }

    fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    fn mailbox(&self) -> String {
        let (local, domain) = self.address.rsplit_once('@').unwrap_or((&self.address, ""));
        let base = local.split('+').next().unwrap_or(local).replace('.', "");
        format!("{base}@{domain}")
    }
}

/// The unquoted local part of RFC 5321 (`Dot-string`). Quoted ones exist in standards and in attacks, not in sign-up forms.
fn is_local_part(local: &str) -> bool {
    (1..=64).contains(&local.len()) && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

fn is_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.len() <= 253
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
        && domain.rsplit('.').next().is_some_and(|top| top.bytes().any(|b| b.is_ascii_alphabetic()))
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Loads the numbering plans now rather than in the first request (some 5 ms).
pub fn warm_up() {
    let _ = Destination::parse("+255694230173", None);
}

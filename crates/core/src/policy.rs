//! What an application allows: the numbers that the rules are written in.

use std::sync::Arc;
use std::time::Duration;

use crate::channel::Channel;
use crate::code::{self, Code};
use crate::destination::{Country, Destination, NumberType};
use crate::guard::Guard;
use crate::id::{ApplicationName, Purpose};
use crate::limit::LimitRule;
use crate::message::{DEFAULT_LOCALE, Templates};
use crate::route::{Route, Step};

/// One application (tenant) with everything that decides about its verifications.
#[derive(Debug)]
pub struct Application {
    /// Its name: the key of everything it owns.
    pub name: ApplicationName,
    /// What messages call it.
    pub display_name: String,
    /// Host of the origin-bound last line `@host #code` (WICG SMS one-time codes), lower-case ASCII; `None` leaves the line out.
    pub web_origin: Option<String>,
    /// The 11 characters by which Android's SMS Retriever finds the app; `None` leaves the line out.
    pub android_app_hash: Option<String>,
    /// Lengths, lives and counts.
    pub policy: Policy,
    /// Rates, charged together or not at all.
    pub limits: Vec<LimitRule>,
    /// What is made of sends that nobody confirms.
    pub guard: Guard,
    /// Which providers carry what, the first row that fits decides.
    pub routes: Vec<Route>,
    /// Time-outs, retries, and what an unknown outcome means.
    pub delivery: DeliveryPolicy,
    /// The operator's texts.
    pub templates: Templates,
    /// How texts are chosen and written.
    pub texts: TextPolicy,
    /// Reserved destinations with a fixed code, for an application's own tests. Never in production mode.
    pub test_destinations: Vec<TestDestination>,
}

/// A destination whose code is always the same.
pub struct TestDestination {
    /// To whom.
    pub to: Destination,
    /// The fixed code.
    pub code: Code,
}

impl std::fmt::Debug for TestDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestDestination").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Application {
    /// An application with the default policy and limits, every message carried by one provider.
    #[must_use]
    pub fn new(name: ApplicationName, provider: &str) -> Self {
        Self {
            display_name: name.to_string(),
            name,
            web_origin: None,
            android_app_hash: None,
            policy: Policy::default(),
            limits: LimitRule::defaults(),
            guard: Guard::default(),
            routes: Channel::ALL.into_iter().map(|channel| Route::to(channel, [provider])).collect(),
            delivery: DeliveryPolicy::default(),
            templates: Templates::default(),
            texts: TextPolicy::default(),
            test_destinations: Vec::new(),
        }
    }

    /// Ready to be shared by every request.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub(crate) fn test_code(&self, to: &Destination) -> Option<&Code> {
        self.test_destinations.iter().find(|test| test.to.reveal() == to.reveal()).map(|test| &test.code)
    }
}

/// Lengths, lives and counts. A verification keeps those that it began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Digits of a code, 4 to 10. NIST SP 800-63B-4 3.1.3.2 asks for 6 at least.
    pub code_length: u8,
    /// How long a code works, 30 s to 24 h; sending again does not prolong it (NIST SP 800-63B-4 3.1.3.2: 10 minutes at most).
    pub ttl: Duration,
    /// The pause before the same verification may be sent again.
    pub resend_after: Duration,
    /// How often one verification may be sent, the first time included.
    pub max_sends: u32,
    /// Wrong guesses that one verification bears, counted apart for who holds its id and who only knows the destination.
    pub max_checks: u32,
    /// Wrong guesses in any 24 h that one destination bears, all purposes together, again counted apart.
    pub max_guesses_per_day: u32,
    /// Wrong guesses in 24 h, both counts together, after which new codes for the destination are longer.
    pub hardened_after: u32,
    /// Digits of those longer codes.
    pub hardened_length: u8,
    /// The country assumed for numbers in national writing.
    pub default_country: Option<Country>,
    /// The countries that may be written to.
    pub allowed_countries: Countries,
    /// Number types that are never written to.
    pub blocked_number_types: Vec<NumberType>,
    /// The purposes that requests may name; `None` allows any.
    pub purposes: Option<Vec<Purpose>>,
    /// Whether a request may choose its own code.
    pub allow_custom_code: bool,
    /// The channels over which the same code is sent, one after the other, until it is approved. Empty: the one asked for alone.
    pub workflow: Vec<Step>,
}

/// A set of countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Countries {
    /// Every country, and numbers of none.
    All,
    /// These alone.
    Only(Vec<Country>),
}

impl Countries {
    /// Whether the set has this country. A number whose country nobody can tell is in no list.
    #[must_use]
    pub fn contains(&self, country: Option<Country>) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => country.is_some_and(|country| list.contains(&country)),
        }
    }
}

impl Policy {
    /// The shortest life of a code.
    pub const MIN_TTL: Duration = Duration::from_secs(30);
    /// The longest life of a code.
    pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Number types that only cost money or reach nobody (API.md; REQUIREMENTS S7). Fixed lines are not here: a voice call reaches them.
    pub const BLOCKED_NUMBER_TYPES: [NumberType; 7] = [
        NumberType::TollFree,
        NumberType::PremiumRate,
        NumberType::SharedCost,
        NumberType::Pager,
        NumberType::Uan,
        NumberType::Voicemail,
        NumberType::Satellite,
    ];

    /// What a proof is for where a door has no word for it: the usual purpose, or if that may not be named, the first that may.
    #[must_use]
    pub fn usual_purpose(&self) -> Purpose {
        let usual = Purpose::default();
        match &self.purposes {
            Some(listed) if !listed.contains(&usual) => listed.first().cloned().unwrap_or(usual),
            _ => usual,
        }
    }

    /// Says what is impossible about this policy, key by key.
    ///
    /// # Errors
    /// The key, and what it may be.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let lengths = format!("must be {} to {}", code::LENGTHS.start(), code::LENGTHS.end());
        if !code::LENGTHS.contains(&self.code_length) {
            return Err(("code_length", lengths));
        }
        if !code::LENGTHS.contains(&self.hardened_length) {
            return Err(("hardened_length", lengths));
        }
        if !(Self::MIN_TTL..=Self::MAX_TTL).contains(&self.ttl) {
            return Err(("ttl", "must be 30s to 24h".into()));
        }
        for (key, value) in [
            ("max_sends", self.max_sends),
            ("max_checks", self.max_checks),
            ("max_guesses_per_day", self.max_guesses_per_day),
        ] {
            if !(1..=1000).contains(&value) {
                return Err((key, "must be 1 to 1000".into()));
            }
        }
        if self.resend_after > Self::MAX_TTL {
            return Err(("resend_after", "must be 0s to 24h".into()));
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            code_length: 6,
            ttl: Duration::from_secs(5 * 60),
            resend_after: Duration::from_secs(30),
            max_sends: 5,
            max_checks: 5,
            max_guesses_per_day: 50,
            hardened_after: 10,
            hardened_length: 8,
            default_country: None,
            allowed_countries: Countries::All,
            blocked_number_types: Self::BLOCKED_NUMBER_TYPES.to_vec(),
            purposes: None,
            allow_custom_code: false,
            workflow: Vec::new(),
        }
    }
}

/// How hard to try, and what silence means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// How long a provider may take to answer.
    pub timeout: Duration,
    /// How often one provider is asked again for one message.
    pub retries: u32,
    /// What an unknown outcome means.
    pub unknown: Unknown,
}

/// What to do when nobody can say whether a provider took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Wait for a receipt: nobody gets two messages.
    Wait,
    /// Ask the next provider: somebody may get two messages, both with the same code.
    Next,
}

impl DeliveryPolicy {
    /// How long a process may hold a delivery before another takes it over: the time-out, and some for the commit.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.timeout + Duration::from_secs(20)
    }
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), retries: 2, unknown: Unknown::Wait }
    }
}

/// How texts are chosen and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPolicy {
    /// The language when none was asked for and the country leaves doubt, as a BCP 47 tag.
    pub default_locale: String,
    /// Whether a number's country chooses the language when none was asked for.
    pub locale_by_country: bool,
    /// Whether typographic quotes, dashes and the like are written plainly in an SMS that then fits GSM-7.
    pub plain_characters: bool,
    /// Whether texts may hold links. The operator's own are judged when they are read; this is for those that requests bring along.
    pub allow_links: bool,
}

impl Default for TextPolicy {
    fn default() -> Self {
        Self {
            default_locale: DEFAULT_LOCALE.to_owned(),
            locale_by_country: true,
            plain_characters: true,
            allow_links: false,
        }
    }
}

//! Every key of the configuration. The comments here are the manual: the default file, `countersign config explain` and the
//! reference are printed from them.

use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::{Country, NumberType};
use countersign::core::guard::{self, Mode};
use countersign::core::id::{ApplicationName, Purpose};
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::policy::{self, Countries, DeliveryPolicy, TextPolicy, Unknown};
use countersign::core::route::{Candidate, Price, Route, Step};
use countersign_providers::layers::ProviderBounds;
use countersign_store::layout::{DestinationFormat, TableName};
use ipnet::IpNet;

use super::section::{Section, section};
use super::value::{AndroidAppHash, Host, Locale, Origin, Prefix, PublicUrl};
use super::webhook::{SecretFiles, WebhookEvents, WebhookSecrets, WebhookUrl};
use super::words::{ColumnNames, Layout, Listen, LogFormat, LogLevel, Preset, Schema, StoreUrl, TestCode, Wanted};
use crate::token::Algorithm;

section! {
    /// The HTTP service.
    Server, Table "server" {
        /// The address and port that it listens on.
        listen: Listen = "127.0.0.1:8080";
        /// Its address as clients see it: the issuer of tokens and the base of links. If not set, http:// and the listen address.
        public_url: PublicUrl = "http://127.0.0.1:8080";
        /// Refuses to start with anything that only fits a trial: the inbox, test destinations, weak keys, plain HTTP to the world.
        production: bool = false;
        /// Proxies whose forwarding headers count: addresses or networks. From anybody else those headers are ignored.
        trusted_proxies: Vec<IpNet> = [], like ["10.0.0.0/8"];
    }
}

section! {
    /// The simple dialect: three calls that a browser or a mobile app can make without an API key.
    Simple, Table "server.simple" {
        /// Whether it is there.
        enabled: bool = true;
        /// The path that its calls are under.
        prefix: Prefix = "/api/users";
        /// The application that its verifications belong to.
        application: ApplicationName = "default";
        /// Origins that browsers may call it from; ["*"] allows any, an empty list the service's own alone.
        allowed_origins: Vec<Origin> = [], like ["https://app.example.com"];
    }
}

section! {
    /// The Twilio Verify v2 dialect, under /v2: official SDKs work when their base URL is changed.
    Twilio, Table "server.twilio" {
        /// Whether it is there.
        enabled: bool = true;
        /// The pause before the same verification may be sent again through it, in place of policy.resend_after: Twilio has none.
        resend_after: Duration = "0s", from "0s" to "24h";
    }
}

section! {
    /// CAMARA OneTimePasswordSMS v1 (GSMA Open Gateway). Its callers show an API key, and write the text of their messages themselves:
    /// switch it off where nobody uses it, so that a key that was stolen cannot send texts of the thief's. See docs/camara.md.
    Camara, Table "server.camara" {
        /// Whether it is there.
        enabled: bool = true;
        /// The path that its calls are under.
        prefix: Prefix = "/one-time-password-sms/v1";
        /// The pause before another code may be sent to the same number through it, in place of policy.resend_after: CAMARA has none.
        resend_after: Duration = "0s", from "0s" to "24h";
    }
}

section! {
    /// Where verifications are kept.
    Store, Table "store" {
        /// sqlite: and the path of a file, which is made if it is not there; relative to the working directory. Or a PostgreSQL database:
        /// postgresql://user:password@host:port/database, with ?sslmode=disable, prefer, require, verify-ca or verify-full and
        /// &sslrootcert=FILE if wanted. Without sslmode a server elsewhere must prove who it is (verify-full).
        url: StoreUrl = "sqlite:countersign.db";
        /// A file with the password for PostgreSQL, in place of one in the URL; empty: none.
        password_file: String = "", like "/run/secrets/postgres";
        /// The schema of the PostgreSQL database that the tables are in; it is made if it is not there.
        schema: Schema = "countersign";
        /// PostgreSQL connections of this process: two write decisions, the others do everything else.
        connections: u32 = 6, from 3 to 100;
        /// Which tables: "standalone" keeps its own, with history; "minimal" one small table with the latest verification of each
        /// destination and purpose; "existing" a table of your application, see [store.existing].
        layout: Layout = "standalone";
        /// Brings the schema up to date when the service starts; if false, run `countersign migrate` before. To the table of an
        /// application (layout "existing") it adds the columns and indexes that are lacking, and touches nothing else.
        migrate: bool = true;
    }
}

section! {
    /// A table that your application already has, for layout = "existing": its own code then sees what was verified. What it lacks is
    /// shown by `countersign migrate --print` and added at the start (store.migrate); rows that others write are never touched.
    StoreExisting, Table "store.existing" {
        /// A known model: "django" is table verification with verification_id, phone in digits, verification_type, verified,
        /// created_at and expires_at. The other keys change it; without a preset all of them are needed.
        preset: Option<Preset>, like "django";
        /// The table, with its schema where there are several.
        table: Option<TableName>, like "verification";
        /// How destinations are written there: "e164" is +255694230173, "digits" is 255694230173.
        destination_format: Option<DestinationFormat>, like "digits";
        /// The names of its columns: id, destination, purpose, verified, created_at, expires_at. A column for codes is left null.
        columns: ColumnNames = {}, like { id = "verification_id" };
        /// Whether a cleanup leaves the rows of verifications in the table, and takes only what it kept in them.
        keep_rows: bool = false;
    }
}

section! {
    /// The keys that codes are derived under and tokens are signed with.
    Keys, Table "keys" {
        /// The key ring: made on the first run, readable by its owner alone. Keep a copy of it, apart from the database.
        file: String = "countersign.keys";
    }
}

section! {
    /// The proof that an approval gives: a JWT, checked by back ends against /.well-known/jwks.json. See docs/tokens.md.
    Tokens, Table "tokens" {
        /// "EdDSA" (Ed25519), or "ES256" for those whose libraries know only P-256.
        algorithm: Algorithm = "EdDSA";
        /// How long a token is good.
        lifetime: Duration = "5m", from "30s" to "5m";
    }
}

section! {
    /// Lengths, lives and counts. An application may have its own: any of these keys can stand in [[applications]] too.
    Policy, Table "policy" {
        /// Digits of a code. NIST SP 800-63B asks for 6 at least.
        code_length: u8 = 6, from 4 to 10;
        /// How long a code works; sending again does not prolong it. NIST SP 800-63B: 10 minutes at most.
        ttl: Duration = "5m", from "30s" to "24h";
        /// The pause before the same verification may be sent again.
        resend_after: Duration = "30s", from "0s" to "24h";
        /// How often one verification may be sent, the first time included.
        max_sends: u32 = 5, from 1 to 1000;
        /// Wrong guesses that one verification bears, counted apart for who holds its id and who only knows the destination.
        max_checks: u32 = 5, from 1 to 1000;
        /// Wrong guesses in any 24 h that one destination bears, all purposes together, again counted apart.
        max_guesses_per_day: u32 = 50, from 1 to 1000;
        /// Wrong guesses in 24 h, both counts together, after which new codes for the destination are longer.
        hardened_after: u32 = 10, from 1 to 1000;
        /// Digits of those longer codes.
        hardened_length: u8 = 8, from 4 to 10;
        /// The country assumed for numbers in national writing, as two letters; empty: numbers need their country code.
        default_country: Option<Country> = "", like "TZ";
        /// The countries that may be written to, as two letters; ["*"] is every one.
        allowed_countries: Countries = ["*"], like ["TZ", "KE"];
        /// Types of numbers that are never written to: they cost money or reach nobody.
        blocked_number_types: Vec<NumberType> = ["toll_free", "premium_rate", "shared_cost", "pager", "uan", "voicemail", "satellite"];
        /// The purposes that requests may name; an empty list allows any.
        purposes: Vec<Purpose> = [], like ["login", "registration"];
        /// Whether a request may choose its own code.
        allow_custom_code: bool = false;
        /// Channels over which the same code is sent, one after the other, each with the time that the person is given before the next; it
        /// stops when the code is approved. An empty list: the channel asked for alone.
        workflow: Vec<Step> = [], like ["sms 30s", "whatsapp 45s", "voice"];
    }
}

section! {
    /// Rates: so many in a window, earned back evenly. As many rows as wanted; rows given here replace the default rows.
    Limit, Rows "limits" {
        /// Whom it counts: one destination, one end user's address (client), a block of 10,000 numbers (prefix), a country, or all.
        per: Wanted<Per>, like "destination";
        /// What it counts: messages sent, or codes offered.
        of: Of = "sends";
        /// How many in a window; 0 refuses all.
        quota: Wanted<u32>, like 5;
        /// The window.
        window: Wanted<Duration>, from "1s" to "31d", like "10m";
    }
}

section! {
    /// The guard against SMS pumping: messages to numbers whose owners earn by them, and never confirm. See docs/guard.md. An application
    /// may have its own: [applications.guard].
    Guard, Table "guard" {
        /// "observe" counts and gives the alarm; "enforce" also refuses sends to a block of numbers that is full, until it has drained.
        mode: Mode = "off";
        /// How many sends that nobody confirmed a block of 10,000 numbers bears; a million numbers bear 10 times, a country or a mail
        /// domain 100 times as many.
        unconfirmed: u32 = 50, from 1 to 1000000;
        /// How long a full block takes to drain.
        window: Duration = "24h", from "1m" to "31d";
        /// The percentage of sends that must be confirmed for a block never to fill, however many there are. Each approval takes back
        /// 100 divided by this.
        least_conversion: u32 = 25, from 1 to 100;
    }
}

section! {
    /// How hard to try to have a message carried.
    Delivery, Table "delivery" {
        /// How long a provider may take to answer.
        timeout: Duration = "10s", from "1s" to "60s";
        /// How often one provider is asked again for one message.
        retries: u32 = 2, from 0 to 10;
        /// When nobody can say whether a provider took a message: "wait" for a receipt, or ask the "next" (somebody may get two, with the same code).
        unknown: Unknown = "wait";
        /// Failures in a row after which a provider rests, and the next one is asked at once; 0: it never does.
        breaker_after: u32 = 50, from 0 to 1000;
        /// How long its first rest is. Then one message tries it; if that fails, it rests twice as long, up to six times this.
        breaker_pause: Duration = "5s", from "1s" to "1h";
        /// A folder of gateway descriptors of your own (`*.toml`): each is then named by `uses` like one that comes with Countersign.
        /// `countersign provider new` writes one.
        descriptors: Option<String> = "", like "gateways";
    }
}

section! {
    /// The log. It goes to standard error and holds no code, no text and no whole destination.
    Log, Table "log" {
        /// The least important messages shown.
        level: LogLevel = "info";
        /// "text" for people, "json" for machines.
        format: LogFormat = "text";
    }
}

section! {
    /// Deleting what is over.
    CleanupKeys, Table "cleanup" {
        /// Verifications are deleted so long after they expired.
        older_than: Duration = "24h", from "0s" to "3650d";
        /// The pause between two cleanups.
        every: Duration = "10m", from "1s" to "30d";
    }
}

section! {
    /// An application (tenant). Without any row there is one called `default`. Any key of [policy] may stand here too, for this
    /// application alone, [applications.guard], and [[applications.limits]], which replace [[limits]] for it.
    ApplicationKeys, Rows "applications" {
        /// Its name.
        name: ApplicationName = "default";
        /// What messages call it; if not set, its name.
        display_name: Option<String>, like "Example";
        /// The host of the web page that codes are typed into: adds the last line `@host #code`, by which browsers fill it in.
        web_origin: Option<Host> = "", like "example.com";
        /// The hash by which Android's SMS Retriever finds the app: adds it as a line to text messages.
        android_app_hash: Option<AndroidAppHash> = "", like "FA+9qCX9VSu";
    }
}

section! {
    /// An endpoint that an application's events are posted to, signed by the Standard Webhooks specification; it belongs to the row of
    /// [[applications]] above it. See docs/webhooks.md.
    WebhookKeys, Rows "applications.webhooks" {
        /// Where to.
        url: Wanted<WebhookUrl>, like "https://app.example.com/countersign";
        /// What signs, as it was agreed with the endpoint: whsec_ and 24 to 64 random bytes in base64. A list of two while it is changed: both sign.
        secret: WebhookSecrets, like "whsec_RXhhbXBsZSwgZG8gbm90IHVzZSEh";
        /// A file that holds the secret instead; a list of two while it is changed.
        secret_file: SecretFiles, like "/run/secrets/webhook";
        /// Which events; ["*"] is every one.
        events: WebhookEvents = ["*"], like ["verification.approved", "verification.failed"];
    }
}

section! {
    /// How webhooks to applications are sent.
    WebhookTerms, Table "webhooks" {
        /// How long an endpoint may take to answer.
        timeout: Duration = "10s", from "1s" to "60s";
        /// Whether endpoints may be at addresses that are not of the public internet, as those of private networks: where whoever writes
        /// this file may reach everything that this machine can. This machine itself (127.0.0.1, localhost) may be one unless server.production.
        allow_private_addresses: bool = false;
    }
}

section! {
    /// Who carries messages; with what credentials depends on `uses`: see `countersign provider show NAME`. Every secret can be in
    /// a file instead: password_file = "/run/secrets/password". Where countries show different senders, senders = { TZ = "MyApp", US = "+15005550006" }
    /// says which. Without any row messages are caught by the inbox and leave nowhere.
    Provider, Rows "providers" {
        /// What routes and deliveries call it.
        name: Wanted<String>, like "gateway";
        /// Which one it is: see `countersign provider list`.
        uses: Wanted<String>, like "webhook";
        /// Messages that may be on their way to it at once, from each process; 0 is no bound of its own.
        max_concurrent: u32 = 0, from 0 to 100000;
        /// Messages that it may be handed in a second, by each process; 0 is no bound. More wait for their turn, or go to the next provider.
        max_per_second: u32 = 0, from 0 to 100000;
    }
}

section! {
    /// Which providers carry what; the first row that fits decides. Without any row every provider carries every channel it can, in
    /// the order of the file.
    RouteKeys, Rows "routes" {
        /// The channel.
        channel: Wanted<Channel>, like "sms";
        /// The countries, as two letters.
        countries: Countries = ["*"], like ["TZ", "KE"];
        /// Types of numbers that it is for; an empty list is every one.
        number_types: Vec<NumberType> = [];
        /// Only for this application; if not set, for all.
        application: Option<ApplicationName>, like "default";
        /// Names of [[providers]], in order: the next one is tried when one fails.
        providers: Vec<String>, like ["gateway"];
        /// How the first attempts are shared out, a number for each provider; an empty list: as they are listed. 0 is a stand-in.
        weights: Vec<u32> = [], like [3, 1];
        /// What each provider charges for a message, of SMS for each part: shown by `route explain` and `template preview`.
        prices: Vec<Price> = [], like ["0.0071 EUR", "0.02 EUR"];
        /// How long to wait for a receipt before the next provider is tried; 0s: acceptance is enough. Only for providers that send receipts.
        receipt_within: Duration = "0s", from "0s" to "1h";
    }
}

section! {
    /// How texts are chosen and written. They come with the program in some seventy languages; [templates] changes them.
    Texts, Table "texts" {
        /// The language where none was asked for and the number's country leaves doubt, or has none of its own.
        default_locale: Locale = "en";
        /// Whether a number's country chooses the language where none was asked for: +20 is written to in Arabic.
        locale_by_country: bool = true;
        /// Whether typographic quotes, dashes and the like are written plainly in an SMS that then costs half.
        plain_characters: bool = true;
        /// Whether [templates] may hold links. People are told to distrust codes that come with one.
        allow_links: bool = false;
    }
}

section! {
    /// A destination with a fixed code, for an application's own tests. Never in production.
    TestDestinationKeys, Rows "test_destinations" {
        /// To whom.
        to: Wanted<String>, like "+15005550006";
        /// The code, as a text.
        code: TestCode, like "123456";
        /// Only for this application; if not set, for all.
        application: Option<ApplicationName>, like "default";
    }
}

impl Guard {
    /// The rules that these keys mean.
    #[must_use]
    pub const fn rules(&self) -> guard::Guard {
        guard::Guard {
            mode: self.mode,
            unconfirmed: self.unconfirmed,
            window: self.window,
            least_conversion: self.least_conversion,
        }
    }
}

/// Every section, in the order of the default file. Templates, whose keys are names, have their own words in `document`.
pub const SECTIONS: &[&Section] = &[
    &Server::SECTION,
    &Simple::SECTION,
    &Twilio::SECTION,
    &Camara::SECTION,
    &Store::SECTION,
    &StoreExisting::SECTION,
    &Keys::SECTION,
    &Tokens::SECTION,
    &Policy::SECTION,
    &Limit::SECTION,
    &Guard::SECTION,
    &Delivery::SECTION,
    &Log::SECTION,
    &CleanupKeys::SECTION,
    &ApplicationKeys::SECTION,
    &WebhookKeys::SECTION,
    &WebhookTerms::SECTION,
    &Provider::SECTION,
    &RouteKeys::SECTION,
    &Texts::SECTION,
    &TestDestinationKeys::SECTION,
];

/// A section by its name.
#[must_use]
pub fn section_named(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().copied().find(|section| section.path == path)
}

impl Policy {
    /// The rules that these keys mean.
    #[must_use]
    pub fn rules(&self) -> policy::Policy {
        policy::Policy {
            code_length: self.code_length,
            ttl: self.ttl,
            resend_after: self.resend_after,
            max_sends: self.max_sends,
            max_checks: self.max_checks,
            max_guesses_per_day: self.max_guesses_per_day,
            hardened_after: self.hardened_after,
            hardened_length: self.hardened_length,
            default_country: self.default_country,
            allowed_countries: self.allowed_countries.clone(),
            blocked_number_types: self.blocked_number_types.clone(),
            purposes: (!self.purposes.is_empty()).then(|| self.purposes.clone()),
            allow_custom_code: self.allow_custom_code,
            workflow: self.workflow.clone(),
        }
    }
}

impl Limit {
    /// The rule, if everything that it needs is there.
    #[must_use]
    pub const fn rule(&self) -> Option<LimitRule> {
        match (self.per.0, self.quota.0, self.window.0) {
            (Some(per), Some(quota), Some(window)) => Some(LimitRule { per, of: self.of, quota, window }),
            _ => None,
        }
    }
}

impl RouteKeys {
    /// The route, if everything that it needs is there.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        let channel = self.channel.0?;
        let candidate = |(place, provider): (usize, &String)| Candidate {
            provider: provider.clone(),
            weight: self.weights.get(place).copied(),
            price: self.prices.get(place).cloned(),
        };
        let route = Route {
            channel,
            countries: self.countries.clone(),
            number_types: (!self.number_types.is_empty()).then(|| self.number_types.clone()),
            candidates: self.providers.iter().enumerate().map(candidate).collect(),
            receipt_within: (!self.receipt_within.is_zero()).then_some(self.receipt_within),
        };
        (!route.candidates.is_empty()).then_some(route)
    }
}

impl Delivery {
    /// How every provider is spared.
    #[must_use]
    pub fn bounds(&self) -> ProviderBounds {
        let (breaker_after, breaker_pause, timeout) = (self.breaker_after, self.breaker_pause, self.timeout);
        ProviderBounds { breaker_after, breaker_pause, timeout, ..ProviderBounds::default() }
    }

    /// The rules that these keys mean.
    #[must_use]
    pub const fn rules(&self) -> DeliveryPolicy {
        DeliveryPolicy { timeout: self.timeout, retries: self.retries, unknown: self.unknown }
    }
}

impl Texts {
    /// The rules that these keys mean.
    #[must_use]
    pub fn rules(&self) -> TextPolicy {
        TextPolicy {
            default_locale: self.default_locale.0.clone(),
            locale_by_country: self.locale_by_country,
            plain_characters: self.plain_characters,
            allow_links: self.allow_links,
        }
    }
}

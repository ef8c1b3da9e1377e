//! A code is sent: read the request, decide in the store, answer; carry only after the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::code::Code;
use countersign_core::decision::Chance;
use countersign_core::destination::Destination;
use countersign_core::guard::{Filled, Noticed};
use countersign_core::id::{ApplicationName, Purpose, ServiceId, VerificationId};
use countersign_core::limit::ExtraLimit;
use countersign_core::own_text;
use countersign_core::policy::Application;
use countersign_core::refusal::Refusal;
use countersign_core::send::{Begin, Send, Sent, Terms, What};
use countersign_core::verification::{Delivery, Payment, Verification, Wording};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::deliver::Word;
use crate::observe::Observation;
use crate::store::{self, WithDeliveries};
use crate::verifier::{Broken, Failure, Verifier, chance};

/// Asks for a code to be sent. Texts are as people write them; what cannot be meant is refused.
///
/// ```
/// use countersign::SendRequest;
/// let request = SendRequest::to("+255 694 230 173").purpose("registration").locale("sw");
/// ```
#[derive(Debug)]
pub struct SendRequest {
    application: ApplicationName,
    target: Target,
    channel: Option<Channel>,
    client: Option<String>,
    seed: Option<[u8; 56]>,
    terms: Terms,
}

#[derive(Debug)]
enum Target {
    Destination(Box<Wanted>),
    Id(VerificationId),
}

#[derive(Debug, Default)]
struct Wanted {
    service: Option<ServiceId>,
    to: String,
    purpose: Option<String>,
    locale: Option<String>,
    code_length: Option<u8>,
    ttl: Option<Duration>,
    template: Option<String>,
    custom_code: Option<CustomCode>,
    metadata: BTreeMap<String, String>,
    keyless: bool,
    payment: Option<Payment>,
    wording: Wording,
}

/// A code chosen by the caller, unread: it must not show in `Debug` either.
struct CustomCode(Option<Code>);

impl std::fmt::Debug for CustomCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomCode")
    }
}

impl SendRequest {
    /// Begin a verification of this destination, or send the pending one again.
    #[must_use]
    pub fn to(to: impl Into<String>) -> Self {
        Self::new(Target::Destination(Box::new(Wanted { to: to.into(), ..Wanted::default() })))
    }

    /// Send this verification again.
    #[must_use]
    pub fn again(id: VerificationId) -> Self {
        Self::new(Target::Id(id))
    }

    fn new(target: Target) -> Self {
        Self {
            application: ApplicationName::default(),
            target,
            channel: None,
            client: None,
            seed: None,
            terms: Terms::default(),
        }
    }

    /// For this application rather than `default`.
    #[must_use]
    pub fn application(mut self, name: ApplicationName) -> Self {
        self.application = name;
        self
    }

    /// Over this channel rather than the destination's own.
    #[must_use]
    pub const fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// For this purpose rather than `login`: lower-cased, `[a-z0-9_-]{1,32}`.
    #[must_use]
    pub fn purpose(self, purpose: impl Into<String>) -> Self {
        self.wanting(|wanted| wanted.purpose = Some(purpose.into()))
    }

    /// In this service of the application rather than its own: a verification of one is not seen by the other.
    #[must_use]
    pub fn service(self, service: ServiceId) -> Self {
        self.wanting(|wanted| wanted.service = Some(service))
    }

    /// In this language: a BCP 47 tag.
    #[must_use]
    pub fn locale(self, locale: impl Into<String>) -> Self {
        self.wanting(|wanted| wanted.locale = Some(locale.into()))
    }

    /// With a code of so many digits, 4 to 10.
    #[must_use]
    pub fn code_length(self, digits: u8) -> Self {
        self.wanting(|wanted| wanted.code_length = Some(digits))
    }

    /// With a code that works so long, 30 s to 24 h.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.wanting(|wanted| wanted.ttl = Some(ttl))
    }

    /// With the text of this template.
    #[must_use]
    pub fn template(self, name: impl Into<String>) -> Self {
        self.wanting(|wanted| wanted.template = Some(name.into()))
    }

    /// With this code, 4 to 10 digits, where the policy allows it.
    #[must_use]
    pub fn custom_code(self, code: &str) -> Self {
        let code = code.parse().ok();
        self.wanting(|wanted| wanted.custom_code = Some(CustomCode(code)))
    }

    /// With the application's own notes: at most 10, of at most 128 characters.
    #[must_use]
    pub fn metadata(self, metadata: BTreeMap<String, String>) -> Self {
        self.wanting(|wanted| wanted.metadata = metadata)
    }

    /// By somebody who showed no key. They will hold the id of what they begin, and wrong guesses at it are counted apart over the day,
    /// so that they cannot use up the budget of who holds an id that the application began.
    #[must_use]
    pub fn keyless(self) -> Self {
        self.wanting(|wanted| wanted.keyless = true)
    }

    /// Confirming this payment: whoever checks the code must name the same one.
    #[must_use]
    pub fn payment(self, payment: Payment) -> Self {
        self.wanting(|wanted| wanted.payment = Some(payment))
    }

    /// With a message that says this in words of its own.
    #[must_use]
    pub fn wording(self, wording: Wording) -> Self {
        self.wanting(|wanted| wanted.wording = wording)
    }

    /// Charged to these limits too: together with the application's own, or not at all.
    #[must_use]
    pub fn limits(mut self, limits: Vec<ExtraLimit>) -> Self {
        self.terms.limits = limits;
        self
    }

    /// With this pause before the same verification may be sent again, rather than the policy's.
    #[must_use]
    pub const fn resend_after(mut self, pause: Duration) -> Self {
        self.terms.resend_after = Some(pause);
        self
    }

    /// To a number that the application vouches for: its country is not asked about.
    #[must_use]
    pub const fn vouched(mut self) -> Self {
        self.terms.vouched = true;
        self
    }

    /// Anew rather than again: what is pending is called off, and a new verification with another code begins in its place.
    #[must_use]
    pub const fn superseding(mut self) -> Self {
        self.terms.supersedes = true;
        self
    }

    /// By an application that answers for it: the guard counts it, and does not refuse it.
    #[must_use]
    pub const fn unguarded(mut self) -> Self {
        self.terms.unguarded = true;
        self
    }

    /// For an end user at this address, counted by the client limits. An IPv6 address should be given as its /64.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Deciding with these random bytes: those of [`Verifier::answer_once`], so that the same request after a crash sends nothing twice.
    #[must_use]
    pub const fn seed(mut self, seed: [u8; 56]) -> Self {
        self.seed = Some(seed);
        self
    }

    fn wanting(mut self, change: impl FnOnce(&mut Wanted)) -> Self {
        if let Target::Destination(wanted) = &mut self.target {
            change(wanted);
        }
        self
    }
}

/// A message is in the outbox, durably, and on its way if this process could carry it.
#[derive(Debug)]
pub struct Sending {
    /// What was decided.
    pub sent: Sent,
    verifier: Verifier,
    word: oneshot::Receiver<(Word, Option<WithDeliveries>)>,
}

impl Sending {
    /// Waits for the provider's word, at most `patience`; then what is known of the verification by that time.
    ///
    /// # Errors
    /// Broken if the store cannot be read.
    pub async fn wait(self, patience: Duration) -> Result<(Word, Verification, Vec<Delivery>), Failure> {
        // Without an answer at once if nobody carries it yet.
        let heard = tokio::time::timeout(patience, self.word).await.ok().and_then(Result::ok);
        let (heard, known) = heard.unwrap_or((Word::NotYet, None));
        let Sent { verification, deliveries, .. } = self.sent;
        let known = match known {
            Some(known) => Some(known),
            None => self.verifier.verification(&verification.application, verification.id).await?,
        };
        let (verification, deliveries) = known.unwrap_or((verification, deliveries));
        Ok((heard, verification, deliveries))
    }
}

impl Verifier {
    /// Sends a code: begins a verification, or sends the pending one of the same destination and purpose again with the same code.
    /// When this returns the message is in the outbox, durably; it is carried right after, by this process or, after a crash, by another.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the first of the refusals that are true, by [`countersign_core::refusal::RANKING`];
    /// [`Failure::Broken`] if the store is unavailable: then nothing was sent.
    pub async fn send(&self, request: SendRequest) -> Result<Sending, Failure> {
        self.open()?;
        let application = self.application(&request.application)?;
        let what =
            read(&application, request.target).map_err(|refusal| self.refused(application.name.as_str(), refusal))?;
        let permit = Arc::clone(&self.inner.carriers).try_acquire_owned().ok();
        let chance = match request.seed {
            Some(seed) => {
                let chance = Chance::from_bytes(&seed);
                if let Some(sent) = self.sent_before(&application.name, chance).await? {
                    // Nobody here carries it, so nobody here will say a word.
                    return Ok(Sending { sent, verifier: self.clone(), word: oneshot::channel().1 });
                }
                chance
            }
            None => chance()?.with_ordered_delivery(self.now()),
        };
        let decision = Send {
            application: Arc::clone(&application),
            keys: self.keys(),
            what,
            channel: request.channel,
            client: request.client,
            carry_now: permit.is_some(),
            terms: request.terms,
            chance,
            now: self.now(),
        };
        // A task of its own: whoever asked may hang up, and between the commit and the carrying nothing may be lost.
        let ((answered, answer), (told, word)) = (oneshot::channel(), oneshot::channel());
        let verifier = self.clone();
        let work = async move {
            let mut sent = match verifier.decide(decision).await {
                Ok(sent) => sent,
                Err(failure) => return drop(answered.send(Err(failure))),
            };
            let carry = sent.carry.take().map(|delivery| (sent.verification.clone(), delivery));
            let _ = answered.send(Ok(sent));
            if let (Some((verification, delivery)), Some(permit)) = (carry, permit) {
                let heard = verifier.carry(&application, verification, delivery).await;
                drop(permit);
                let _ = told.send(heard);
            }
        };
        tokio::spawn(work.in_current_span());
        let sent = answer.await.map_err(|_| Broken::SetUp("a send panicked".to_owned()))??;
        Ok(Sending { sent, verifier: self.clone(), word })
    }

    async fn decide(&self, send: Send) -> Result<Sent, Failure> {
        let rules = Arc::clone(&send.application);
        let application = rules.name.as_str();
        let answer = store::ask(&*self.inner.store, send).await?;
        if let Err(Refusal::FraudSuspected { country }) = &answer {
            self.inner.observer.observe(Observation::Suspected { application, country: *country, refused: true });
        }
        let sent = answer.map_err(|refusal| self.refused(application, refusal))?;
        let channel = sent.verification.channel;
        self.inner.observer.observe(Observation::Sent { application, channel, begun: sent.begun });
        self.tell_what_the_guard_noticed(&rules, &sent);
        Ok(sent)
    }

    fn tell_what_the_guard_noticed(&self, rules: &Application, sent: &Sent) {
        let (application, country) = (rules.name.as_str(), sent.verification.to.country());
        if sent.noticed.suspected {
            self.inner.observer.observe(Observation::Suspected { application, country, refused: false });
        }
        for Filled { block, unconfirmed } in &sent.noticed.filled {
            let mode = rules.guard.mode.as_str();
            tracing::warn!(application, %block, unconfirmed, mode, "a block of numbers is full of sends that nobody confirmed");
            self.inner.observer.observe(Observation::Alarm { application, country });
        }
    }
}

impl Verifier {
    /// What these random bytes were already used for, by whoever stopped before the answer was kept. The decision looks for that too,
    /// but only in the verification that is pending now.
    async fn sent_before(&self, application: &ApplicationName, chance: Chance) -> Result<Option<Sent>, Failure> {
        let found = self.inner.store.verification_of(application, chance.delivery).await?;
        Ok(found.map(|(verification, deliveries)| {
            let begun = verification.id.same_as(&chance.verification);
            Sent { verification, deliveries, begun, carry: None, noticed: Noticed::default() }
        }))
    }
}

/// Texts into types; what cannot be meant is refused here, once for every door.
fn read(application: &Application, target: Target) -> Result<What, Refusal> {
    let wanted = match target {
        Target::Id(id) => return Ok(What::Again(id)),
        Target::Destination(wanted) => *wanted,
    };
    let to = read_destination(application, &wanted.to)?;
    let purpose = read_purpose(wanted.purpose.as_deref())?;
    if wanted.locale.as_deref().is_some_and(|locale| !is_language_tag(locale)) {
        return Err(invalid("locale", "must be a BCP 47 tag, for example en or pt-BR"));
    }
    let custom_code = match wanted.custom_code {
        Some(CustomCode(None)) => return Err(invalid("custom_code", "must be a string of 4 to 10 digits")),
        Some(CustomCode(code)) => code,
        None => None,
    };
    let too_long = |text: &String| text.chars().count() > 128;
    if wanted.metadata.len() > 10 || wanted.metadata.iter().any(|(key, value)| too_long(key) || too_long(value)) {
        return Err(invalid("metadata", "must be at most 10 strings of at most 128 characters"));
    }
    if wanted.payment.as_ref().is_some_and(|payment| too_long(&payment.amount) || too_long(&payment.payee)) {
        return Err(invalid("payment", "must be an amount and a payee of at most 128 characters"));
    }
    let Wording { name, android_app_hash, values, text } = &wanted.wording;
    let words = values.iter().flat_map(|(name, value)| [name, value]).chain(name).chain(android_app_hash);
    if values.len() > 20 || words.into_iter().any(too_long) {
        return Err(invalid("wording", "must be at most 20 values, and every word at most 128 characters"));
    }
    if let Some(text) = text {
        own_text::fit(text, application.texts.allow_links).map_err(|unfit| invalid("message", &unfit.to_string()))?;
    }
    Ok(What::Begin(Box::new(Begin {
        service: wanted.service,
        to,
        purpose,
        locale: wanted.locale,
        code_length: wanted.code_length,
        ttl: wanted.ttl,
        template: wanted.template,
        custom_code,
        metadata: wanted.metadata,
        keyless: wanted.keyless,
        payment: wanted.payment,
        wording: wanted.wording,
    })))
}

pub(crate) fn read_destination(application: &Application, text: &str) -> Result<Destination, Refusal> {
    Destination::parse(text, application.policy.default_country).map_err(Refusal::InvalidDestination)
}

pub(crate) fn read_purpose(text: Option<&str>) -> Result<Purpose, Refusal> {
    text.map_or_else(
        || Ok(Purpose::default()),
        |text| text.parse().map_err(|_| invalid("purpose", "must be 1 to 32 characters of a-z, 0-9, `_` and `-`")),
    )
}

fn invalid(param: &'static str, detail: &str) -> Refusal {
    Refusal::InvalidRequest { param, detail: detail.to_owned() }
}

fn is_language_tag(text: &str) -> bool {
    text.len() <= 35
        && text.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

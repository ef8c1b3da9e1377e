//! The promises that every store is held to, as a suite: `store_contract!` makes one test of each.
//!
//! ```
//! use std::sync::Arc;
//! use countersign::{MemoryStore, Store};
//!
//! /// A new, empty store.
//! async fn open() -> Arc<dyn Store> {
//!     Arc::new(MemoryStore::default())
//! }
//!
//! countersign::store_contract!(open);
//! # fn main() {}
//! ```
//! A store that keeps the latest verification of each destination and purpose alone, and no events, says so:
//! `store_contract!(open, without history)`. Then it is held to that instead, and to everything else.
//!
//! A promise is a function that takes a new, empty store and panics if it is broken. What can be promised of a decision is tested
//! through a [`Verifier`], concurrency included: that is how stores are used.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a suite of tests: each function is documented by its name, and panics when a promise is broken"
)]

mod answers;
mod deliveries;
mod guard;
mod health;
mod lists;
mod moving;
mod records;
mod webhooks;

pub use answers::*;
pub use deliveries::*;
pub use guard::*;
pub use health::*;
pub use lists::*;
pub use moving::*;
pub use records::*;
pub use webhooks::*;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::CheckResult;
use countersign_core::code::{Key, KeyRing};
use countersign_core::event::EventKind;
use countersign_core::id::{ApplicationName, ServiceId, VerificationId};
use countersign_core::limit::{LimitRule, Of, Per};
use countersign_core::outcome::{Failure as Rejection, Outcome};
use countersign_core::policy::{Application, Policy};
use countersign_core::refusal::{Kind, Refusal};
use countersign_core::route::Step;
use countersign_core::time::Timestamp;
use countersign_core::verification::{DeliveryStatus, Payment, Status, Wording};

use crate::store::{AnswerKey, KeptAnswer, ListFilter, NewAnswer, Record, RecordFilter, RecordName};
use crate::transfer::{Dumped, Loaded, Row, RowKind};
use crate::webhook::{Requeue, WebhookMessage, WebhookOutcome};
use crate::{CheckRequest, Cleanup, Failure, ManualClock, MemoryStore, RecordingSender, SendRequest, Store, Verifier};

/// Makes one test of each promise, for a function that opens a new, empty store.
#[macro_export]
macro_rules! store_contract {
    ($open:path) => {
        $crate::store_contract! { @common $open }
        $crate::store_contract! { @moving $open }
        $crate::store_contract! { @history $open }
        $crate::store_contract! { @webhooks $open }
        $crate::store_contract! { @health $open }
    };
    ($open:path, without webhooks) => {
        $crate::store_contract! { @common $open }
        $crate::store_contract! { @moving $open }
        $crate::store_contract! { @history $open }
    };
    ($open:path, without history) => {
        $crate::store_contract! { @common $open }
        $crate::store_contract! { @moving $open }
        $crate::store_contract! { @each $open;
            only_the_latest_is_kept_and_no_events
        }
    };
    (@common $open:path) => {
        $crate::store_contract! { @each $open;
            what_is_written_is_read_back
            what_is_absent_is_none
            an_id_is_its_applications_alone
            the_latest_verification_is_found_by_destination
            verifications_of_two_services_never_meet
            parallel_wrong_guesses_by_id_evaluate_exactly_the_cap
            parallel_wrong_guesses_by_destination_evaluate_exactly_the_cap
            parallel_right_codes_are_accepted_once
            a_right_code_among_wrong_ones_is_accepted
            parallel_sends_begin_one_verification
            a_send_that_supersedes_leaves_one_that_is_pending
            parallel_sends_are_charged_exactly
            limits_are_charged_together_or_not_at_all
            blocks_of_numbers_are_exact
            guesses_outlive_verifications
            guesses_at_what_was_begun_without_a_key_are_kept_apart
            an_overdue_delivery_is_claimed_once
            a_carrier_that_lost_its_lease_is_not_heard
            an_unclaimed_delivery_is_carried
            receipts_find_their_delivery
            expired_verifications_are_found
            what_nobody_answered_is_followed_up_once
            an_answer_is_kept_under_its_key
            an_answer_begun_before_a_crash_keeps_its_seed
            lists_are_paged_newest_first
            lists_are_cut_by_time
            a_verification_is_found_by_its_delivery
            records_are_kept_and_go_with_their_parent
            records_of_one_name_are_created_once
            keys_are_found_by_digest_until_revoked
            cleanup_is_bounded_and_spares_the_living
        }
    };
    (@moving $open:path) => {
        $crate::store_contract! { @each $open;
            what_was_moved_here_is_as_it_was
            what_is_here_is_read_whole_and_in_pages
        }
    };
    (@webhooks $open:path) => {
        $crate::store_contract! { @each $open;
            events_are_taken_up_once
            webhooks_are_claimed_in_order_and_settled_once
            webhooks_are_requeued_and_endpoints_disabled
            cleanup_spares_what_is_not_taken_up
        }
    };
    (@history $open:path) => {
        $crate::store_contract! { @each $open;
            what_came_before_is_still_there
            what_was_begun_before_a_crash_is_found_whatever_began_since
            events_come_in_order_and_once
            each_end_is_one_event
        }
    };
    (@health $open:path) => {
        $crate::store_contract! { @each $open;
            what_ended_is_counted_once_whoever_counts
            cleanup_counts_before_it_deletes_and_forgets_old_figures
            figures_are_moved_and_not_counted_again
        }
    };
    (@each $open:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                $crate::contract::$promise($open().await).await;
            }
        )*
    };
}

const TO: &str = "+255694230173";

/// A verifier over a store, with a phone and a clock that stands still.
pub struct Bench {
    pub verifier: Verifier,
    pub phone: Arc<RecordingSender>,
    pub clock: ManualClock,
}

impl Bench {
    /// With the policy as the configuration has it, but no pause between sends and no limits.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with(store, |_| {})
    }

    /// The same, changed.
    #[must_use]
    pub fn with(store: Arc<dyn Store>, change: impl Fn(&mut Application)) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
        let phone = Arc::new(RecordingSender::new("phone"));
        let mut builder = Verifier::builder()
            .store(store)
            .clock(Arc::new(clock.clone()))
            .sender(phone.clone())
            .keys(KeyRing::new("k1", Key::from_bytes([7; 32])));
        for name in ["default", "other"] {
            let mut application = Application::new(name.parse().unwrap(), "phone");
            application.limits.clear();
            application.policy.resend_after = Duration::ZERO;
            change(&mut application);
            builder = builder.application(application);
        }
        Self { verifier: builder.build().unwrap(), phone, clock }
    }

    /// Sends, waits until it is carried, and gives the id and the code.
    pub async fn send(&self, to: &str) -> (VerificationId, String) {
        let sending = self.verifier.send(SendRequest::to(to)).await.unwrap();
        let id = sending.sent.verification.id;
        sending.wait(Duration::from_secs(10)).await.unwrap();
        (id, self.phone.wait_for_code(to).await)
    }

    pub async fn check(&self, id: VerificationId, code: &str) -> Result<CheckResult, Failure> {
        self.verifier.check(CheckRequest::by_id(id, code)).await.map(|checked| checked.result)
    }

    pub async fn check_to(&self, to: &str, code: &str) -> Result<CheckResult, Failure> {
        self.verifier.check(CheckRequest::by_destination(to, code)).await.map(|checked| checked.result)
    }
}

/// Another code of the same length.
#[must_use]
pub fn wrong(code: &str, nth: u32) -> String {
    let length = code.len() as u32;
    let modulus = 10_u64.pow(length);
    let value: u64 = code.parse().unwrap();
    format!("{:0width$}", (value + 1 + u64::from(nth)) % modulus, width = length as usize)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Failure>) -> Refusal {
    match result {
        Err(Failure::Refused(refusal)) => refusal,
        other => unreachable!("expected a refusal, got {other:?}"),
    }
}

pub async fn what_is_written_is_read_back(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.policy.allow_custom_code = true);
    let metadata = BTreeMap::from([("order".to_owned(), "12 – „x“\n\u{1F600}".to_owned())]);
    let request = SendRequest::to("+255 694 230 173")
        .purpose("Registration")
        .locale("sw")
        .code_length(8)
        .ttl(Duration::from_secs(600));
    let request = request.custom_code("00012345").metadata(metadata.clone()).channel(Channel::Voice);
    let payment = Payment { amount: "39,99 €".to_owned(), payee: "Ácme „x“".to_owned() };
    let words = Some("Duka – „x“".to_owned());
    let wording = Wording {
        name: words,
        android_app_hash: Some("abcdefghijk".to_owned()),
        values: metadata.clone(),
        text: Some("Duka – „{{code}}“\n\u{1F600} {{code}}".to_owned()),
    };
    let request = request.payment(payment.clone()).wording(wording.clone());
    let sent = bench.verifier.send(request).await.unwrap();
    let (_, written, deliveries) = sent.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(written.to.reveal(), TO);
    assert_eq!(written.to.country().unwrap().as_str(), "TZ");
    assert_eq!(written.purpose.as_str(), "registration");
    assert_eq!(written.locale.as_deref(), Some("sw"));
    assert_eq!(written.code_length, 8);
    assert_eq!(written.channel, Channel::Voice);
    assert_eq!(written.expires_at.since(written.created_at), Duration::from_secs(600));
    assert_eq!(written.metadata, metadata);
    assert_eq!((written.payment.as_ref(), &written.wording), (Some(&payment), &wording));
    assert_eq!((written.sends, written.max_sends, written.max_checks), (1, 5, 5));
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].status, deliveries[0].provider.as_str()), (DeliveryStatus::Accepted, "phone"));
    assert_eq!(bench.phone.messages()[0].code, "00012345");
    assert_eq!(bench.check(written.id, "00012345").await.unwrap(), CheckResult::Incorrect, "of no payment");
    let paid = CheckRequest::by_id(written.id, "00012345").payment(payment);
    assert_eq!(bench.verifier.check(paid).await.unwrap().result, CheckResult::Approved);
    let (after, _) = bench.verifier.verification(&written.application, written.id).await.unwrap().unwrap();
    assert_eq!(after.status, Status::Approved);
    assert_eq!(after.finished_at, Some(after.created_at));
}

pub async fn what_is_absent_is_none(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (default, nobody) = (ApplicationName::default(), VerificationId::from_bytes([9; 16]));
    assert!(bench.verifier.verification(&default, nobody).await.unwrap().is_none());
    assert_eq!(refusal(bench.check(nobody, "123456").await).kind(), Kind::NotFound);
    assert_eq!(bench.check_to(TO, "123456").await.unwrap(), CheckResult::NotFound);
    assert_eq!(refusal(bench.verifier.cancel(&default, nobody).await).kind(), Kind::NotFound);
    assert!(!bench.verifier.receipt("phone", "unknown", DeliveryStatus::Delivered, None).await.unwrap());
    assert!(bench.verifier.store().events(0, 10).await.unwrap().is_empty());
    bench.verifier.store().ping().await.unwrap();
}

pub async fn an_id_is_its_applications_alone(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    let other: ApplicationName = "other".parse().unwrap();
    assert!(bench.verifier.verification(&other, id).await.unwrap().is_none());
    let stranger = bench.verifier.check(CheckRequest::by_id(id, &code).application(other.clone())).await;
    assert_eq!(refusal(stranger).kind(), Kind::NotFound);
    let elsewhere = bench.verifier.check(CheckRequest::by_destination(TO, &code).application(other.clone())).await;
    assert_eq!(elsewhere.unwrap().result, CheckResult::NotFound);
    assert_eq!(refusal(bench.verifier.cancel(&other, id).await).kind(), Kind::NotFound);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

pub async fn the_latest_verification_is_found_by_destination(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (first, _) = bench.send(TO).await;
    bench.verifier.cancel(&ApplicationName::default(), first).await.unwrap();
    assert_eq!(bench.check_to(TO, "123456").await.unwrap(), CheckResult::NotFound);
    let (second, code) = bench.send(TO).await;
    assert_ne!(first, second);
    assert_eq!(bench.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(bench.check(second, &code).await.unwrap(), CheckResult::AlreadyUsed);
}

pub async fn verifications_of_two_services_never_meet(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let services = [None, Some(ServiceId::from_bytes([1; 16])), Some(ServiceId::from_bytes([2; 16]))];
    let send = async |service: Option<ServiceId>| {
        let request = service.map_or_else(|| SendRequest::to(TO), |service| SendRequest::to(TO).service(service));
        let sending = bench.verifier.send(request).await.unwrap();
        let (begun, id) = (sending.sent.begun, sending.sent.verification.id);
        let (_, kept, _) = sending.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(kept.service, service);
        (begun, id)
    };
    let check = async |service: Option<ServiceId>, code: &str| {
        let request = CheckRequest::by_destination(TO, code);
        let request =
            service.map_or_else(|| CheckRequest::by_destination(TO, code), |service| request.service(service));
        bench.verifier.check(request).await.unwrap().result
    };
    let mut begun = Vec::new();
    for service in services {
        let (new, id) = send(service).await;
        assert!(new, "{service:?}");
        bench.phone.wait_for_code(TO).await;
        begun.push((service, id, bench.phone.messages().last().unwrap().code.clone()));
    }
    for (service, id, _) in &begun {
        assert_eq!(send(*service).await, (false, *id), "sent again in its own service");
    }
    for (service, id, code) in &begun {
        let page = bench.verifier.list(&ListFilter { service: Some(*service), ..everything(&bench) }).await.unwrap();
        assert_eq!(page.rows.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [*id]);
        assert_eq!(check(*service, code).await, CheckResult::Approved);
        assert_eq!(check(*service, code).await, CheckResult::NotFound);
    }
    assert_eq!(bench.verifier.list(&everything(&bench)).await.unwrap().rows.len(), 3);
}

/// The first hundred verifications of the application.
fn everything(bench: &Bench) -> ListFilter {
    ListFilter::new(ApplicationName::default(), bench.verifier.now())
}

async fn all<T: Send + 'static>(work: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

pub async fn parallel_wrong_guesses_by_id_evaluate_exactly_the_cap(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    for round in 0..5 {
        let (id, code) = bench.send(&format!("+2556942301{round:02}")).await;
        let results = all((0..100).map(|nth| {
            let (verifier, request) = (bench.verifier.clone(), CheckRequest::by_id(id, &wrong(&code, nth)));
            async move { verifier.check(request).await.unwrap().result }
        }))
        .await;
        assert_eq!(results.iter().filter(|result| **result == CheckResult::Incorrect).count(), 5);
        assert_eq!(results.iter().filter(|result| **result == CheckResult::MaxAttemptsReached).count(), 95);
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::MaxAttemptsReached);
    }
}

pub async fn parallel_wrong_guesses_by_destination_evaluate_exactly_the_cap(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    let results = all((0..100).map(|nth| {
        let (verifier, request) = (bench.verifier.clone(), CheckRequest::by_destination(TO, &wrong(&code, nth)));
        async move { verifier.check(request).await.unwrap().result }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| **result == CheckResult::Incorrect).count(), 5);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::MaxAttemptsReached);
    assert_eq!(
        bench.check(id, &code).await.unwrap(),
        CheckResult::Approved,
        "a stranger does not lock the holder of the id out"
    );
}

pub async fn parallel_right_codes_are_accepted_once(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    for round in 0..200 {
        let to = format!("+2556942{round:05}");
        let (id, code) = bench.send(&to).await;
        let results = all((0..50).map(|nth| {
            let request =
                if nth % 2 == 0 { CheckRequest::by_id(id, &code) } else { CheckRequest::by_destination(&to, &code) };
            let verifier = bench.verifier.clone();
            async move { verifier.check(request).await.unwrap().result }
        }))
        .await;
        assert_eq!(results.iter().filter(|result| **result == CheckResult::Approved).count(), 1, "round {round}");
    }
}

pub async fn a_right_code_among_wrong_ones_is_accepted(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.policy.max_guesses_per_day = 1000);
    for round in 0..50 {
        let (id, code) = bench.send(&format!("+2556942{round:05}")).await;
        let offered = [wrong(&code, 0), code.clone(), wrong(&code, 1), wrong(&code, 2)];
        let results = all(offered.into_iter().map(|code| {
            let (verifier, request) = (bench.verifier.clone(), CheckRequest::by_id(id, &code));
            async move { verifier.check(request).await.unwrap().result }
        }))
        .await;
        assert_eq!(results[1], CheckResult::Approved);
    }
}

pub async fn parallel_sends_begin_one_verification(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.policy.resend_after = Duration::from_secs(30));
    let results = all((0..100).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.send(SendRequest::to(TO)).await.map(|sending| sending.sent.verification.id) }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let (_, code) = (0, bench.phone.wait_for_code(TO).await);
    assert_eq!(bench.phone.messages().len(), 1);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
}

pub async fn a_send_that_supersedes_leaves_one_that_is_pending(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let anew = || SendRequest::to(TO).superseding();
    let begin = async |request| {
        let sending = bench.verifier.send(request).await.unwrap();
        assert!(sending.sent.begun);
        let (_, row, deliveries) = sending.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!((row.sends, deliveries.len()), (1, 1));
        (row.id, bench.phone.messages().last().unwrap().code.clone())
    };
    // What a layout keeps of it besides, it keeps as called off.
    let over = async |id, code: &str| match bench.check(id, code).await {
        Ok(result) => assert_eq!(result, CheckResult::Canceled),
        Err(failure) => assert_eq!(refusal::<()>(Err(failure)).kind(), Kind::NotFound),
    };
    let (first, old) = begin(anew()).await;
    let (second, code) = begin(anew()).await;
    assert_ne!(first, second);
    over(first, &old).await;
    let before = bench.verifier.verification(&ApplicationName::default(), first).await.unwrap();
    assert!(before.is_none_or(|(row, _)| row.status == Status::Canceled && row.finished_at.is_some()));
    assert_eq!(bench.check(second, &code).await.unwrap(), CheckResult::Approved);
    // Also among sends that arrive together.
    let sent = all((0..40).map(|_| {
        let (verifier, request) = (bench.verifier.clone(), anew());
        async move { verifier.send(request).await.unwrap().sent.verification.id }
    }))
    .await;
    let mut pending = 0;
    for id in sent {
        let found = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap();
        pending += usize::from(found.is_some_and(|(row, _)| row.status == Status::Pending));
    }
    assert_eq!(pending, 1);
}

pub async fn parallel_sends_are_charged_exactly(store: Arc<dyn Store>) {
    let quota = LimitRule { per: Per::Destination, of: Of::Sends, quota: 7, window: Duration::from_secs(600) };
    let bench = Bench::with(store, |application| {
        application.limits = vec![quota];
        application.policy.max_sends = 100;
    });
    // Over four purposes: one destination has one budget.
    let results = all((0..100).map(|nth| {
        let (verifier, request) = (bench.verifier.clone(), SendRequest::to(TO).purpose(format!("purpose-{}", nth % 4)));
        async move { verifier.send(request).await.map(drop) }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 7);
}

pub async fn limits_are_charged_together_or_not_at_all(store: Arc<dyn Store>) {
    let rule = |per, quota| LimitRule { per, of: Of::Sends, quota, window: Duration::from_secs(3600) };
    let bench = Bench::with(store, |application| {
        application.limits = vec![rule(Per::Destination, 2), rule(Per::Client, 3)];
    });
    let send = |to: &str| bench.verifier.send(SendRequest::to(to).client("192.0.2.1"));
    for to in [TO, TO] {
        send(to).await.unwrap();
    }
    // Refused for the destination: the client must not pay for it.
    for _ in 0..5 {
        assert_eq!(refusal(send(TO).await).kind(), Kind::RateLimited);
    }
    send("+255694230174").await.unwrap();
    assert_eq!(refusal(send("+255694230175").await).kind(), Kind::RateLimited);
}

pub async fn guesses_outlive_verifications(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.policy.max_guesses_per_day = 12);
    let mut evaluated = 0;
    for _ in 0..6 {
        let (id, code) = bench.send(TO).await;
        assert_eq!(code.len(), if evaluated >= 10 { 8 } else { 6 });
        for nth in 0..5 {
            match bench.check(id, &wrong(&code, nth)).await {
                Ok(CheckResult::Incorrect) => evaluated += 1,
                Ok(other) => assert_eq!(other, CheckResult::MaxAttemptsReached),
                Err(Failure::Refused(Refusal::RateLimited { limit, .. })) => assert_eq!(limit.as_str(), "checks"),
                Err(other) => unreachable!("{other}"),
            }
        }
        bench.clock.advance(Duration::from_secs(301));
    }
    assert_eq!(evaluated, 12);
    bench.clock.advance(Duration::from_secs(24 * 60 * 60));
    let (id, code) = bench.send(TO).await;
    assert_eq!(code.len(), 6);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

pub async fn guesses_at_what_was_begun_without_a_key_are_kept_apart(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.policy.max_guesses_per_day = 4);
    let sending = bench.verifier.send(SendRequest::to(TO).keyless()).await.unwrap();
    let begun = sending.sent.verification;
    let code = bench.phone.wait_for_code(TO).await;
    for nth in 0..4 {
        assert_eq!(bench.check(begun.id, &wrong(&code, nth)).await.unwrap(), CheckResult::Incorrect);
    }
    let limited = refusal(bench.check(begun.id, &code).await);
    assert!(matches!(limited, Refusal::RateLimited { limit, .. } if limit.as_str() == "checks"));
    let (row, _) = bench.verifier.cancel(&begun.application, begun.id).await.unwrap();
    assert!(row.keyless);
    let (id, _) = bench.send(TO).await;
    let code = bench.phone.messages().last().unwrap().code.clone();
    for nth in 0..3 {
        assert_eq!(bench.check(id, &wrong(&code, nth)).await.unwrap(), CheckResult::Incorrect);
    }
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

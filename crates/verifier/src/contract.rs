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
            parallel_sends_are_charged_exactly
            limits_are_charged_together_or_not_at_all
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
    let wording = Wording { name: words, android_app_hash: Some("abcdefghijk".to_owned()), values: metadata.clone() };
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

/// Commits a send whose carrier is never heard of again: the phone says nothing and the process is gone.
async fn abandoned(store: &Arc<dyn Store>) -> (Bench, VerificationId) {
    let bench = Bench::new(Arc::clone(store));
    let unheard = Outcome::Rejected {
        failure: Rejection::RetryLater,
        reason: "busy".into(),
        retry_after: Some(Duration::from_secs(100)),
    };
    bench.phone.script([unheard]);
    let sending = bench.verifier.send(SendRequest::to(TO)).await.unwrap();
    let id = sending.sent.verification.id;
    // Until the first attempt has failed and the second one is waiting in a task of this verifier.
    for _ in 0..1000 {
        let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
        if deliveries.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (bench, id)
}

pub async fn an_overdue_delivery_is_claimed_once(store: Arc<dyn Store>) {
    let (bench, id) = abandoned(&store).await;
    let now = bench.verifier.now();
    let lease = Duration::from_secs(30);
    assert!(store.claim(now, lease, 10).await.unwrap().is_empty(), "it is under its carrier's lease");
    let later = now + Duration::from_secs(200);
    let claims = all((0..8).map(|_| {
        let store = Arc::clone(&store);
        async move { store.claim(later, lease, 10).await.unwrap() }
    }))
    .await;
    let claimed: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].verification.id, id);
    assert_eq!(claimed[0].delivery.claims, 2);
    assert_eq!(claimed[0].delivery.lease_until, later + lease);
}

pub async fn a_carrier_that_lost_its_lease_is_not_heard(store: Arc<dyn Store>) {
    let (bench, id) = abandoned(&store).await;
    let now = bench.verifier.now();
    store.claim(now + Duration::from_secs(200), Duration::from_secs(600), 10).await.unwrap();
    // The first carrier wakes up and carries it after all; its outcome is under the old claim.
    bench.clock.advance(Duration::from_secs(110));
    bench.phone.wait_for_code(TO).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(deliveries[1].status, DeliveryStatus::Queued);
    assert_eq!(deliveries[1].claims, 2);
}

pub async fn an_unclaimed_delivery_is_carried(store: Arc<dyn Store>) {
    let (first, id) = abandoned(&store).await;
    drop(first);
    let second = Bench::new(Arc::clone(&store));
    second.clock.advance(Duration::from_secs(200));
    assert_eq!(second.verifier.carry_overdue().await.unwrap(), 1);
    let code = second.phone.wait_for_code(TO).await;
    assert_eq!(second.check(id, &code).await.unwrap(), CheckResult::Approved);
    let (_, deliveries) = second.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(deliveries.len(), 3, "each attempt is there: {deliveries:?}");
    assert_eq!(deliveries[1].status, DeliveryStatus::Unknown);
}

pub async fn receipts_find_their_delivery(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    bench.phone.script([Outcome::Accepted { message_id: Some("m-1".into()) }]);
    let (id, _) = bench.send(TO).await;
    let status =
        async || bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap().1[0].clone();
    let delivery = status().await;
    assert_eq!(delivery.message_id.as_deref(), Some("m-1"));
    assert!(!bench.verifier.receipt("another", "m-1", DeliveryStatus::Failed, None).await.unwrap());
    assert!(bench.verifier.receipt("phone", "m-1", DeliveryStatus::Undelivered, Some("absent".into())).await.unwrap());
    assert_eq!(status().await.status, DeliveryStatus::Undelivered);
    assert!(bench.verifier.receipt("phone", &delivery.id.to_string(), DeliveryStatus::Delivered, None).await.unwrap());
    assert!(bench.verifier.receipt("phone", "m-1", DeliveryStatus::Accepted, None).await.unwrap());
    assert_eq!(status().await.status, DeliveryStatus::Delivered);
}

pub async fn events_come_in_order_and_once(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    bench.check(id, &wrong(&code, 0)).await.unwrap();
    bench.check(id, &code).await.unwrap();
    bench.check(id, &code).await.unwrap();
    let events = bench.verifier.store().events(0, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|(_, event)| event.kind).collect();
    assert_eq!(kinds, [EventKind::VerificationCreated, EventKind::DeliveryAccepted, EventKind::VerificationApproved]);
    assert!(events.is_sorted_by_key(|(place, _)| *place));
    let rest = bench.verifier.store().events(events[0].0, 1).await.unwrap();
    assert_eq!(rest, events[1..2]);
}

pub async fn each_end_is_one_event(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    let results = all((0..20).map(|_| {
        let (verifier, request) = (bench.verifier.clone(), CheckRequest::by_id(id, &code));
        async move { verifier.check(request).await.unwrap().result }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| **result == CheckResult::Approved).count(), 1);
    bench.send(TO).await;
    bench.clock.advance(Duration::from_secs(300));
    for _ in 0..2 {
        bench.verifier.expire_overdue().await.unwrap();
    }
    let events = bench.verifier.store().events(0, 100).await.unwrap();
    let count = |kind| events.iter().filter(|(_, event)| event.kind == kind).count();
    assert_eq!((count(EventKind::VerificationApproved), count(EventKind::VerificationExpired)), (1, 1));
}

/// Two verifications of one destination and purpose, the first of which is over; their ids, and the first one's delivery.
async fn one_after_the_other(bench: &Bench) -> (VerificationId, VerificationId, String) {
    let (first, code) = bench.send(TO).await;
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().unwrap();
    assert_eq!(bench.check(first, &code).await.unwrap(), CheckResult::Approved);
    let (second, _) = bench.send(TO).await;
    assert_ne!(first, second);
    (first, second, deliveries[0].id.to_string())
}

pub async fn what_came_before_is_still_there(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (first, second, delivery) = one_after_the_other(&bench).await;
    let (row, _) = bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Approved);
    assert_eq!(bench.check(first, "000000").await.unwrap(), CheckResult::AlreadyUsed);
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    let page = bench.verifier.list(&everything(&bench)).await.unwrap();
    assert_eq!(page.rows.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [second, first]);
}

pub async fn only_the_latest_is_kept_and_no_events(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (first, second, delivery) = one_after_the_other(&bench).await;
    assert!(bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().is_none());
    assert_eq!(refusal(bench.check(first, "000000").await).kind(), Kind::NotFound);
    assert!(!bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    let page = bench.verifier.list(&everything(&bench)).await.unwrap();
    assert_eq!(page.rows.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [second]);
    assert!(bench.verifier.store().events(0, 100).await.unwrap().is_empty());
}

fn webhook(endpoint: &str, place: u64, verification: u8, at: Timestamp) -> WebhookMessage {
    WebhookMessage {
        endpoint: endpoint.to_owned(),
        id: format!("evt_{place:016x}"),
        application: ApplicationName::default(),
        verification: VerificationId::from_bytes([verification; 16]),
        body: format!("{{\"number\":{place}}}"),
        at,
        hold_until: at + Duration::from_secs(600),
        expires_at: at + Duration::from_secs(6000),
        due_at: at,
        attempts: 0,
    }
}

pub async fn events_are_taken_up_once(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    assert_eq!(store.webhook_position(false).await.unwrap(), None);
    assert_eq!(store.take_up_events(0, 1, &[]).await.unwrap(), None, "nothing is taken up that nobody wants");
    bench.send(TO).await;
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    assert!(store.events(begun, 10).await.unwrap().is_empty(), "it begins at the newest event");
    let (id, code) = bench.send("+255694230174").await;
    bench.check(id, &code).await.unwrap();
    assert_eq!(store.webhook_position(true).await.unwrap(), Some(begun));
    let events = store.events(begun, 10).await.unwrap();
    let through = events.last().unwrap().0;
    let now = bench.verifier.now();
    let taken = all((0..8_u8).map(|nth| {
        let (store, message) = (Arc::clone(&store), webhook("we_1", u64::from(nth), nth, now));
        async move { store.take_up_events(begun, through, &[message]).await.unwrap() }
    }))
    .await;
    assert!(taken.iter().all(|position| *position == Some(through)), "{taken:?}");
    let claimed = store.claim_webhooks("we_1", now, Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(claimed.len(), 1, "one of the eight took them up");
    assert_eq!(store.webhook_position(false).await.unwrap(), None);
}

pub async fn webhooks_are_claimed_in_order_and_settled_once(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (now, lease) = (bench.verifier.now(), Duration::from_secs(60));
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    // Two of one verification, one of another; the same event to a second endpoint.
    let messages = [
        webhook("we_1", 1, 1, now),
        webhook("we_1", 2, 1, now),
        webhook("we_1", 3, 2, now),
        webhook("we_2", 1, 1, now),
    ];
    store.take_up_events(begun, begun + 3, &messages).await.unwrap();
    let claim = async |at: Timestamp| {
        let claims = all((0..4).map(|_| {
            let store = Arc::clone(&store);
            async move { store.claim_webhooks("we_1", at, lease, 10).await.unwrap() }
        }))
        .await;
        let mut claimed: Vec<_> = claims.into_iter().flatten().collect();
        claimed.sort_by(|a, b| a.id.cmp(&b.id));
        claimed
    };
    let ids = |claimed: &[WebhookMessage]| claimed.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
    let (first, second, third) = (&messages[0].id, &messages[1].id, &messages[2].id);
    let claimed = claim(now).await;
    assert_eq!(ids(&claimed), [first.clone(), third.clone()], "the second waits for the first");
    assert_eq!((claimed[0].attempts, claimed[0].due_at), (1, now + lease));
    assert_eq!(claimed[0].body, messages[0].body);
    assert!(claim(now).await.is_empty());
    assert_eq!(
        store.claim_webhooks("we_2", now, lease, 10).await.unwrap().len(),
        1,
        "endpoints do not wait for each other"
    );

    // It fails: the second goes on waiting, for a bounded time.
    let later = now + Duration::from_secs(300);
    let again = WebhookOutcome::Again { due_at: later + Duration::from_secs(3600), error: "answered 500".to_owned() };
    assert!(store.settle_webhook(&claimed[0], &again, now).await.unwrap());
    assert!(store.settle_webhook(&claimed[1], &WebhookOutcome::Delivered, now).await.unwrap());
    assert!(!store.settle_webhook(&claimed[1], &WebhookOutcome::Delivered, now).await.unwrap(), "once");
    assert!(claim(later).await.is_empty());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares.len(), fares[0].endpoint.as_str(), fares[0].pending), (2, "we_1", 2));
    assert_eq!((fares[0].oldest, fares[0].disabled.clone()), (Some(now), None));
    let much_later = now + Duration::from_secs(600);
    let claimed = claim(much_later).await;
    assert_eq!(ids(&claimed), std::slice::from_ref(second));
    // A carrier whose lease ran out is not heard, and an endpoint that answers fails no more.
    let after = much_later + lease;
    let retaken = claim(after).await;
    assert_eq!((ids(&retaken), retaken[0].attempts), (vec![second.clone()], 2));
    assert!(!store.settle_webhook(&claimed[0], &again, after).await.unwrap());
    assert!(store.settle_webhook(&retaken[0], &again, after).await.unwrap());
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].failing_since, Some(after));
    let due = much_later + Duration::from_secs(7200);
    let last = claim(due).await;
    assert_eq!(last.len(), 2);
    assert!(store.settle_webhook(&last[0], &WebhookOutcome::Delivered, due).await.unwrap());
    let given_up = WebhookOutcome::GivenUp { error: "too often".to_owned() };
    assert!(store.settle_webhook(&last[1], &given_up, due).await.unwrap());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares[0].pending, fares[0].last_error.as_deref()), (0, Some("too often")));
}

pub async fn webhooks_are_requeued_and_endpoints_disabled(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (now, lease) = (bench.verifier.now(), Duration::from_secs(60));
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    let old = now - Duration::from_secs(100);
    let messages = [webhook("we_1", 1, 1, old), webhook("we_1", 2, 2, now), webhook("we_2", 2, 2, now)];
    store.take_up_events(begun, begun + 2, &messages).await.unwrap();
    let claimed = store.claim_webhooks("we_1", now, lease, 1).await.unwrap();
    let gone = WebhookOutcome::Gone { error: "answered 410".to_owned(), settings: "s1".to_owned() };
    assert!(store.settle_webhook(&claimed[0], &gone, now).await.unwrap());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares[0].disabled.clone(), fares[0].pending), (Some((now, "s1".to_owned())), 2));
    assert_eq!(fares[1].disabled, None);
    assert!(store.claim_webhooks("we_1", now, lease, 10).await.unwrap().is_empty(), "it is told nothing more");
    let one = ["we_1".to_owned()];
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Waiting, now).await.unwrap(), 2);
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].disabled, None);
    for message in store.claim_webhooks("we_1", now, lease, 10).await.unwrap() {
        assert_eq!(message.attempts, 1, "as if never tried");
        assert!(store.settle_webhook(&message, &WebhookOutcome::Delivered, now).await.unwrap());
    }
    // What was delivered can be sent again: one event, or those of a time.
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Event(messages[1].id.clone()), now).await.unwrap(), 1);
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Event("evt_none".to_owned()), now).await.unwrap(), 0);
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Between(old, now), now).await.unwrap(), 1);
    let mut claimed = store.claim_webhooks("we_1", now, lease, 10).await.unwrap();
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    let bodies: Vec<_> = claimed.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, [&messages[0].body, &messages[1].body]);
    // Messages go with their time, whatever became of them.
    let end = now + Duration::from_secs(6000);
    let cleaned = store.cleanup(now - Duration::from_secs(1000), end, 10, false).await.unwrap();
    assert_eq!(cleaned.others, 3);
    assert!(store.webhook_endpoints().await.unwrap().iter().all(|fares| fares.pending == 0));
}

pub async fn cleanup_spares_what_is_not_taken_up(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (early, _) = bench.send("+255694230174").await;
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    let (id, code) = bench.send(TO).await;
    bench.check(id, &code).await.unwrap();
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let now = bench.verifier.now();
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    let application = ApplicationName::default();
    assert!(store.verification(&application, early).await.unwrap().is_none());
    assert!(store.verification(&application, id).await.unwrap().is_some());
    let events = store.events(begun, 100).await.unwrap();
    assert_eq!(events.iter().filter(|(_, event)| event.verification == id).count(), 3, "{events:?}");
    let message = webhook("we_1", 1, 1, now - Duration::from_secs(2));
    store.take_up_events(begun, events.last().unwrap().0, &[message]).await.unwrap();
    let claimed = store.claim_webhooks("we_1", now, Duration::from_secs(60), 10).await.unwrap();
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    assert!(store.verification(&application, id).await.unwrap().is_none());
    // A message that waits is spared, one that was delivered is not.
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].pending, 1);
    assert!(store.settle_webhook(&claimed[0], &WebhookOutcome::Delivered, now).await.unwrap());
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    let again = Requeue::Event(claimed[0].id.clone());
    assert_eq!(store.requeue_webhooks(&["we_1".to_owned()], &again, now).await.unwrap(), 0);
}

pub async fn expired_verifications_are_found(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Expired);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Expired);
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 1);
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 0);
    let (row, _) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Expired);
}

pub async fn what_nobody_answered_is_followed_up_once(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| {
        let step = |channel| Step { channel, wait: Duration::from_secs(30) };
        application.policy.workflow = vec![step(Channel::Sms), step(Channel::Voice)];
    });
    let (answered, code) = bench.send("+255694230174").await;
    bench.check(answered, &code).await.unwrap();
    let (id, _) = bench.send(TO).await;
    assert_eq!(bench.verifier.follow_up().await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(30));
    let store = bench.verifier.store();
    let due = store.to_follow_up(bench.verifier.now(), 10).await.unwrap();
    assert_eq!(due, [(ApplicationName::default(), id)]);
    // As from several processes at once.
    let looked = all((0..5).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.follow_up().await.unwrap() }
    }))
    .await;
    assert!(looked.iter().sum::<usize>() >= 1);
    let (row, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    let channels: Vec<_> = deliveries.iter().map(|delivery| delivery.channel).collect();
    assert_eq!((channels, row.follow_up_at), (vec![Channel::Sms, Channel::Voice], None));
    assert!(store.to_follow_up(bench.verifier.now(), 10).await.unwrap().is_empty());
}

fn answer_key(key: u8) -> AnswerKey {
    AnswerKey { application: ApplicationName::default(), key: [key; 32] }
}

fn new_answer(fingerprint: u8, now: Timestamp) -> NewAnswer {
    NewAnswer {
        fingerprint: [fingerprint; 32],
        seed: [fingerprint; 56],
        now,
        in_flight_until: now + Duration::from_secs(60),
        expires_at: now + Duration::from_secs(24 * 60 * 60),
    }
}

pub async fn an_answer_is_kept_under_its_key(store: Arc<dyn Store>) {
    let (now, key) = (Timestamp::from_millis(1_790_000_000_000), answer_key(1));
    let begun = all((0..20).map(|_| {
        let (store, key) = (Arc::clone(&store), key.clone());
        async move { store.begin_answer(&key, new_answer(1, now)).await.unwrap() }
    }))
    .await;
    assert_eq!(begun.iter().filter(|kept| matches!(kept, KeptAnswer::Begun { .. })).count(), 1);
    assert_eq!(begun.iter().filter(|kept| matches!(kept, KeptAnswer::InFlight)).count(), 19);
    assert!(matches!(store.begin_answer(&key, new_answer(2, now)).await.unwrap(), KeptAnswer::Mismatch));
    store.keep_answer(&key, b"answer".to_vec()).await.unwrap();
    let kept = store.begin_answer(&key, new_answer(1, now)).await.unwrap();
    assert!(matches!(kept, KeptAnswer::Answered(answer) if answer == b"answer"));
    let other = AnswerKey { application: "other".parse().unwrap(), ..key.clone() };
    assert!(matches!(store.begin_answer(&other, new_answer(1, now)).await.unwrap(), KeptAnswer::Begun { .. }));
    let tomorrow = now + Duration::from_secs(24 * 60 * 60);
    assert!(matches!(store.begin_answer(&key, new_answer(3, tomorrow)).await.unwrap(), KeptAnswer::Begun { .. }));
    store.release_answer(&key).await.unwrap();
    let again = NewAnswer { seed: [9; 56], ..new_answer(3, tomorrow) };
    let released = store.begin_answer(&key, again).await.unwrap();
    assert!(
        matches!(released, KeptAnswer::Begun { seed } if seed == [3; 56]),
        "released: the same request goes on at once"
    );
    assert!(matches!(store.begin_answer(&key, new_answer(4, tomorrow)).await.unwrap(), KeptAnswer::Mismatch));
}

pub async fn an_answer_begun_before_a_crash_keeps_its_seed(store: Arc<dyn Store>) {
    let (now, key) = (Timestamp::from_millis(1_790_000_000_000), answer_key(2));
    store.begin_answer(&key, new_answer(5, now)).await.unwrap();
    let later = now + Duration::from_secs(61);
    let again = NewAnswer { seed: [6; 56], ..new_answer(5, later) };
    let kept = store.begin_answer(&key, again).await.unwrap();
    assert!(matches!(kept, KeptAnswer::Begun { seed } if seed == [5; 56]));
    assert!(matches!(store.begin_answer(&key, new_answer(5, later)).await.unwrap(), KeptAnswer::InFlight));
    // And with that seed the send that was committed before the crash is found, not made again.
    let bench = Bench::new(Arc::clone(&store));
    let first = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    bench.phone.wait_for_code(TO).await;
    let again = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    assert_eq!(first.verification.id, again.verification.id);
    assert_eq!(again.verification.sends, 1);
    assert_eq!(bench.phone.messages().len(), 1);
}

pub async fn what_was_begun_before_a_crash_is_found_whatever_began_since(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let first = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    bench.phone.wait_for_code(TO).await;
    bench.verifier.cancel(&first.verification.application, first.verification.id).await.unwrap();
    let other = bench.verifier.send(SendRequest::to(TO).seed([6; 56])).await.unwrap();
    assert!(other.sent.begun && other.sent.verification.id != first.verification.id);
    other.wait(Duration::from_secs(10)).await.unwrap();
    let again = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    assert_eq!((again.verification.id, again.begun, again.carry), (first.verification.id, true, None));
    assert_eq!(bench.phone.messages().len(), 2);
}

pub async fn lists_are_paged_newest_first(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let mut ids = Vec::new();
    for nth in 0..7 {
        ids.push(bench.send(&format!("+25569423018{nth}")).await.0);
    }
    ids.reverse();
    bench.verifier.cancel(&ApplicationName::default(), ids[0]).await.unwrap();
    let mut filter = ListFilter { limit: 3, ..everything(&bench) };
    let mut seen = Vec::new();
    loop {
        let page = bench.verifier.list(&filter).await.unwrap();
        assert!(page.rows.len() <= 3);
        assert!(page.rows.iter().all(|(_, deliveries)| deliveries.len() == 1));
        seen.extend(page.rows.into_iter().map(|(row, _)| row.id));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let count = async |status| {
        bench
            .verifier
            .list(&ListFilter { status: Some(status), limit: 100, ..filter.clone() })
            .await
            .unwrap()
            .rows
            .len()
    };
    assert_eq!((count(Status::Pending).await, count(Status::Canceled).await, count(Status::Expired).await), (6, 1, 0));
    let later = ListFilter {
        now: filter.now + Duration::from_secs(300),
        status: Some(Status::Expired),
        limit: 100,
        ..filter.clone()
    };
    assert_eq!(bench.verifier.list(&later).await.unwrap().rows.len(), 6);
    let to = ListFilter {
        to: Some(countersign_core::destination::Destination::parse("+255694230183", None).unwrap()),
        ..filter
    };
    assert_eq!(bench.verifier.list(&to).await.unwrap().rows.len(), 1);
}

pub async fn lists_are_cut_by_time(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let mut begun = Vec::new();
    for nth in 0..3 {
        begun.push((bench.verifier.now(), bench.send(&format!("+25569423018{nth}")).await.0));
        bench.clock.advance(Duration::from_secs(1));
    }
    let (at, second) = begun[1];
    let ids = async |since, until| -> Vec<_> {
        let page = bench.verifier.list(&ListFilter { since, until, ..everything(&bench) }).await.unwrap();
        page.rows.into_iter().map(|(row, _)| row.id).collect()
    };
    assert_eq!(ids(Some(at), Some(at + Duration::from_millis(1))).await, [second]);
    assert_eq!(ids(Some(at), None).await, [begun[2].1, second]);
    assert_eq!(ids(None, Some(at)).await, [begun[0].1]);
}

pub async fn a_verification_is_found_by_its_delivery(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, _) = bench.send(TO).await;
    bench.send("+255694230174").await;
    let (default, store) = (ApplicationName::default(), bench.verifier.store());
    let whole = bench.verifier.verification(&default, id).await.unwrap().unwrap();
    let delivery = whole.1[0].id;
    assert_eq!(store.verification_of(&default, delivery).await.unwrap().unwrap(), whole);
    assert!(store.verification_of(&"other".parse().unwrap(), delivery).await.unwrap().is_none());
    let nobody = countersign_core::id::DeliveryId::from_bytes([9; 16]);
    assert!(store.verification_of(&default, nobody).await.unwrap().is_none());
}

fn record(kind: &str, id: &str, parent: Option<&str>) -> Record {
    Record {
        name: RecordName { application: ApplicationName::default(), kind: kind.to_owned(), id: id.to_owned() },
        parent: parent.map(str::to_owned),
        body: format!("{{\"of\":\"{id} – „x“\"}}"),
        created_at: Timestamp::from_millis(1_790_000_000_000),
        updated_at: Timestamp::from_millis(1_790_000_000_000),
    }
}

pub async fn records_are_kept_and_go_with_their_parent(store: Arc<dyn Store>) {
    let family = [
        record("house", "h1", None),
        record("room", "r1", Some("h1")),
        record("bed", "b1", Some("r1")),
        record("room", "r2", Some("h1")),
        record("house", "h2", None),
        record("room", "r3", Some("h2")),
    ];
    for kept in &family {
        assert!(store.create_record(kept).await.unwrap());
        assert!(!store.create_record(kept).await.unwrap(), "one of each name");
        assert_eq!(store.record(&kept.name).await.unwrap().as_ref(), Some(kept));
    }
    let elsewhere = RecordName { application: "other".parse().unwrap(), ..family[0].name.clone() };
    assert!(store.record(&elsewhere).await.unwrap().is_none());
    assert!(!store.delete_record(&elsewhere).await.unwrap());
    let page = async |kind: &str, parent: Option<&str>, limit, after| {
        let (kind, parent) = (kind.to_owned(), parent.map(str::to_owned));
        let filter = RecordFilter { application: ApplicationName::default(), kind, parent, limit, after };
        let page = store.records(&filter).await.unwrap();
        (page.rows.into_iter().map(|record| record.name.id).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = page("room", None, 2, None).await;
    assert_eq!(first, ["r3", "r2"], "newest first");
    assert_eq!(page("room", None, 2, next).await, (vec!["r1".to_owned()], None));
    assert_eq!(page("room", Some("h1"), 2, None).await, (vec!["r2".to_owned(), "r1".to_owned()], None));
    let changed =
        Record { body: "{}".into(), updated_at: Timestamp::from_millis(1_790_000_000_001), ..family[3].clone() };
    assert!(store.update_record(&changed).await.unwrap());
    assert_eq!(store.record(&changed.name).await.unwrap(), Some(changed));
    assert!(!store.update_record(&record("house", "h3", None)).await.unwrap());
    assert!(store.delete_record(&family[0].name).await.unwrap());
    assert!(!store.delete_record(&family[0].name).await.unwrap());
    for gone in &family[..4] {
        assert!(store.record(&gone.name).await.unwrap().is_none(), "{gone:?}");
    }
    assert_eq!(page("room", None, 9, None).await, (vec!["r3".to_owned()], None));
    assert!(store.create_record(&family[0]).await.unwrap(), "a name that was freed can be taken again");
}

pub async fn records_of_one_name_are_created_once(store: Arc<dyn Store>) {
    let made = all((0..20).map(|_| {
        let store = Arc::clone(&store);
        async move { store.create_record(&record("house", "h1", None)).await.unwrap() }
    }))
    .await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
}

pub async fn keys_are_found_by_digest_until_revoked(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let name = ApplicationName::default();
    let (record, created) = bench.verifier.create_application(&name).await.unwrap();
    assert!(created);
    assert_eq!(bench.verifier.create_application(&name).await.unwrap(), (record.clone(), false));
    let key = bench.verifier.create_key(&name).await.unwrap();
    assert_eq!(key.account_sid, record.account_sid);
    assert_eq!(bench.verifier.authenticate(&key.key).await.unwrap().unwrap().application, name);
    assert!(bench.verifier.authenticate(&key.auth_token).await.unwrap().is_none());
    assert!(bench.verifier.authenticate("cs_0000").await.unwrap().is_none());
    let digests: HashSet<_> =
        [key.record.key_digest, key.record.auth_token_digest, key.record.key_secret_digest].into();
    assert_eq!(digests.len(), 3);
    for digest in digests {
        assert_eq!(bench.verifier.store().key_by_digest(digest).await.unwrap().unwrap(), key.record);
    }
    assert!(bench.verifier.store().revoke_key(&key.record.id, bench.verifier.now()).await.unwrap());
    assert!(!bench.verifier.store().revoke_key("key_0", bench.verifier.now()).await.unwrap());
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.verifier.authenticate(&key.key).await.unwrap().is_none());
    assert_eq!(
        bench.verifier.store().keys(&name).await.unwrap()[0].revoked_at,
        Some(bench.verifier.now() - Duration::from_secs(1))
    );
}

pub async fn cleanup_is_bounded_and_spares_the_living(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.limits = LimitRule::defaults());
    for nth in 0..25 {
        let (id, code) = bench.send(&format!("+2556942301{nth:02}")).await;
        bench.check(id, &wrong(&code, 0)).await.unwrap();
    }
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let (living, code) = bench.send("+255694230199").await;
    let cleanup = Cleanup { batch: 10, pause: Duration::ZERO, ..Cleanup::default() };
    let dry = bench.verifier.clean_up(cleanup, true, |_| true).await.unwrap();
    assert_eq!(dry.verifications, 25);
    let now = bench.verifier.now();
    let batch = bench.verifier.store().cleanup(now - cleanup.older_than, now, 10, false).await.unwrap();
    assert_eq!((batch.verifications, batch.more), (10, true));
    // Two at once are harmless: each row is deleted by one of them.
    let both = all((0..2).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.clean_up(cleanup, false, |_| true).await.unwrap() }
    }))
    .await;
    assert_eq!(both[0].verifications + both[1].verifications, 15);
    let left = bench.verifier.clean_up(cleanup, true, |_| true).await.unwrap();
    assert_eq!((left.verifications, left.others), (0, 0));
    assert_eq!(bench.check(living, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(Policy::default().max_checks, 5);
}

/// Something of every kind, nothing of it replaced by what came later. Gives an id that is pending, and its code.
async fn filled(store: &Arc<dyn Store>) -> (VerificationId, String) {
    let bench = Bench::with(Arc::clone(store), |application| {
        application.limits = LimitRule::defaults();
        application.policy.allow_custom_code = true;
    });
    let name = ApplicationName::default();
    bench.verifier.create_application(&name).await.unwrap();
    bench.verifier.create_application(&"other".parse().unwrap()).await.unwrap();
    for _ in 0..3 {
        bench.verifier.create_key(&name).await.unwrap();
    }
    let revoked = store.keys(&name).await.unwrap()[0].id.clone();
    store.revoke_key(&revoked, bench.verifier.now()).await.unwrap();
    for kept in [record("house", "h1", None), record("room", "r1", Some("h1")), record("room", "r2", Some("h1"))] {
        assert!(store.create_record(&kept).await.unwrap());
    }
    for key in 1..4 {
        store.begin_answer(&answer_key(key), new_answer(key, bench.verifier.now())).await.unwrap();
    }
    store.keep_answer(&answer_key(2), vec![0, 1, 255]).await.unwrap();
    for nth in 0..5 {
        let (id, code) = bench.send(&format!("+25569423016{nth}")).await;
        let offered = if nth == 0 { code } else { wrong(&code, nth) };
        bench.check(id, &offered).await.unwrap();
    }
    let service = ServiceId::from_bytes([3; 16]);
    let request = SendRequest::to("jane@example.com").channel(Channel::Email).service(service).client("192.0.2.1");
    let metadata = BTreeMap::from([("order".to_owned(), "12 – „x“".to_owned())]);
    bench.verifier.send(request.custom_code("00012345").metadata(metadata)).await.unwrap();
    bench.phone.wait_for_code("jane@example.com").await;
    bench.send(TO).await
}

/// Everything, by kind, read in pages of `most`.
async fn whole(store: &Arc<dyn Store>, most: usize) -> Vec<Dumped> {
    let mut rows = Vec::new();
    for kind in RowKind::ALL {
        let mut after = None;
        loop {
            let page = store.dump(kind, after.as_deref(), most).await.unwrap();
            assert!(page.len() <= most && page.iter().all(|dumped| dumped.row.kind() == kind));
            let last = page.len() < most;
            after = page.last().map(|dumped| dumped.place.clone()).or(after);
            rows.extend(page);
            if last {
                break;
            }
        }
    }
    rows
}

fn rows_of(dumped: Vec<Dumped>) -> Vec<Row> {
    dumped.into_iter().map(|dumped| dumped.row).collect()
}

/// Whether they are the same rows, in order where a kind has one: names come in the order that a store sorts them.
fn are_same(left: &[Row], right: &[Row]) -> bool {
    RowKind::ALL.into_iter().all(|kind| {
        let of = |rows: &[Row]| rows.iter().filter(|row| row.kind() == kind).cloned().collect::<Vec<_>>();
        let (left, right) = (of(left), of(right));
        match kind {
            RowKind::Record | RowKind::Verification | RowKind::Event => left == right,
            _ => left.len() == right.len() && left.iter().all(|row| right.contains(row)),
        }
    })
}

pub async fn what_is_here_is_read_whole_and_in_pages(store: Arc<dyn Store>) {
    let (id, code) = filled(&store).await;
    let rows = whole(&store, 1000).await;
    assert!(rows == whole(&store, 1).await && rows == whole(&store, 2).await, "pages of any length give the same");
    let count = |kind| rows.iter().filter(|dumped| dumped.row.kind() == kind).count();
    assert_eq!((count(RowKind::Application), count(RowKind::Key), count(RowKind::Record)), (2, 3, 3));
    assert_eq!((count(RowKind::Verification), count(RowKind::Answer), count(RowKind::Guesses)), (7, 3, 4));
    assert!(count(RowKind::Limit) >= 7);
    // And it is all there is to know: another store goes on from it.
    let elsewhere: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let loaded = elsewhere.load(rows_of(rows)).await.unwrap();
    assert!(loaded.iter().all(|loaded| *loaded == Loaded::New), "{loaded:?}");
    let bench = Bench::new(elsewhere);
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

pub async fn what_was_moved_here_is_as_it_was(store: Arc<dyn Store>) {
    let source: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (id, code) = filled(&source).await;
    let rows = rows_of(whole(&source, 1000).await);
    let loaded = store.load(rows.clone()).await.unwrap();
    assert_eq!(loaded.len(), rows.len());
    let kept: Vec<_> = rows.into_iter().zip(&loaded).filter(|(_, loaded)| **loaded != Loaded::NotKept).collect();
    assert!(kept.iter().all(|(_, loaded)| **loaded == Loaded::New), "{loaded:?}");
    assert!(loaded.iter().filter(|loaded| **loaded == Loaded::NotKept).count() == loaded.len() - kept.len());
    let rows: Vec<_> = kept.into_iter().map(|(row, _)| row).collect();
    assert!(rows.iter().any(|row| row.kind() == RowKind::Verification));
    assert!(
        are_same(&rows_of(whole(&store, 1000).await), &rows),
        "what was written is read back as it was, in its order"
    );
    let again = store.load(rows.clone()).await.unwrap();
    assert!(again.iter().all(|loaded| *loaded == Loaded::Same), "{again:?}");
    // What is here is left, and one that was followed by another is not put before it.
    let mut changed = rows.clone();
    for row in &mut changed {
        match row {
            Row::Application(row) => row.created_at = Timestamp::EPOCH,
            Row::Key(row) => row.key_sid = "SK0".to_owned(),
            Row::Record(row) => row.body = "{}".to_owned(),
            Row::Verification(row, _) => row.sends += 1,
            Row::Limit(_, tat) => tat.0 += 1,
            Row::Guesses(_, log) => log.by_id.push(Timestamp::EPOCH),
            Row::Answer(row) => row.answer = Some(b"another".to_vec()),
            Row::Event(_, event) => event.at = Timestamp::EPOCH,
        }
    }
    let differs = store.load(changed).await.unwrap();
    assert!(differs.iter().all(|loaded| *loaded == Loaded::Differs), "{differs:?}");
    let Some(Row::Verification(row, _)) = rows.iter().find(|row| row.kind() == RowKind::Verification) else {
        unreachable!("there are verifications")
    };
    let mut older = row.clone();
    older.id = VerificationId::from_bytes([0xEE; 16]);
    older.created_at = older.created_at - Duration::from_secs(1);
    assert_eq!(store.load(vec![Row::Verification(older, Vec::new())]).await.unwrap(), [Loaded::Older]);
    assert!(are_same(&rows_of(whole(&store, 1000).await), &rows), "nothing was changed");
    let bench = Bench::new(store);
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    // Receipts find what was moved.
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    let delivery = deliveries[0].id.to_string();
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
}

//! `GET /metrics`: counts and times in the OpenMetrics text format. No label ever holds a destination, a code or a path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign::core::destination::Country;
use countersign::core::health::{Figures, Health, HealthRow};
use countersign::core::time::Timestamp;
use countersign::{Observation, Observer};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The content type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers take microseconds without a provider, and up to a minute with one.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Pairs of provider and country that have series of their own: seven each.
const MOST_PAIRS: usize = 100;
/// The first of [`Figures::NAMES`], which count deliveries.
const COUNTS: usize = 7;

type Timed<L> = Family<L, Histogram, fn() -> Histogram>;

/// How many counters are kept at hand.
const MOST_AT_HAND: usize = 64;

/// The counters of labels that were seen first: nearly all there are, found without making their labels anew and hashing them.
struct AtHand<L, M>(RwLock<Vec<(L, M)>>);

impl<L, M> Default for AtHand<L, M> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<L, M: Clone> AtHand<L, M> {
    fn count(&self, is: impl Fn(&L) -> bool, find: impl FnOnce() -> (L, M), count: impl FnOnce(&M)) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(labels, _)| is(labels)) {
            return count(counter);
        }
        let full = known.len() >= MOST_AT_HAND;
        drop(known);
        let (labels, counter) = find();
        count(&counter);
        if !full {
            self.0.write().unwrap_or_else(PoisonError::into_inner).push((labels, counter));
        }
    }
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    sends: Family<SendLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    guard_sends: Family<SuspectedLabels, Counter>,
    guard_alarms: Family<AlarmLabels, Counter>,
    checks: Family<CheckLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    delivery_seconds: Timed<CarrierLabels>,
    sessions: Family<ProviderLabels, Gauge>,
    outstanding: Family<ProviderLabels, Gauge>,
    throttled: Family<ProviderLabels, Counter>,
    health: Family<HealthLabels, Gauge<f64, AtomicU64>>,
    trouble: Family<TroubleLabels, Counter>,
    cleaned: Counter<u64, AtomicU64>,
    webhook_attempts: Family<WebhookAttemptLabels, Counter>,
    webhook_pending: Family<WebhookLabels, Gauge>,
    webhook_oldest: Family<WebhookLabels, Gauge>,
    webhook_disabled: Family<WebhookLabels, Gauge>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Timed<RouteLabels>,
    deliveries_in_flight: Gauge,
    requests_in_flight: Gauge,
    connections: Gauge,
    sends_at_hand: AtHand<SendLabels, Counter>,
    checks_at_hand: AtHand<CheckLabels, Counter>,
    deliveries_at_hand: AtHand<DeliveryLabels, (Counter, Histogram)>,
    requests_at_hand: AtHand<RequestLabels, (Counter, Histogram)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SendLabels {
    application: String,
    channel: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    application: String,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SuspectedLabels {
    application: String,
    country: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    application: String,
    country: String,
}

/// `none` for mail, and for numbers of no country.
fn country_label(country: Option<Country>) -> String {
    country.map_or_else(|| "none".to_owned(), |country| country.to_string())
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    application: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    provider: String,
    channel: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CarrierLabels {
    provider: String,
    channel: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HealthLabels {
    provider: String,
    country: String,
    figure: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TroubleLabels {
    doing: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookAttemptLabels {
    endpoint: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("countersign"),
            sends: Family::default(),
            refusals: Family::default(),
            guard_sends: Family::default(),
            guard_alarms: Family::default(),
            checks: Family::default(),
            deliveries: Family::default(),
            delivery_seconds: Family::new_with_constructor(histogram),
            sessions: Family::default(),
            outstanding: Family::default(),
            throttled: Family::default(),
            health: Family::default(),
            trouble: Family::default(),
            cleaned: Counter::default(),
            webhook_attempts: Family::default(),
            webhook_pending: Family::default(),
            webhook_oldest: Family::default(),
            webhook_disabled: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            deliveries_in_flight: Gauge::default(),
            requests_in_flight: Gauge::default(),
            connections: Gauge::default(),
            sends_at_hand: AtHand::default(),
            checks_at_hand: AtHand::default(),
            deliveries_at_hand: AtHand::default(),
            requests_at_hand: AtHand::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// All of it at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("sends", "Messages committed to the outbox", self.sends.clone());
        registry.register("refusals", "Requests that were refused, by code", self.refusals.clone());
        let help = "Sends that the guard suspects: refused, or let through because it observes or the application answers for them";
        registry.register("guard_suspected", help, self.guard_sends.clone());
        let help = "Times that a block of numbers filled up with sends that nobody confirmed";
        registry.register("guard_alarms", help, self.guard_alarms.clone());
        registry.register("checks", "Codes that were checked, by result", self.checks.clone());
        registry.register("deliveries", "Messages handed to a provider, by what it said", self.deliveries.clone());
        let (name, help) = ("delivery_duration", "How long providers took to answer");
        registry.register_with_unit(name, help, Unit::Seconds, self.delivery_seconds.clone());
        registry.register("provider_sessions", "Sessions that are bound (SMPP)", self.sessions.clone());
        let help = "Messages handed over in sessions and not answered (SMPP)";
        registry.register("provider_outstanding", help, self.outstanding.clone());
        registry.register(
            "provider_throttled",
            "Times that a provider asked to be sent less (SMPP)",
            self.throttled.clone(),
        );
        let help =
            "Deliveries of ended verifications, by what became of them, older ones counting less (half after a day)";
        registry.register("provider_health", help, self.health.clone());
        registry.register("trouble", "Background work that failed and is tried again", self.trouble.clone());
        registry.register("verifications_cleaned", "Verifications deleted after their time", self.cleaned.clone());
        registry.register("webhook_attempts", "Webhooks posted, by what came of it", self.webhook_attempts.clone());
        registry.register("webhook_pending", "Webhooks that wait", self.webhook_pending.clone());
        let (name, help) = ("webhook_oldest_pending_age", "How long ago the oldest event happened whose webhook waits");
        registry.register_with_unit(name, help, Unit::Seconds, self.webhook_oldest.clone());
        registry.register(
            "webhook_endpoint_disabled",
            "1 for an endpoint that answered 410",
            self.webhook_disabled.clone(),
        );
        registry.register("http_requests", "Requests answered, by route and status", self.requests.clone());
        let (name, help) = ("http_request_duration", "How long answers took, by route");
        registry.register_with_unit(name, help, Unit::Seconds, self.request_seconds.clone());
        let help = "Messages that this process is carrying";
        registry.register("deliveries_in_flight", help, self.deliveries_in_flight.clone());
        registry.register("http_requests_in_flight", "Requests being answered", self.requests_in_flight.clone());
        registry.register("http_connections", "Open connections", self.connections.clone());
    }

    /// All of it as text, with how many messages the process is carrying now.
    #[must_use]
    pub fn render(&self, carrying: usize) -> String {
        self.deliveries_in_flight.set(i64::try_from(carrying).unwrap_or(i64::MAX));
        let mut page = String::with_capacity(16 * 1024);
        if text::encode(&mut page, &self.registry).is_err() {
            let _ = write!(page, "# EOF");
        }
        page
    }

    /// How providers do, by country: the countries that were sent the most, and the others together.
    fn provider_health(&self, rows: &[HealthRow], now: Timestamp) {
        let mut pairs: BTreeMap<(&str, String), Health> = BTreeMap::new();
        for row in rows {
            let country = row.key.country.map_or_else(|| "none".to_owned(), |country| country.to_string());
            pairs.entry((&row.key.provider, country)).or_default().add(row, now);
        }
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(_, a), (_, b)| b.sent().total_cmp(&a.sent()));
        let mut others: BTreeMap<&str, Health> = BTreeMap::new();
        for ((provider, _), health) in pairs.drain(MOST_PAIRS.min(pairs.len())..) {
            others.entry(provider).or_default().join(&health);
        }
        pairs.extend(others.into_iter().map(|(provider, health)| ((provider, "other".to_owned()), health)));
        self.health.clear();
        for ((provider, country), health) in pairs {
            for (figure, number) in Figures::NAMES.into_iter().zip(health.numbers()).take(COUNTS) {
                let labels = HealthLabels { provider: provider.to_owned(), country: country.clone(), figure };
                self.health.get_or_create(&labels).set(number);
            }
        }
    }

    /// Counts a webhook that was posted.
    pub(crate) fn webhook_attempt(&self, endpoint: &str, outcome: &'static str) {
        self.webhook_attempts.get_or_create(&WebhookAttemptLabels { endpoint: endpoint.to_owned(), outcome }).inc();
    }

    /// How an endpoint fares.
    pub(crate) fn webhook_endpoint(&self, endpoint: &str, pending: u64, oldest: Duration, disabled: bool) {
        let labels = WebhookLabels { endpoint: endpoint.to_owned() };
        self.webhook_pending.get_or_create(&labels).set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.webhook_oldest.get_or_create(&labels).set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
        self.webhook_disabled.get_or_create(&labels).set(i64::from(disabled));
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn begin_request(&self) -> InFlight {
        InFlight::begin(&self.requests_in_flight)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn begin_connection(&self) -> InFlight {
        InFlight::begin(&self.connections)
    }

    /// Counts a request that was answered.
    pub(crate) fn request_done(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests_at_hand.count(
            |labels| labels.status == status && labels.method == method && labels.route == route,
            || {
                let labels = RequestLabels { method, route: route.to_owned(), status };
                let seconds = RouteLabels { method, route: route.to_owned() };
                let counter = self.requests.get_or_create_owned(&labels);
                (labels, (counter, self.request_seconds.get_or_create_owned(&seconds)))
            },
            |(requests, seconds)| {
                requests.inc();
                seconds.observe(took.as_secs_f64());
            },
        );
    }
}

/// One of something, for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl InFlight {
    fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Observer for Metrics {
    fn observe(&self, observation: Observation<'_>) {
        match observation {
            Observation::Sent { application, channel, begun } => {
                let (channel, kind) = (channel.as_str(), if begun { "begun" } else { "again" });
                self.sends_at_hand.count(
                    |labels| labels.channel == channel && labels.kind == kind && labels.application == application,
                    || {
                        let labels = SendLabels { application: application.to_owned(), channel, kind };
                        let counter = self.sends.get_or_create_owned(&labels);
                        (labels, counter)
                    },
                    |sends| _ = sends.inc(),
                );
            }
            Observation::Refused { application, refusal } => {
                let labels = RefusalLabels { application: application.to_owned(), code: refusal.code() };
                self.refusals.get_or_create(&labels).inc();
            }
            Observation::Suspected { application, country, refused } => {
                let outcome = if refused { "refused" } else { "let_through" };
                let (application, country) = (application.to_owned(), country_label(country));
                self.guard_sends.get_or_create(&SuspectedLabels { application, country, outcome }).inc();
            }
            Observation::Alarm { application, country } => {
                let labels = AlarmLabels { application: application.to_owned(), country: country_label(country) };
                self.guard_alarms.get_or_create(&labels).inc();
            }
            Observation::Checked { application, result } => {
                let result = result.as_str();
                self.checks_at_hand.count(
                    |labels| labels.result == result && labels.application == application,
                    || {
                        let labels = CheckLabels { application: application.to_owned(), result };
                        let counter = self.checks.get_or_create_owned(&labels);
                        (labels, counter)
                    },
                    |checks| _ = checks.inc(),
                );
            }
            Observation::Carried { provider, channel, outcome, took } => {
                let channel = channel.as_str();
                self.deliveries_at_hand.count(
                    |labels| labels.outcome == outcome && labels.channel == channel && labels.provider == provider,
                    || {
                        let labels = DeliveryLabels { provider: provider.to_owned(), channel, outcome };
                        let seconds = CarrierLabels { provider: provider.to_owned(), channel };
                        let counter = self.deliveries.get_or_create_owned(&labels);
                        (labels, (counter, self.delivery_seconds.get_or_create_owned(&seconds)))
                    },
                    |(deliveries, seconds)| {
                        deliveries.inc();
                        seconds.observe(took.as_secs_f64());
                    },
                );
            }
            Observation::Sessions { provider, bound, outstanding } => {
                let labels = ProviderLabels { provider: provider.to_owned() };
                let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
                self.sessions.get_or_create(&labels).set(gauge(bound));
                self.outstanding.get_or_create(&labels).set(gauge(outstanding));
            }
            Observation::Throttled { provider } => {
                self.throttled.get_or_create(&ProviderLabels { provider: provider.to_owned() }).inc();
            }
            Observation::Health { rows, now } => self.provider_health(rows, now),
            Observation::Trouble { doing } => {
                self.trouble.get_or_create(&TroubleLabels { doing }).inc();
            }
            Observation::Cleaned { verifications } => {
                self.cleaned.inc_by(verifications);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign::core::channel::Channel;
    use countersign::core::check::CheckResult;
    use countersign::core::health::HealthKey;
    use countersign::core::refusal;

    use super::*;

    #[test]
    fn everything_observed_is_counted() {
        let metrics = Metrics::default();
        metrics.observe(Observation::Sent { application: "app", channel: Channel::Sms, begun: true });
        metrics.observe(Observation::Refused { application: "app", refusal: refusal::Kind::ResendTooSoon });
        metrics.observe(Observation::Checked { application: "app", result: CheckResult::Approved });
        let country = "TZ".parse().ok();
        metrics.observe(Observation::Suspected { application: "app", country, refused: true });
        metrics.observe(Observation::Suspected { application: "app", country: None, refused: false });
        metrics.observe(Observation::Alarm { application: "app", country });
        let took = Duration::from_millis(30);
        metrics.observe(Observation::Carried { provider: "p", channel: Channel::Sms, outcome: "accepted", took });
        metrics.observe(Observation::Sessions { provider: "p", bound: 2, outstanding: 5 });
        metrics.observe(Observation::Throttled { provider: "p" });
        let hour = Timestamp::from_millis(1_790_000_000_000 / 3_600_000 * 3_600_000);
        let row = |provider: &str, country: Option<[u8; 2]>, sent| HealthRow {
            key: HealthKey {
                hour,
                application: "app".parse().unwrap(),
                provider: provider.to_owned(),
                channel: Channel::Sms,
                country: country.map(|letters| String::from_utf8_lossy(&letters).parse().unwrap()),
            },
            figures: Figures { sent, accepted: sent, approved: sent / 2, ..Figures::default() },
        };
        let mut rows = vec![row("p", None, 4), row("p", Some(*b"TZ"), 1000), row("p", Some(*b"TZ"), 200)];
        // More countries than have series of their own.
        rows.extend((0..150_u8).map(|nth| row("p", Some([b'A' + nth / 26, b'A' + nth % 26]), 8)));
        metrics.observe(Observation::Health { rows: &rows, now: hour + Duration::from_secs(1800) });
        metrics.observe(Observation::Trouble { doing: "outbox" });
        metrics.observe(Observation::Cleaned { verifications: 7 });
        metrics.request_done("POST", "/v1/verifications", 201, took);
        metrics.webhook_attempt("we_1", "delivered");
        metrics.webhook_endpoint("we_1", 3, Duration::from_secs(90), false);
        let _open = metrics.begin_connection();
        drop(metrics.begin_request());
        let page = metrics.render(3);
        for line in [
            r#"countersign_sends_total{application="app",channel="sms",kind="begun"} 1"#,
            r#"countersign_refusals_total{application="app",code="resend_too_soon"} 1"#,
            r#"countersign_guard_suspected_total{application="app",country="TZ",outcome="refused"} 1"#,
            r#"countersign_guard_suspected_total{application="app",country="none",outcome="let_through"} 1"#,
            r#"countersign_guard_alarms_total{application="app",country="TZ"} 1"#,
            r#"countersign_checks_total{application="app",result="approved"} 1"#,
            r#"countersign_deliveries_total{provider="p",channel="sms",outcome="accepted"} 1"#,
            r#"countersign_delivery_duration_seconds_bucket{le="0.05",provider="p",channel="sms"} 1"#,
            r#"countersign_provider_sessions{provider="p"} 2"#,
            r#"countersign_provider_outstanding{provider="p"} 5"#,
            r#"countersign_provider_throttled_total{provider="p"} 1"#,
            r#"countersign_provider_health{provider="p",country="TZ",figure="sent"} 1200.0"#,
            r#"countersign_provider_health{provider="p",country="TZ",figure="approved"} 600.0"#,
            r#"countersign_provider_health{provider="p",country="other",figure="sent"} 412.0"#,
            r#"countersign_trouble_total{doing="outbox"} 1"#,
            "countersign_verifications_cleaned_total 7",
            r#"countersign_http_requests_total{method="POST",route="/v1/verifications",status="201"} 1"#,
            "countersign_deliveries_in_flight 3",
            r#"countersign_webhook_attempts_total{endpoint="we_1",outcome="delivered"} 1"#,
            r#"countersign_webhook_pending{endpoint="we_1"} 3"#,
            r#"countersign_webhook_oldest_pending_age_seconds{endpoint="we_1"} 90"#,
            r#"countersign_webhook_endpoint_disabled{endpoint="we_1"} 0"#,
            "countersign_http_requests_in_flight 0",
            "countersign_http_connections 1",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let series = page.lines().filter(|line| line.starts_with("countersign_provider_health{")).count();
        assert_eq!(series, (MOST_PAIRS + 1) * COUNTS);
    }
}

//! What a webhook says: the event, and the verification as the API shows it. Never a code.

use countersign::core::event::Event;
use countersign::core::guard::{Guard, Standing};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Verification};
use serde::Serialize;

use crate::api::native::object::{DeliveryObject, Seconds, VerificationObject};

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    r#type: &'static str,
    timestamp: Seconds,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    verification: VerificationObject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<GuardObject<'a>>,
}

/// What the guard knows of the blocks that a number is in.
#[derive(Serialize)]
struct GuardObject<'a> {
    mode: &'static str,
    country: Option<String>,
    window: u64,
    blocks: Vec<BlockObject<'a>>,
}

#[derive(Serialize)]
struct BlockObject<'a> {
    block: &'a str,
    unconfirmed: u32,
    allowed: u32,
    blocked: bool,
}

/// An event's name: the same at every endpoint and every attempt, in the order of events, different in every store.
#[must_use]
pub fn event_id(place: u64, event: &Event) -> String {
    let verification: String = event.verification.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("evt_{place:016x}{verification}")
}

impl<'a> BlockObject<'a> {
    fn of(standing: &'a Standing) -> Self {
        let Standing { block, unconfirmed, allowed, blocked } = standing;
        Self { block: block.as_str(), unconfirmed: *unconfirmed, allowed: *allowed, blocked: *blocked }
    }
}

/// The body of an event, with its verification as it stands at `now`, and for an alarm of the guard how that number's blocks stand.
#[must_use]
pub fn body(
    id: &str,
    event: &Event,
    (verification, deliveries): (&Verification, &[Delivery]),
    guard: Option<&(Guard, Vec<Standing>)>,
    now: Timestamp,
) -> String {
    let guard = guard.map(|(rules, standings)| GuardObject {
        mode: rules.mode.as_str(),
        country: verification.to.country().map(|country| country.to_string()),
        window: rules.window.as_secs(),
        blocks: standings.iter().map(BlockObject::of).collect(),
    });
    let delivery = event.delivery.and_then(|id| deliveries.iter().find(|delivery| delivery.id == id));
    let body = Body {
        id,
        r#type: event.kind.as_str(),
        timestamp: Seconds::floor(event.at),
        data: Data {
            verification: VerificationObject::new(verification, deliveries, now),
            delivery: delivery.map(DeliveryObject::new),
            guard,
        },
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// The body of a message that only tries whether an endpoint is there and believes the signature.
#[must_use]
pub fn test_body(id: &str, application: &str, now: Timestamp) -> String {
    let timestamp = Seconds::floor(now).to_string();
    serde_json::json!({"id": id, "type": "webhook.test", "timestamp": timestamp, "data": {"application": application}})
        .to_string()
}

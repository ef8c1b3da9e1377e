//! What a webhook says: the event, and the verification as the API shows it. Never a code.

use countersign::core::event::Event;
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
}

/// An event's name: the same at every endpoint and every attempt, in the order of events, different in every store.
#[must_use]
pub fn event_id(place: u64, event: &Event) -> String {
    let verification: String = event.verification.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("evt_{place:016x}{verification}")
}

/// The body of an event, with its verification as it stands at `now`.
#[must_use]
pub fn body(id: &str, event: &Event, verification: &Verification, deliveries: &[Delivery], now: Timestamp) -> String {
    let delivery = event.delivery.and_then(|id| deliveries.iter().find(|delivery| delivery.id == id));
    let body = Body {
        id,
        r#type: event.kind.as_str(),
        timestamp: Seconds::floor(event.at),
        data: Data {
            verification: VerificationObject::new(verification, deliveries, now),
            delivery: delivery.map(DeliveryObject::new),
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

//! `/v2/Services/{VA…}/Verifications/{VE… or number}`: one verification, by its sid or by its destination.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::destination::Destination;
use countersign::core::verification::{Delivery, Status, Verification};
use countersign::store::ListFilter;

use super::call::Call;
use super::no::No;
use super::profile::Profile;
use super::sid;
use super::verifications::show;
use crate::http::answer;
use crate::service::{Door, Shared};

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let (found, deliveries) = named(&door, &call, &profile).await?;
    Ok(answer::response(answer::json(StatusCode::OK, &show(&door, &call, &profile, &found, &deliveries))))
}

/// Call a verification off, or say that the code which the account chose was right.
pub(super) async fn update(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let status = call.form.word("Status", &["canceled", "approved"])?.ok_or_else(|| No::invalid("Status"))?;
    let (found, deliveries) = named(&door, &call, &profile).await?;
    let (found, deliveries) = if status == "canceled" && found.status == Status::Canceled {
        (found, deliveries)
    } else {
        let ended = match status {
            "canceled" => door.verifier.cancel(call.application(), found.id).await,
            _ => door.verifier.approve(call.application(), found.id).await,
        };
        ended.map_err(|no| No::from_failure(no, None, &call.path, &[]))?
    };
    Ok(answer::response(answer::json(StatusCode::OK, &show(&door, &call, &profile, &found, &deliveries))))
}

/// The verification that the path names, if it is this service's and not over: what was approved or has expired is gone.
async fn named(door: &Door, call: &Call, profile: &Profile) -> Result<(Verification, Vec<Delivery>), No> {
    let text = call.param("verification");
    let found = match sid::verification(text) {
        Some(id) => door.verifier.verification(call.application(), id).await?,
        None => {
            let application = door.verifier.application(call.application())?;
            let to = Destination::parse(text, application.policy.default_country).map_err(|_| call.not_found())?;
            let filter = ListFilter {
                service: Some(profile.id),
                to: Some(to),
                limit: 1,
                ..ListFilter::new(call.application().clone(), door.verifier.now())
            };
            door.verifier.list(&filter).await?.rows.into_iter().next()
        }
    };
    let now = door.verifier.now();
    let there = |(row, _): &(Verification, _)| {
        row.service == profile.id
            && match row.status_at(now) {
                Status::Pending | Status::Canceled => true,
                Status::MaxAttemptsReached | Status::Failed => row.expires_at > now,
                Status::Approved | Status::Expired => false,
            }
    };
    found.filter(there).ok_or_else(|| call.not_found())
}

//! `POST /v2/Services/{VA…}/VerificationCheck`: a code is checked. By sid and by number it is one count.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::CheckRequest;
use countersign::core::check::{CheckResult, Checked};
use countersign::core::code::Code;
use countersign::core::time::ceil_secs;
use serde::Serialize;

use super::call::Call;
use super::no::{MAX_CHECKS, NOTHING_NAMED, No};
use super::profile::Profile;
use super::sid;
use super::verifications::{read_payment, updated_at, word};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::http::problem::Rate;
use crate::service::{Door, Shared};

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let request = read(&door, &call, &profile)?;
    let checked = door.verifier.check(request).await;
    let checked = checked.map_err(|no| No::from_failure(no, None, &call.path, &[]))?;
    let now = door.verifier.now();
    match (checked.result, &checked.verification) {
        (CheckResult::Approved | CheckResult::Incorrect, Some(_)) => show(&call, &profile, &checked),
        // Until its time is up; then it is gone.
        (CheckResult::MaxAttemptsReached, Some((found, _))) if found.expires_at > now => {
            let window = ceil_secs(found.expires_at.since(found.created_at)).max(1);
            let rate = Rate { name: "checks", quota: found.max_checks, window };
            Err(No::from(MAX_CHECKS).after(ceil_secs(found.expires_at.after(now)), rate))
        }
        _ => Err(call.not_found()),
    }
}

fn read(door: &Door, call: &Call, profile: &Profile) -> Result<CheckRequest, No> {
    let given = |name| Ok::<_, No>(call.form.text(name)?.filter(|text| !text.is_empty()));
    let (to, wanted) = (given("To")?, given("VerificationSid")?);
    if to.is_none() && wanted.is_none() {
        return Err(NOTHING_NAMED.into());
    }
    let code =
        call.form.text("Code")?.filter(|code| code.parse::<Code>().is_ok()).ok_or_else(|| No::invalid("Code"))?;
    let payment = read_payment(call, profile)?;
    let request = match (wanted, to) {
        (Some(wanted), _) => {
            let id = sid::verification(wanted).ok_or_else(|| call.not_found())?;
            // Another service's is nobody's.
            CheckRequest::by_id(id, code).of_service(profile.id)
        }
        (None, to) => {
            let application = door.verifier.application(call.application())?;
            let request = CheckRequest::by_destination(to.unwrap_or_default(), code).as_holder();
            let request = request.purpose(application.policy.usual_purpose().as_str());
            request.of_service(profile.id)
        }
    };
    let request = request.application(call.application().clone());
    Ok(match payment {
        Some(payment) => request.payment(payment),
        None => request,
    })
}

/// As it is written.
#[derive(Serialize)]
struct CheckBody {
    sid: String,
    service_sid: String,
    account_sid: String,
    to: String,
    channel: &'static str,
    status: &'static str,
    valid: bool,
    amount: Option<String>,
    payee: Option<String>,
    date_created: Seconds,
    date_updated: Seconds,
    sna_attempts_error_codes: [(); 0],
}

fn show(call: &Call, profile: &Profile, checked: &Checked) -> Result<Response, No> {
    let (found, deliveries) = checked.verification.as_ref().ok_or_else(|| call.not_found())?;
    let valid = checked.result == CheckResult::Approved;
    let body = CheckBody {
        sid: sid::of_verification(found.id),
        service_sid: profile.sid.clone(),
        account_sid: call.account.sid.clone(),
        to: found.to.reveal().to_owned(),
        channel: word(found.channel),
        // A wrong code is no error, and the last one that is looked at is answered as those before it.
        status: if valid { "approved" } else { "pending" },
        valid,
        amount: found.payment.as_ref().map(|payment| payment.amount.clone()),
        payee: found.payment.as_ref().map(|payment| payment.payee.clone()),
        date_created: Seconds::floor(found.created_at),
        date_updated: Seconds::floor(updated_at(found, deliveries)),
        sna_attempts_error_codes: [],
    };
    Ok(answer::response(answer::json(StatusCode::OK, &body)))
}

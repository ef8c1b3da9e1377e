//! `check`: exit code 0 for the right code alone.

use countersign::CheckRequest;
use countersign::core::check::{CheckResult, Checked};
use countersign_server::setup::Parts;
use serde_json::{Value, json};

use crate::args::Check;
use crate::context::{Context, Target, close, object};
use crate::output::{Answer, Exit, Fault, Outcome};

pub async fn run(context: &Context, args: Check) -> Outcome {
    let parts = context.parts().await?;
    let mut request = match Target::read(&args.target) {
        Target::Id(id) => CheckRequest::by_id(id, &args.code),
        Target::Destination(to) => CheckRequest::by_destination(to, &args.code),
    };
    if let Some(purpose) = args.purpose {
        request = request.purpose(purpose);
    }
    let outcome = match parts.verifier.check(request.application(context.app())).await {
        Ok(checked) => answer(&parts, &checked),
        Err(failure) => Err(failure.into()),
    };
    close(&parts).await;
    outcome
}

fn answer(parts: &Parts, checked: &Checked) -> Outcome {
    let valid = checked.result == CheckResult::Approved;
    let mut json = json!({"valid": valid, "result": checked.result.as_str()});
    let mut text = sentence(checked);
    if let Some((verification, deliveries)) = &checked.verification {
        json["verification"] = object(parts, verification, deliveries);
        if valid {
            let issuer = parts.settings.public_url(parts.settings.server.listen.0);
            let signer = parts.tokens(&issuer).map_err(|error| Fault::usage("invalid_config", error.to_string()))?;
            if let Some(token) = signer.sign(verification, parts.verifier.now()) {
                text = format!("{text}\ntoken: {token}");
                json["token"] = Value::String(token);
            }
        }
    }
    Ok(Answer::new(text, json).ending(if valid { Exit::Done } else { Exit::Refused }))
}

fn sentence(checked: &Checked) -> String {
    let result = checked.result.as_str();
    let about = checked.verification.as_ref().map(|(verification, _)| verification);
    let more = match (checked.result, about) {
        (CheckResult::Approved, Some(verification)) => {
            format!("{} is proved for {}", verification.to.reveal(), verification.purpose)
        }
        (CheckResult::Incorrect, Some(verification)) => {
            format!("not the code; who holds the id has {} guesses left", verification.checks_left())
        }
        (CheckResult::Expired, _) => "its time is up; send a new one".to_owned(),
        (CheckResult::MaxAttemptsReached, _) => {
            "the guesses are used up, and this one was not looked at; send a new one".to_owned()
        }
        (CheckResult::AlreadyUsed, _) => "the right code was accepted before".to_owned(),
        (CheckResult::Canceled, _) => "it was called off".to_owned(),
        _ => "nothing is pending for that destination and purpose".to_owned(),
    };
    format!("{result}: {more}")
}

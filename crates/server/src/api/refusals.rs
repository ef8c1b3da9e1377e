//! Every lawful no of the rules, and its form in each dialect: made from the maps that the doors answer with.

use std::fmt::Write as _;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::InvalidDestination;
use countersign::core::limit::Per;
use countersign::core::refusal::{Limit, Refusal};
use countersign::core::verification::Status;

use super::{camara, simple, twilio};
use crate::http::problem::Problem;

/// One of each, with the words of its row.
fn samples() -> Vec<(&'static str, Refusal)> {
    let wait = Duration::from_secs(1);
    let limit = |limit| Refusal::RateLimited { limit, quota: 1, window: wait, retry_after: wait };
    vec![
        ("a field that cannot be meant", Refusal::InvalidRequest { param: "locale", detail: String::new() }),
        ("no such verification", Refusal::NotFound),
        ("the verification has ended", Refusal::NotPending { status: Status::Canceled }),
        ("not a number or address", Refusal::InvalidDestination(InvalidDestination::Unreadable)),
        ("a text to a landline", Refusal::InvalidDestination(InvalidDestination::Channel)),
        ("the country is not allowed", Refusal::CountryBlocked),
        ("the type of number is blocked", Refusal::NumberTypeBlocked),
        ("the guard suspects pumping", Refusal::FraudSuspected { country: None }),
        ("nothing carries this channel", Refusal::UnsupportedChannel),
        ("sent as often as it may be", Refusal::MaxSendsReached { retry_after: wait }),
        ("sent again too soon", Refusal::ResendTooSoon { retry_after: wait, pause: wait }),
        ("the destination's limit", limit(Limit::Rate(Per::Destination))),
        ("the client's limit", limit(Limit::Rate(Per::Client))),
        ("the prefix's limit", limit(Limit::Rate(Per::Prefix))),
        ("the country's limit", limit(Limit::Rate(Per::Country))),
        ("the application's limit", limit(Limit::Rate(Per::Application))),
        ("the day's wrong guesses", limit(Limit::Checks)),
        ("a rate limit of the account's own", limit(Limit::Extra(0))),
    ]
}

/// The table as a page of the documents.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Refusals in each dialect\n\n<!-- Made from crates/server/src/api/refusals.rs by `countersign generate`; change it there. -->\n\n\
         One rule refuses, and each door says so in its own words. Every 429 says in `Retry-After` when to come back. A limit that only\n\
         another dialect has is told all the same, should it be met.\n\n\
         | what is refused | native | simple: send | simple: verify | Twilio Verify v2 | CAMARA: send | CAMARA: validate |\n|---|---|---|---|---|---|---|\n",
    );
    for (what, refusal) in samples() {
        let problem = Problem::from_refusal(&refusal, None);
        let native = format!("{} `{}`", problem.kind.row().0, problem.kind.code());
        let says = |endpoint| {
            let (status, message) = simple::No::from_refusal(endpoint, &refusal, None).row();
            format!("{status} {message}")
        };
        let (send, verify) = (says(simple::Endpoint::Send), says(simple::Endpoint::Verify));
        let no = twilio::No::from_refusal(&refusal, Some(Channel::Sms), "/v2/…", &[]);
        let twilio = format!("{} {}", no.status, no.code);
        // Its own codes begin with the name of the API.
        let camara = |asked| {
            let no = camara::No::from_refusal(asked, &refusal, None);
            format!("{} {}", no.status, no.code.replace("ONE_TIME_PASSWORD_SMS.", "…"))
        };
        let (sends, validates) = (camara(camara::Asked::Send), camara(camara::Asked::Validate));
        let _ = writeln!(page, "| {what} | {native} | {send} | {verify} | {twilio} | {sends} | {validates} |");
    }
    page.push_str(
        "\nAnswers of a check that are no refusals: a wrong code is 200 `incorrect` in the native dialect, 400 in the simple one, and 200\n\
         `pending` with `valid: false` in Twilio's; guesses that are used up are 200 `max_attempts_reached`, 429, and 429 60202; what is\n\
         over is 200 `expired`, `already_used` or `canceled`, 400, and 404 20404. In CAMARA's they are 400 with `INVALID_OTP`, `VERIFICATION_FAILED`\n\
         (the wrong code that uses the guesses up already) and `VERIFICATION_EXPIRED`; `…` stands for `ONE_TIME_PASSWORD_SMS.`\n",
    );
    page
}

//! The whole of it without a web framework: a code is sent, typed into the terminal, and checked.
//!
//! ```text
//! cargo run -p countersign --example bare -- +255694230173
//! ```
//! With `--try` it types the code by itself, wrongly and then rightly, and stops: the test suite runs it so.
#![allow(clippy::print_stdout, reason = "an example")]

use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::check::CheckResult;
use countersign::core::id::VerificationId;
use countersign::{CheckRequest, Cleanup, Failure, RecordingSender, SendRequest, Verifier};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "+255694230173".to_owned());
    let tries = argument == "--try";
    let to = if tries { "+255694230173" } else { &argument };

    // Who carries messages: in production a gateway of yours (`Sender`), here a phone that can be asked what it got.
    let phone = Arc::new(RecordingSender::new("phone"));
    let verifier = Verifier::builder().sender(phone.clone()).build()?;
    let upkeep = verifier.start_upkeep(Cleanup::default());

    let sending = match verifier.send(SendRequest::to(to)).await {
        Ok(sending) => sending,
        Err(Failure::Refused(refusal)) => return Err(format!("{to} is not sent a code: {refusal}").into()),
        Err(Failure::Broken(broken)) => return Err(broken.into()),
    };
    let id = sending.sent.verification.id;
    let code = phone.wait_for_code(sending.sent.verification.to.reveal()).await;

    if tries {
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let results = [
            offer(&verifier, id, wrong).await?,
            offer(&verifier, id, &code).await?,
            offer(&verifier, id, &code).await?,
        ];
        if results != [CheckResult::Incorrect, CheckResult::Approved, CheckResult::AlreadyUsed] {
            return Err(format!("a wrong code, the right one, and again: {results:?}").into());
        }
        println!("a wrong code was refused, the right one accepted, once");
    } else {
        println!("the phone got {code}; type it:");
        for line in std::io::stdin().lock().lines() {
            let result = offer(&verifier, id, line?.trim()).await?;
            println!("{}", result.as_str());
            if result != CheckResult::Incorrect {
                break;
            }
        }
    }

    upkeep.stop().await;
    verifier.shut_down(Duration::from_secs(10)).await?;
    Ok(())
}

/// What was typed, against the verification. A refusal (a limit, something that is no code) is told and counts as incorrect here.
async fn offer(verifier: &Verifier, id: VerificationId, typed: &str) -> Result<CheckResult> {
    match verifier.check(CheckRequest::by_id(id, typed)).await {
        Ok(checked) => Ok(checked.result),
        Err(Failure::Refused(refusal)) => {
            println!("{refusal}");
            Ok(CheckResult::Incorrect)
        }
        Err(Failure::Broken(broken)) => Err(broken.into()),
    }
}

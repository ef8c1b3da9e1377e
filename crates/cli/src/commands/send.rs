//! `send` and `resend`: the message leaves from this process, and the answer waits for the provider's word.

use std::time::Duration;

use countersign::core::verification::{Delivery, Status, Verification};
use countersign::store::ListFilter;
use countersign::{SendRequest, Word};
use countersign_server::setup::Parts;

use crate::args::{Resend, Send};
use crate::context::{Context, Target, close, object};
use crate::output::{Answer, Fault, Outcome, spoken};

pub async fn run(context: &Context, args: Send) -> Outcome {
    let parts = context.writing_parts().await?;
    let mut request = SendRequest::to(args.to);
    if let Some(purpose) = args.purpose {
        request = request.purpose(purpose);
    }
    if let Some(channel) = args.channel {
        request = request.channel(channel);
    }
    if let Some(locale) = args.locale {
        request = request.locale(locale);
    }
    if let Some(digits) = args.code_length {
        request = request.code_length(digits);
    }
    if let Some(ttl) = args.ttl {
        request = request.ttl(ttl);
    }
    if let Some(template) = args.template {
        request = request.template(template);
    }
    let outcome = carry(context, &parts, request).await;
    close(&parts).await;
    outcome
}

pub async fn again(context: &Context, args: Resend) -> Outcome {
    let parts = context.parts().await?;
    let outcome = match pending(context, &parts, &args).await {
        Ok(id) => {
            let request = SendRequest::again(id);
            let request = args.channel.map_or(request, |channel| SendRequest::again(id).channel(channel));
            carry(context, &parts, request).await
        }
        Err(fault) => Err(fault),
    };
    close(&parts).await;
    outcome
}

/// The verification that `resend` is about.
async fn pending(
    context: &Context,
    parts: &Parts,
    args: &Resend,
) -> Result<countersign::core::id::VerificationId, Fault> {
    let to = match Target::read(&args.target) {
        Target::Id(id) => return Ok(id),
        Target::Destination(to) => to,
    };
    let purpose = args.purpose.as_deref().map(super::status::purpose).transpose()?.unwrap_or_default();
    let filter = ListFilter {
        service: Some(None),
        to: Some(super::status::destination(context, parts, &to)?),
        purpose: Some(purpose.clone()),
        status: Some(Status::Pending),
        limit: 1,
        ..ListFilter::new(context.app(), parts.verifier.now())
    };
    let page = parts.verifier.list(&filter).await?;
    let nothing = || {
        let message = format!(
            "nothing is pending for that destination and purpose ({purpose}); begin with: countersign send {to}"
        );
        Fault::refused("not_found", message)
    };
    page.rows.into_iter().next().map(|(verification, _)| verification.id).ok_or_else(nothing)
}

async fn carry(context: &Context, parts: &Parts, request: SendRequest) -> Outcome {
    // The provider, those after it, and the tries in between; whoever is carried on longer is carried on by a service.
    let patience = parts.settings.delivery.timeout * (parts.settings.delivery.retries + 1) + Duration::from_secs(5);
    let sending = parts.verifier.send(request.application(context.app())).await?;
    let (word, verification, deliveries) = sending.wait(patience).await?;
    show_caught(context, parts);
    let json = object(parts, &verification, &deliveries);
    match word {
        word if word.is_no() => {
            let reason = deliveries.iter().rev().find_map(|delivery| delivery.error.clone());
            let message =
                format!("no provider carried the message: {}", reason.unwrap_or_else(|| "no reason given".to_owned()));
            Err(Fault::broken("delivery_failed", message).with("verification", json))
        }
        _ => Ok(Answer::new(describe(parts, word, &verification, &deliveries), json)),
    }
}

/// What an inbox caught in this process would be gone with it, so it is shown: as the message that it is, on standard error.
fn show_caught(context: &Context, parts: &Parts) {
    for message in parts.inbox.iter().flat_map(|inbox| inbox.messages()) {
        let (channel, to) = (message.channel, message.to.reveal());
        context.out.note(&format!("message by {channel} to {to}, caught here because the provider is an inbox:"));
        for line in message.text.lines() {
            context.out.note(&format!("  {line}"));
        }
    }
}

fn describe(parts: &Parts, word: Word, verification: &Verification, deliveries: &[Delivery]) -> String {
    let provider = deliveries.last().map_or("no provider", |delivery| delivery.provider.as_str());
    let news = match word {
        Word::Accepted => format!("sent by {} through {provider}", verification.channel),
        Word::Unknown => format!("perhaps sent by {} through {provider}: it did not say", verification.channel),
        _ => format!(
            "on its way by {}: {provider} has not answered yet; a running service carries it on",
            verification.channel
        ),
    };
    let left = verification.expires_at.after(parts.verifier.now());
    format!(
        "{}\n  {news} to {}\n  works for {}, {} guesses left, can be sent again {} times\n  check it with: countersign check {} CODE",
        verification.id,
        verification.to.reveal(),
        spoken(left),
        verification.checks_left(),
        verification.sends_left(),
        verification.id,
    )
}

//! `status`: where a verification stands.

use countersign::core::destination::Destination;
use countersign::core::id::Purpose;
use countersign::core::refusal::Refusal;
use countersign::core::verification::{Delivery, Verification};
use countersign::store::ListFilter;
use countersign_server::keys::rfc3339;
use countersign_server::setup::Parts;

use crate::args::Status;
use crate::context::{Context, Target, close, object};
use crate::output::{Answer, Fault, Outcome};

pub async fn run(context: &Context, args: Status) -> Outcome {
    let parts = context.parts().await?;
    let outcome = match find(context, &parts, &args).await {
        Ok(Some((verification, deliveries))) => {
            let text = describe(&parts, &verification, &deliveries);
            Ok(Answer::new(text, object(&parts, &verification, &deliveries)))
        }
        Ok(None) => Err(Fault::refused("not_found", "there is no such verification")),
        Err(fault) => Err(fault),
    };
    close(&parts).await;
    outcome
}

async fn find(context: &Context, parts: &Parts, args: &Status) -> Result<Option<(Verification, Vec<Delivery>)>, Fault> {
    let application = parts.verifier.application(&context.app())?.name.clone();
    let to = match Target::read(&args.target) {
        Target::Id(id) => return Ok(parts.verifier.verification(&application, id).await?),
        Target::Destination(to) => to,
    };
    let filter = ListFilter {
        to: Some(destination(context, parts, &to)?),
        purpose: args.purpose.as_deref().map(purpose).transpose()?,
        limit: 1,
        ..ListFilter::new(application, parts.verifier.now())
    };
    Ok(parts.verifier.list(&filter).await?.rows.into_iter().next())
}

/// A destination as the application reads it.
pub fn destination(context: &Context, parts: &Parts, text: &str) -> Result<Destination, Fault> {
    let application = parts.verifier.application(&context.app())?;
    Destination::parse(text, application.policy.default_country)
        .map_err(|reason| Refusal::InvalidDestination(reason).into())
}

/// A purpose.
pub fn purpose(text: &str) -> Result<Purpose, Fault> {
    let refused = |error: countersign::core::id::InvalidName| {
        Refusal::InvalidRequest { param: "purpose", detail: error.to_string() }.into()
    };
    text.parse().map_err(refused)
}

fn describe(parts: &Parts, verification: &Verification, deliveries: &[Delivery]) -> String {
    let mut lines = vec![
        format!("{}: {}", verification.id, verification.status_at(parts.verifier.now())),
        format!("  to {} for {}", verification.to.reveal(), verification.purpose),
        format!("  began {}, works until {}", rfc3339(verification.created_at), rfc3339(verification.expires_at)),
        format!(
            "  sent {} times, {} left; {} guesses left for who holds the id",
            verification.sends,
            verification.sends_left(),
            verification.checks_left()
        ),
    ];
    for delivery in deliveries {
        let error = delivery.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let (status, channel, provider) = (delivery.status.as_str(), delivery.channel, &delivery.provider);
        lines.push(format!("  {} {status} by {channel} through {provider}{error}", rfc3339(delivery.at)));
    }
    lines.join("\n")
}

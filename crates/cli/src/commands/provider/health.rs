//! `provider health`: how providers do, country by country.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::Country;
use countersign::core::health::{Figures, Health};
use countersign_server::setup::Parts;
use serde_json::{Value, json};

use crate::context::{Context, close};
use crate::output::{Answer, Fault, Outcome, spoken};

const NOT_KEPT: &str = "this layout of the store keeps no figures: they are summed from the log of events and the history of verifications, \
                        which store.layout = \"standalone\" has";

pub async fn run(context: &Context, wanted: Option<&str>) -> Outcome {
    let parts = context.parts().await?;
    let outcome = figures(&parts, wanted).await;
    close(&parts).await;
    outcome
}

async fn figures(parts: &Parts, wanted: Option<&str>) -> Result<Answer, Fault> {
    if parts.verifier.store().health_position().await?.is_none() {
        return Err(Fault::refused("not_kept", NOT_KEPT));
    }
    let now = parts.verifier.now();
    let mut all: BTreeMap<(String, Channel, Option<Country>), Health> = BTreeMap::new();
    for row in parts.verifier.health().await? {
        if wanted.is_none_or(|wanted| wanted == row.key.provider) {
            let key = (row.key.provider.clone(), row.key.channel, row.key.country);
            all.entry(key).or_default().add(&row, now);
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    // A provider's countries stand together, the busiest first.
    all.sort_by(|((a, ..), x), ((b, ..), y)| a.cmp(b).then(y.sent().total_cmp(&x.sent())));
    let mut lines = vec![format!(
        "{:<16} {:<8} {:<7} {:>8} {:>10} {:>9} {:>10} {:>11} {:>11}",
        "provider", "channel", "country", "sent", "acceptance", "delivery", "conversion", "to deliver", "to approve"
    )];
    for ((provider, channel, country), health) in &all {
        lines.push(format!(
            "{provider:<16} {:<8} {:<7} {:>8.1} {:>10} {:>9} {:>10} {:>11} {:>11}",
            channel.as_str(),
            country.map_or_else(|| "-".to_owned(), |country| country.to_string()),
            health.sent(),
            percent(health.acceptance()),
            percent(health.delivery()),
            percent(health.conversion()),
            took(health.time_to_deliver()),
            took(health.time_to_approve()),
        ));
    }
    if all.is_empty() {
        lines = vec!["no verification was counted in the last 8 days".to_owned()];
    }
    lines.push(
        "\nOf verifications that ended more than a minute ago; what is a day older counts half. conversion = approved / sent."
            .to_owned(),
    );
    let rows: Vec<Value> = all.iter().map(|((provider, channel, country), health)| {
        let counts: serde_json::Map<String, Value> =
            Figures::NAMES.into_iter().zip(health.numbers()).take(7).map(|(name, number)| (name.to_owned(), json!(number))).collect();
        json!({
            "provider": provider, "channel": channel.as_str(), "country": country.map(|country| country.to_string()),
            "counts": counts, "acceptance": health.acceptance(), "delivery": health.delivery(), "conversion": health.conversion(),
            "seconds_to_deliver": health.time_to_deliver().map(|took| took.as_secs_f64()),
            "seconds_to_approve": health.time_to_approve().map(|took| took.as_secs_f64()),
        })
    }).collect();
    Ok(Answer::new(
        lines.join("\n"),
        json!({"half_life_seconds": countersign::core::health::HALF_LIFE.as_secs(), "providers": rows}),
    ))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn took(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), spoken)
}

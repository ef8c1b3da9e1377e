//! `route`: who would carry a message, and why.

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::policy::{Application, Countries};
use countersign::core::refusal::Refusal;
use countersign::core::route::{Candidate, Route, find};
use countersign_server::config::write_duration;
use serde_json::{Value, json};

use crate::args;
use crate::context::Context;
use crate::output::{Answer, Fault, Outcome};

pub fn run(context: &Context, command: args::Route) -> Outcome {
    let args::Route::Explain { to, channel } = command;
    let settings = context.settings()?;
    let application = settings.application(&context.app());
    let to = Destination::parse(&to, application.policy.default_country)
        .map_err(|reason| Fault::from(Refusal::InvalidDestination(reason)))?;
    let channel = channel.unwrap_or_else(|| Channel::default_for(&to));
    if !channel.reaches(&to) {
        return Err(Fault::refused("unsupported_channel", format!("{channel} does not reach such a destination")));
    }
    let steps = steps(&application, channel, &to);
    let mut text = format!("{}\n", about(&to));
    let mut rows = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        text.push_str(&step.text(&application, place));
        rows.push(step.json());
    }
    text.push_str(&refused(&application, &to));
    let json = json!({
        "to": to.reveal(), "country": to.country().map(|country| country.to_string()),
        "number_type": to.number_type().map(|kind| kind.as_str()), "application": application.name.as_str(),
        "country_allowed": allowed(&application, &to), "steps": rows,
    });
    if steps.first().is_none_or(|first| first.route.is_none()) {
        let message = format!("{text}no route carries {channel} there: a send is refused with unsupported_channel");
        return Err(Fault::refused("unsupported_channel", message).with("route", json));
    }
    Ok(Answer::new(text.trim_end().to_owned(), json))
}

/// A channel that is tried, with the row that it takes.
struct Step<'a> {
    channel: Channel,
    /// How long the person is given before the next one; nothing if there is none.
    wait: Option<std::time::Duration>,
    row: usize,
    route: Option<&'a Route>,
}

/// The channel asked for, and what the workflow says comes after it.
fn steps<'a>(application: &'a Application, channel: Channel, to: &Destination) -> Vec<Step<'a>> {
    let workflow = &application.policy.workflow;
    let first = workflow.iter().position(|step| step.channel == channel);
    let channels: Vec<_> = match first {
        Some(place) => workflow[place..].iter().map(|step| (step.channel, step.wait)).collect(),
        None => vec![(channel, std::time::Duration::ZERO)],
    };
    let known = channels.into_iter().enumerate().filter(|(place, (channel, _))| {
        *place == 0 || (channel.reaches(to) && find(&application.routes, *channel, to).is_some())
    });
    let known: Vec<_> = known.map(|(_, step)| step).collect();
    let last = known.len().saturating_sub(1);
    let step = |(place, (channel, wait)): (usize, &(Channel, std::time::Duration))| Step {
        channel: *channel,
        wait: (place < last).then_some(*wait),
        row: application.routes.iter().position(|route| route.fits(*channel, to)).unwrap_or_default() + 1,
        route: find(&application.routes, *channel, to),
    };
    known.iter().enumerate().map(step).collect()
}

impl Step<'_> {
    fn text(&self, application: &Application, place: usize) -> String {
        let Some(route) = self.route else { return String::new() };
        let mut text = format!("\n{}. {} by route {}: {}\n", place + 1, self.channel, self.row, fits(route));
        let weights: u32 = route.candidates.iter().filter_map(|candidate| candidate.weight).sum();
        for (place, candidate) in route.candidates.iter().enumerate() {
            text.push_str(&format!("   {}\n", line(candidate, place, weights)));
        }
        let retries = application.delivery.retries;
        text.push_str(&format!(
            "   when one fails the next is asked at once; each at most {retries} times again, with pauses\n"
        ));
        if let Some(within) = route.receipt_within {
            let within = write_duration(within);
            text.push_str(&format!("   without a receipt within {within} the next one is asked\n"));
        }
        if let Some(wait) = self.wait {
            text.push_str(&format!(
                "   not approved within {}, or carried by none of them: the next channel\n",
                write_duration(wait)
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let weights: u32 =
            self.route.iter().flat_map(|route| &route.candidates).filter_map(|candidate| candidate.weight).sum();
        let candidate = |candidate: &Candidate| {
            json!({
                "provider": candidate.provider, "weight": candidate.weight,
                "share": candidate.weight.filter(|_| weights > 0).map(|weight| f64::from(weight) / f64::from(weights)),
                "price": candidate.price.as_ref().map(ToString::to_string),
            })
        };
        json!({
            "channel": self.channel.as_str(), "route": self.route.map(|_| self.row),
            "candidates": self.route.map(|route| route.candidates.iter().map(candidate).collect::<Vec<_>>()).unwrap_or_default(),
            "receipt_within": self.route.and_then(|route| route.receipt_within).map(|within| within.as_secs_f64()),
            "wait": self.wait.map(|wait| wait.as_secs_f64()),
        })
    }
}

fn line(candidate: &Candidate, place: usize, weights: u32) -> String {
    let order = match candidate.weight {
        None => format!("{}.", place + 1),
        Some(0) => "stand-in".to_owned(),
        Some(weight) => format!("{:.0} % of first attempts", f64::from(weight) / f64::from(weights.max(1)) * 100.0),
    };
    let price = candidate.price.as_ref().map(|price| format!("  {price}")).unwrap_or_default();
    format!("{:<16} {order}{price}", candidate.provider)
}

fn fits(route: &Route) -> String {
    let countries = match &route.countries {
        Countries::All => "every country".to_owned(),
        Countries::Only(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let types = route.number_types.as_ref().map(|types| {
        let names: Vec<_> = types.iter().map(|kind| kind.as_str()).collect();
        format!(", {}", names.join(", "))
    });
    format!("{countries}{}", types.unwrap_or_default())
}

fn about(to: &Destination) -> String {
    let country = to.country().map(|country| format!(", {country}")).unwrap_or_default();
    let kind = to.number_type().map(|kind| format!(", {}", kind.as_str())).unwrap_or_default();
    format!("{}{country}{kind}", to.reveal())
}

fn allowed(application: &Application, to: &Destination) -> bool {
    matches!(to, Destination::Email(_)) || application.policy.allowed_countries.contains(to.country())
}

/// What stands in the way before any route is asked.
fn refused(application: &Application, to: &Destination) -> String {
    let mut text = String::new();
    if !allowed(application, to) {
        text.push_str(
            "\nbut policy.allowed_countries does not have this country: a send is refused with country_blocked\n",
        );
    }
    if to.number_type().is_some_and(|kind| application.policy.blocked_number_types.contains(&kind)) {
        text.push_str("\nbut policy.blocked_number_types has this type: a send is refused with number_type_blocked\n");
    }
    text
}

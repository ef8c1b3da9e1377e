//! `providers.senders`: the sender that people in a country see, and advice on senders that a country does not show.

use std::collections::BTreeMap;

use countersign::core::channel::Channel;
use countersign::core::destination::Country;
use countersign::core::policy::Countries;
use countersign::core::route::Route;
use countersign_providers::config::FieldValue;
use countersign_providers::sender_ids::{self, NameRule};

use super::problem::Problem;
use super::section::Table;
use super::tree::{Data, Node};
use super::value::Value;
use super::{ProviderSettings, Settings};

/// The senders of one row, by country.
pub(super) fn by_country(row: &Table<'_>) -> BTreeMap<Country, FieldValue> {
    let mut senders = BTreeMap::new();
    let Some(node) = row.node("senders") else { return senders };
    if !matches!(node.data, Data::Table(_)) {
        let example = "{ TZ = \"MyApp\", US = \"+15005550006\" }";
        row.problem(
            "senders",
            format!(
                "must be a table of countries and senders, for example senders = {example}, not {}",
                node.describe()
            ),
        );
        return senders;
    }
    let table = row.table("senders");
    for (name, node) in table.entries() {
        match (Country::read(&Node { place: node.place.clone(), data: Data::Raw(name.to_owned().into()) }), &node.data)
        {
            (Err(problem), _) => table.problem(name, problem),
            (Ok(country), Data::Text(sender) | Data::Raw(sender)) if !sender.trim().is_empty() => {
                senders.insert(country, sender.trim().into());
            }
            (Ok(_), _) => table.problem(name, "must be a sender in quotation marks"),
        }
    }
    senders
}

impl Settings {
    /// Where a route takes a provider to a country that does not show its sender, as far as that is known. A sender that `senders` gives
    /// to a country was meant for it: only a name where none is shown is told.
    pub(super) fn advice_on_senders(&self) -> Vec<Problem> {
        let mut advice = Vec::new();
        for provider in &self.providers {
            let field = provider.config.described().and_then(|descriptor| descriptor.sender.as_ref());
            let Some(field) = field.map(|sender| sender.field.as_str()) else { continue };
            for country in self.countries_of(provider) {
                let Some((_, rule, source)) = sender_ids::rule(country) else { continue };
                let own = provider.config.senders.get(&country);
                let common = provider.config.fields.get(field);
                let Some(sender) = own.or(common).map(FieldValue::reveal).filter(|sender| sender_ids::is_name(sender))
                else {
                    continue;
                };
                let (name, key) = (&provider.config.name, if own.is_some() { "senders" } else { field });
                let text = match rule {
                    NameRule::NumbersOnly => format!(
                        "`{name}` sends to {country} as `{sender}`, and names are not shown there, only numbers; write senders = {{ {country} = \"+…\" }} ({source})"
                    ),
                    NameRule::Registered if own.is_none() => format!(
                        "`{name}` sends to {country} as `{sender}`, and names must be registered there before; once it is, write senders = {{ {country} = \"{sender}\" }} ({source})"
                    ),
                    NameRule::Registered | NameRule::Shown => continue,
                };
                advice.push(Problem { place: provider.place.clone(), key: format!("providers.{key}"), text });
            }
        }
        advice
    }

    /// The countries that routes or the policy name and that this provider carries text messages to.
    fn countries_of(&self, provider: &ProviderSettings) -> Vec<Country> {
        let name = &provider.config.name;
        let names = |route: &&Route| route.candidates.iter().any(|candidate| candidate.provider == *name);
        let routes =
            self.routes.iter().map(|row| &row.route).filter(|route| route.channel == Channel::Sms).filter(names);
        let mut countries: Vec<Country> = routes
            .flat_map(|route| match (&route.countries, &self.policy.allowed_countries) {
                (Countries::Only(named), allowed) => {
                    named.iter().copied().filter(|country| allowed.contains(Some(*country))).collect()
                }
                (Countries::All, Countries::Only(allowed)) => allowed.clone(),
                (Countries::All, Countries::All) => Vec::new(),
            })
            .collect();
        countries.sort_unstable();
        countries.dedup();
        countries
    }
}

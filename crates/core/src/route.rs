//! Which providers carry what.

use crate::channel::Channel;
use crate::destination::Country;
use crate::policy::Countries;

/// One row: for this channel and these countries, these providers in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The channel that it is for.
    pub channel: Channel,
    /// The countries that it is for.
    pub countries: Countries,
    /// Names of providers, the next one tried when one fails. Never empty in a checked configuration.
    pub providers: Vec<String>,
}

impl Route {
    /// A row for every country.
    #[must_use]
    pub fn to<'a>(channel: Channel, providers: impl IntoIterator<Item = &'a str>) -> Self {
        Self { channel, countries: Countries::All, providers: providers.into_iter().map(str::to_owned).collect() }
    }
}

/// The providers for a message, in order: those of the first row that fits. Empty if none does.
#[must_use]
pub fn candidates(routes: &[Route], channel: Channel, country: Option<Country>) -> &[String] {
    routes
        .iter()
        .find(|route| route.channel == channel && route.countries.contains(country))
        .map_or(&[], |route| &route.providers)
}

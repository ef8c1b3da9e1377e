//! What a message to a country costs, by order of magnitude: for orientation in the inbox, and for nothing else.
//!
//! From public list prices of large gateways for one outgoing SMS: `low` is up to some 0.02 USD, `medium` up to some 0.08, `high`
//! above. Contracts, sender registrations and routes move prices by factors; a country that is not here is unknown.

const LOW: &[&str] = &["CA", "CN", "PR", "US", "VI"];

const MEDIUM: &[&str] = &[
    "AD", "AR", "AU", "BR", "BS", "CL", "CO", "CR", "CY", "CZ", "DK", "DO", "EE", "ES", "FI", "FR", "GB", "GR", "GU",
    "HK", "HR", "IE", "IL", "IN", "IS", "IT", "JP", "KR", "LT", "LU", "LV", "MO", "MT", "MX", "NO", "NZ", "PA", "PE",
    "PL", "PT", "PY", "RO", "SA", "SE", "SG", "SI", "SK", "TH", "TR", "TW", "UA", "UY", "VE", "ZA",
];

const HIGH: &[&str] = &[
    "AE", "AF", "AL", "AM", "AO", "AT", "AZ", "BA", "BD", "BE", "BF", "BG", "BI", "BJ", "BO", "BT", "BW", "BY", "CD",
    "CF", "CG", "CH", "CI", "CM", "CU", "DE", "DJ", "DZ", "EC", "EG", "ET", "FJ", "GA", "GE", "GH", "GM", "GN", "GT",
    "HN", "HU", "ID", "IQ", "IR", "JM", "JO", "KE", "KG", "KH", "KW", "KZ", "LA", "LB", "LK", "LR", "LY", "MA", "MD",
    "ME", "MG", "MK", "ML", "MM", "MN", "MR", "MU", "MV", "MW", "MY", "MZ", "NA", "NE", "NG", "NI", "NL", "NP", "OM",
    "PG", "PH", "PK", "PS", "QA", "RS", "RU", "RW", "SD", "SL", "SN", "SO", "SS", "SV", "SY", "SZ", "TD", "TG", "TJ",
    "TL", "TM", "TN", "TZ", "UG", "UZ", "VN", "YE", "ZM", "ZW",
];

/// `low`, `medium` or `high`; `None` where nothing is known.
pub(super) fn class(country: &str) -> Option<&'static str> {
    [("low", LOW), ("medium", MEDIUM), ("high", HIGH)]
        .into_iter()
        .find(|(_, countries)| countries.binary_search(&country).is_ok())
        .map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_is_in_one_sorted_list() {
        let mut all = [LOW, MEDIUM, HIGH].concat();
        assert!([LOW, MEDIUM, HIGH].iter().all(|list| list.is_sorted()));
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!((class("US"), class("TZ"), class("ZZ"), class("")), (Some("low"), Some("high"), None, None));
    }
}

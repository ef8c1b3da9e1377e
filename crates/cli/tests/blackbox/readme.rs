//! The table of README.md and the tests are the same.

const README: &str = include_str!("README.md");

const SOURCES: [&str; 19] = [
    include_str!("binding.rs"),
    include_str!("budget.rs"),
    include_str!("budget_doors.rs"),
    include_str!("crash.rs"),
    include_str!("expiry.rs"),
    include_str!("idempotency.rs"),
    include_str!("production.rs"),
    include_str!("providers.rs"),
    include_str!("pumping.rs"),
    include_str!("receipts.rs"),
    include_str!("redeem.rs"),
    include_str!("rotation.rs"),
    include_str!("secrecy.rs"),
    include_str!("sending.rs"),
    include_str!("service.rs"),
    include_str!("single_use.rs"),
    include_str!("strangers.rs"),
    include_str!("twilio.rs"),
    include_str!("values.rs"),
];

/// Every bug of the list, by section and number.
fn ids() -> Vec<String> {
    let sections = [('a', 17), ('b', 6), ('c', 4), ('d', 5), ('e', 7), ('f', 6), ('g', 11), ('h', 8)];
    sections.iter().flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}{number}"))).collect()
}

#[test]
fn every_bug_of_the_table_has_its_test_or_its_reason() {
    let tests: Vec<&str> = SOURCES
        .iter()
        .flat_map(|source| source.split("async fn bug_").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    for id in ids() {
        let upper = id.to_uppercase();
        let row = README.lines().find(|line| line.starts_with(&format!("| {upper} |")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {upper}"));
        let named: Vec<_> = row
            .split('`')
            .filter_map(|word| word.strip_prefix("bug_"))
            .map(|word| word.trim_end_matches('…'))
            .collect();
        let reason = row.contains("not here:");
        assert!(reason || !named.is_empty(), "{upper} names no test and no reason");
        for name in named {
            assert!(tests.iter().any(|test| test.starts_with(name)), "{upper}: there is no test bug_{name}");
        }
        // And the other way around: what bears the id is in the row.
        let missing =
            tests.iter().filter(|test| test.starts_with(&format!("{id}_"))).find(|test| !row.contains(**test));
        assert_eq!(missing, None, "README.md, row {upper}");
    }
}

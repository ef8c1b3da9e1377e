#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use countersign::core::limit::LimitRule;
use countersign::core::message::Draft;
use countersign::core::policy::{Countries, Policy, TextPolicy};
use proptest::prelude::*;

use super::document::{DEFAULT_LIMITS, default_file, explain};
use super::section::Shape;
use super::sections::SECTIONS;
use super::*;
use crate::webhooks::address::Reach;

fn wrong(text: &str) -> String {
    Settings::from_text(text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Problems> {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::read(Some("countersign.toml"), text, &variables)
}

#[test]
fn the_default_file_is_the_defaults() {
    let file = Settings::from_text(&default_file()).unwrap();
    let none = Settings::default();
    assert_eq!(file.server, none.server);
    assert_eq!(file.simple, none.simple);
    assert_eq!(file.store, none.store);
    assert_eq!(file.keys, none.keys);
    assert_eq!(file.policy, none.policy);
    assert_eq!(file.limits, none.limits);
    assert_eq!(file.guard, none.guard);
    assert_eq!(file.delivery, none.delivery);
    assert_eq!(file.log, none.log);
    assert_eq!(file.cleanup, none.cleanup);
    assert_eq!(file.routes, none.routes);
    assert_eq!((&file.texts, file.templates.len()), (&none.texts, 0));
    assert!(file.implicit_provider && none.implicit_provider);
    let name = ApplicationName::default();
    let (a, b) = (file.application(&name), none.application(&name));
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    assert_eq!((a.display_name.as_str(), a.policy), ("Example", Policy::default()));
}

#[test]
fn the_examples_of_the_default_file_hold_once_they_are_uncommented() {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    // A secret stands in one place; weights and prices are for several providers, and the example has one.
    let alone = |line: &&str| !["secret_file", "#weights", "#prices"].iter().any(|other| line.contains(other));
    let file: String = default_file().lines().filter(alone).map(uncomment).collect();
    // The application's table has a section that no other layout has, and no webhooks.
    let theirs =
        without(&file, "[[applications.webhooks]]").replace("layout = \"standalone\"", "layout = \"existing\"");
    let settings = Settings::from_text(&theirs).unwrap();
    assert_eq!(
        settings.layout,
        countersign_store::layout::Layout::Existing(countersign_store::layout::Existing::django())
    );
    let settings = Settings::from_text(&without(&file, "[store.existing]")).unwrap();
    let counts =
        (settings.providers.len(), settings.routes.len(), settings.templates.len(), settings.test_destinations.len());
    assert_eq!(counts, (1, 1, 1, 1));
    assert!(!settings.implicit_provider);
}

/// A file without one of its tables.
fn without(file: &str, header: &str) -> String {
    let (before, rest) = file.split_once(&format!("\n{header}\n")).unwrap();
    let after = rest.find("\n[").map_or("", |end| &rest[end..]);
    format!("{before}\n{after}")
}

#[test]
fn defaults_are_those_of_the_rules() {
    assert_eq!(Settings::default().policy.rules(), Policy::default());
    assert_eq!(DEFAULT_LIMITS.to_vec(), LimitRule::defaults());
    assert_eq!(Settings::default().delivery.rules(), countersign::core::policy::DeliveryPolicy::default());
    assert_eq!(Settings::default().texts.rules(), TextPolicy::default());
    let cleanup = Settings::default().cleanup();
    assert_eq!((cleanup.older_than, cleanup.every), (Cleanup::default().older_than, Cleanup::default().every));
}

#[test]
fn every_key_is_documented_and_every_default_and_example_can_be_read() {
    for section in SECTIONS {
        assert!(!section.about.trim().is_empty(), "{}", section.path);
        for key in section.keys {
            let name = format!("{}.{}", section.path, key.name);
            assert!(key.about.trim().ends_with('.'), "{name}: {}", key.about);
            assert!(key.default.is_some() || key.example.is_some(), "{name} has neither a default nor an example");
            for text in [key.default, key.example].into_iter().flatten() {
                assert!(toml::from_str::<toml::Table>(&format!("x = {text}")).is_ok(), "{name}: {text}");
            }
            assert_eq!(explain(&name).unwrap().key, name);
            assert_eq!(explain(&explain(&name).unwrap().variable.unwrap()).unwrap().key, name);
        }
    }
}

fn webhook(lines: &str) -> String {
    format!(
        "[[applications]]\nname = \"a\"\n[[applications.webhooks]]\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n{lines}"
    )
}

#[test]
fn a_webhook_has_one_secret_or_two() {
    let first = Settings::from_text(&webhook("url = \"https://a.example/x\"")).unwrap().webhook_endpoints();
    assert_eq!((first.len(), first[0].keys.len(), first[0].events.is_none()), (1, 1, true));
    let more = "[[applications]]\nname = \"a\"\n[[applications.webhooks]]\nurl = \"https://a.example/x\"\nevents = [\"verification.approved\"]\n\
                secret = [\"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\", \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]";
    let settings = Settings::from_text(more).unwrap();
    let second = settings.webhook_endpoints();
    assert_eq!((&second[0].id, second[0].keys.len()), (&first[0].id, 2));
    assert_ne!(second[0].settings, first[0].settings);
    assert!(!format!("{settings:?}").contains("MfKQ9r8"));
}

#[test]
fn webhooks_go_to_this_machine_in_a_trial_and_to_private_networks_if_told() {
    let reach = |text: &str| Settings::from_text(text).map(|settings| settings.webhook_terms().reach);
    for here in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost:9001/hook"] {
        assert_eq!(reach(&webhook(&format!("url = \"{here}\""))).unwrap(), Reach::Trial, "{here}");
    }
    let private = webhook("url = \"http://10.0.0.1/\"");
    assert!(reach(&private).is_err());
    assert_eq!(reach(&format!("{private}\n[webhooks]\nallow_private_addresses = true")).unwrap(), Reach::Anywhere);
    let production = |lines: &str| {
        let gateway = "[[providers]]\nname = \"g\"\nuses = \"webhook\"\nurl = \"https://g.example/\"\nsecret = \"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\"";
        format!("{}\n{gateway}\n[server]\nproduction = true", webhook(lines))
    };
    assert_eq!(reach(&production("url = \"https://a.example/\"")).unwrap(), Reach::Public);
    let refused = reach(&production("url = \"https://127.0.0.1/\"")).unwrap_err();
    assert!(refused.to_string().contains("no address of the public internet"), "{refused}");
}

/// What is written, and what is said about it.
#[test]
fn what_is_wrong_is_named_with_its_line_and_what_to_write() {
    for (text, expected) in [
        (
            "[policy]\ncode_lenght = 6",
            "countersign.toml:2: policy.code_lenght: no such key; did you mean `code_length`?",
        ),
        ("[polcy]\nttl = \"5m\"", "countersign.toml:1: polcy: no such key; did you mean `policy`?"),
        ("[server]\nttl = \"5m\"", "countersign.toml:2: server.ttl: no such key here; it belongs in [policy]"),
        ("[server]\n\n\nquux = 1", "countersign.toml:4: server.quux: no such key; there is: listen, public_url"),
        ("[policy]\ncode_length = 3", "countersign.toml:2: policy.code_length: must be 4 to 10, not 3"),
        ("[policy]\ncode_length = \"6\"", "must be a whole number, not \"6\""),
        ("[policy]\nttl = 300", "policy.ttl: must be a duration: a number and a unit"),
        ("[policy]\nttl = \"5 minutes\"", "not \"5 minutes\""),
        ("[policy]\nttl = \"25h\"", "policy.ttl: must be 30s to 24h, not \"25h\""),
        ("[policy]\ndefault_country = \"UK\"", "must be \"GB\" for the United Kingdom"),
        ("[policy]\nallowed_countries = []", "write [\"*\"] for all"),
        ("[policy]\nallowed_countries = [\"*\", \"TZ\"]", "\"*\" is every country already"),
        ("[policy]\nallowed_countries = [\"TZ\",\n\"Kenya\"]", "not \"Kenya\""),
        ("[policy]\nallowed_countries = [\"TZ\", \"XX\"]", "no phone number is of \"XX\""),
        ("[policy]\ndefault_country = \"zz\"", "no phone number is of \"ZZ\""),
        (
            "[server]\nlisten = \"localhost:8080\"",
            "countersign.toml:2: server.listen: must be an address and a port: write \"127.0.0.1:8080\"",
        ),
        ("[server]\nlisten = 8080", "not 8080"),
        ("[server]\npublic_url = \"example.com\"", "server.public_url: must be an http:// or https:// URL"),
        ("[server.simple]\nprefix = \"/v1\"", "server.simple.prefix: /v1 is the service's own"),
        ("[store]\nurl = \"postgres://u:hunter2@h\"", "store.url: names no database"),
        ("[store]\nurl = \"postgres://u:hunter2@h/d?sslmode=no\"", "store.url: sslmode must be disable"),
        ("[store]\nurl = \"postgres://u:hunter2@h/d?options=x\"", "store.url: takes sslmode"),
        ("[store]\nurl = \"postgres://u@h/d\"\nschema = \"a;b\"", "store.schema: must be 1 to 63 letters"),
        ("[store]\nurl = \"postgres://u@h/d\"\nconnections = 2", "store.connections: must be 3 to 100, not 2"),
        (
            "[store]\nurl = \"postgres://u@h/d\"\npassword_file = \"/nowhere/p\"",
            "store.password_file: the file \"/nowhere/p\" cannot",
        ),
        ("[store]\nurl = \"postgres://u:hunter2@h/d\"\npassword_file = \"/nowhere/p\"", "keep one of the two"),
        ("[store]\npassword_file = \"/nowhere/p\"", "store.password_file: only PostgreSQL has a password"),
        ("[store]\nurl = \"countersign.db\"", "must be sqlite: and the path of a file"),
        ("[store]\nurl = \"sqlite:a.db?mode=rwc\"", "store.url: takes no options"),
        ("[store]\nlayout = \"minmal\"", "did you mean \"minimal\"?"),
        ("[store]\nlayout = \"existing\"", "store.layout: needs a table: write preset = \"django\""),
        ("[store]\nurl = \"sqlite::memory:\"\nlayout = \"minimal\"", "store.layout: memory has one layout"),
        (
            "[store.existing]\ntable = \"t\"",
            "countersign.toml:2: store.existing.table: is only for layout = \"existing\"",
        ),
        (
            "[store]\nlayout = \"existing\"\n[store.existing]\ntable = \"t\"\ncolumns = { id = \"a\" }",
            "store.existing.columns: without a preset every column needs a name; missing: destination, purpose",
        ),
        (
            "[store]\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"\ntable = \"a;drop\"",
            "countersign.toml:5: store.existing.table: must be the name of a table",
        ),
        (
            "[store]\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"\ncolumns = { id = \"a b\" }",
            "store.existing.columns: id must be the name of a column",
        ),
        (
            "[store]\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"\ncolumns = { phone = \"a\" }",
            "store.existing.columns: has no column `phone`; there is: id, destination",
        ),
        (
            "[store]\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"\ncolumns = { id = \"Phone\" }",
            "id and destination are the same column",
        ),
        (
            "[store]\nlayout = \"minimal\"\n[[applications]]\nname = \"a\"\n[[applications.webhooks]]\nurl = \"http://a\"",
            "the layout \"minimal\" keeps no events; write store.layout = \"standalone\"",
        ),
        ("[guard]\nmode = \"enforced\"", "guard.mode: must be \"off\", \"observe\" or \"enforce\""),
        ("[guard]\nleast_conversion = 101", "guard.least_conversion: must be 1 to 100, not 101"),
        ("[guard]\nunconfirmed = 0", "guard.unconfirmed: must be 1 to 1000000, not 0"),
        (
            "[[applications]]\nname = \"a\"\n[applications.guard]\nwindow = \"1s\"",
            "applications.guard.window: must be 1m to 31d",
        ),
        (
            "[[applications]]\nname = \"a\"\n[applications.guard]\nmod = \"off\"",
            "applications.guard.mod: no such key; did you mean `mode`?",
        ),
        ("[delivery]\nunknown = \"nexxt\"", "did you mean \"next\"?"),
        ("[log]\nlevel = \"verbose\"", "log.level: must be \"off\", \"error\", \"warn\", \"info\""),
        ("[limits]\nper = \"client\"", "countersign.toml:1: limits: must be rows: write [[limits]]"),
        (
            "[[limits]]\nper = \"client\"\nquota = 5",
            "countersign.toml:1: limits.window: is missing; write for example window = \"10m\"",
        ),
        ("[[limits]]\nper = \"ip\"\nquota = 5\nwindow = \"1h\"", "limits.per: must be \"destination\", \"client\""),
        ("[[limits]]\nper = \"client\"\nquota = -5\nwindow = \"1h\"", "limits.quota: must be a whole number, not -5"),
        (
            "[[applications]]\nname = \"a\"\n[[applications]]\nname = \"a\"",
            "countersign.toml:4: applications.name: two applications are called `a`",
        ),
        ("[[applications]]\nname = \"Shop!\"", "applications.name: must be a name of 1 to 32 characters"),
        ("[[applications]]\nname = \"a\"\ntll = \"5m\"", "applications.tll: no such key; did you mean `ttl`?"),
        ("[[applications]]\nname = \"a\"\nweb_origin = \"https://Example.com/login\"", "write \"example.com\""),
        (
            "[[applications]]\nname = \"a\"\nandroid_app_hash = \"short\"",
            "applications.android_app_hash: must be the 11 characters",
        ),
        (
            "[[applications]]\nname = \"a\"\n[[applications.webhooks]]\nurl = \"http://a\"",
            "applications.webhooks.secret: is missing",
        ),
        (&webhook("url = \"ftp://a\""), "applications.webhooks.url: must be an http:// or https:// URL"),
        (&webhook("url = \"https://u:p@a/\""), "takes no user, password or #"),
        (&webhook("url = \"http://10.1/\""), "10.0.0.1 is no address of the public internet"),
        (&webhook("url = \"http://[fd12::1]/\""), "set webhooks.allow_private_addresses = true"),
        (&webhook("url = \"https://a/\"\nevents = []"), "write [\"*\"] for all"),
        (
            &webhook("url = \"https://a/\"\nevents = [\"verification.aproved\"]"),
            "did you mean `verification.approved`?",
        ),
        (&webhook("url = \"https://a/\"\nevents = [\"guard.bloked\"]"), "did you mean `guard.blocked`?"),
        (&webhook("url = \"https://a/\"\nsecret_file = \"/nowhere\""), "`secret` is set too; keep one of the two"),
        (
            &webhook(
                "url = \"https://a/\"\n[[applications.webhooks]]\nurl = \"https://a\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            ),
            "another row of this application has the same address",
        ),
        (
            "[[applications]]\nname = \"a\"\n[[applications.webhooks]]\nurl = \"https://a/\"\nsecret = \"x\"",
            "applications.webhooks.secret: must be `whsec_`",
        ),
        (
            "[[applications]]\nname = \"a\"\n[[applications.limits]]\nper = \"client\"",
            "applications.limits.quota: is missing",
        ),
        ("[[providers]]\nuses = \"inbox\"", "providers.name: is missing"),
        (
            "[[providers]]\nname = \"a\"\nuses = \"webhok\"",
            "countersign.toml:3: providers.uses: there is no provider `webhok`; did you mean `webhook`?",
        ),
        ("[[providers]]\nname = \"a\"\nuses = \"webhook\"", "providers.uses: `url` is missing"),
        (
            "[[providers]]\nname = \"a\"\nuses = \"webhook\"\nurl = \"http://a/\"\nscret = \"x\"",
            "countersign.toml:5: providers.scret: `webhook` has no such field; did you mean `secret`?",
        ),
        (
            "[[providers]]\nname = \"a\"\nuses = \"webhook\"\nurl = \"http://a/\"\nsecret_file = \"/nowhere\"",
            "countersign.toml:5: providers.secret_file: the file \"/nowhere\" cannot be read",
        ),
        (
            "[[providers]]\nname = \"a\"\nuses = \"inbox\"\n[[providers]]\nname = \"a\"\nuses = \"inbox\"",
            "two providers are called `a`",
        ),
        (
            "[[routes]]\nchannel = \"sms\"\nproviders = [\"gatewy\"]\n[[providers]]\nname = \"gateway\"\nuses = \"inbox\"",
            "routes.providers: there is no provider `gatewy`; did you mean `gateway`?",
        ),
        ("[[routes]]\nchannel = \"sms\"\nproviders = []", "must name at least one provider; there is: inbox"),
        ("[[routes]]\nchannel = \"smss\"\nproviders = [\"inbox\"]", "did you mean \"sms\"?"),
        (
            "[[routes]]\nchannel = \"sms\"\nproviders = [\"inbox\"]\n[[routes]]\nchannel = \"sms\"\ncountries = [\"TZ\"]\nproviders = [\"inbox\"]",
            "countersign.toml:5: routes.channel: a row above takes sms for every country",
        ),
        ("[templates.default.en]\nsms = \"Hello\"", "templates.default.en.sms: the text does not hold the code"),
        ("[templates.default.en]\nsms = \"{{ cod }}\"", "templates.default.en.sms: "),
        (
            "[templates.default.en]\nsms = \"{{ code }} https://a.example/x\"",
            "countersign.toml:2: templates.default.en.sms: holds what phones show as a link, `https://a.example/x`; leave it out",
        ),
        (
            "[templates.default.en]\nsms = \"\u{2068}{{ code }}\u{2069}\"",
            "holds the invisible character U+2068; leave it out",
        ),
        (
            "[templates.default.en]\nsubject = \"a\\nb\"",
            "templates.default.en.subject: must be one line of 1 to 200 characters",
        ),
        ("[templates.default.en]\nsubjekt = \"x\"", "there is no such channel; did you mean `subject`?"),
        (
            "[[applications]]\nname = \"shop\"\n[applications.templates.default.en]\nsms = \"Hello\"",
            "countersign.toml:4: applications.templates.default.en.sms: the text does not hold the code",
        ),
        ("[texts]\ndefault_locale = \"English, please\"", "texts.default_locale: must be a language (BCP 47)"),
        ("[texts]\nlinks = true", "texts.links: no such key"),
        ("[templates.default.en]\nsmss = \"{{ code }}\"", "there is no such channel; did you mean `sms`?"),
        (
            "[[test_destinations]]\nto = \"+15005550006\"\ncode = 123456",
            "countersign.toml:3: test_destinations.code: must be in quotation marks",
        ),
        (
            "[[test_destinations]]\nto = \"abc\"\ncode = \"123456\"",
            "test_destinations.to: neither a phone number nor an email address",
        ),
        ("a = \n", "countersign.toml:1: this is not TOML"),
        ("[policy]\nttl = \"5m\"\nttl = \"6m\"", "countersign.toml:3: this is not TOML"),
        ("policy = 3", "countersign.toml:1: policy: must be a table ([policy]), not 3"),
    ] {
        let said = wrong(text);
        assert!(said.contains(expected), "{text}\n--- expected: {expected}\n--- said: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let said = wrong("[policy]\nttl = 1\ncode_length = 99\n[server]\nlisten = \"x\"\n");
    let lines: Vec<_> = said.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        ["countersign.toml:2 policy.ttl", "countersign.toml:3 policy.code_length", "countersign.toml:5 server.listen"]
    );
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let file = std::env::temp_dir().join(format!("countersign-secret-{}", std::process::id()));
    let row = |secret: &str| {
        format!(
            "[[providers]]\nname = \"gw\"\nuses = \"webhook\"\nurl = \"http://a/\"\n{secret}\nsecret_file = \"{}\"\n",
            file.display()
        )
    };
    std::fs::write(&file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n").unwrap();
    let settings = Settings::from_text(&row("")).unwrap();
    assert_eq!(settings.providers[0].config.fields["secret"].reveal(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert!(!settings.providers[0].config.fields.contains_key("secret_file"));
    assert!(!format!("{settings:?}").contains("MfKQ9"), "settings show no secret");
    assert!(wrong(&row("secret = \"whsec_AAAA\"")).contains("`secret` is set too; keep one of the two"));
    for (content, expected) in
        [("", "is empty"), ("a\nb\n", "more than one line"), ("hunter2", "providers.secret_file: must be `whsec_`")]
    {
        std::fs::write(&file, content).unwrap();
        let said = wrong(&row(""));
        assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    // One that is named is not missing as well.
    let said = wrong(
        "[[providers]]\nname = \"tz\"\nuses = \"mshastra\"\nuser = \"1\"\nsender = \"A\"\npassword_file = \"/nowhere\"",
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_environment_counts_more_than_the_file() {
    let settings = with(
        "[policy]\nttl = \"1m\"\n[[providers]]\nname = \"tz\"\nuses = \"webhook\"\nurl = \"http://a/\"\n",
        &[
            ("COUNTERSIGN_POLICY__TTL", "2m"),
            ("COUNTERSIGN_POLICY__CODE_LENGTH", "8"),
            ("COUNTERSIGN_POLICY__ALLOWED_COUNTRIES", "TZ, KE"),
            ("COUNTERSIGN_POLICY__PURPOSES", "[\"login\", \"pay\"]"),
            ("COUNTERSIGN_SERVER__LISTEN", "0.0.0.0:9999"),
            ("COUNTERSIGN_SERVER__SIMPLE__ENABLED", "false"),
            ("COUNTERSIGN_PROVIDERS__0__URL", "http://b/"),
            ("COUNTERSIGN_PROVIDERS__1__NAME", "catch"),
            ("COUNTERSIGN_PROVIDERS__1__USES", "inbox"),
            ("COUNTERSIGN_LIMITS__0__QUOTA", "3"),
            ("COUNTERSIGN_APPLICATIONS__0__DISPLAY_NAME", "Acme"),
            ("COUNTERSIGN_TEMPLATES__DEFAULT__EN__SMS", "{{ code }}"),
            ("COUNTERSIGN_CONFIG", "elsewhere.toml"),
            ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"),
            ("COUNTERSIGN_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!((settings.policy.ttl, settings.policy.code_length), (Duration::from_secs(120), 8));
    assert!(matches!(&settings.policy.allowed_countries, Countries::Only(list) if list.len() == 2));
    assert_eq!(settings.policy.purposes.len(), 2);
    assert_eq!(settings.server.listen.0.port(), 9999);
    assert!(!settings.simple.enabled);
    assert_eq!(settings.providers[0].config.fields["url"].reveal(), "http://b/");
    assert_eq!(settings.providers[1].config.name, "catch");
    assert_eq!(settings.limits.iter().map(|rule| rule.quota).collect::<Vec<_>>(), [3, 10, 20, 60]);
    assert_eq!(settings.application(&ApplicationName::default()).display_name, "Acme");
    assert_eq!(settings.templates.len(), 1);
}

#[test]
fn texts_are_the_applications_before_they_are_everybodys() {
    let settings = Settings::from_text(
        "[texts]\nlocale_by_country = false\nallow_links = true\n[templates.default.en]\nsms = \"all {{ code }}\"\n\
         subject = \"Mail of {{ application }}\"\n[templates.default.fr]\nsms = \"tous {{ code }}\"\n[[applications]]\nname = \"shop\"\n\
         [applications.templates.default.en]\nsms = \"shop {{ code }} https://shop.example\"\n[applications.templates.payment.en]\nsms = \"pay {{ code }}\"\n",
    )
    .unwrap();
    let said = |application: &str, purpose: &str, locale: Option<&str>, channel: Channel| {
        let application = settings.application(&application.parse().unwrap());
        let draft = Draft {
            template: None,
            purpose,
            locale,
            country: Some("EG".parse().unwrap()),
            channel,
            seconds: 300,
            wording: None,
            payment: None,
        };
        let composed = draft.compose(&application, &"123456".parse().unwrap()).unwrap();
        (composed.text.to_string(), composed.subject.to_string())
    };
    let text = |application: &str, purpose: &str, locale| said(application, purpose, locale, Channel::Sms).0;
    assert_eq!(text("other", "login", None), "all 123456");
    assert_eq!(text("shop", "login", None), "shop 123456 https://shop.example");
    assert_eq!(text("shop", "login", Some("fr")), "tous 123456");
    assert_eq!(text("shop", "payment", None), "pay 123456");
    assert_eq!(text("other", "payment", None), "all 123456");
    assert_eq!(said("other", "login", None, Channel::Email), ("all 123456".to_owned(), "Mail of other".to_owned()));
    let by_country = Settings::default().application(&ApplicationName::default());
    assert!(by_country.texts.locale_by_country && by_country.texts.plain_characters);
}

#[test]
fn advice_names_the_line_and_what_it_costs() {
    let text = format!(
        "[texts]\nallow_links = true\n[[applications]]\nname = \"default\"\nweb_origin = \"login.example.com\"\nandroid_app_hash = \"FA+9qCX9VSu\"\n[templates.default.en]\n\
         sms = \"{{{{ code }}}} {}\"\nvoice = \"It is {{{{ code }}}}\"\n[templates.default.ru]\nsms = \"{}: {{{{ code }}}}\"\n\
         [templates.default.de]\nsms = \"{{{{ code }}}}\\n@a.example #1\"\nsubject = \"{{{{ code }}}}\"\n",
        "x".repeat(120),
        "\u{44f}".repeat(60),
    );
    let advice = Settings::from_text(&text).unwrap().advice();
    let said: Vec<_> = advice.iter().map(|one| format!("{:?} {}: {}", one.place, one.key, one.text)).collect();
    assert_eq!(
        said,
        [
            "Line(8) templates.default.en.sms: is 175 bytes long with the lines for phones; Android's SMS Retriever reads 140 at most",
            "Line(8) templates.default.en.sms: takes 2 SMS with a code of ten digits: 175 characters, and one holds 160",
            "Line(9) templates.default.en.voice: speaks the code as one number; write {{ digits }} for {{ code }}",
            "Line(11) templates.default.ru.sms: is 176 bytes long with the lines for phones; Android's SMS Retriever reads 140 at most",
            "Line(11) templates.default.ru.sms: takes 2 SMS with a code of ten digits: 116 characters, and one holds 70 with letters outside GSM-7 (\u{44f}), 160 without",
            "Line(13) templates.default.de.sms: has a line that begins with @, which phones take for `@host #code`; write the host as applications.web_origin, and it is added as the last line",
            "Line(14) templates.default.de.subject: holds the code; mail servers write such lines into their logs, so leave it to the text",
        ]
    );
    assert_eq!(Settings::default().advice(), []);
}

const TWILIO: &str = "[[providers]]\nname = \"t\"\nuses = \"twilio\"\naccount_sid = \"AC0123456789abcdef0123456789abcdef\"\nauth_token = \"secret\"\n";

#[test]
fn a_sender_that_a_country_does_not_show_is_advised_on() {
    let advice = |rest: &str| {
        let settings = Settings::from_text(&format!("{TWILIO}{rest}")).unwrap();
        let said = settings.advice().into_iter().map(|one| {
            let country = ["US", "KE", "TZ", "DE", "UG"].into_iter().find(|country| one.text.contains(country));
            (one.place, one.key, country.unwrap_or_default(), one.text.contains("only numbers"))
        });
        said.collect::<Vec<_>>()
    };
    let sender = |key: &str| format!("providers.{key}");
    let route =
        |countries: &str| format!("[[routes]]\nchannel = \"sms\"\nproviders = [\"t\"]\ncountries = {countries}\n");
    let everywhere = "from = \"MyApp\"\n";
    // Nothing is known of UG, and names are shown in DE.
    let rest = format!("{everywhere}{}", route("[\"US\", \"KE\", \"DE\", \"UG\"]"));
    assert_eq!(
        advice(&rest),
        [(Place::Line(6), sender("from"), "KE", false), (Place::Line(6), sender("from"), "US", true),]
    );
    // A route for every country names those that the policy allows.
    let allowed = "[policy]\nallowed_countries = [\"TZ\"]\n";
    assert_eq!(advice(&format!("{everywhere}{allowed}")), [(Place::Line(6), sender("from"), "TZ", false)]);
    assert_eq!(advice(everywhere), []);
    assert_eq!(advice(&format!("from = \"+15005550006\"\n{}", route("[\"US\", \"KE\"]"))), []);
    // What is given to a country was meant for it, unless it cannot be.
    let own = "senders = { US = \"+15005550006\", KE = \"MyApp\" }\n";
    assert_eq!(advice(&format!("{everywhere}{own}{}", route("[\"US\", \"KE\"]"))), []);
    let own = "senders = { us = \"MyApp\" }\n";
    assert_eq!(
        advice(&format!("{everywhere}{own}{}", route("[\"US\"]"))),
        [(Place::Line(6), sender("senders"), "US", true)]
    );
    for (senders, expected) in [
        (
            "senders = \"MyApp\"",
            "providers.senders: must be a table of countries and senders, for example senders = { TZ",
        ),
        ("senders = { UK = \"MyApp\" }", "providers.senders.UK: must be \"GB\""),
        ("senders = { TZA = \"MyApp\" }", "providers.senders.TZA: must be a country as two letters"),
        ("senders = { TZ = 5 }", "providers.senders.TZ: must be a sender in quotation marks"),
        ("senders = { TZ = \" \" }", "providers.senders.TZ: must be a sender in quotation marks"),
        ("senders = { TZ = \"a\\nb\" }", "providers.senders: of TZ holds a line break"),
    ] {
        let said = wrong(&format!("{TWILIO}{everywhere}{senders}\n"));
        assert!(said.contains(expected), "{senders}\n--- said: {said}");
    }
    let said = wrong("[[providers]]\nname = \"i\"\nuses = \"inbox\"\nsenders = { TZ = \"x\" }\n");
    assert!(said.contains("is not for `inbox`, which has one sender or none"), "{said}");
}

#[test]
fn a_wrong_variable_is_an_error_that_names_it() {
    for (name, value, expected) in [
        (
            "COUNTERSIGN_POLICY__TTLL",
            "5m",
            "COUNTERSIGN_POLICY__TTLL: policy.ttll: no such setting; did you mean COUNTERSIGN_POLICY__TTL?",
        ),
        ("COUNTERSIGN_POLIC__TTL", "5m", "COUNTERSIGN_POLIC__TTL: polic: no such setting; there is: server, store"),
        ("COUNTERSIGN_POLICY__TTL", "soon", "COUNTERSIGN_POLICY__TTL: policy.ttl: must be a duration"),
        ("COUNTERSIGN_POLICY_TTL", "5m", "write COUNTERSIGN_POLICY__TTL, with two underscores"),
        ("COUNTERSIGN_SERVER__PRODUCTION", "maybe", "must be true or false"),
        ("COUNTERSIGN_PROVIDERS__1__NAME", "x", "number rows from 0 without a gap"),
        ("COUNTERSIGN_LIMITS__QUOTA", "x", "…__0__QUOTA"),
        ("COUNTERSIGN_GUARD__MODE", "on", "COUNTERSIGN_GUARD__MODE: guard.mode: must be \"off\""),
        ("COUNTERSIGN_POLICY__TTL__MORE", "5m", "its parent is a single value"),
    ] {
        let text = if name.contains("MORE") { "[policy]\nttl = \"5m\"" } else { "" };
        let said = with(text, &[(name, value)]).err().map(|problems| problems.to_string()).unwrap_or_default();
        assert!(said.contains(expected), "{name}\n--- expected: {expected}\n--- said: {said}");
    }
}

const REAL: &str = "[[providers]]\nname = \"g\"\nuses = \"webhook\"\nurl = \"https://g.example/\"\n";

#[test]
fn production_refuses_what_only_fits_a_trial() {
    assert_eq!(wrong(&format!("{REAL}[server]\nproduction = true\n")), "");
    assert_eq!(
        wrong(&format!(
            "{REAL}[server]\nproduction = true\nlisten = \"0.0.0.0:80\"\npublic_url = \"https://a.example\"\ntrusted_proxies = [\"10.0.0.1\"]\n"
        )),
        ""
    );
    for (text, expected) in [
        ("[server]\nproduction = true", "production = true needs a provider"),
        (
            "[[providers]]\nname = \"i\"\nuses = \"inbox\"\n[server]\nproduction = true",
            "countersign.toml:3: providers.uses: production = true refuses the inbox",
        ),
        ("[[providers]]\nname = \"c\"\nuses = \"console\"\n[server]\nproduction = true", "refuses the console"),
        (
            "{REAL}[server]\nproduction = true\n[[test_destinations]]\nto = \"+15005550006\"\ncode = \"123456\"",
            "refuses fixed codes",
        ),
        (
            "{REAL}[server]\nproduction = true\nlisten = \"0.0.0.0:80\"\npublic_url = \"https://a.example\"",
            "server.listen: production = true refuses plain HTTP on 0.0.0.0:80",
        ),
        (
            "{REAL}[server]\nproduction = true\nlisten = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.1\"]",
            "server.public_url: production = true needs the address that clients see",
        ),
        ("{REAL}[server]\nproduction = true\npublic_url = \"http://a.example\"", "write \"https://a.example\""),
        ("{REAL}[server]\nproduction = true\ntrusted_proxies = [\"0.0.0.0/0\"]", "refuses to trust the whole world"),
    ] {
        let said = wrong(&text.replace("{REAL}", REAL));
        assert!(said.contains(expected), "{text}\n--- expected: {expected}\n--- said: {said}");
        assert!(!said.contains("123456"), "{said}");
    }
    let by_variable = with("", &[("COUNTERSIGN_SERVER__PRODUCTION", "true")]).unwrap_err().to_string();
    assert!(by_variable.contains("needs a provider"), "{by_variable}");
}

#[test]
fn an_application_without_a_row_has_the_common_rules() {
    let settings = Settings::from_text(
        "[policy]\nttl = \"2m\"\n[[limits]]\nper = \"application\"\nquota = 9\nwindow = \"1m\"\n[[applications]]\nname = \"shop\"\n\
         code_length = 4\nweb_origin = \"shop.example\"\n[[applications.limits]]\nper = \"client\"\nquota = 1\nwindow = \"1m\"\n\
         [[test_destinations]]\nto = \"+15005550006\"\ncode = \"123456\"\napplication = \"shop\"\n",
    )
    .unwrap();
    let shop = settings.application(&"shop".parse().unwrap());
    assert_eq!((shop.policy.code_length, shop.policy.ttl), (4, Duration::from_secs(120)));
    assert_eq!((shop.limits.len(), shop.limits[0].quota), (1, 1));
    assert_eq!(shop.web_origin.as_deref(), Some("shop.example"));
    assert_eq!(shop.test_destinations.len(), 1);
    let other = settings.application(&"other".parse().unwrap());
    assert_eq!((other.policy.code_length, other.policy.ttl), (6, Duration::from_secs(120)));
    assert_eq!((other.limits[0].quota, other.display_name.as_str()), (9, "other"));
    assert!(other.test_destinations.is_empty());
    assert_eq!(settings.application_names().len(), 2, "the simple dialect's application is there too");
}

#[test]
fn the_public_url_follows_the_address_unless_it_is_set() {
    let bound = |text: &str| text.parse().unwrap();
    let settings = Settings::default();
    assert_eq!(settings.public_url(bound("127.0.0.1:8080")), "http://127.0.0.1:8080");
    assert_eq!(settings.public_url(bound("0.0.0.0:9000")), "http://127.0.0.1:9000");
    assert_eq!(settings.public_url(bound("[::1]:9000")), "http://[::1]:9000");
    let left = Settings::from_text("[server]\npublic_url = \"http://127.0.0.1:8080\"").unwrap();
    assert_eq!(left.public_url(bound("127.0.0.1:9000")), "http://127.0.0.1:9000");
    let set = Settings::from_text("[server]\npublic_url = \"https://a.example/\"").unwrap();
    assert_eq!(set.public_url(bound("127.0.0.1:1")), "https://a.example");
}

#[test]
fn durations_are_read_and_written() {
    for (text, millis) in [
        ("5m", 300_000),
        ("30s", 30_000),
        ("24h", 86_400_000),
        ("0s", 0),
        ("1h30m", 5_400_000),
        ("250ms", 250),
        ("7d", 604_800_000),
    ] {
        assert_eq!(read_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in
        ["", "5", "m", "5 m", "-5m", "5M", "1.5h", "5minutes", "99999999999999999999s", "18446744073709551615d", "５m"]
    {
        assert_eq!(read_duration(text), None, "{text}");
    }
    for text in ["5m", "30s", "24h", "0s", "250ms", "90m", "7d"] {
        assert_eq!(write_duration(read_duration(text).unwrap()), text);
    }
}

#[test]
fn a_key_is_explained_and_a_wrong_one_is_guessed() {
    let ttl = explain("policy.ttl").unwrap();
    assert_eq!(ttl.default.as_deref(), Some("\"5m\""));
    assert_eq!(ttl.variable.as_deref(), Some("COUNTERSIGN_POLICY__TTL"));
    assert!(ttl.allowed.unwrap().ends_with("from 30s to 24h"));
    assert_eq!(explain("applications.ttl").unwrap().variable.as_deref(), Some("COUNTERSIGN_APPLICATIONS__0__TTL"));
    assert_eq!(explain("[[limits]]").unwrap().keys.len(), 4);
    assert!(explain("templates.default.en.sms").is_ok());
    assert_eq!(explain("policy.tll").unwrap_err(), "there is no key `policy.tll`; did you mean `policy.ttl`?");
    assert_eq!(explain("ttl").unwrap_err(), "there is no key `ttl`; did you mean `policy.ttl`?");
    assert!(explain("banana.split").unwrap_err().contains("config default"));
    assert!(SECTIONS.iter().any(|section| section.shape == Shape::Rows));
}

/// TOML values of any shape.
fn any_value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(toml::Value::Boolean),
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        ".{0,12}".prop_map(toml::Value::String),
        prop::sample::select(vec!["5m", "sms", "*", "TZ", "inbox", "webhook", "default", ""])
            .prop_map(|text| text.into()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let keys = prop::sample::select(
            SECTIONS
                .iter()
                .flat_map(|section| section.names().into_iter().chain([section.path]))
                .chain(["simple", "twilio", "camara", "limits", "webhooks", "templates", "en", "url", "secret_file"])
                .collect::<Vec<_>>(),
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            prop::collection::vec((keys, inner), 0..5).prop_map(|entries| {
                toml::Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = Settings::from_text(&text);
    }

    #[test]
    fn no_cut_of_a_real_file_makes_the_parser_panic(at in any::<prop::sample::Index>(), cut in 0..30_usize, put in "[\\[\\]{}\"$=.a-z\\n#, ]{0,9}") {
        let file: Vec<char> = default_file().chars().collect();
        let at = at.index(file.len());
        let rest = file.get(at + cut..).unwrap_or_default();
        let changed: String = file[..at].iter().copied().chain(put.chars()).chain(rest.iter().copied()).collect();
        if let Err(problems) = Settings::from_text(&changed) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_value_makes_the_parser_panic(section in prop::sample::select(SECTIONS.iter().map(|section| section.path).collect::<Vec<_>>()), value in any_value()) {
        let section = section.split('.').next().unwrap_or(section).to_owned();
        let table: toml::Table = [(section, value)].into_iter().collect();
        let _ = Settings::from_text(&toml::to_string(&table).unwrap_or_default());
    }

    #[test]
    fn no_variable_makes_the_parser_panic(name in "COUNTERSIGN_(SERVER|POLICY|LIMITS|PROVIDERS|TEMPLATES|X)(__[A-Z0-9_]{0,8}){0,3}", value in ".{0,20}") {
        let _ = with("", &[(&name, &value)]);
    }
}

#[test]
fn the_tables_of_the_application_are_named_by_a_preset_or_one_by_one() {
    use countersign_store::layout::{DestinationFormat, Existing, Layout};

    let layout = |lines: &str| {
        let text = format!("[store]\nlayout = \"existing\"\n[store.existing]\n{lines}");
        match Settings::from_text(&text).unwrap().layout {
            Layout::Existing(existing) => existing,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(layout("preset = \"django\""), Existing::django());
    let mut changed = Existing::django();
    changed.table = "app.otp".parse().unwrap();
    changed.columns.id = "uid".parse().unwrap();
    changed.destination_format = DestinationFormat::E164;
    changed.keep_rows = true;
    let lines = "preset = \"django\"\ntable = \"app.otp\"\ndestination_format = \"e164\"\nkeep_rows = true\ncolumns = { id = \"uid\" }";
    assert_eq!(layout(lines), changed);
    let all = "columns = { id = \"a\", destination = \"b\", purpose = \"c\", verified = \"d\", created_at = \"e\", expires_at = \"f\" }";
    let named = layout(&format!("table = \"t\"\n{all}"));
    assert_eq!(named.destination_format, DestinationFormat::E164);
    assert_eq!(named.columns.named().map(|(_, name)| name.as_str()), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(Settings::from_text("[store]\nlayout = \"minimal\"").unwrap().layout, Layout::Minimal);
}

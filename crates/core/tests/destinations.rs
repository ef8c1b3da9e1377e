//! Where a message goes: one number, one key, however it is written; and what is no destination at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashSet};

use countersign_core::channel::Channel;
use countersign_core::destination::InvalidDestination::{self, CountryCode, Extension, TooLong, TooShort, Unreadable};
use countersign_core::destination::{Country, Destination, NumberType};
use countersign_core::policy::Policy;
use proptest::prelude::*;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType};

fn parse(text: &str) -> Result<Destination, InvalidDestination> {
    Destination::parse(text, None)
}

fn country(code: &str) -> Option<Country> {
    Some(code.parse().unwrap())
}

/// `^\+[1-9][0-9]{6,14}$`, without a regular expression.
fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

#[test]
fn a_number_is_told_without_its_country_s_code() {
    for (number, national) in [
        ("+255694230173", "694230173"),
        ("+905000000000", "5000000000"),
        ("+15005550006", "5005550006"),
        // The zero is part of it in Italy.
        ("+390612345678", "0612345678"),
    ] {
        let destination = parse(number).unwrap();
        assert_eq!(destination.national(), Some(national));
        assert_eq!(Destination::restored(number.to_owned(), None).national(), Some(national));
    }
    assert_eq!(parse("amina@example.com").unwrap().national(), None);
    assert_eq!(Destination::restored("+".to_owned(), None).national(), None);
}

#[test]
fn bug_a10_one_number_however_it_is_written_is_one_key() {
    let spellings = [
        "+255694230173",
        "255694230173",
        "00255694230173",
        "+255 694 230 173",
        "+255-694-230-173",
        "+255.694.230.173",
        "+255 (694) 230-173",
        "(255) 694 230 173",
        "+255/694/230173",
        "+255\u{a0}694\u{a0}230\u{a0}173",
        "+255\u{2009}694\u{2011}230\u{2013}173",
        "\u{ff0b}\u{ff12}\u{ff15}\u{ff15}\u{ff16}\u{ff19}\u{ff14}\u{ff12}\u{ff13}\u{ff10}\u{ff11}\u{ff17}\u{ff13}",
        "+\u{662}\u{665}\u{665}\u{666}\u{669}\u{664}\u{662}\u{663}\u{660}\u{661}\u{667}\u{663}",
        "\u{6f2}\u{6f5}\u{6f5}\u{6f6}\u{6f9}\u{6f4}\u{6f2}\u{6f3}\u{6f0}\u{6f1}\u{6f7}\u{6f3}",
        "+255 0694 230 173",
        "+255694230173 ",
        "\t+255694230173\n",
        "tel:+255694230173",
        "tel:+255-694-230-173",
        "tel:694230173;phone-context=+255",
        "+255\u{200b}694230173",
        "\u{202a}+255694230173\u{202c}",
    ];
    let mut keys = HashSet::new();
    let mut read = 0;
    for spelling in spellings {
        // Read as that number, or refused; never as another one, and never as a second key.
        if let Ok(destination) = parse(spelling) {
            assert_eq!(destination.reveal(), "+255694230173", "{spelling:?}");
            keys.insert(destination.budget_key());
            read += 1;
        }
    }
    assert_eq!(keys.len(), 1);
    assert!(read >= 18, "usual spellings are read: {read}");
}

#[test]
fn bug_a10_national_writing_is_the_same_key_where_a_country_is_assumed() {
    for (assumed, text, expected) in [
        ("TZ", "0694 230 173", "+255694230173"),
        ("TZ", "694230173", "+255694230173"),
        ("TZ", "255694230173", "+255694230173"),
        ("TZ", "+255694230173", "+255694230173"),
        ("TZ", "000255694230173", "+255694230173"),
        ("TZ", "+254712345678", "+254712345678"),
        ("US", "(201) 555-0123", "+12015550123"),
        ("US", "1-201-555-0123", "+12015550123"),
        ("US", "011 255 694 230 173", "+255694230173"),
        ("GB", "07400 123456", "+447400123456"),
        ("GB", "+44 (0)7400 123456", "+447400123456"),
        ("IT", "06 698 12345", "+390669812345"),
        ("AR", "011 15-2345-6789", "+5491123456789"),
        ("AR", "+54 9 11 2345-6789", "+5491123456789"),
        ("RU", "8 (912) 345-67-89", "+79123456789"),
        ("BR", "0 15 11 96123-4567", "+5511961234567"),
        ("ZZ", "+255694230173", "+255694230173"),
    ] {
        let read = Destination::parse(text, country(assumed));
        assert_eq!(read.map(|to| to.reveal().to_owned()), Ok(expected.to_owned()), "{text} in {assumed}");
    }
}

#[test]
fn bug_a10_a_trunk_prefix_too_many_is_no_second_key() {
    let handset = parse("+82 10 1234 5678").unwrap();
    assert_eq!(parse("+82 010 1234 5678").as_ref(), Ok(&handset));
    for more in ["+82 0010 1234 5678", "+82 00010 1234 5678", "+8200001012345678"] {
        assert!(parse(more).map_or(true, |read| read == handset), "{more}");
    }
}

#[test]
fn mexicos_old_mobile_prefix_is_no_second_key() {
    let one = parse("+52 55 1234 5678").unwrap();
    for old in ["+52 1 55 1234 5678", "0052 1 55 1234 5678"] {
        if let Ok(other) = parse(old) {
            assert_eq!(one.budget_key(), other.budget_key());
        }
    }
}

#[test]
fn bug_g10_what_is_no_number_is_refused() {
    let sixteen = "+1234567890123456";
    let mut misread = Vec::new();
    for (text, expected) in [
        ("", None),
        (" ", None),
        ("+", None),
        ("foo12345678bar", None),
        ("foo", None),
        ("+255694230173x", None),
        ("call +255694230173", None),
        ("+255694230173 or +255694230174", None),
        ("+15551234567,+15557654321", None),
        ("+12015550123,+12015550124", None),
        ("+12015550123;+12015550124", None),
        ("+12015550123/+12015550124", None),
        ("+12015550123\n+12015550124", None),
        ("+255694230173\r\nBcc: 1", None),
        ("0800 FLOWERS", None),
        ("+1 800 FLOWERS", None),
        ("+0255694230173", None),
        ("+0", None),
        (sixteen, None),
        ("+25569423017312345678", Some(TooLong)),
        ("+2556942", Some(TooShort)),
        ("911", None),
        ("112", None),
        ("+255112", None),
        ("12345", None),
        ("+15551234", Some(TooShort)),
        ("0694230173", Some(CountryCode)),
        ("+999123456789", None),
        ("+210123456789", Some(CountryCode)),
        ("+255694230173 ext. 5", Some(Extension)),
        ("+255694230173;ext=5", Some(Extension)),
        ("tel:+255694230173;ext=5", Some(Extension)),
        ("+255694230173#5", None),
        ("+255694230173 x5", None),
        ("+255694230173,5", None),
        ("tel:694230173;phone-context=example.com", None),
        ("tel:694230173", None),
        ("javascript:alert(1)", None),
        ("<script>+255694230173</script>", None),
        ("{{7*7}}", None),
        ("%2B255694230173", None),
        ("\u{2163}\u{2164}\u{2165}\u{2166}\u{2167}\u{2168}\u{2169}", None),
        ("\0+255694230173", None),
        ("2.55694e11", None),
        ("0x3b89c2a4fd", None),
    ] {
        let reason = match parse(text) {
            Ok(read) => {
                misread.push((text, read.reveal().to_owned()));
                continue;
            }
            Err(reason) => reason,
        };
        if let Some(expected) = expected {
            assert_eq!(reason, expected, "{text:?}");
        }
        assert!(
            !reason.to_string().contains(text.trim()) || text.trim().len() < 5,
            "the sentence does not repeat the input"
        );
    }
    assert!(misread.is_empty(), "{misread:?}");
}

#[test]
fn bug_g10_length_does_not_matter() {
    for text in
        ["1".repeat(320), "+".repeat(321), "1".repeat(100_000), "\u{661}".repeat(150), "+255694230173".repeat(20)]
    {
        assert!(parse(&text).is_err());
    }
    assert_eq!(parse(&" ".repeat(321)), Err(Unreadable));
}

#[test]
fn every_example_of_the_numbering_plans_is_read_as_what_it_is() {
    let types = [
        (PhoneNumberType::Mobile, NumberType::Mobile),
        (PhoneNumberType::FixedLine, NumberType::FixedLine),
        (PhoneNumberType::TollFree, NumberType::TollFree),
        (PhoneNumberType::PremiumRate, NumberType::PremiumRate),
        (PhoneNumberType::SharedCost, NumberType::SharedCost),
        (PhoneNumberType::VoIP, NumberType::Voip),
        (PhoneNumberType::PersonalNumber, NumberType::Personal),
        (PhoneNumberType::Pager, NumberType::Pager),
        (PhoneNumberType::UAN, NumberType::Uan),
        (PhoneNumberType::VoiceMail, NumberType::Voicemail),
    ];
    let mut read = BTreeMap::new();
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        for (theirs, ours) in types {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, theirs) else {
                continue;
            };
            let e164 = example.format_as(PhoneNumberFormat::E164).into_owned();
            // Some plans have special numbers that cannot be called from abroad, or not in full.
            let Ok(destination) = parse(&e164) else { continue };
            *read.entry(ours.as_str()).or_insert(0) += 1;
            assert_eq!(destination.reveal(), e164);
            assert!(is_e164(&e164), "{e164} {region:?} {ours:?}");
            let kind = destination.number_type().unwrap();
            let either =
                kind == NumberType::FixedLineOrMobile && matches!(ours, NumberType::Mobile | NumberType::FixedLine);
            assert!(kind == ours || either, "{region:?} {ours:?} is {kind:?}");
            for format in [PhoneNumberFormat::International, PhoneNumberFormat::RFC3966] {
                let written = example.format_as(format).into_owned();
                assert_eq!(parse(&written).unwrap().budget_key(), e164, "{written}");
            }
            // As written at home. A few plans write local numbers in a way that is short for another one's.
            let home = region.as_region_str().as_str().parse::<Country>().unwrap();
            let national = example.format_as(PhoneNumberFormat::National).into_owned();
            if let Ok(destination) = Destination::parse(&national, Some(home)) {
                assert_eq!(destination.budget_key(), e164, "{national} in {home}");
            }
        }
    }
    assert!(read["mobile"] > 230 && read["fixed_line"] > 230 && read["premium_rate"] > 120, "{read:?}");
}

#[test]
fn s7_types_that_only_cost_money_are_blocked_by_default() {
    for kind in NumberType::ALL {
        use NumberType::{Pager, PremiumRate, Satellite, SharedCost, TollFree, Uan, Voicemail};
        let expected = matches!(kind, TollFree | PremiumRate | SharedCost | Pager | Uan | Voicemail | Satellite);
        assert_eq!(Policy::default().blocked_number_types.contains(&kind), expected, "{kind:?}");
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
}

#[test]
fn addresses_are_read_or_refused() {
    for (text, expected) in [
        ("ann@example.com", Some("ann@example.com")),
        ("Ann@EXAMPLE.com", Some("ann@example.com")),
        (" ann@example.com ", Some("ann@example.com")),
        ("a.b+c@example.co.uk", Some("a.b+c@example.co.uk")),
        ("o'neil_{x}=1@sub-1.example.com", Some("o'neil_{x}=1@sub-1.example.com")),
        ("ann@xn--bcher-kva.example", Some("ann@xn--bcher-kva.example")),
        ("ann@b\u{fc}cher.example", None),
        ("\u{e4}nn@example.com", None),
        ("ann@example", None),
        ("ann@", None),
        ("@example.com", None),
        ("ann@@example.com", None),
        ("ann@bob@example.com", None),
        ("ann bob@example.com", None),
        ("\"ann\"@example.com", None),
        ("ann@[192.0.2.1]", None),
        ("ann@192.0.2.1", None),
        ("ann.@example.com", None),
        (".ann@example.com", None),
        ("a..b@example.com", None),
        ("ann@-example.com", None),
        ("ann@example-.com", None),
        ("ann@example..com", None),
        ("ann@example.com.", None),
        ("ann@example.com\r\nBcc: bob@example.com", None),
        ("ann@example.com\n", None),
        ("ann@example.com,bob@example.com", None),
        ("ann@example.com\0", None),
        ("<ann@example.com>", None),
        ("Ann <ann@example.com>", None),
        ("ann(comment)@example.com", None),
        ("ann@exa_mple.com", None),
        ("ann\u{ff20}example.com", None),
        ("ann@example\u{3002}com", None),
        ("\u{202e}ann@example.com", None),
    ] {
        let read = parse(text).ok().map(|to| to.reveal().to_owned());
        assert_eq!(read.as_deref(), expected, "{text:?}");
    }
    let long = |local: usize, label: usize| format!("{}@{}.com", "a".repeat(local), "b".repeat(label));
    assert!(parse(&long(64, 63)).is_ok());
    assert!(parse(&long(65, 10)).is_err() && parse(&long(10, 64)).is_err());
}

#[test]
fn bug_a10_one_mailbox_has_one_budget() {
    let keys: HashSet<_> = [
        "ann.example@mail.example",
        "Ann.Example@Mail.Example",
        "annexample@mail.example",
        "a.n.n.e.x.a.m.p.l.e@mail.example",
        "annexample+1@mail.example",
        "ann.example+tag+more@mail.example",
        " annexample@MAIL.example",
    ]
    .map(|text| parse(text).unwrap().budget_key())
    .into();
    assert_eq!(keys.len(), 1);
    let key = |text| parse(text).unwrap().budget_key();
    assert_ne!(key("ann@mail.example"), key("ann@mail2.example"));
    assert_ne!(key("ann@mail.example"), key("bob@mail.example"));
    assert_ne!(parse("a.nn@mail.example"), parse("ann@mail.example"), "they are written to as they were given");
}

#[test]
fn a_mask_never_shows_the_middle() {
    for (text, expected) in [
        ("+255694230173", "+255*******73"),
        ("+12015550123", "+120******23"),
        ("+6834002", "+683**02"),
        ("ann.example@example.com", "a***@example.com"),
        ("a@example.com", "a***@example.com"),
    ] {
        let destination = parse(text).unwrap();
        assert_eq!(destination.masked(), expected);
        assert_eq!((destination.to_string(), format!("{destination:?}")), (expected.to_owned(), expected.to_owned()));
    }
    // A row that another program wrote panics nowhere.
    for text in ["", "+", "é€😀é€😀é€😀", "12345678901234567890", "é@é"] {
        let restored = Destination::restored(text.to_owned(), None);
        drop((restored.masked(), restored.prefix().len(), restored.budget_key(), restored.number_type()));
    }
}

#[test]
fn what_a_store_gives_back_is_the_same_destination() {
    for text in ["+255694230173", "+442079460000", "+449012345678", "ann@example.com"] {
        let read = parse(text).unwrap();
        let restored = Destination::restored(read.reveal().to_owned(), read.country());
        assert_eq!(restored, read);
        assert_eq!(HashSet::from([restored.clone(), read.clone()]).len(), 1);
        assert_eq!(restored.number_type(), read.number_type());
        assert_eq!((restored.prefix(), restored.budget_key()), (read.prefix(), read.budget_key()));
    }
}

#[test]
fn a_prefix_is_a_block_of_ten_thousand() {
    assert_eq!(parse("+255694230173").unwrap().prefix(), "+25569423");
    assert_eq!(parse("ann@Example.com").unwrap().prefix(), "example.com");
}

#[test]
fn channels_reach_what_they_can() {
    let (phone, email) = (parse("+255694230173").unwrap(), parse("ann@example.com").unwrap());
    for channel in Channel::ALL {
        assert_eq!(channel.reaches(&email), channel == Channel::Email);
        assert_eq!(channel.reaches(&phone), channel != Channel::Email);
        assert_eq!(channel.as_str().parse(), Ok(channel));
    }
    assert_eq!((Channel::default_for(&phone), Channel::default_for(&email)), (Channel::Sms, Channel::Email));
}

fn lawful(destination: &Destination, assumed: Option<Country>) {
    match destination {
        Destination::Phone(_) => assert!(is_e164(destination.reveal()), "{}", destination.reveal()),
        Destination::Email(_) => assert!(destination.reveal().is_ascii() && destination.reveal().contains('@')),
    }
    let again = Destination::parse(destination.reveal(), None).expect("the canonical form is read");
    assert_eq!(&again, destination);
    assert_eq!(again.reveal(), destination.reveal());
    assert_eq!(Destination::parse(destination.reveal(), assumed).as_ref(), Ok(destination), "whatever is assumed");
    let masked = destination.masked();
    if let Destination::Phone(_) = destination {
        assert!(masked.bytes().filter(u8::is_ascii_digit).count() <= 5 && masked.len() == destination.reveal().len());
    }
}

fn assumed() -> impl Strategy<Value = Option<Country>> {
    const REGIONS: [&str; 15] =
        ["TZ", "US", "GB", "DE", "IT", "AR", "MX", "BR", "RU", "IN", "CN", "SG", "AC", "ZZ", "XX"];
    prop::option::of(prop::sample::select(&REGIONS[..]).prop_map(|code| code.parse().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_as_a_lawful_destination_or_refused(text in r"\PC{0,400}", assumed in assumed()) {
        if let Ok(destination) = Destination::parse(&text, assumed) {
            lawful(&destination, assumed);
        }
    }

    #[test]
    fn so_is_text_that_looks_like_a_number(
        text in r"(tel:)?[+＋]{0,2}[0-9٠-٩０-９ ().\-/\u{a0}~;,#*x=]{1,24}(;ext=[0-9]{1,3}|;phone-context=\+[0-9]{1,4})?",
        assumed in assumed(),
    ) {
        if let Ok(destination) = Destination::parse(&text, assumed) {
            lawful(&destination, assumed);
        }
    }

    #[test]
    fn so_is_text_that_looks_like_an_address(text in r"[a-zA-Z0-9.+'é ]{0,70}@[a-zA-Z0-9.\-é]{0,70}(\.[a-z0-9]{0,6})?") {
        if let Ok(destination) = Destination::parse(&text, None) {
            lawful(&destination, None);
        }
    }

    #[test]
    fn so_is_any_run_of_digits(digits in "[0-9]{1,20}", plus in any::<bool>(), assumed in assumed()) {
        let text = if plus { format!("+{digits}") } else { digits };
        if let Ok(destination) = Destination::parse(&text, assumed) {
            lawful(&destination, assumed);
        }
    }
}

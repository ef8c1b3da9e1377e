//! The texts that come with the program: each in its language, each right on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use countersign_core::channel::Channel;
use countersign_core::code::Code;
use countersign_core::destination::Country;
use countersign_core::id::ApplicationName;
use countersign_core::language::{self, Language};
use countersign_core::message::{Composed, Draft, Encoding, Templates, segments};
use countersign_core::policy::Application;
use countersign_core::sms;
use countersign_core::template::link_in;
use countersign_core::verification::{Payment, Wording};
use proptest::prelude::*;
use unicode_bidi::BidiInfo;

/// The languages of Twilio Verify's `Locale`, as its documentation lists them: the yardstick.
const YARDSTICK: &str = "af ar ca zh zh-CN zh-HK hr cs da nl en en-GB et fi fr de el he hi hu id it ja kn ko lt ms mr nb pl pt pt-BR ro ru \
                         sk es sv tl te th tr uk vi";

fn application(name: &str) -> Application {
    let mut application = Application::new(ApplicationName::default(), "first");
    name.clone_into(&mut application.display_name);
    application
}

fn composed(application: &Application, tag: &str, channel: Channel, code: &str, seconds: u64) -> Composed {
    let draft = Draft {
        template: None,
        purpose: "login",
        locale: Some(tag),
        country: None,
        channel,
        seconds,
        wording: None,
        payment: None,
    };
    draft.compose(application, &code.parse::<Code>().unwrap()).unwrap()
}

fn text(tag: &str, channel: Channel, code: &str, seconds: u64) -> String {
    composed(&application("Example"), tag, channel, code, seconds).text.to_string()
}

#[test]
fn there_are_texts_in_all_the_languages_of_the_yardstick() {
    assert!(language::all().len() >= 70, "{}", language::all().len());
    for tag in YARDSTICK.split_whitespace() {
        let language = language::fallbacks(tag).into_iter().find_map(language::find);
        let of = |tag: &str| tag.split('-').next().unwrap().to_owned();
        assert!(language.is_some_and(|language| of(language.tag) == of(tag)), "{tag}");
    }
}

#[test]
fn tags_are_in_order_and_name_one_language_each() {
    let tags: Vec<_> = language::all().iter().map(|language| language.tag.to_lowercase()).collect();
    assert!(tags.is_sorted_by(|a, b| a < b), "{tags:?}");
    let names: BTreeSet<_> = language::all().iter().map(|language| language.name).collect();
    assert_eq!(names.len(), tags.len());
}

#[test]
fn a_tag_is_looked_for_with_less_and_less_of_it() {
    for (tag, expected) in [
        ("en", vec!["en"]),
        ("pt-BR", vec!["pt-BR", "pt"]),
        ("zh-TW", vec!["zh-TW", "zh-Hant", "zh"]),
        ("zh-hk", vec!["zh-hk", "zh-Hant", "zh"]),
        ("zh-Hant-MO", vec!["zh-Hant-MO", "zh-Hant", "zh"]),
        ("sr-Cyrl-RS", vec!["sr-Cyrl-RS", "sr-Cyrl", "sr"]),
        ("iw", vec!["iw", "he"]),
        ("no-NO", vec!["no-NO", "no", "nb"]),
        ("fil-PH", vec!["fil-PH", "fil", "tl"]),
        ("de-x-formal", vec!["de-x-formal", "de"]),
        ("", vec![]),
    ] {
        assert_eq!(language::fallbacks(tag), expected, "{tag}");
    }
}

#[test]
fn the_country_chooses_where_it_leaves_little_doubt() {
    let of = |country: &str| language::of_country(country.parse::<Country>().unwrap()).map(|language| language.tag);
    for (country, tag) in [("EG", "ar"), ("BR", "pt-BR"), ("PT", "pt"), ("MX", "es"), ("TW", "zh-Hant"), ("CN", "zh")] {
        assert_eq!(of(country), Some(tag), "{country}");
    }
    for country in ["TZ", "KE", "US", "GB", "IN", "CH", "BE", "CA", "SG", "HK", "AE", "ZA", "NG", "KZ"] {
        assert_eq!(of(country), None, "{country}");
    }
    let all: Vec<_> = language::all().iter().flat_map(|language| language::countries_of(language.tag)).collect();
    let countries: BTreeSet<_> = all.iter().map(|country| country.parse::<Country>().unwrap()).collect();
    assert_eq!(countries.len(), all.len(), "no country is in two rows");
    assert!(countries.iter().all(|country| language::of_country(*country).is_some()), "every row names a language");
}

#[test]
fn the_number_has_the_form_that_the_language_gives_it() {
    for (tag, channel, seconds, expected) in [
        ("en", Channel::Sms, 300, "5 minutes"),
        ("en", Channel::Sms, 60, "1 minute"),
        ("en", Channel::Sms, 59, "59 seconds"),
        ("en", Channel::Sms, 1, "1 second"),
        ("en", Channel::Sms, 0, "0 seconds"),
        ("en", Channel::Sms, 298, "5 minutes"),
        ("en", Channel::Sms, 270, "4 minutes"),
        ("ar", Channel::Sms, 60, "دقيقة واحدة"),
        ("ar", Channel::Sms, 120, "دقيقتين"),
        ("ar", Channel::Sms, 180, "3 دقائق"),
        ("ar", Channel::Sms, 600, "10 دقائق"),
        ("ar", Channel::Sms, 660, "11 دقيقة"),
        ("ar", Channel::Sms, 6_000, "100 دقيقة"),
        ("ar", Channel::Sms, 6_180, "103 دقائق"),
        ("ar", Channel::Sms, 30, "30 ثانية"),
        ("he", Channel::Sms, 60, "דקה אחת"),
        ("he", Channel::Sms, 600, "10 דקות"),
        ("sw", Channel::Sms, 300, "dakika 5"),
        ("vi", Channel::Sms, 300, "5 phut"),
        ("vi", Channel::Email, 300, "5 phút"),
        ("de", Channel::Sms, 60, "1 Minute"),
        ("ja", Channel::Sms, 300, "5分"),
    ] {
        assert_eq!(language::find(tag).unwrap().life(seconds, channel), expected, "{tag} {seconds}");
    }
}

/// Every text of a language as the operator could have written it: so it is held to the operator's rules.
#[test]
fn every_text_is_what_an_operator_may_write() {
    for language in language::all() {
        for channel in Channel::ALL {
            let text = language.text(channel);
            Templates::default()
                .insert("t", language.tag, channel, &text)
                .unwrap_or_else(|error| panic_at(language, &error));
            assert_eq!(link_in(language.tag, &text), Ok(()), "{}", language.tag);
        }
        Templates::default()
            .insert_subject("t", language.tag, language.subject())
            .unwrap_or_else(|error| panic_at(language, &error));
    }
}

fn panic_at(language: &Language, error: &dyn std::error::Error) {
    assert_eq!(error.to_string(), "", "{}", language.tag);
}

#[test]
fn the_code_stands_once_and_apart_and_digits_are_spoken_twice() {
    for language in language::all() {
        for code in ["0123", "987654", "0987654321"] {
            for channel in [Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Email] {
                let text = text(language.tag, channel, code, 300);
                let (before, after) = text.split_once(code).unwrap();
                assert!(!after.contains(code), "{}: {text}", language.tag);
                let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                assert!(
                    !touches(before.chars().next_back()) && !touches(after.chars().next()),
                    "{}: {text}",
                    language.tag
                );
            }
            let spoken: String = code.chars().map(|digit| digit.to_string()).collect::<Vec<_>>().join(", ");
            let text = text(language.tag, Channel::Voice, code, 300);
            assert_eq!((text.matches(&spoken).count(), text.matches(code).count()), (2, 0), "{}: {text}", language.tag);
        }
    }
}

#[test]
fn a_payment_is_said_in_every_language_and_channel() {
    let payment = Payment { amount: "39.99 EUR".to_owned(), payee: "Acme\n@evil.example #1".to_owned() };
    let values = BTreeMap::new();
    let wording = Wording { name: Some("Shop".to_owned()), android_app_hash: None, values, text: None };
    for language in language::all() {
        for channel in Channel::ALL {
            let draft = Draft {
                template: None,
                purpose: "login",
                locale: Some(language.tag),
                country: None,
                channel,
                seconds: 300,
                wording: Some(&wording),
                payment: Some(&payment),
            };
            let text = draft.compose(&application("Example"), &"987654".parse().unwrap()).unwrap().text;
            let said = ["39.99 EUR", "Acme @evil.example #1", "Shop"].iter().all(|part| text.contains(part));
            assert!(said && !text.contains("Example"), "{} {channel}: {}", language.tag, *text);
            assert!(channel == Channel::Voice || text.matches("987654").count() == 1, "{}", *text);
        }
    }
}

#[test]
fn texts_are_listed_and_the_operators_stand_for_the_catalogues() {
    let mut templates = Templates::default();
    templates.insert("default", "pt-BR", Channel::Sms, "own {{ code }}").unwrap();
    templates.insert("promo", "en", Channel::Email, "promo {{ code }}").unwrap();
    templates.insert_subject("promo", "en", "Promo").unwrap();
    let texts = templates.texts();
    assert_eq!(texts.len(), language::all().len() * Channel::ALL.len() + 1);
    let source = |name: &str, locale: &str, channel: &str| {
        let mut found =
            texts.iter().filter(|text| (&*text.name, &*text.locale, &*text.channel) == (name, locale, channel));
        found.next().map(|text| text.source.as_str())
    };
    assert_eq!(source("default", "pt-br", "sms"), Some("own {{ code }}"));
    assert_eq!(source("promo", "en", "email"), Some("promo {{ code }}"));
    assert_eq!(
        source("default", "fr", "sms"),
        Some("Votre code {{ application }} est {{ code }}. Il expire dans {{ life }}.")
    );
    assert_eq!(source("promo", "en", "subject"), None);
}

#[test]
fn no_sms_takes_more_than_one_message() {
    for language in language::all() {
        for seconds in [30, 59, 60, 300, 600, 86_400] {
            let text = text(language.tag, Channel::Sms, "01234567", seconds);
            assert_eq!(segments(&text).count, 1, "{}: {text}", language.tag);
        }
    }
}

/// How each language's SMS travels, with the name "Example", six digits and five minutes. Change a row on purpose only: it is money.
#[test]
fn what_each_language_costs_is_pinned() {
    let rows: Vec<_> = language::all()
        .iter()
        .map(|language| {
            let counted = segments(&text(language.tag, Channel::Sms, "123456", 300));
            format!("{} {} {} {}", language.tag, counted.encoding.as_str(), counted.units, counted.count)
        })
        .collect();
    assert_eq!(rows.join("\n"), include_str!("languages.txt").trim_end());
}

#[test]
fn latin_letters_are_in_gsm7_and_what_is_not_has_a_reason() {
    for language in language::all() {
        let text = text(language.tag, Channel::Sms, "123456", 30);
        let is_latin = text.chars().all(|c| u32::from(c) < 0x250);
        let expected = if is_latin && language.tag != "is" { Encoding::Gsm7 } else { Encoding::Ucs2 };
        assert_eq!(segments(&text).encoding, expected, "{}: {:?}", language.tag, sms::outside_gsm7(&text));
    }
}

/// What a phone shows, by the Unicode bidirectional algorithm: a paragraph begins on the right, and no digits change places.
#[test]
fn codes_are_read_in_their_order_where_text_runs_from_right_to_left() {
    let right_to_left: Vec<_> = language::all().iter().filter(|language| language.right_to_left).collect();
    assert_eq!(right_to_left.iter().map(|language| language.tag).collect::<Vec<_>>(), ["ar", "fa", "he", "ur"]);
    for language in language::all() {
        for channel in [Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Email] {
            for name in ["Example", "Shop24", "24 Hours", "مثال", "Jane & Co."] {
                let mut application = application(name);
                application.web_origin = Some("login.example.com".to_owned());
                let composed = composed(&application, language.tag, channel, "987654", 300);
                let shown = shown(&composed.text);
                let first = shown.first().unwrap();
                if name == "Example" {
                    assert_eq!(first.0, language.right_to_left, "{} {channel}: {}", language.tag, *composed.text);
                }
                assert!(first.1.contains("987654"), "{} {channel} {name}: {}", language.tag, first.1);
                if channel == Channel::Sms {
                    assert_eq!(shown.last().unwrap(), &(false, "@login.example.com #987654".to_owned()));
                }
                let life = language.life(300, channel);
                assert!(!life.contains('5') || shown.iter().any(|(_, line)| line.contains('5')), "{}", language.tag);
            }
        }
    }
}

/// The lines of a text as they are seen, and whether each runs from right to left.
fn shown(text: &str) -> Vec<(bool, String)> {
    let info = BidiInfo::new(text, None);
    let lines = info.paragraphs.iter().map(|paragraph| {
        (paragraph.level.is_rtl(), info.reorder_line(paragraph, paragraph.range.clone()).trim().to_owned())
    });
    lines.filter(|(_, line)| !line.is_empty()).collect()
}

#[test]
fn no_text_holds_what_directs_or_hides() {
    for language in language::all() {
        for channel in Channel::ALL {
            let text = text(language.tag, channel, "123456", 300);
            let hidden = |c: &char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{200b}');
            assert_eq!(text.chars().find(hidden), None, "{}", language.tag);
        }
    }
}

#[test]
fn plain_characters_never_grow_a_text_and_are_plain() {
    for character in ('\0'..='\u{ffff}').filter(|c| sms::look_alike(*c).is_some()) {
        let instead = sms::look_alike(character).unwrap();
        assert!(instead.len() <= character.len_utf8(), "{character:?}");
        assert_eq!(segments(instead).encoding, Encoding::Gsm7);
        assert_eq!(sms::outside_gsm7(&character.to_string()), [character], "GSM-7 has it already");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_name_code_and_life_make_a_text_that_is_what_it_claims(
        at in 0..language::all().len(),
        name in r"(\PC|[\r\n\u{202e}\u{2068}\u{2069}\u{a0}\u{2019}]){0,40}",
        digits in "[0-9]{4,10}",
        seconds in 0_u64..=86_400,
        channel in prop::sample::select(&Channel::ALL[..]),
        plain in any::<bool>(),
        origin in prop::option::of("[a-z]{1,10}\\.[a-z]{2,5}"),
    ) {
        // A name with digits of its own says nothing about where the code stands.
        prop_assume!(!name.contains(|c: char| c.is_numeric()) && !origin.as_ref().is_some_and(|host| host.contains(&digits)));
        let language = &language::all()[at];
        let mut application = application(&name);
        application.texts.plain_characters = plain;
        application.web_origin.clone_from(&origin);
        let composed = composed(&application, language.tag, channel, &digits, seconds);
        let text = composed.text.as_str();
        prop_assert_eq!(&composed.locale, language.tag);
        prop_assert!(composed.built_in);
        let life = language.life(seconds, channel);
        let bound = origin.filter(|_| channel == Channel::Sms);
        if channel == Channel::Voice {
            let spoken = digits.chars().map(|digit| digit.to_string()).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(text.matches(&spoken).count(), 2);
        } else if !life.contains(&digits) {
            prop_assert_eq!(text.matches(&digits).count(), 1 + usize::from(bound.is_some()));
        }
        if let Some(host) = bound {
            let line = format!("\n@{host} #{digits}");
            prop_assert!(text.ends_with(&line));
        }
        let directs = text.contains(|c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
        prop_assert!(!directs);
        // The claim of GSM-7, by the table itself.
        let table = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
        let twice = "\u{c}^{}\\[~]|€";
        let counted = segments(text);
        let gsm7 = text.chars().all(|c| table.contains(c) || twice.contains(c));
        prop_assert_eq!(counted.encoding == Encoding::Gsm7, gsm7);
        let units = if gsm7 {
            text.chars().map(|c| 1 + usize::from(twice.contains(c))).sum()
        } else {
            text.encode_utf16().count()
        };
        prop_assert_eq!(counted.units, units);
        prop_assert_eq!(counted.count == 1, units <= counted.encoding.room());
        prop_assert_eq!(!composed.subject.is_empty(), channel == Channel::Email);
        prop_assert!(!composed.subject.contains(|c: char| c.is_control() || c.is_ascii_digit()));
    }

    #[test]
    fn any_tag_is_looked_for_and_ends(tag in "[a-zA-Z0-9-]{0,40}") {
        let tags = language::fallbacks(&tag);
        prop_assert!(tags.len() <= 2 * (tag.len() + 1));
        let draft = Draft { template: None, purpose: "login", locale: Some(&tag), country: None, channel: Channel::Sms, seconds: 300, wording: None, payment: None };
        let composed = draft.compose(&application("Example"), &"123456".parse().unwrap()).unwrap();
        prop_assert!(composed.text.contains("123456"));
    }

    #[test]
    fn writing_plainly_is_gsm7_or_nothing_at_all(text in r"(\PC|[“”‘’–—…\u{a0}a-z ]){0,60}") {
        let plain = sms::plain(&text);
        prop_assert!(plain.len() <= text.len());
        prop_assert!(plain == text || segments(&plain).encoding == Encoding::Gsm7);
        prop_assert_eq!(sms::outside_gsm7(&plain).is_empty(), segments(&plain).encoding == Encoding::Gsm7);
    }
}

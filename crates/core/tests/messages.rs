//! What the person reads: texts, the lines that phones look for, and what a text costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::time::{Duration, Instant};

use countersign_core::channel::Channel;
use countersign_core::code::{Code, Key, KeyRing};
use countersign_core::message::{self, Encoding, InvalidTemplate, Templates, Unwritable, segments};
use countersign_core::policy::Application;
use countersign_core::send::Begin;
use countersign_core::template::link_in;
use house::{DAY, HOUR, House, MINUTE, SECOND, TO, code};
use proptest::prelude::*;

/// A house that sends this code, so that whole texts can be expected.
fn house_with(change: impl FnOnce(&mut Application)) -> House {
    House::with(|application| {
        application.display_name = "Example".to_owned();
        application.policy.allow_custom_code = true;
        change(application);
    })
}

fn text_of(house: &mut House, change: impl FnOnce(&mut Begin)) -> String {
    let id = house
        .ask(TO)
        .with(|begin| begin.custom_code = Some(code("000123")))
        .with(change)
        .send()
        .unwrap()
        .verification
        .id;
    let text = last_text(house, id);
    house.cancel(id).unwrap();
    text
}

fn last_text(house: &House, id: countersign_core::id::VerificationId) -> String {
    message::write(&house.application, &house.keys, house.row(id), &house.last_delivery(id)).unwrap().text.to_string()
}

fn with_template(text: &str) -> House {
    house_with(|application| application.templates.insert("default", "en", Channel::Sms, text).unwrap())
}

// Minutes.

#[test]
fn bug_d1_the_text_says_how_long_the_code_lives() {
    for (ttl, expected) in [
        (5 * MINUTE, "5 minutes"),
        (10 * MINUTE, "10 minutes"),
        (MINUTE, "1 minute"),
        (90 * SECOND, "1 minute"),
        (114 * SECOND, "1 minute"),
        (119 * SECOND, "2 minutes"),
        (2 * MINUTE, "2 minutes"),
        (30 * SECOND, "30 seconds"),
        (59 * SECOND, "59 seconds"),
        (HOUR, "60 minutes"),
        (DAY, "1440 minutes"),
    ] {
        let text = text_of(&mut house_with(|_| {}), |begin| begin.ttl = Some(ttl));
        assert_eq!(text, format!("Your Example code is 000123. It expires in {expected}."));
    }
}

#[test]
fn bug_d2_a_text_that_is_sent_again_promises_only_what_is_left() {
    let mut house = house_with(|_| {});
    let id = house.send(TO).id;
    assert!(last_text(&house, id).ends_with("It expires in 5 minutes."));
    for (wait, expected) in [(2, "5 minutes"), (28, "4 minutes"), (210, "1 minute"), (30, "30 seconds")] {
        house.wait(Duration::from_secs(wait));
        house.again(id).send().unwrap();
        assert!(last_text(&house, id).ends_with(&format!("It expires in {expected}.")), "{}", last_text(&house, id));
    }
}

#[test]
fn a_delivery_that_waits_keeps_the_minutes_of_its_sending() {
    let mut house = house_with(|_| {});
    let id = house.send(TO).id;
    let before = last_text(&house, id);
    house.wait(2 * MINUTE);
    assert_eq!(last_text(&house, id), before);
}

// The lines that phones look for.

/// The parser of WICG "SMS one-time codes" section 3, as REQUIREMENTS section 7 tells it: `(host, code)`.
fn origin_bound(message: &str) -> Option<(String, String)> {
    let normalised = message.replace("\r\n", "\n").replace('\r', "\n");
    let line = normalised.rsplit('\n').next()?;
    let rest = line.strip_prefix('@')?;
    let host: String = rest.chars().take_while(|c| !c.is_ascii_whitespace()).collect();
    if host.is_empty() {
        return None;
    }
    let rest = rest[host.len()..].strip_prefix(' ')?.strip_prefix('#')?;
    let code: String = rest.chars().take_while(|c| !c.is_ascii_whitespace()).collect();
    (!code.is_empty()).then_some((host, code))
}

#[test]
fn the_reference_parser_reads_what_the_draft_says() {
    let bound = |host: &str, code: &str| Some((host.to_owned(), code.to_owned()));
    for (message, expected) in [
        ("Your code is 1.\n\n@example.com #747723", bound("example.com", "747723")),
        ("@example.com #747723", bound("example.com", "747723")),
        ("x\r\n@example.com #747723", bound("example.com", "747723")),
        ("x\n@example.com #747723 @frame.example", bound("example.com", "747723")),
        ("x\n@example.com #747723\n", None),
        ("x\n@example.com  #747723", None),
        ("x\n@example.com 747723", None),
        ("x\n @example.com #747723", None),
        ("x\n@ #747723", None),
        ("x\n@example.com #", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(origin_bound(message), expected, "{message:?}");
    }
}

#[test]
fn bug_e7_the_last_line_binds_the_code_to_the_site() {
    for template in [
        "Your {{ application }} code is {{ code }}.",
        "{{ code }}",
        "Code: {{ code }}\n",
        "Code: {{ code }}\r\n\r\n",
        "{{ code }}   ",
        "{{ code }}\n@other.example #{{ code }}",
        "@other.example #{{ code }}",
        "{{ code }}\nReply STOP",
    ] {
        for hash in [None, Some("FA+9qCX9VSu")] {
            let mut house = with_template(template);
            house.change(|application| {
                application.web_origin = Some("example.com".to_owned());
                application.android_app_hash = hash.map(str::to_owned);
            });
            let text = text_of(&mut house, |_| {});
            assert_eq!(origin_bound(&text), Some(("example.com".to_owned(), "000123".to_owned())), "{template:?}");
            assert!(
                text.ends_with("\n@example.com #000123"),
                "B1, B2: nothing before it on its line, and nothing after it"
            );
        }
    }
}

#[test]
fn b12_the_app_hash_stands_before_the_last_line() {
    let mut house = house_with(|_| {});
    let mut text = |origin: Option<&str>, hash: Option<&str>| {
        house.change(|application| {
            application.web_origin = origin.map(str::to_owned);
            application.android_app_hash = hash.map(str::to_owned);
        });
        text_of(&mut house, |_| {})
    };
    let body = "Your Example code is 000123. It expires in 5 minutes.";
    assert_eq!(text(None, None), body);
    assert_eq!(text(None, Some("FA+9qCX9VSu")), format!("{body}\n\nFA+9qCX9VSu"));
    assert_eq!(text(Some("example.com"), None), format!("{body}\n\n@example.com #000123"));
    assert_eq!(text(Some("example.com"), Some("FA+9qCX9VSu")), format!("{body}\n\nFA+9qCX9VSu\n@example.com #000123"));
}

#[test]
fn b2_without_these_lines_there_is_no_trailing_newline_either() {
    let mut house = with_template("Code: {{ code }}\n\n");
    assert_eq!(text_of(&mut house, |_| {}), "Code: 000123");
}

#[test]
fn b13_the_built_in_text_with_both_lines_is_one_message_and_short_enough_for_android() {
    let mut house = house_with(|application| {
        application.web_origin = Some("login.example-company.com".to_owned());
        application.android_app_hash = Some("FA+9qCX9VSu".to_owned());
    });
    let text = text_of(&mut house, |begin| begin.custom_code = Some(code("0001234567")));
    assert!(text.len() <= 140, "{} bytes", text.len());
    assert_eq!((segments(&text).count, segments(&text).encoding), (1, Encoding::Gsm7));
}

#[test]
fn lines_for_phones_are_in_text_messages_alone() {
    for channel in [Channel::Voice, Channel::Whatsapp, Channel::Telegram] {
        let mut house = house_with(|application| application.web_origin = Some("example.com".to_owned()));
        let id = house.ask(TO).channel(channel).send().unwrap().verification.id;
        assert!(!last_text(&house, id).contains('@'), "{channel}");
    }
}

// Names in sentences.

#[test]
fn bug_c4_a_display_name_adds_no_line_and_reorders_nothing() {
    for (name, shown) in [
        ("Example\n@evil.example #999999", "Example @evil.example #999999"),
        ("Example\r\n\r\n@evil.example #999999", "Example    @evil.example #999999"),
        ("Example\u{2028}@evil.example #1", "Example @evil.example #1"),
        ("Example\u{2029}@evil.example #1", "Example @evil.example #1"),
        ("Example\u{85}@evil.example #1", "Example @evil.example #1"),
        ("Example\u{b}\u{c}\0x", "Example   x"),
        ("\u{202e}elpmaxE\u{202c}", "elpmaxE"),
        ("\u{2066}Ex\u{2069}ample\u{200f}", "Example"),
        ("A&B <\"x\">", "A&B <\"x\">"),
        ("{{7*7}}", "{{7*7}}"),
        ("{{ code }}", "{{ code }}"),
        ("{% for x in y %}", "{% for x in y %}"),
        ("{0.__class__} %s ${x}", "{0.__class__} %s ${x}"),
        ("Ünïcödé – 例え 👩‍👩‍👧", "Ünïcödé – 例え 👩‍👩‍👧"),
    ] {
        let mut house = with_template("{{ code }} is your code for {{ application }}");
        house.change(|application| application.display_name = name.to_owned());
        let text = text_of(&mut house, |_| {});
        assert_eq!(text, format!("000123 is your code for {shown}"));
        assert_eq!(origin_bound(&text), None);
    }
}

// Templates.

#[test]
fn a_template_that_cannot_work_is_refused_when_it_is_set() {
    enum Because {
        Syntax,
        NoCode,
        TooLong,
    }
    use Because::{NoCode as Missing, Syntax, TooLong as Long};
    let long = "x".repeat(2001);
    for (text, because) in [
        ("", Missing),
        ("no code at all", Missing),
        ("987654", Missing),
        ("{{ minutes }}", Missing),
        ("{% if minutes > 1 %}{{ code }}{% endif %}", Missing),
        ("{% if seconds < 60 %}{{ code }}{% endif %}", Missing),
        ("{# {{ code }} #}", Missing),
        ("{{ code[:3] }} {{ code[3:] }}", Missing),
        ("{{ code", Syntax),
        ("{% if %}{{ code }}", Syntax),
        ("{{ code }}{% endif %}", Syntax),
        ("{{ nonsense }} {{ code }}", Syntax),
        ("{% if minutes == 7 %}{{ nonsense }}{% endif %}{{ code }}", Syntax),
        ("{{ code.__class__ }}", Syntax),
        ("{{ code.__class__.__mro__ }} {{ code }}", Syntax),
        ("{{ application.x.y }} {{ code }}", Syntax),
        ("{{ code()}} {{ code }}", Syntax),
        ("{{ code|upper }}{{ code|nofilter }}", Syntax),
        ("{{ 1 / 0 }} {{ code }}", Syntax),
        ("{% include 'default' %}{{ code }}", Syntax),
        ("{% import 'default' as d %}{{ code }}", Syntax),
        ("{% extends 'default' %}{{ code }}", Syntax),
        ("{{ range(1000000000) }} {{ code }}", Syntax),
        ("{% for a in 'x' * 100000 %}{% for b in 'x' * 100000 %}{% endfor %}{% endfor %}{{ code }}", Syntax),
        ("{{ 'x' * 99999999999 }}{{ code }}", Syntax),
        ("{{ 'x' * 5000 }}{{ code }}", Long),
        (long.as_str(), Long),
    ] {
        let started = Instant::now();
        let refused = Templates::default().insert("t", "en", Channel::Sms, text);
        let short: String = text.chars().take(60).collect();
        match because {
            Syntax => assert!(matches!(refused, Err(InvalidTemplate::Syntax(_))), "{short}: {refused:?}"),
            Missing => assert_eq!(refused, Err(InvalidTemplate::NoCode), "{short}"),
            Long => assert_eq!(refused, Err(InvalidTemplate::TooLong(2000)), "{short}"),
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{short}: an endless one is stopped");
        assert!(!Templates::default().has("t"));
    }
}

#[test]
fn a_template_that_works_is_taken() {
    for text in [
        "{{ code }}",
        "{{application}}: {{code}} ({{ minutes }} min, {{ seconds }} s, {{ purpose }})",
        "{% if purpose == 'login' %}Log in{% else %}Continue{% endif %} with {{ code }}",
        "{% set a = application %}{{ a }} {{ code }}",
        "{{ '{{' }} {{ code }}",
    ] {
        let mut templates = Templates::default();
        templates.insert("t", "en", Channel::Sms, text).unwrap();
        assert!(templates.has("t") && templates.has("default"));
    }
}

#[test]
fn what_a_template_says_is_what_is_sent() {
    let mut house = with_template("{{application}}|{{code}}|{{minutes}}|{{seconds}}|{{purpose}}");
    assert_eq!(text_of(&mut house, |begin| begin.ttl = Some(30 * SECOND)), "Example|000123|1|30|login");
    assert_eq!(text_of(&mut house, |begin| begin.purpose = "payment".parse().unwrap()), "Example|000123|5|300|payment");
}

#[test]
fn a_text_is_found_by_name_language_and_channel_in_this_order() {
    use Channel::{Sms, Voice, Whatsapp};
    let mut house = house_with(|application| {
        for (name, locale, channel) in [
            ("default", "en", Sms),
            ("default", "en", Voice),
            ("default", "pt", Sms),
            ("default", "pt-BR", Sms),
            ("default", "sw", Sms),
            ("promo", "en", Sms),
            ("promo", "sw", Voice),
        ] {
            let text = format!("{name} {locale} {channel} {{{{ code }}}}");
            application.templates.insert(name, locale, channel, &text).unwrap();
        }
    });
    for (name, locale, channel, expected) in [
        (None, None, Sms, "default en sms"),
        (None, None, Voice, "default en voice"),
        (None, None, Whatsapp, "default en sms"),
        (None, Some("pt-BR"), Sms, "default pt-BR sms"),
        (None, Some("pt-br"), Sms, "default pt-BR sms"),
        (None, Some("PT-PT"), Sms, "default pt sms"),
        (None, Some("sw-TZ"), Sms, "default sw sms"),
        (None, Some("en-GB"), Voice, "default en voice"),
        // A language that nobody has: what is taken without one.
        (None, Some("tlh"), Sms, "default en sms"),
        (None, Some("tlh"), Voice, "default en voice"),
        (Some("promo"), None, Sms, "promo en sms"),
        (Some("promo"), Some("sw"), Voice, "promo sw voice"),
        (Some("promo"), Some("sw"), Sms, "promo en sms"),
        (Some("promo"), Some("pt"), Sms, "promo en sms"),
        // What is spoken is written for it: no other channel's text is.
        (Some("promo"), None, Voice, "default en voice"),
    ] {
        let ask = house.ask(TO).channel(channel).with(|begin| {
            begin.custom_code = Some(code("000123"));
            begin.locale = locale.map(str::to_owned);
            begin.template = name.map(str::to_owned);
        });
        let id = ask.send().unwrap().verification.id;
        assert_eq!(last_text(&house, id), format!("{expected} 000123"), "{name:?} {locale:?} {channel}");
        house.cancel(id).unwrap();
    }
    // A language that was asked for is worth more than the operator's words in another one.
    for (locale, channel, expected) in [
        ("fr", Sms, "Votre code Example est 000123. Il expire dans 5 min."),
        ("pt", Voice, "O seu código Example: 0, 0, 0, 1, 2, 3. Repito: 0, 0, 0, 1, 2, 3."),
    ] {
        let ask = house.ask(TO).channel(channel).with(|begin| {
            begin.custom_code = Some(code("000123"));
            begin.locale = Some(locale.to_owned());
        });
        let id = ask.send().unwrap().verification.id;
        assert_eq!(last_text(&house, id), expected);
        house.cancel(id).unwrap();
    }
}

#[test]
fn a_number_is_written_to_in_the_language_of_its_country() {
    const EGYPT: &str = "+201001234567";
    const GERMANY: &str = "+4915112345678";
    let text = |house: &mut House, to: &str, locale: Option<&str>| {
        let ask = house.ask(to).with(|begin| {
            begin.custom_code = Some(code("000123"));
            begin.locale = locale.map(str::to_owned);
        });
        let id = ask.send().unwrap().verification.id;
        let text = last_text(house, id);
        house.cancel(id).unwrap();
        text
    };
    let house = &mut house_with(|_| {});
    assert_eq!(text(house, EGYPT, None), "رمز Example الخاص بك هو 000123. صالح لمدة 5 دقائق.");
    assert_eq!(text(house, GERMANY, None), "Ihr Code für Example ist 000123. Gültig für 5 Minuten.");
    // Tanzania has two official languages, and one of them is the default.
    assert_eq!(text(house, TO, None), "Your Example code is 000123. It expires in 5 minutes.");
    assert!(
        text(house, GERMANY, Some("fr-CH")).starts_with("Votre code Example est"),
        "what was asked for comes first"
    );
    // The operator's own words come before a guess, in whatever language they are.
    house.change(|application| {
        application.templates.insert("default", "en", Channel::Sms, "own en {{ code }}").unwrap()
    });
    assert_eq!(text(house, EGYPT, None), "own en 000123");
    house.change(|application| {
        application.templates.insert("default", "ar", Channel::Sms, "own ar {{ code }}").unwrap()
    });
    assert_eq!(text(house, EGYPT, None), "own ar 000123");
    assert!(text(house, EGYPT, Some("de")).starts_with("Ihr Code"));
    // Both can be told otherwise.
    let house = &mut house_with(|application| application.texts.locale_by_country = false);
    assert!(text(house, EGYPT, None).starts_with("Your Example code is"));
    let house = &mut house_with(|application| "sw".clone_into(&mut application.texts.default_locale));
    assert_eq!(text(house, TO, None), "Msimbo wako wa Example ni 000123. Unaisha baada ya dakika 5.");
}

#[test]
fn a_template_called_like_the_purpose_is_taken_for_it() {
    let mut house = house_with(|application| {
        application.templates.insert("payment", "en", Channel::Sms, "{{ code }} pays").unwrap();
        application.templates.insert("other", "en", Channel::Sms, "{{ code }} other").unwrap();
    });
    assert_eq!(text_of(&mut house, |begin| begin.purpose = "payment".parse().unwrap()), "000123 pays");
    let chosen = text_of(&mut house, |begin| {
        begin.purpose = "payment".parse().unwrap();
        begin.template = Some("other".to_owned());
    });
    assert_eq!(chosen, "000123 other");
    assert!(text_of(&mut house, |_| {}).starts_with("Your Example code"));
}

#[test]
fn an_email_has_a_subject_in_its_language_and_no_code_in_it() {
    let subject = |house: &mut House, locale: &str| {
        let id = house.ask("jane@example.com").with(|begin| begin.locale = Some(locale.to_owned())).send().unwrap();
        let id = id.verification.id;
        let message = message::write(&house.application, &house.keys, house.row(id), &house.last_delivery(id)).unwrap();
        house.cancel(id).unwrap();
        assert_eq!(message.text.matches(message.code.reveal()).count(), 1);
        message.subject.to_string()
    };
    let house = &mut house_with(|application| application.display_name = "Ex\r\nBcc: a@b.c".to_owned());
    assert_eq!(subject(house, "en"), "Your Ex  Bcc: a@b.c code");
    house.change(|application| application.display_name = "Example".to_owned());
    assert_eq!(subject(house, "de-AT"), "Ihr Code für Example");
    house.change(|application| {
        application.templates.insert_subject("default", "de", "Code von {{ application }}").unwrap()
    });
    assert_eq!(
        (subject(house, "de").as_str(), subject(house, "en").as_str()),
        ("Code von Example", "Your Example code")
    );
    let mut templates = Templates::default();
    assert_eq!(templates.insert_subject("default", "en", "{{ code }} is your code"), Ok(()));
    for bad in ["", "  ", "two\nlines", &"x".repeat(201)] {
        assert_eq!(templates.insert_subject("default", "en", bad), Err(InvalidTemplate::Subject), "{bad:?}");
    }
    assert!(matches!(templates.insert_subject("default", "en", "{{ nmae }}"), Err(InvalidTemplate::Syntax(_))));
    let sent = house.send(TO).id;
    let sms = message::write(&house.application, &house.keys, house.row(sent), &house.last_delivery(sent)).unwrap();
    assert_eq!(sms.subject.as_str(), "");
}

#[test]
fn characters_that_cost_double_are_written_plainly_where_that_helps() {
    for (text, expected) in [
        ("\u{201c}A\u{201d} \u{2013} {{ code }}\u{2026}", "\"A\" - 000123..."),
        ("it\u{2019}s\u{a0}{{ code }}", "it's 000123"),
        // It is UCS-2 whatever is done: nothing is.
        ("\u{ab}Код\u{bb} \u{2014} {{ code }}", "\u{ab}Код\u{bb} \u{2014} 000123"),
        // Letters are never changed.
        ("caf\u{e9} gar\u{e7}on\u{2026} {{ code }}", "caf\u{e9} gar\u{e7}on\u{2026} 000123"),
    ] {
        assert_eq!(text_of(&mut with_template(text), |_| {}), expected);
        let mut house = with_template(text);
        house.change(|application| application.texts.plain_characters = false);
        assert_eq!(text_of(&mut house, |_| {}), text.replace("{{ code }}", "000123"), "unless told not to");
    }
    let mut house = house_with(|application| application.display_name = "Jane\u{2019}s \u{2013} Shop".to_owned());
    assert_eq!(segments(&text_of(&mut house, |_| {})).encoding, Encoding::Gsm7, "names are written so, too");
    let mut house = house_with(|application| application.display_name = "Jane\u{2019}s".to_owned());
    let id = house.ask(TO).channel(Channel::Whatsapp).send().unwrap().verification.id;
    assert!(last_text(&house, id).contains("Jane\u{2019}s"), "in an SMS alone");
}

#[test]
fn what_phones_misread_is_refused() {
    use InvalidTemplate::Invisible;
    for (locale, text, because) in [
        ("en", "{{ code }}\u{202e}", Invisible('\u{202e}')),
        ("en", "\u{2068}{{ code }}\u{2069}", Invisible('\u{2068}')),
        ("ar", "\u{2068}{{ code }}\u{2069}", Invisible('\u{2068}')),
        ("en", "{{ code }}\u{200f}", Invisible('\u{200f}')),
        ("en", "{{ code }}\u{feff}", Invisible('\u{feff}')),
        ("en", "{{ code }}\0", Invisible('\0')),
        ("en", "{{ code }}\u{1b}[1m", Invisible('\u{1b}')),
    ] {
        assert_eq!(Templates::default().insert("t", locale, Channel::Sms, text), Err(because), "{text:?}");
    }
    // A mark of direction has a use where the language runs that way.
    Templates::default().insert("t", "he-IL", Channel::Sms, "קוד: {{ code }}\u{200f}").unwrap();
}

#[test]
fn links_are_found_and_points_are_not() {
    for (text, link) in [
        ("{{ code }} https://example.com", "https://example.com"),
        ("{% if purpose == 'payment' %}www.example.com{% endif %}{{ code }}", "www.example.com"),
        ("{{ code }} bit.ly/x", "bit.ly/x"),
        ("{{ code }} (example.co.tz)", "example.co.tz"),
        ("{{ application }}.com {{ code }}", "App.com"),
        ("{{ code }}: mail help@example.com", "help@example.com"),
        ("Your code is {{ code }}.It expires", "987654.It"),
    ] {
        assert_eq!(link_in("en", text), Err(InvalidTemplate::Link(link.to_owned())), "{text}");
    }
    for text in
        ["{{ code }}. It expires", "{{ code }} v1.2 e.g. 3.5 dvs. a.m. 12:30", "{{ code }}...", "{{ code }}\u{3002}x.y"]
    {
        assert_eq!(link_in("en", text), Ok(()), "{text}");
    }
}

#[test]
fn a_template_that_is_gone_falls_back_to_the_default_one() {
    let mut house =
        house_with(|application| application.templates.insert("promo", "en", Channel::Sms, "{{ code }}").unwrap());
    let id = house.ask(TO).with(|begin| begin.template = Some("promo".to_owned())).send().unwrap().verification.id;
    house.change(|application| application.templates = Templates::default());
    assert!(last_text(&house, id).starts_with("Your Example code is "));
}

#[test]
fn a_message_that_cannot_be_written_says_why() {
    let mut house = house_with(|_| {});
    let id = house.send(TO).id;
    let gone = KeyRing::new("k2", Key::from_bytes([2; 32]));
    let write = |house: &House, keys: &KeyRing| {
        message::write(&house.application, keys, house.row(id), &house.last_delivery(id))
    };
    assert!(matches!(write(&house, &gone), Err(Unwritable::Code(_))));
    let message = write(&house, &house.keys).unwrap();
    assert_eq!((message.locale.as_str(), message.channel, message.to.reveal()), ("en", Channel::Sms, TO));
    assert_eq!((message.expires_at, message.id), (house.row(id).expires_at, house.last_delivery(id).id));
    assert!(message.text.contains(message.code.reveal()));
}

// Segments.

#[test]
fn segments_are_counted_as_they_are_billed() {
    use Encoding::{Gsm7, Ucs2};
    let repeat = |text: &str, times: usize| text.repeat(times);
    for (text, encoding, units, count) in [
        (String::new(), Gsm7, 0, 1),
        (repeat("a", 1), Gsm7, 1, 1),
        (repeat("a", 160), Gsm7, 160, 1),
        (repeat("a", 161), Gsm7, 161, 2),
        (repeat("a", 306), Gsm7, 306, 2),
        (repeat("a", 307), Gsm7, 307, 3),
        (repeat("a", 459), Gsm7, 459, 3),
        (repeat("a", 460), Gsm7, 460, 4),
        // An escape costs two.
        (repeat("€", 80), Gsm7, 160, 1),
        (repeat("€", 81), Gsm7, 162, 2),
        (repeat("a", 159) + "€", Gsm7, 161, 2),
        (repeat("a", 158) + "€", Gsm7, 160, 1),
        // It is never split at a joint: 152 + an escape leaves one septet unused.
        (repeat("a", 152) + "€" + &repeat("a", 151), Gsm7, 305, 2),
        (repeat("a", 152) + "€" + &repeat("a", 152), Gsm7, 306, 3),
        (repeat("a", 151) + "€" + &repeat("a", 153), Gsm7, 306, 2),
        // 76 escapes fill 152 of 153.
        (repeat("€", 152), Gsm7, 304, 2),
        (repeat("€", 153), Gsm7, 306, 3),
        ("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ".to_owned(), Gsm7, 31, 1),
        ("^{}\\[~]|€\u{c}".to_owned(), Gsm7, 20, 1),
        ("`".to_owned(), Ucs2, 1, 1),
        ("ç".to_owned(), Ucs2, 1, 1),
        ("\t".to_owned(), Ucs2, 1, 1),
        ("“x”".to_owned(), Ucs2, 3, 1),
        (repeat("я", 70), Ucs2, 70, 1),
        (repeat("я", 71), Ucs2, 71, 2),
        (repeat("я", 134), Ucs2, 134, 2),
        (repeat("я", 135), Ucs2, 135, 3),
        // One character outside the alphabet makes all of it UCS-2.
        (repeat("a", 69) + "я", Ucs2, 70, 1),
        (repeat("a", 70) + "я", Ucs2, 71, 2),
        // A surrogate pair is never split: 66 + a pair leaves one unit unused.
        (repeat("😀", 35), Ucs2, 70, 1),
        (repeat("😀", 36), Ucs2, 72, 2),
        (repeat("😀", 66), Ucs2, 132, 2),
        (repeat("😀", 67), Ucs2, 134, 3),
        (repeat("я", 66) + "😀" + &repeat("я", 65), Ucs2, 133, 2),
        (repeat("я", 66) + "😀" + &repeat("я", 66), Ucs2, 134, 3),
        // A flag is two pairs, a family is many.
        ("🇹🇿".to_owned(), Ucs2, 4, 1),
        ("👩‍👩‍👧‍👦".to_owned(), Ucs2, 11, 1),
        (repeat("🇹🇿", 17), Ucs2, 68, 1),
        (repeat("🇹🇿", 18), Ucs2, 72, 2),
    ] {
        let counted = segments(&text);
        assert_eq!((counted.encoding, counted.units, counted.count), (encoding, units, count), "{text:?}");
    }
}

#[test]
fn b11_what_the_last_lines_are_made_of_costs_one_septet_each() {
    let text = "@login-1.example_2.com #0123456789\nFA+9qCX9VSu/ABCXYZabcxyz";
    assert_eq!((segments(text).encoding, segments(text).units), (Encoding::Gsm7, text.len()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writing_never_panics_and_holds_the_code(
        name in r"(\PC|[\r\n\u{85}\u{2028}\u{2029}\u{202e}\x00]){0,80}",
        digits in "[0-9]{4,10}",
        locale in prop::option::of("[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8}){0,2}"),
        origin in prop::option::of("[a-z]{1,10}\\.[a-z]{2,5}"),
        hash in prop::option::of("[A-Za-z0-9+/]{11}"),
        ttl in 30_u64..=86_400,
        waited in 0_u64..90_000,
        template in prop::sample::select(&["{{ application }} {{ code }}", "{{ code }} {{ application }}", "{{ application }}\n{{ code }}\n"][..]),
    ) {
        let mut house = with_template(template);
        let at_sign = name.contains('@');
        house.change(|application| {
            application.display_name = name;
            application.web_origin.clone_from(&origin);
            application.android_app_hash = hash;
        });
        let ask = house.ask(TO).with(|begin| {
            begin.custom_code = Some(code(&digits));
            begin.locale = locale;
            begin.ttl = Some(Duration::from_secs(ttl));
        });
        let verification = ask.send().unwrap().verification;
        let mut delivery = house.last_delivery(verification.id);
        delivery.queued_at = delivery.queued_at + Duration::from_secs(waited);
        let message = message::write(&house.application, &house.keys, &verification, &delivery).unwrap();
        prop_assert!(message.text.contains(&digits));
        prop_assert_eq!(message.text.trim_end(), message.text.as_str());
        prop_assert!(segments(&message.text).count >= 1);
        match origin {
            Some(host) => prop_assert_eq!(origin_bound(&message.text), Some((host, digits))),
            // A name that is all of the line's beginning may look like a host; it can only not make a line of its own.
            None => prop_assert!(at_sign || origin_bound(&message.text).is_none()),
        }
    }

    #[test]
    fn any_text_as_a_template_is_taken_or_refused(text in r"(\PC|\{\{ code \}\}|\{%|%\}|\{\{|\}\}| for | in | if |\n){0,40}") {
        let mut templates = Templates::default();
        let taken = templates.insert("t", "en", Channel::Sms, &text).is_ok();
        prop_assert_eq!(templates.has("t"), taken);
    }

    #[test]
    fn any_text_has_segments_that_hold_it(text in r"\PC{0,400}") {
        let counted = segments(&text);
        let (alone, joined) = if counted.encoding == Encoding::Gsm7 { (160, 153) } else { (70, 67) };
        prop_assert_eq!(counted.count == 1, counted.units <= alone);
        // A part is at most one unit short.
        let parts = counted.units.div_ceil(joined)..=counted.units.div_ceil(joined - 1);
        prop_assert!(counted.count == 1 || parts.contains(&counted.count));
    }
}

#[test]
fn a_message_hands_out_its_code_for_channels_that_build_their_own_text() {
    let house = &mut house_with(|_| {});
    let id = house.send(TO).id;
    let message = message::write(&house.application, &house.keys, house.row(id), &house.last_delivery(id)).unwrap();
    let spoken: Code = message.code;
    assert_eq!(spoken.reveal(), house.code(id));
}

// The line above an email.

fn subject_of(house: &mut House, to: &str, locale: Option<&str>) -> String {
    let id = house.ask(to).with(|begin| begin.locale = locale.map(str::to_owned)).send().unwrap().verification.id;
    let message = message::write(&house.application, &house.keys, house.row(id), &house.last_delivery(id)).unwrap();
    let subject = message.subject.to_string();
    house.cancel(id).unwrap();
    subject
}

#[test]
fn an_email_has_a_line_above_it_in_its_language_and_a_text_message_none() {
    let mut house = house_with(|application| {
        application.display_name = "Du\nka\u{202e}".to_owned();
        application.templates.insert_subject("default", "sw", "Msimbo wa {{ application }}").unwrap();
    });
    assert_eq!(subject_of(&mut house, TO, None), "");
    assert_eq!(subject_of(&mut house, "asha@example.com", None), "Your Du ka code");
    assert_eq!(subject_of(&mut house, "asha@example.com", Some("sw-TZ")), "Msimbo wa Du ka");
    assert_eq!(
        subject_of(&mut house, "asha@example.com", Some("fr")),
        "Votre code Du ka",
        "every language comes with its own"
    );
}

#[test]
fn a_subject_is_one_line_with_known_names() {
    let mut templates = Templates::default();
    assert_eq!(templates.insert_subject("default", "en", "{{ code }} is your code"), Ok(()));
    for bad in ["", "  ", "two\nlines", &"x".repeat(201)] {
        assert_eq!(templates.insert_subject("default", "en", bad), Err(InvalidTemplate::Subject), "{bad:?}");
    }
    assert!(matches!(templates.insert_subject("default", "en", "{{ nmae }}"), Err(InvalidTemplate::Syntax(_))));
}

//! Texts that requests bring along: literal, but for the code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use countersign_core::channel::Channel;
use countersign_core::code::Code;
use countersign_core::message::{self, Encoding, segments};
use countersign_core::own_text::{LONGEST, PLACE, UnfitText, fit, preview};
use countersign_core::verification::Wording;
use house::{House, TO};
use proptest::prelude::*;

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

#[test]
fn only_the_code_has_a_place_in_it() {
    for (text, shown) in [
        (
            "{{code}} is your short code to authenticate with Cool App via SMS",
            "042137 is your short code to authenticate with Cool App via SMS",
        ),
        ("{{code}}{{code}}", "042137042137"),
        ("{{{{code}}}}", "{{042137}}"),
        ("{% for x in range(9) %}{{code}}{% endfor %}", "{% for x in range(9) %}042137{% endfor %}"),
        (
            "{{code}} {{ code }} {{application}} {{7*7}} {{cod{{code}}e}}",
            "042137 {{ code }} {{application}} {{7*7}} {{cod042137e}}",
        ),
        ("Your code:\n{{code}}", "Your code:\n042137"),
        ("رمز \u{200f}{{code}}", "رمز \u{200f}042137"),
        ("验证码{{code}}。请勿转发。", "验证码042137。请勿转发。"),
        (
            "Код: {{code}}. Никому его не говорите. 1.2.2026, 10.30",
            "Код: 042137. Никому его не говорите. 1.2.2026, 10.30",
        ),
    ] {
        assert_eq!(fit(text, false), Ok(()), "{text}");
        assert_eq!(*preview(text, &code("042137")), shown);
    }
}

#[test]
fn what_leads_astray_is_refused() {
    for (text, why) in [
        ("no code", UnfitText::NoCode),
        ("{{ code }}", UnfitText::NoCode),
        ("{{CODE}}", UnfitText::NoCode),
        ("", UnfitText::NoCode),
        ("{{code}}\0", UnfitText::Invisible('\0')),
        ("{{code}}\u{1b}[2J", UnfitText::Invisible('\u{1b}')),
        ("\t{{code}}", UnfitText::Invisible('\t')),
        ("\u{202e}{{code}}", UnfitText::Invisible('\u{202e}')),
        ("\u{2066}{{code}}", UnfitText::Invisible('\u{2066}')),
        ("{{code}}\u{200e}", UnfitText::Invisible('\u{200e}')),
        ("{{code}}\u{2028}", UnfitText::Invisible('\u{2028}')),
        ("\u{feff}{{code}}", UnfitText::Invisible('\u{feff}')),
        ("{{code}} https://evil.example/", UnfitText::Link),
        ("{{code}} WWW.evil", UnfitText::Link),
        ("{{code}} at evil.example/x", UnfitText::Link),
        ("{{code}}.It", UnfitText::Link),
        ("{{code}}\n\n@evil.example #{{code}}", UnfitText::Link),
        ("{{code}} аррӏе.com", UnfitText::Link),
        ("{{code}} банк.рф/вход", UnfitText::Link),
        ("{{code}} 银行.中国", UnfitText::Link),
        ("{{code}} bank.xn--p1ai", UnfitText::Link),
        ("{{code}} evil.example#x", UnfitText::Link),
        ("{{code}} 203.0.113.7", UnfitText::Link),
        ("{{code}} (203.0.113.7:8080/login)", UnfitText::Link),
    ] {
        assert_eq!(fit(text, false), Err(why), "{text}");
    }
    assert_eq!(fit("{{code}} https://app.example/", true), Ok(()));
    let longest = format!("{PLACE}{}", "é".repeat(LONGEST - PLACE.len()));
    assert_eq!(fit(&longest, false), Ok(()));
    assert_eq!(fit(&format!("{longest}x"), false), Err(UnfitText::TooLong));
}

#[test]
fn a_message_says_it_with_the_last_lines_that_phones_look_for() {
    let mut house = House::with(|application| application.web_origin = Some("app.example".to_owned()));
    let text = Some("Cool App – {{code}} {{ application }}".to_owned());
    let sent = house.ask(TO).with(|begin| {
        begin.template = Some("default".to_owned());
        begin.wording = Wording { text: text.clone(), ..Wording::default() };
    });
    let sent = sent.send().unwrap().verification;
    let code = house.code(sent.id);
    let written = |house: &House, channel| {
        let delivery = countersign_core::verification::Delivery { channel, ..house.last_delivery(sent.id) };
        message::write(&house.application, &house.keys, house.row(sent.id), &delivery).unwrap()
    };
    let sms = written(&house, Channel::Sms);
    assert_eq!(*sms.text, format!("Cool App - {code} {{{{ application }}}}\n\n@app.example #{code}"));
    let counted = segments(&sms.text);
    assert_eq!((counted.encoding, counted.count), (Encoding::Gsm7, 1));
    let spoken = code.chars().map(String::from).collect::<Vec<_>>().join(", ");
    assert_eq!(*written(&house, Channel::Voice).text, format!("Cool App – {spoken} {{{{ application }}}}"));
}

proptest! {
    #[test]
    fn whatever_it_says_it_says_with_the_code(before in any::<String>(), after in "[ -~éضж\u{202e}\n]{0,80}", links in any::<bool>()) {
        let text = format!("{before}{PLACE}{after}");
        if fit(&text, links).is_ok() {
            let shown = preview(&text, &code("042137"));
            prop_assert!(shown.contains("042137"));
            prop_assert_eq!(shown.len() + 2 * text.matches(PLACE).count(), text.len());
            prop_assert!(shown.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r')));
            let reordered = shown.contains('\u{202e}');
            prop_assert!(!reordered);
            prop_assert!(text.chars().count() <= LONGEST);
        }
    }

    #[test]
    fn any_text_is_judged(text in any::<String>(), links in any::<bool>()) {
        let _ = fit(&text, links);
    }
}

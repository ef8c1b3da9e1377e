//! The code itself: every value as likely as any other, bound to what it is for, impossible to print.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::HashSet;

use countersign_core::check::{Against, Check};
use countersign_core::code::{Binding, Code, CodeSource, CodeUnavailable, Key, KeyRing, LENGTHS};
use countersign_core::decision::Decision;
use countersign_core::message;
use countersign_core::policy::TestDestination;
use countersign_core::send::{Begin, Send, Terms, What};
use countersign_core::verification::By;
use house::{House, TO, bytes, code, number};

/// Compiles only if the type does not have the trait: else two impls fit and the compiler cannot choose.
macro_rules! assert_lacks {
    ($type:ty: $($trait:path),+) => { $(const _: fn() = || {
        trait Ambiguous<A> { fn choose() {} }
        impl<T: ?Sized> Ambiguous<()> for T {}
        struct Second;
        impl<T: ?Sized + $trait> Ambiguous<Second> for T {}
        let _ = <$type as Ambiguous<_>>::choose;
    };)+ };
}

assert_lacks!(Code: std::fmt::Debug, std::fmt::Display, Clone, Copy, serde::Serialize, PartialEq, Eq, std::hash::Hash, ToString);
assert_lacks!(Key: std::fmt::Debug, std::fmt::Display, Clone, Copy, serde::Serialize, PartialEq);
assert_lacks!(KeyRing: Clone, serde::Serialize);
assert_lacks!(CodeSource: std::fmt::Display, serde::Serialize);
assert_lacks!(countersign_core::outcome::Message: Clone, std::fmt::Display, serde::Serialize);

fn ring() -> KeyRing {
    KeyRing::new("k1", Key::from_bytes([1; 32]))
}

fn binding(id: &[u8; 16]) -> Binding<'_> {
    Binding::new(id, "default", TO, "login")
}

fn derived(key: &str) -> CodeSource {
    CodeSource::Derived { key: key.into() }
}

fn id(seed: u64) -> [u8; 16] {
    *bytes(seed).first_chunk().unwrap()
}

fn numbers(keys: &KeyRing, length: u8, count: u64) -> impl Iterator<Item = u64> {
    let source = derived(keys.active());
    (0..count).map(move |seed| keys.code(&source, binding(&id(seed)), length).unwrap().reveal().parse().unwrap())
}

// Statistics.

/// ln Γ(x), Lanczos.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let tmp = x + 5.5 - (x + 0.5) * (x + 5.5).ln();
    let series = COEFFICIENTS.iter().zip(1..).fold(1.000_000_000_190_015, |sum, (c, n)| sum + c / (x + f64::from(n)));
    -tmp + (2.506_628_274_631_000_5 * series / x).ln()
}

/// The chance of a χ² at least this large with so many degrees of freedom: the regularised upper incomplete gamma function.
fn p_value(chi_square: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, chi_square / 2.0);
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-15 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - sum * front;
    }
    // Lentz's continued fraction.
    let (mut b, mut c) = (x + 1.0 - a, 1e300);
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..100_000 {
        let an = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h * front
}

fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

fn assert_uniform(counts: &[u32], what: &str) {
    let p = p_value(chi_square(counts), (counts.len() - 1) as f64);
    assert!((0.001..0.999_9).contains(&p), "{what}: p = {p}");
}

#[test]
fn the_statistics_are_right() {
    // Quantiles from tables.
    for (chi, freedom, p) in [(16.919, 9.0, 0.05), (27.877, 9.0, 0.001), (3.841, 1.0, 0.05), (1_142.848, 999.0, 0.001)]
    {
        assert!((p_value(chi, freedom) - p).abs() < p * 0.01, "{chi} {freedom}: {}", p_value(chi, freedom));
    }
    let biased: Vec<u32> = (0..10).map(|digit| if digit == 0 { 1_000 } else { 1_250 }).collect();
    assert!(p_value(chi_square(&biased), 9.0) < 0.001);
}

#[test]
fn bug_e1_e2_every_value_is_as_likely_as_any_other() {
    let mut values = vec![0_u32; 10_000];
    let mut positions = [[0_u32; 10]; 4];
    let mut pairs = vec![0_u32; 100];
    let mut last = 0;
    for number in numbers(&ring(), 4, 1_000_000) {
        values[number as usize] += 1;
        for (place, position) in positions.iter_mut().enumerate() {
            position[(number / 10_u64.pow(3 - place as u32) % 10) as usize] += 1;
        }
        pairs[(last * 10 + number % 10) as usize] += 1;
        last = number % 10;
    }
    assert!(values.iter().all(|count| *count > 0), "every value occurs");
    assert!(values[0] > 50 && values[9999] > 50, "0000 and 9999 too");
    // Five sigma around 100, and a little for the maximum of ten thousand.
    assert!(values.iter().all(|count| (45..=160).contains(count)));
    assert_uniform(&values, "values");
    for (place, position) in positions.iter().enumerate() {
        assert_uniform(position, &format!("digit {place}"));
    }
    assert_uniform(&pairs, "last digits of one code and the next");
}

#[test]
fn the_first_digit_is_as_likely_zero_as_any_other_at_every_length() {
    for length in LENGTHS {
        let mut counts = [0_u32; 10];
        let mut seen = HashSet::new();
        for number in numbers(&ring(), length, 20_000) {
            counts[(number / 10_u64.pow(u32::from(length) - 1)) as usize] += 1;
            seen.insert(number);
        }
        assert_uniform(&counts, &format!("{length} digits"));
        // The birthday bound: about n²/2N repeats.
        let repeats = 20_000 - seen.len();
        let expected = 20_000.0 * 20_000.0 / 2.0 / 10_f64.powi(length.into());
        assert!(
            length == 4 || (repeats as f64) < expected + 5.0 * expected.sqrt() + 3.0,
            "{length}: {repeats} repeats"
        );
    }
}

#[test]
fn bug_e6_a_code_has_exactly_the_digits_asked_for() {
    for length in LENGTHS {
        for seed in 0..500 {
            let code = ring().code(&derived("k1"), binding(&id(seed)), length).unwrap();
            assert_eq!((code.reveal().len(), code.length()), (usize::from(length), length));
            assert!(code.reveal().bytes().all(|digit| digit.is_ascii_digit()));
            assert!(code.matches(&code.reveal().parse().unwrap()));
        }
    }
}

#[test]
fn bug_e6_a_row_with_an_absurd_length_panics_nowhere() {
    for length in [0, 1, 3, 11, 19, 20, 64, 255] {
        let made = ring().code(&derived("k1"), binding(&id(1)), length).unwrap();
        assert!(LENGTHS.contains(&made.length()));
        assert_eq!(ring().matches(&derived("k1"), binding(&id(1)), length, &code("12345678")), Ok(false));
    }
}

#[test]
fn the_same_binding_gives_the_same_code_and_any_other_an_unrelated_one() {
    let keys = ring();
    let base = (id(1), "default", TO, "login", 10);
    let of = |(id, application, destination, purpose, length): ([u8; 16], &str, &str, &str, u8)| {
        let binding = Binding::new(&id, application, destination, purpose);
        keys.code(&derived("k1"), binding, length).unwrap().reveal().to_owned()
    };
    assert_eq!(of(base), of(base));
    for other in [
        (id(2), base.1, base.2, base.3, 10),
        (base.0, "defaul", "t+255694230173", base.3, 10),
        (base.0, "second", base.2, base.3, 10),
        (base.0, base.1, "+255694230174", base.3, 10),
        (base.0, base.1, "+255694230173l", "ogin", 10),
        (base.0, base.1, base.2, "payment", 10),
        (base.0, base.1, base.2, "", 10),
    ] {
        assert_ne!(of(base), of(other), "{other:?}");
    }
    let shorter = of((base.0, base.1, base.2, base.3, 9));
    assert!(!of(base).contains(&shorter), "nor is a shorter one a part of it");
}

// The key ring.

#[test]
fn old_codes_verify_while_their_key_is_in_the_ring() {
    let old = ring();
    let made = derived(old.active());
    let right = old.code(&made, binding(&id(1)), 6).unwrap();
    let chosen = old.keep(&code("000123"), binding(&id(2)), [3; 24]);

    let rotated = KeyRing::new("k2", Key::from_bytes([2; 32])).with_older("k1", Key::from_bytes([1; 32]));
    assert_eq!(&**rotated.active(), "k2");
    assert_eq!(rotated.matches(&made, binding(&id(1)), 6, &right), Ok(true));
    assert_eq!(rotated.matches(&chosen, binding(&id(2)), 6, &code("000123")), Ok(true));
    assert_eq!(rotated.code(&chosen, binding(&id(2)), 6).unwrap().reveal(), "000123");

    let gone = KeyRing::new("k2", Key::from_bytes([2; 32]));
    let error = CodeUnavailable::UnknownKey("k1".into());
    assert_eq!(gone.matches(&made, binding(&id(1)), 6, &right), Err(error.clone()));
    assert_eq!(gone.matches(&chosen, binding(&id(2)), 6, &code("000123")), Err(error.clone()));
    assert_eq!(gone.code(&made, binding(&id(1)), 6).err(), Some(error.clone()));
    assert_eq!(gone.code(&chosen, binding(&id(2)), 6).err(), Some(error));
}

#[test]
fn bug_f3_without_the_key_a_row_says_nothing() {
    // Somebody has the store and this source, and tries keys of their own under the same name: their codes are unrelated to ours.
    let ours = ring();
    let theirs = KeyRing::new("k1", Key::from_bytes([0; 32]));
    let same = (0..100_000)
        .filter(|seed| {
            let id = id(*seed);
            let right = ours.code(&derived("k1"), binding(&id), 4).unwrap();
            theirs.matches(&derived("k1"), binding(&id), 4, &right).unwrap()
        })
        .count();
    assert!((1..=30).contains(&same), "as often as chance has it: {same} of 10 expected");

    let kept = ours.keep(&code("1234"), binding(&id(1)), [9; 24]);
    let CodeSource::Chosen { digest, sealed: Some(sealed), .. } = &kept else { panic!("it is kept") };
    for guess in 0..10_000 {
        let guess = code(&format!("{guess:04}"));
        assert_eq!(theirs.matches(&kept, binding(&id(1)), 4, &guess), Ok(false), "no guess meets the digest");
    }
    assert_eq!(theirs.code(&kept, binding(&id(1)), 4).err(), Some(CodeUnavailable::Unsealable));
    for bytes in [digest.as_slice(), sealed] {
        assert!(!bytes.windows(4).any(|window| window == b"1234"));
    }
}

#[test]
fn a_sealed_code_opens_only_where_it_was_sealed() {
    let keys = ring();
    let kept = keys.keep(&code("000123"), binding(&id(1)), [9; 24]);
    assert_eq!(keys.code(&kept, binding(&id(1)), 6).unwrap().reveal(), "000123");
    assert_eq!(keys.code(&kept, binding(&id(2)), 6).err(), Some(CodeUnavailable::Unsealable));
    let CodeSource::Chosen { key, digest, sealed: Some(sealed) } = kept else { panic!("it is kept") };
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        let altered = CodeSource::Chosen { key: key.clone(), digest, sealed: Some(altered) };
        assert_eq!(keys.code(&altered, binding(&id(1)), 6).err(), Some(CodeUnavailable::Unsealable));
    }
    for short in [Vec::new(), sealed[..23].to_vec(), sealed[..24].to_vec()] {
        let short = CodeSource::Chosen { key: key.clone(), digest, sealed: Some(short) };
        assert_eq!(keys.code(&short, binding(&id(1)), 6).err(), Some(CodeUnavailable::Unsealable));
    }
}

#[test]
fn kept_answers_open_under_their_key_and_context_alone() {
    let keys = ring();
    let sealed = keys.seal(&[1; 16], b"an answer with a token", [5; 24]).unwrap();
    let rotated = KeyRing::new("k2", Key::from_bytes([2; 32])).with_older("k1", Key::from_bytes([1; 32]));
    assert_eq!(rotated.open(&[1; 16], &sealed).unwrap(), b"an answer with a token");
    assert_eq!(keys.open(&[2; 16], &sealed), Err(CodeUnavailable::Unsealable));
    let gone = KeyRing::new("k2", Key::from_bytes([2; 32]));
    assert_eq!(gone.open(&[1; 16], &sealed), Err(CodeUnavailable::UnknownKey("k1".into())));
    for length in 0..sealed.len() {
        assert!(keys.open(&[1; 16], &sealed[..length]).is_err());
    }
}

// Text that is no code.

#[test]
fn bug_e3_e4_only_4_to_10_ascii_digits_are_a_code() {
    for text in ["0000", "9999", "000123", "123456", "0000000000", "9999999999"] {
        assert_eq!(text.parse::<Code>().unwrap().reveal(), text);
    }
    let long = "1".repeat(10_000_000);
    for text in [
        "",
        " ",
        "0",
        "123",
        "12345678901",
        "+123456",
        "-123456",
        " 123456",
        "123456 ",
        "123 456",
        "123-456",
        "12.3456",
        "1.23e5",
        "1e5",
        "0x7b12",
        "0b1010",
        "1_000",
        "123456\n",
        "\t123456",
        "123456\0",
        "\x00\x00\x00\x00",
        "12\x003456",
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "[\"123456\"]",
        "{\"$ne\":null}",
        "' OR 1=1",
        // Digits of other scripts, and what looks like digits.
        "\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}",
        "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}",
        "\u{6f1}\u{6f2}\u{6f3}\u{6f4}",
        "\u{967}\u{968}\u{969}\u{96a}",
        "\u{b9}\u{b2}\u{b3}\u{2074}",
        "\u{2460}\u{2461}\u{2462}\u{2463}",
        "12345\u{b2}",
        "\u{1d7d8}\u{1d7d9}\u{1d7da}\u{1d7db}",
        "1234\u{200b}",
        "\u{feff}1234",
        "\u{202e}123456",
        "O123456",
        "l23456",
        "abcdef",
        &long,
    ] {
        assert!(text.parse::<Code>().is_err(), "{:?}", text.chars().take(20).collect::<String>());
    }
}

#[test]
fn bug_e3_a_leading_zero_is_a_digit() {
    let right = code("000123");
    for (candidate, same) in
        [("000123", true), ("0123", false), ("00123", false), ("0000123", false), ("0001230", false), ("000124", false)]
    {
        assert_eq!(right.matches(&code(candidate)), same, "{candidate}");
    }
}

#[test]
fn bug_e5_a_comparison_looks_at_every_digit() {
    // Not a measurement of time: a wrong digit at any place, or a wrong length, must be found.
    let right = code("1234567890");
    for at in 0..10 {
        let mut other = *b"1234567890";
        other[at] = b'0' + (other[at] - b'0' + 1) % 10;
        assert!(!right.matches(&code(std::str::from_utf8(&other).unwrap())));
    }
    assert!(!right.matches(&code("123456789")) && !code("1234").matches(&code("12340")));
}

// What is printed.

#[test]
fn bug_f2_no_debug_shows_a_code_or_a_whole_destination() {
    let mut house = House::with(|application| {
        application.policy.allow_custom_code = true;
        application.limits = countersign_core::limit::LimitRule::defaults();
        application.test_destinations = vec![TestDestination { to: number("+15005550006"), code: code("86420864") }];
    });
    let chance = house.chance();
    let mut begin = Begin::new(number(TO));
    begin.custom_code = Some(code("97531975"));
    let send = Send {
        application: house.application.clone(),
        keys: house.keys.clone(),
        what: What::Begin(Box::new(begin)),
        channel: None,
        client: Some("192.0.2.1".to_owned()),
        carry_now: true,
        terms: Terms::default(),
        chance,
        now: house.now,
    };
    let mut shown = vec![format!("{send:?} {:?} {:?}", send.lookup(), send.reads(None))];
    let (changes, answer) = send.decide(&house.snapshot(&send));
    shown.push(format!("{changes:?} {answer:?}"));
    house.apply(changes);
    let sent = answer.unwrap();
    let check = Check {
        application: house.application.clone(),
        keys: house.keys.clone(),
        against: Against::Destination {
            service: None,
            to: number(TO),
            purpose: sent.verification.purpose.clone(),
            shown: [None; 2],
        },
        by: By::Destination,
        payment: None,
        code: code("97531976"),
        client: Some("192.0.2.1".to_owned()),
        now: house.now,
    };
    shown.push(format!("{check:?} {:?} {:?}", check.lookup(), check.reads(Some(&sent.verification))));
    let (changes, answer) = check.decide(&house.snapshot(&check));
    shown.push(format!("{changes:?} {answer:?} {:?}", house.snapshot(&check)));
    let message = message::write(&house.application, &house.keys, &sent.verification, &sent.deliveries[0]).unwrap();
    assert!(message.text.contains("97531975"));
    shown.push(format!("{message:?} {:?} {:?} {:?}", house.keys, house.application, house.events));
    shown.push(format!("{} {:?}", sent.verification.to, sent.verification.to));
    for text in shown {
        for secret in ["97531975", "97531976", "86420864", "255694230173", "694230", "15005550006"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

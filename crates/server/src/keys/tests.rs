#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

const ED: Algorithm = Algorithm::EdDsa;
const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

fn place(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("countersign-keys-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory.join("countersign.keys")
}

fn problem(text: &str) -> String {
    Ring::read(text).err().unwrap_or_default()
}

#[test]
fn the_first_run_makes_a_private_ring_and_the_next_ones_keep_it() {
    let path = place("first");
    let first = Ring::open_or_make(&path, true, NOW).unwrap();
    assert!(first.made && first.warning.is_none());
    #[cfg(unix)]
    assert_eq!(mode(&path), Some(0o600));
    let before = fs::read(&path).unwrap();
    let second = Ring::open_or_make(&path, true, NOW).unwrap();
    assert!(!second.made);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(first.ring.labels(), second.ring.labels());
    assert_eq!(first.ring.labels()[0].created_at, NOW);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn many_that_start_at_once_end_up_with_one_ring() {
    let path = place("race");
    let rings: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || Ring::open_or_make(&path, false, NOW))
        })
        .collect();
    let rings: Vec<_> = rings.into_iter().map(|ring| ring.join().unwrap().unwrap()).collect();
    assert_eq!(rings.iter().filter(|ring| ring.made).count(), 1);
    assert!(rings.windows(2).all(|pair| pair[0].ring.labels() == pair[1].ring.labels()));
}

#[test]
fn rotation_adds_active_keys_and_keeps_the_older_ones() {
    let path = place("rotate");
    assert!(Ring::rotate(&path, NOW).is_err());
    let old = Ring::open_or_make(&path, false, NOW).unwrap().ring;
    let new = Ring::rotate(&path, NOW + Duration::from_secs(60)).unwrap();
    let read = Ring::open(&path).unwrap().unwrap();
    assert_eq!(read.labels(), new.labels());
    assert_eq!(read.labels().iter().filter(|label| label.active).count(), 2);
    assert_eq!(read.labels().len(), 4);
    let rotated = NOW + Duration::from_secs(60);
    let (first, second) = (old.codes(NOW).active().clone(), read.labels()[0].id.clone());
    // A new key is used when everybody has it: until then it is known, and no more.
    assert_eq!(*read.codes(rotated).active(), first);
    assert_eq!(read.codes(rotated).fingerprint(&[b"x"]), old.codes(NOW).fingerprint(&[b"x"]));
    assert_eq!(&**read.codes(rotated + CODES_AFTER).active(), second);
    assert_eq!(read.codes(rotated + CODES_AFTER).fingerprint(&[b"x"]), old.codes(NOW).fingerprint(&[b"x"]));
    assert_eq!(read.tokens(rotated, ED).unwrap().0.kid, old.tokens(NOW, ED).unwrap().0.kid);
    assert_ne!(read.tokens(rotated + TOKENS_AFTER, ED).unwrap().0.kid, old.tokens(NOW, ED).unwrap().0.kid);
    assert_eq!(read.tokens(rotated, ED).unwrap().1.len(), 1);
    #[cfg(unix)]
    assert_eq!(mode(&path), Some(0o600));
    let jwks = |ring: &Ring, at, algorithm| {
        let (used, others) = ring.tokens(at, algorithm).unwrap();
        let jwks = TokenSigner::new(&used, &others, "").unwrap().jwks();
        serde_json::from_slice::<serde_json::Value>(&jwks).unwrap()
    };
    for algorithm in [ED, Algorithm::Es256] {
        assert_eq!(jwks(&read, rotated, algorithm)["keys"][0], jwks(&old, NOW, algorithm)["keys"][0]);
        let late = jwks(&read, rotated + TOKENS_AFTER, algorithm);
        assert_eq!(late["keys"][1], jwks(&old, NOW, algorithm)["keys"][0], "the older one stays published");
    }
}

#[test]
fn a_follower_takes_up_what_can_be_used_and_keeps_the_ring_if_not() {
    let path = place("follow");
    let old = Ring::open_or_make(&path, false, NOW).unwrap().ring;
    let mut follower = Follower::new(path.clone(), false, Ring::open(&path).unwrap().unwrap(), NOW);
    assert!(follower.look(NOW).unwrap().is_none());
    let rotated = NOW + Duration::from_secs(60);
    Ring::rotate(&path, rotated).unwrap();
    let ring = follower.look(rotated).unwrap().unwrap();
    assert_eq!((ring.labels().len(), ring.codes(rotated).active()), (4, old.codes(NOW).active()));
    assert!(follower.look(rotated).unwrap().is_none());
    let later = rotated + CODES_AFTER;
    assert_ne!(follower.look(later).unwrap().unwrap().codes(later).active(), old.codes(NOW).active());
    assert!(follower.look(later).unwrap().is_none());
    let last = rotated + TOKENS_AFTER;
    assert_ne!(
        follower.look(last).unwrap().unwrap().tokens(last, ED).unwrap().0.kid,
        old.tokens(NOW, ED).unwrap().0.kid
    );
    // What cannot be used is said once.
    let good = fs::read(&path).unwrap();
    fs::write(&path, "nonsense").unwrap();
    assert!(follower.look(last).is_err());
    assert!(follower.look(last).unwrap().is_none());
    fs::remove_file(&path).unwrap();
    assert!(follower.look(last).is_err());
    assert!(follower.look(last).unwrap().is_none());
    fs::write(&path, good).unwrap();
    assert!(follower.look(last).unwrap().is_none(), "the same ring again");
}

#[cfg(unix)]
#[test]
fn a_ring_that_others_can_read_is_refused_in_production_and_warned_of_otherwise() {
    use std::os::unix::fs::PermissionsExt;
    let path = place("mode");
    Ring::open_or_make(&path, false, NOW).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warning = Ring::open_or_make(&path, false, NOW).unwrap().warning.unwrap();
    assert!(warning.contains("mode 644") && warning.contains("chmod 600"), "{warning}");
    let refused = Ring::open_or_make(&path, true, NOW).err().unwrap().to_string();
    assert!(refused.contains("chmod 600"), "{refused}");
}

#[test]
fn weak_and_broken_rings_are_refused_without_showing_a_key() {
    let good = STANDARD.encode([
        7, 1, 200, 9, 31, 64, 5, 99, 12, 77, 250, 3, 8, 130, 45, 66, 91, 17, 2, 240, 58, 33, 21, 14, 180, 6, 101, 79,
        222, 41, 19, 88,
    ]);
    let other = STANDARD.encode([
        9, 1, 200, 9, 31, 64, 5, 99, 12, 77, 250, 3, 8, 130, 45, 66, 91, 17, 2, 240, 58, 33, 21, 14, 180, 6, 101, 79,
        222, 41, 19, 88,
    ]);
    let row = |section: &str, id: &str, key: &str| {
        format!("[[{section}]]\nid = \"{id}\"\nkey = \"{key}\"\ncreated_at = \"2026-11-22T10:00:00Z\"\nactive = true\n")
    };
    let es256 =
        |es256: &str| row("codes", "k1", &good) + &row("tokens", "t1", &other) + &format!("es256 = \"{es256}\"\n");
    let ring = |code: &str, token: &str| row("codes", "k1", code) + &row("tokens", "t1", token);
    assert_eq!(problem(&ring(&good, &other)), "");
    let typed = STANDARD.encode(b"correct horse battery staple 123");
    let steps: Vec<u8> = (0..32).collect();
    for (text, expected) in [
        (ring(&STANDARD.encode([0; 32]), &other), "`k1` is not random"),
        (ring(&STANDARD.encode(steps), &other), "`k1` is not random"),
        (ring(&typed, &other), "`k1` is not random"),
        (ring(&STANDARD.encode([1, 2, 3]), &other), "`k1` has 3 bytes; it must have 32"),
        (es256("%%%"), "`t1` has an es256 that is not base64"),
        (es256("AAAA"), "`t1` has an es256 that is no key"),
        (ring("%%%", &other), "`k1` is not base64"),
        (ring(&good, &good), "stands there twice"),
        (row("codes", "k1", &good) + &row("tokens", "k1", &other), "two keys are called `k1`"),
        (row("codes", "k1", &good) + &row("codes", "k2", &other) + &row("tokens", "t", &good), "one active key, not 2"),
        (row("codes", "K 1", &good) + &row("tokens", "t1", &other), "a key's id must be"),
        (row("codes", "k1", &good), "missing field `tokens`"),
        (String::new(), "missing field"),
        (format!("secret = \"{good}\""), "line 1 is not what this program writes"),
    ] {
        let said = problem(&text);
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains(&good), "{said}");
    }
}

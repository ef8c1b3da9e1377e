//! The provider `smpp` against two SMSCs that somebody else wrote: node-smpp and smpp34 (from PyPI).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use countersign::core::destination::Destination;
use countersign::core::outcome::{Message, Outcome};
use countersign::core::time::Timestamp;
use countersign::core::verification::DeliveryStatus;
use countersign::sender::{BoxFuture, Desk, Sender};
use countersign::{Broken, Observation};
use countersign_providers::ProviderConfig;
use serde_json::json;

use crate::peer::{Peer, node, python};
use crate::proxy::{Proxy, Wire};
use crate::{AT, kind, message, reason, sender};

/// Where receipts are handed in: a notebook, which may be slow to know a message or broken.
#[derive(Default)]
pub struct Notebook {
    pub receipts: Mutex<Vec<(String, DeliveryStatus, Option<String>)>>,
    /// So many receipts are answered with "no such message" first, and so many cannot be written down.
    pub unknown_first: Mutex<usize>,
    pub broken_first: Mutex<usize>,
    pub throttled: Mutex<usize>,
    pub sessions: Mutex<Vec<(usize, usize)>>,
}

fn count_down(counter: &Mutex<usize>) -> bool {
    let mut left = counter.lock().unwrap();
    let counted = *left > 0;
    *left = left.saturating_sub(1);
    counted
}

impl Desk for Notebook {
    fn receipt<'a>(
        &'a self,
        provider: &'a str,
        reference: &'a str,
        status: DeliveryStatus,
        error: Option<String>,
    ) -> BoxFuture<'a, Result<bool, Broken>> {
        Box::pin(async move {
            assert_eq!(provider, "gw");
            if count_down(&self.broken_first) {
                return Err(Broken::ShuttingDown);
            }
            if count_down(&self.unknown_first) {
                return Ok(false);
            }
            self.receipts.lock().unwrap().push((reference.to_owned(), status, error));
            Ok(true)
        })
    }

    fn observe(&self, observation: Observation<'_>) {
        match observation {
            Observation::Throttled { .. } => *self.throttled.lock().unwrap() += 1,
            Observation::Sessions { bound, outstanding, .. } => {
                self.sessions.lock().unwrap().push((bound, outstanding))
            }
            _ => {}
        }
    }
}

fn attached(sender: &Arc<dyn Sender>) -> Arc<Notebook> {
    let notebook = Arc::<Notebook>::default();
    sender.attach(Arc::clone(&notebook) as Arc<dyn Desk>);
    notebook
}

pub fn to(port: u16) -> ProviderConfig {
    ProviderConfig::new("gw", "smpp")
        .with("host", "127.0.0.1")
        .with("port", port.to_string())
        .with("system_id", "codes")
        .with("password", "secret")
        .with("source", "MyApp")
        .within(Duration::from_secs(5))
}

/// A message to the number that ends in these digits, which say what becomes of it.
pub fn sms(digits: &str, text: &str) -> Message {
    Message { to: Destination::parse(&format!("+255694230{digits}"), None).unwrap(), ..message(text) }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(15), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn smsc(what: &str, arguments: &[&str]) -> Option<Peer> {
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Some(Peer::start(&node(what)?, "smsc.js", &arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_bound_for_submitted_reported_and_unbound() {
    let Some(smsc) = smsc("SMPP against node-smpp", &[]) else { return };
    let sender = sender(&to(smsc.port).with("system_type", "OTP"));
    let notebook = attached(&sender);
    let text = "Your Duka code is 482913 {€}.\n\n@example.com #482913";
    let outcome = sender.send(&sms("005", text)).await;
    assert_eq!(outcome, Outcome::Accepted { message_id: Some("a0".to_owned()) });
    let bound = smsc.wait_for(1, "bound").remove(0);
    assert_eq!(bound, json!({"bound": "transceiver", "version": 0x34, "type": "OTP"}));
    let submit = smsc.wait_for(1, "submit").remove(0);
    for (key, value) in [
        ("submit", json!("255694230005")),
        ("text", json!(text)),
        ("source", json!("MyApp")),
        ("source_ton", json!(5)),
        ("source_npi", json!(0)),
        ("dest_ton", json!(1)),
        ("dest_npi", json!(1)),
        ("data_coding", json!(0)),
        ("esm_class", json!(0)),
        ("registered_delivery", json!(1)),
    ] {
        assert_eq!(submit[key], value, "{key}: {submit}");
    }
    // Answered only when it is written down.
    assert_eq!(smsc.wait_for(1, "answered")[0]["answered"], 0);
    let receipts = notebook.receipts.lock().unwrap().clone();
    assert_eq!(receipts, [("a0".to_owned(), DeliveryStatus::Delivered, None)]);
    sender.close().await;
    assert_eq!(smsc.wait_for(1, "unbound").len(), 1);
    assert_eq!(kind(&sender.send(&sms("005", "late")).await), "retry_elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_the_gateway_is_told_when_the_code_is_of_no_use() {
    let Some(smsc) = smsc("validity_period against node-smpp", &[]) else { return };
    // node-smpp reads the period as an instant.
    sender(&to(smsc.port).with("validity", "absolute")).send(&sms("000", "x")).await;
    let submit = smsc.wait_for(1, "submit").remove(0);
    assert_eq!(submit["validity"], "2023-11-14T22:18:20.000Z", "{submit}");
    let over = Message { expires_at: Timestamp::from_millis(AT * 1000), ..sms("000", "x") };
    let outcome = sender(&to(smsc.port)).send(&over).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("give_up", "not sent: the code has expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_means_what_its_status_says() {
    let Some(smsc) = smsc("refusals of node-smpp", &[]) else { return };
    let sender = sender(&to(smsc.port));
    for (digits, expected) in [
        ("011", "blame_number"),
        ("014", "retry_later"),
        ("064", "retry_later"),
        ("066", "give_up"),
        ("008", "retry_elsewhere"),
        ("004", "retry_elsewhere"),
        ("000", "accepted"),
        ("017", "unknown"),
        ("000", "accepted"),
    ] {
        // A session that was just lost is bound again in a moment.
        let mut outcome = sender.send(&sms(digits, "x")).await;
        for _ in 0..50 {
            if !reason(&outcome).starts_with("no session") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            outcome = sender.send(&sms(digits, "x")).await;
        }
        assert_eq!(kind(&outcome), expected, "{digits}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bind_that_is_refused_says_why_and_holds_nobody_up() {
    let Some(smsc) = smsc("binds that node-smpp refuses", &[]) else { return };
    for (field, value, why) in [
        ("password", "hunter2", "no session: the gateway refused the session: the password is wrong (0x0E)"),
        ("system_id", "nobody", "no session: the gateway refused the session: the system_id is not known (0x0F)"),
    ] {
        let begun = Instant::now();
        let outcome = sender(&to(smsc.port).with(field, value)).send(&sms("000", "x")).await;
        assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", why));
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
    let nowhere = sender(&to(1)).send(&sms("000", "x")).await;
    assert_eq!((kind(&nowhere), reason(&nowhere)), ("retry_elsewhere", "no session: no connection: it was refused"));
    assert!(smsc.all("submit").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transmitter_and_a_receiver_share_the_work() {
    let Some(smsc) = smsc("a pair of binds against node-smpp", &[]) else { return };
    let sender = sender(&to(smsc.port).with("bind", "pair").with("sessions", "2").with("version", "5.0"));
    let notebook = attached(&sender);
    sender.start();
    let bound = smsc.wait_for(4, "bound");
    let kinds = |kind: &str| bound.iter().filter(|bound| bound["bound"] == kind).count();
    assert_eq!((kinds("transmitter"), kinds("receiver"), &bound[0]["version"]), (2, 2, &json!(0x50)));
    for _ in 0..4 {
        assert_eq!(kind(&sender.send(&sms("000", "x")).await), "accepted");
    }
    until("all are seen as bound", || notebook.sessions.lock().unwrap().iter().any(|(bound, _)| *bound == 4)).await;
    sender.close().await;
    assert_eq!(smsc.wait_for(4, "unbound").len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_kept_by_the_gateway_until_they_are_durable_and_found_when_they_are_too_fast() {
    let Some(smsc) = smsc("reports of node-smpp", &[]) else { return };
    let sender = sender(&to(smsc.port));
    let notebook = attached(&sender);
    *notebook.broken_first.lock().unwrap() = 2;
    assert_eq!(kind(&sender.send(&sms("009", "x")).await), "accepted");
    until("the report is taken", || !notebook.receipts.lock().unwrap().is_empty()).await;
    let said: Vec<_> = smsc.wait_for(3, "answered").iter().map(|answered| answered["answered"].clone()).collect();
    assert_eq!(said, [0x64, 0x64, 0]);
    let first = notebook.receipts.lock().unwrap().remove(0);
    assert_eq!(first, ("a0".to_owned(), DeliveryStatus::Undelivered, Some("034".to_owned())));

    // A report that is there before its message is known is looked up again.
    *notebook.unknown_first.lock().unwrap() = 3;
    assert_eq!(kind(&sender.send(&sms("006", "x")).await), "accepted");
    until("the early report is taken", || !notebook.receipts.lock().unwrap().is_empty()).await;
    assert_eq!(smsc.wait_for(4, "answered")[3]["answered"], 0);

    // What is no report is taken and changes nothing.
    assert_eq!(kind(&sender.send(&sms("010", "x")).await), "accepted");
    assert_eq!(smsc.wait_for(5, "answered")[4]["answered"], 0);
    assert_eq!(notebook.receipts.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_reports_in_another_writing_are_found() {
    for (writing, receipt_ids, expected) in [("decimal", "decimal", "160"), ("text", "same", "a0")] {
        let Some(smsc) = smsc("ids of node-smpp's reports", &["--ids", writing]) else { return };
        let sender = sender(&to(smsc.port).with("receipt_ids", receipt_ids));
        let notebook = attached(&sender);
        let outcome = sender.send(&sms("005", "x")).await;
        assert_eq!(outcome, Outcome::Accepted { message_id: Some(expected.to_owned()) });
        until("the report is taken", || !notebook.receipts.lock().unwrap().is_empty()).await;
        assert_eq!(notebook.receipts.lock().unwrap()[0].0, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_halves_the_rate_and_is_told_as_try_later() {
    let Some(smsc) = smsc("throttling by node-smpp", &["--throttle", "3"]) else { return };
    let sender = sender(&to(smsc.port));
    let notebook = attached(&sender);
    for expected in ["retry_later", "retry_later", "retry_later", "accepted"] {
        let outcome = sender.send(&sms("000", "x")).await;
        assert_eq!(kind(&outcome), expected, "{outcome:?}");
        if let Outcome::Rejected { retry_after, .. } = outcome {
            assert_eq!(retry_after, Some(Duration::from_secs(1)));
        }
    }
    assert_eq!(*notebook.throttled.lock().unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_texts_go_in_each_of_the_three_ways() {
    let Some(smsc) = smsc("long texts against node-smpp", &[]) else { return };
    let text = format!("Your code is 482913. {} @end", "lorem ipsum ".repeat(16));
    for long in ["udh", "sar", "payload"] {
        let before = smsc.all("submit").len();
        let outcome = sender(&to(smsc.port).with("long", long)).send(&sms("000", &text)).await;
        assert_eq!(kind(&outcome), "accepted", "{outcome:?}");
        let parts = smsc.wait_for(before + if long == "payload" { 1 } else { 2 }, "submit").split_off(before);
        let joined: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
        match long {
            "payload" => {
                assert_eq!((parts.len(), parts[0]["text"].as_str()), (1, Some("")));
                assert_eq!(parts[0]["payload"], text);
            }
            _ => assert_eq!((parts.len(), joined.as_str()), (2, text.as_str()), "{long} {parts:?}"),
        }
        match long {
            "udh" => {
                assert!(parts[0]["udh"].as_str().unwrap().ends_with("0201"), "{}", parts[0]);
                assert_eq!(parts[0]["esm_class"], 0x40);
            }
            "sar" => assert_eq!(parts[1]["sar"][2], 2),
            _ => {}
        }
        // One report for the whole message: that of its last part.
        let reports: Vec<_> = parts.iter().map(|part| part["registered_delivery"].as_u64().unwrap()).collect();
        assert_eq!(reports.iter().sum::<u64>(), 1);
        assert_eq!(reports.last(), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_each_alphabet_brings_the_last_line_whole() {
    let Some(smsc) = smsc("alphabets against node-smpp", &[]) else { return };
    for (alphabet, text, coding) in [
        ("gsm7", "Code: 482913\n\n@example.com #482913", 0),
        ("latin1", "Código: 482913\n\n@example.com #482913", 3),
        ("ucs2", "Code: 482913\n\n@example.com #482913", 8),
        ("gsm7", "Kod: 482913 ş\n\n@example.com #482913", 8),
    ] {
        let before = smsc.all("submit").len();
        sender(&to(smsc.port).with("alphabet", alphabet)).send(&sms("000", text)).await;
        let submit = smsc.wait_for(before + 1, "submit").remove(before);
        assert_eq!((&submit["text"], &submit["data_coding"]), (&json!(text), &json!(coding)), "{alphabet}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_tls_trusts_whom_it_may() {
    let Some(_) = node("TLS against node-smpp") else { return };
    let (certificate, key) = certificate();
    let smsc = smsc("TLS against node-smpp", &["--key", &key, "--cert", &certificate]).unwrap();
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/authority.pem");
    let secure = to(smsc.port).with("tls", "implicit");
    let outcome = sender(&secure.clone().with("ca_certificate", authority)).send(&sms("000", "x")).await;
    assert_eq!(kind(&outcome), "accepted", "{outcome:?}");
    let outcome = sender(&secure).send(&sms("000", "x")).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "no session: no connection: its certificate is not trusted")
    );
}

fn certificate() -> (String, String) {
    let write = |name: &str, label: &str, der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
        let path = std::env::temp_dir().join(format!("countersign-{}-{name}", std::process::id()));
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    (
        write("smsc.crt", "CERTIFICATE", include_bytes!("tls/gateway.der")),
        write("smsc.key", "PRIVATE KEY", include_bytes!("tls/gateway.key.der")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_smsc_takes_messages_refuses_them_and_reports() {
    let Some(python) = python("SMPP against smpp34") else { return };
    let smsc = Peer::start(&python, "smsc.py", &[]);
    let sender = sender(&to(smsc.port).with("alphabet", "gsm7").with("window", "4"));
    let notebook = attached(&sender);
    let outcome = sender.send(&sms("005", "a@b {€}")).await;
    assert_eq!(outcome, Outcome::Accepted { message_id: Some("m-1".to_owned()) });
    let submit = smsc.wait_for(1, "submit").remove(0);
    // Octet by octet: `@` is 0x00, what stands in the extension table is an escape and a code.
    assert_eq!((&submit["octets"], &submit["source_ton"]), (&json!("610062201b281b651b29"), &json!(5)), "{submit}");
    assert_eq!(smsc.wait_for(1, "answered")[0]["answered"], 0);
    assert_eq!(notebook.receipts.lock().unwrap()[0], ("m-1".to_owned(), DeliveryStatus::Delivered, None));
    for (digits, expected) in [
        ("011", "blame_number"),
        ("014", "retry_later"),
        ("058", "retry_later"),
        ("066", "give_up"),
        ("008", "retry_elsewhere"),
        ("009", "accepted"),
    ] {
        let outcome = sender.send(&sms(digits, "x")).await;
        assert_eq!(kind(&outcome), expected, "{digits}: {outcome:?}");
    }
    assert_eq!(smsc.wait_for(2, "answered")[1]["answered"], 0);
    let packed = crate::sender(&to(smsc.port).with("alphabet", "gsm7_packed"));
    assert_eq!(kind(&packed.send(&sms("000", "hellohello")).await), "accepted");
    assert_eq!(smsc.wait_for(8, "submit")[7]["octets"], "e8329bfd4697d9ec37");
    sender.close().await;
    until("the session is unbound", || !smsc.all("unbound").is_empty()).await;
}

// What the network does.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_after_it_was_written_is_unknown_and_the_session_comes_back() {
    let Some(smsc) = smsc("drops before node-smpp", &[]) else { return };
    let proxy = Proxy::start(smsc.port).await;
    let sender = sender(&to(proxy.port));
    assert_eq!(kind(&sender.send(&sms("000", "x")).await), "accepted");
    // Answers are lost, and then the connection.
    proxy.set(Wire::LoseAnswers);
    let message = sms("000", "x");
    let lost = sender.send(&message);
    let cut = async {
        smsc_has(&smsc, 2).await;
        proxy.cut();
    };
    let (outcome, ()) = tokio::join!(lost, cut);
    assert_eq!((kind(&outcome), reason(&outcome)), ("unknown", "the session broke before the answer to the message"));
    proxy.set(Wire::Pass);
    let begun = Instant::now();
    while kind(&sender.send(&sms("000", "x")).await) != "accepted" {
        assert!(begun.elapsed() < Duration::from_secs(10), "the session does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(smsc.wait_for(3, "submit").len(), 3, "nothing is sent twice");
}

async fn smsc_has(smsc: &Peer, submits: usize) {
    until("the SMSC has the message", || smsc.all("submit").len() >= submits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_found_and_left() {
    let Some(smsc) = smsc("half-open connections to node-smpp", &[]) else { return };
    let proxy = Proxy::start(smsc.port).await;
    let sender = sender(&to(proxy.port).within(Duration::from_secs(1)).with("enquire_link", "1"));
    let notebook = attached(&sender);
    assert_eq!(kind(&sender.send(&sms("000", "x")).await), "accepted");
    smsc.wait_for(1, "enquired");
    // Nothing comes and nothing goes any more, and nobody says so.
    proxy.set(Wire::Swallow);
    let outcome = sender.send(&sms("000", "x")).await;
    assert_eq!(kind(&outcome), "unknown", "{outcome:?}");
    until("it is given up", || notebook.sessions.lock().unwrap().last().unwrap().0 == 0).await;
    proxy.set(Wire::Pass);
    until("it is bound again", || notebook.sessions.lock().unwrap().last().unwrap().0 == 1).await;
    assert_eq!(kind(&sender.send(&sms("000", "x")).await), "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_smsc_that_stalls_is_given_its_window_and_no_more() {
    let Some(smsc) = smsc("an SMSC that stalls", &[]) else { return };
    let sender = sender(&to(smsc.port).with("window", "5").within(Duration::from_secs(1)));
    let many: Vec<_> = (0..50)
        .map(|_| {
            let sender = Arc::clone(&sender);
            tokio::spawn(async move { sender.send(&sms("007", "x")).await })
        })
        .collect();
    let mut kinds = std::collections::BTreeMap::new();
    for one in many {
        let outcome = one.await.unwrap();
        *kinds.entry(format!("{}: {}", kind(&outcome), reason(&outcome))).or_insert(0) += 1;
    }
    let expected = [
        ("retry_elsewhere: not sent: the gateway's window is full".to_owned(), 45),
        ("unknown: no answer in time, after the message was written".to_owned(), 5),
    ];
    assert_eq!(kinds, expected.into());
    assert_eq!(smsc.wait_for(5, "submit").len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_smsc_that_goes_mad_is_left_and_bound_again() {
    let Some(smsc) = smsc("garbage from node-smpp", &[]) else { return };
    let sender = sender(&to(smsc.port));
    for digits in ["027", "018"] {
        let outcome = sender.send(&sms(digits, "x")).await;
        assert_eq!(kind(&outcome), if digits == "027" { "unknown" } else { "accepted" }, "{outcome:?}");
        let begun = Instant::now();
        while kind(&sender.send(&sms("000", "x")).await) != "accepted" {
            assert!(begun.elapsed() < Duration::from_secs(10), "the session does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_are_cut_anywhere_are_put_together() {
    let Some(smsc) = smsc("a slow wire to node-smpp", &[]) else { return };
    let proxy = Proxy::start(smsc.port).await;
    proxy.set(Wire::OctetByOctet);
    let sender = sender(&to(proxy.port));
    let notebook = attached(&sender);
    assert_eq!(kind(&sender.send(&sms("005", "x")).await), "accepted");
    until("the report is taken", || !notebook.receipts.lock().unwrap().is_empty()).await;
    sender.close().await;
}

//! The contract, section 4: every resource of the Twilio door, member by member and type by type, as strict SDKs read them.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::fleet;
use crate::house::account::Account;
use crate::house::plan::{Plan, open};
use crate::house::{House, Reply, phone};

/// What a member must be. A question mark allows null; null alone is not enough to be there.
fn is_a(kind: &str, value: &Value) -> bool {
    let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    if value.is_null() {
        return nullable;
    }
    let text = value.as_str().unwrap_or_default();
    match kind {
        "text" => value.is_string(),
        "bool" => value.is_boolean(),
        "int" => value.is_u64(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        // To the second, in UTC, without a fraction: else an SDK takes it for a text.
        "date" => {
            let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape == "0000-00-00T00:00:00Z"
        }
        "url" => text.starts_with("https://otp.example.com/v2/"),
        sid => {
            let digits = text.strip_prefix(sid).unwrap_or_default();
            digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }
    }
}

/// Exactly these members, and of these types.
#[track_caller]
fn is_of(value: &Value, members: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let mut wanted: Vec<_> = members.split_whitespace().map(|member| member.split_once(':').unwrap()).collect();
    for (name, kind) in &wanted {
        let found = object.get(*name).unwrap_or_else(|| panic!("{name} is missing: {value}"));
        assert!(is_a(kind, found), "{name} is no {kind}: {found}");
    }
    wanted.sort_unstable();
    let mut there: Vec<_> = object.keys().map(String::as_str).collect();
    there.sort_unstable();
    assert_eq!(there, wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

const SERVICE: &str = "sid:VA account_sid:AC friendly_name:text code_length:int lookup_enabled:bool psd2_enabled:bool \
    skip_sms_to_landlines:bool dtmf_input_required:bool tts_name:text? do_not_share_warning_enabled:bool custom_code_enabled:bool \
    push:object totp:object whatsapp:object passkeys:object default_template_sid:HJ? verify_event_subscription_enabled:bool \
    date_created:date date_updated:date url:url links:object";
const VERIFICATION: &str = "sid:VE service_sid:VA account_sid:AC to:text channel:text status:text valid:bool lookup:object \
    amount:text? payee:text? send_code_attempts:array date_created:date date_updated:date sna:object? url:url";
const CHECK: &str = "sid:VE service_sid:VA account_sid:AC to:text channel:text status:text valid:bool amount:text? payee:text? \
    date_created:date date_updated:date sna_attempts_error_codes:array";
const RATE_LIMIT: &str = "sid:RK service_sid:VA account_sid:AC unique_name:text description:text? date_created:date \
    date_updated:date url:url links:object";
const BUCKET: &str = "sid:BL rate_limit_sid:RK service_sid:VA account_sid:AC max:int interval:int date_created:date \
    date_updated:date url:url";
const WEBHOOK: &str = "sid:YW service_sid:VA account_sid:AC friendly_name:text event_types:array status:text version:text \
    webhook_url:text webhook_method:text date_created:date date_updated:date url:url";
const ATTEMPT: &str = "sid:VL account_sid:AC service_sid:VA verification_sid:VE date_created:date date_updated:date \
    conversion_status:text channel:text price:object channel_data:object url:url";
const CHANNEL_DATA: &str = "verification_sid:VE to:text status:text message_status:text error_code:text? country:text? \
    code_length:int locale:text? mcc:text? mnc:text? carrier:text?";
const SUMMARY: &str =
    "total_attempts:int total_converted:int total_unconverted:int conversion_rate_percentage:text url:url";
const TEMPLATE: &str = "sid:HJ account_sid:AC friendly_name:text channels:array translations:object";
const TRANSLATION: &str =
    "is_default_translation:bool status:text locale:text text:text date_created:date date_updated:date";
const META: &str =
    "key:text page:int page_size:int first_page_url:url previous_page_url:url? next_page_url:url? url:url";

/// The rows of a list, with the meta that every SDK can read.
#[track_caller]
fn rows(list: &Value, key: &str) -> Vec<Value> {
    is_of(list, &format!("{key}:array meta:object"));
    is_of(&list["meta"], META);
    assert_eq!(list["meta"]["key"], key);
    list[key].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_resource_has_its_members_and_their_types() {
    let plan = open().server("listen = \"127.0.0.1:0\"\npublic_url = \"https://otp.example.com\"");
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let made =
        account.post("/v2/Services", &[("FriendlyName", "Walk"), ("Totp.Issuer", "x"), ("LookupEnabled", "True")]);
    let made = made.await.ok(201);
    is_of(&made, SERVICE);
    is_of(&made["push"], "include_date:bool apn_credential_sid:text? fcm_credential_sid:text?");
    is_of(&made["totp"], "issuer:text? time_step:int code_length:int skew:int");
    is_of(&made["whatsapp"], "msg_service_sid:text? from:text?");
    is_of(
        &made["links"],
        "verifications:url verification_checks:url rate_limits:url messaging_configurations:url \
        entities:url webhooks:url access_tokens:url",
    );
    assert_eq!(made["totp"]["issuer"], "x");
    let account = Account { service: made["sid"].as_str().unwrap().to_owned(), ..account };
    let services = rows(&account.get("/v2/Services").await.ok(200), "services");
    services.iter().for_each(|service| is_of(service, SERVICE));

    let sent = account.send(&phone(1)).await.ok(201);
    is_of(&sent, VERIFICATION);
    is_of(&sent["send_code_attempts"][0], "time:date channel:text attempt_sid:VL");
    let fetched = account.get(&account.path(&format!("Verifications/{}", sent["sid"].as_str().unwrap()))).await.ok(200);
    assert_eq!(fetched, sent);
    let code = sink.code_of(&phone(1)).await;
    let checked = account.check(("To", &phone(1)), &code).await.ok(200);
    is_of(&checked, CHECK);
    assert_eq!((&checked["sid"], &checked["valid"]), (&sent["sid"], &json!(true)));

    let limit =
        account.post(&account.path("RateLimits"), &[("UniqueName", "per_ip"), ("Description", "")]).await.ok(201);
    is_of(&limit, RATE_LIMIT);
    is_of(&limit["links"], "buckets:url");
    let buckets = account.path(&format!("RateLimits/{}/Buckets", limit["sid"].as_str().unwrap()));
    let bucket = account.post(&buckets, &[("Max", "1"), ("Interval", "60")]).await.ok(201);
    is_of(&bucket, BUCKET);
    assert_eq!(rows(&account.get(&buckets).await.ok(200), "buckets"), [bucket]);
    assert_eq!(
        rows(&account.get(&account.path("RateLimits")).await.ok(200), "rate_limits"),
        std::slice::from_ref(&limit)
    );
    let limited = [("To", "+255694000009"), ("Channel", "sms"), ("RateLimits", "{\"per_ip\":\"198.51.100.7\"}")];
    account.post(&account.path("Verifications"), &limited).await.ok(201);
    let refused = account.post(&account.path("Verifications"), &limited).await;
    refused.twilio(429, 20429);
    assert_eq!(refused.header("twilio-reached-rate-limit"), Some("per_ip"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(sink.wait("+255694000009", 1).await.len(), 1, "a refused send is no message");

    let hook = [
        ("FriendlyName", "h"),
        ("EventTypes", "*"),
        ("WebhookUrl", "https://app.example/x"),
        ("EventTypes", "factor.created"),
    ];
    let mut hook = account.post(&account.path("Webhooks"), &hook).await.ok(201);
    let secret = hook.as_object_mut().unwrap().remove("signing_secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("whsec_"));
    is_of(&hook, WEBHOOK);
    assert_eq!(hook["event_types"], json!(["*", "factor.created"]));
    assert_eq!(rows(&account.get(&account.path("Webhooks")).await.ok(200), "webhooks"), [hook]);

    let attempts = rows(&account.get("/v2/Attempts").await.ok(200), "attempts");
    assert_eq!(attempts.len(), 2);
    for attempt in &attempts {
        is_of(attempt, ATTEMPT);
        is_of(&attempt["channel_data"], CHANNEL_DATA);
        is_of(&attempt["price"], "value:text? currency:text?");
        let path = attempt["url"].as_str().unwrap().strip_prefix("https://otp.example.com").unwrap();
        assert_eq!(account.get(path).await.ok(200), *attempt);
    }
    assert_eq!(attempts[1]["conversion_status"], "converted");
    assert_eq!(attempts[1]["sid"], sent["send_code_attempts"][0]["attempt_sid"]);
    let summary = account.get("/v2/Attempts/Summary?Channel=sms").await.ok(200);
    is_of(&summary, SUMMARY);
    assert_eq!((&summary["total_attempts"], &summary["conversion_rate_percentage"]), (&json!(2), &json!("50.00")));
    let templates = rows(&account.get("/v2/Templates").await.ok(200), "templates");
    is_of(&templates[0], TEMPLATE);
    is_of(&templates[0]["translations"]["en"], TRANSLATION);
    let safe = account.post("/v2/SafeList/Numbers", &[("PhoneNumber", "+255694000010")]).await.ok(201);
    is_of(&safe, "sid:GN phone_number:text url:url");

    let gone = account.ask("DELETE", &format!("/v2/Services/{}", account.service), &[]).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    account.get(&account.path("RateLimits")).await.twilio(404, 20404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lead_to_each_other_and_keep_what_was_asked() {
    let plan = open().server("listen = \"127.0.0.1:0\"\npublic_url = \"https://otp.example.com\"");
    let (house, _sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    for n in 0..4 {
        for _ in 0..3 {
            account.send(&phone(n)).await.ok(201);
        }
    }
    let (mut path, mut sids, mut back) =
        ("/v2/Attempts?PageSize=5&Channel=sms&Country=TZ".to_owned(), Vec::new(), Vec::new());
    loop {
        let page = account.get(&path).await.ok(200);
        let rows = rows(&page, "attempts");
        assert!(rows.len() <= 5);
        sids.extend(rows.iter().map(|row| row["sid"].as_str().unwrap().to_owned()));
        back.push(page["meta"]["previous_page_url"].clone());
        match page["meta"]["next_page_url"].as_str() {
            Some(next) => path = next.strip_prefix("https://otp.example.com").unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(sids.len(), 12);
    let mut once = sids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), 12);
    assert!(back[0].is_null() && back[1].as_str().unwrap().contains("Channel=sms&Country=TZ"), "{back:?}");
    let second = back[2].as_str().unwrap().strip_prefix("https://otp.example.com").unwrap();
    assert_eq!(account.get(second).await.ok(200)["attempts"][0]["sid"], sids[5]);
    assert_eq!(account.get("/v2/Attempts?Country=KE").await.ok(200)["attempts"], json!([]));
    assert_eq!(account.get("/v2/Attempts?Status=converted").await.ok(200)["attempts"], json!([]));
    let to = format!("/v2/Attempts?ChannelData.To={}", phone(2).replace('+', "%2B"));
    assert_eq!(rows(&account.get(&to).await.ok(200), "attempts").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_can_be_closed_and_may_have_a_pause() {
    let (house, _sink) = House::with_sink(open().and("[server.twilio]\nenabled = false")).await;
    house.door.ask("GET", "/v2/Services", &[], b"").await.problem(404, "not_found");
    let plan = open().policy("").and("[server.twilio]\nresend_after = \"20s\"");
    let (house, _sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    account.send(&phone(1)).await.ok(201);
    let soon = account.send(&phone(1)).await;
    soon.twilio(429, 60212);
    let wait: u64 = soon.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_service_is_the_one_of_the_other_doors_and_can_be_changed() {
    let plan = open().and("[[applications]]\nname = \"default\"\ndisplay_name = \"Duka & Co. 24/7\"");
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    for n in 0..2 {
        account.post("/v2/Services", &[("FriendlyName", &format!("Service {n}"))]).await.ok(201);
    }
    // Page by page, each of one: the first service is the last and is on one page alone.
    let (mut path, mut names) = ("/v2/Services?PageSize=1".to_owned(), Vec::new());
    while let Some(next) = {
        let page = account.get(&path).await.ok(200);
        let rows = rows_of(&page);
        assert_eq!(rows.len(), 1);
        names.push(rows[0]["friendly_name"].as_str().unwrap().to_owned());
        page["meta"]["next_page_url"].as_str().map(str::to_owned)
    } {
        path = next[next.find("/v2").unwrap()..].to_owned();
    }
    assert_eq!(names, ["Service 1", "Service 0", "Duka & Co. 24/7"]);
    let here = format!("/v2/Services/{}", account.service);
    assert_eq!(account.get(&here).await.ok(200)["code_length"], 6);
    assert_eq!(account.post(&here, &[("LookupEnabled", "true")]).await.ok(200)["friendly_name"], "Duka & Co. 24/7");
    let changed = account.post(&here, &[("FriendlyName", "Duka"), ("CodeLength", "8")]).await.ok(200);
    assert_eq!((&changed["friendly_name"], &changed["code_length"]), (&json!("Duka"), &json!(8)));
    account.send(&phone(1)).await.ok(201);
    let message = sink.wait(&phone(1), 1).await.pop().unwrap();
    assert!(message.text.starts_with("Your Duka code is ") && message.code.len() == 8, "{}", message.text);
    // The native door sees it, and sends it again.
    assert_eq!(house.door.post("/v1/verifications", json!({"to": phone(1)})).await.ok(200)["sends"], 2);
    account.ask("DELETE", &here, &[]).await.twilio(403, 20403);
    assert_eq!(rows_of(&account.get("/v2/Services").await.ok(200)).len(), 3);
}

fn rows_of(page: &Value) -> Vec<Value> {
    page["services"].as_array().unwrap().clone()
}

/// What no other test meets: the ends of what a service may have, and numbers and channels that nothing is sent to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_an_end_to_limits_and_not_everything_is_carried() {
    let plan = open().and("[[routes]]\nchannel = \"sms\"\nproviders = [\"gateway\"]");
    let (house, _sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let send = async |to: &str, channel: &str| {
        account.post(&account.path("Verifications"), &[("To", to), ("Channel", channel)]).await
    };
    send("a@example.com", "email").await.twilio(400, 60217);
    send("+255694000001", "call").await.twilio(400, 60223);
    send("+19005550123", "sms").await.twilio(403, 60410);
    let mut limits = Vec::new();
    for nth in 0..10 {
        let made = account.post(&account.path("RateLimits"), &[("UniqueName", &*format!("limit_{nth}"))]).await.ok(201);
        limits.push(made["sid"].as_str().unwrap().to_owned());
    }
    account.post(&account.path("RateLimits"), &[("UniqueName", "one_more")]).await.twilio(400, 60207);
    let buckets = account.path(&format!("RateLimits/{}/Buckets", limits[0]));
    for nth in 1..=5 {
        account.post(&buckets, &[("Max", "1"), ("Interval", &*(nth * 60).to_string())]).await.ok(201);
    }
    account.post(&buckets, &[("Max", "1"), ("Interval", "360")]).await.twilio(400, 60210);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_requests_of_one_instant_make_no_more_than_there_may_be() {
    no_more_than_there_may_be(open()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_requests_of_one_instant_make_no_more_than_there_may_be_on_postgresql() {
    no_more_than_there_may_be(fleet::on(&fleet::postgres::url())).await;
}

/// Two processes, and requests that all find room before any of them is kept.
async fn no_more_than_there_may_be(plan: Plan) {
    let (house, _sink) = House::with_sink(plan).await;
    let houses = [house.neighbour().await, house];
    let account = Account::of(&houses[1], "default").await;
    let race = async |path: &str, form: &dyn Fn(usize) -> Vec<(&'static str, String)>| {
        let bytes = |nth| {
            let form = form(nth);
            let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            account.bytes_of("POST", path, &form)
        };
        fleet::race(&houses, (0..30).map(bytes).collect()).await
    };
    let made = |replies: &[Reply]| replies.iter().filter(|reply| reply.status == 201).count();
    let there = async |path: &str, key: &str| {
        account.get(&format!("{path}?PageSize=1000")).await.ok(200)[key].as_array().unwrap().len()
    };

    let webhooks = account.path("Webhooks");
    let hook = [("FriendlyName", "x"), ("WebhookUrl", "https://app.example/"), ("EventTypes", "challenge.denied")];
    let hook = hook.map(|(name, value)| (name, value.to_owned())).to_vec();
    let replies = race(&webhooks, &|_| hook.clone()).await;
    replies.iter().filter(|reply| reply.status != 201).for_each(|reply| drop(reply.twilio(400, 60200)));
    assert_eq!(there(&webhooks, "webhooks").await, made(&replies), "what was refused is not there");
    assert!(made(&replies) <= 10, "{}", made(&replies));

    let limits = account.path("RateLimits");
    let replies = race(&limits, &|nth| vec![("UniqueName", format!("limit_{nth}"))]).await;
    replies.iter().filter(|reply| reply.status != 201).for_each(|reply| drop(reply.twilio(400, 60207)));
    assert_eq!(there(&limits, "rate_limits").await, made(&replies));
    assert!(made(&replies) <= 10, "{}", made(&replies));

    for nth in 0..10 {
        account.post(&limits, &[("UniqueName", &*format!("more_{nth}"))]).await;
    }
    assert_eq!(there(&limits, "rate_limits").await, 10, "there is room again for what was taken back");
    let limit = account.get(&limits).await.ok(200)["rate_limits"][0]["sid"].as_str().unwrap().to_owned();
    let buckets = format!("{limits}/{limit}/Buckets");
    let replies = race(&buckets, &|nth| vec![("Max", "1".into()), ("Interval", (60 + nth / 2).to_string())]).await;
    assert_eq!(there(&buckets, "buckets").await, made(&replies));
    assert!(made(&replies) <= 5, "{}", made(&replies));
    let kept = account.get(&buckets).await.ok(200);
    let intervals: HashSet<_> =
        kept["buckets"].as_array().unwrap().iter().map(|row| row["interval"].to_string()).collect();
    assert_eq!(intervals.len(), made(&replies), "no two of one interval: {kept}");
}

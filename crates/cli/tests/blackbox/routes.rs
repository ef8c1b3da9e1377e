//! Routes and workflows: who is asked next when nobody answers, over HTTP and by name.

use std::time::Duration;

use serde_json::json;

use crate::house::plan::open;
use crate::house::{Act, House, Sink, phone};

fn routes() -> String {
    "[[routes]]\nchannel = \"sms\"\nproviders = [\"one\", \"two\"]\nreceipt_within = \"1s\"\nprices = [\"0.0071 EUR\", \"0.02 EUR\"]\n\
     [[routes]]\nchannel = \"voice\"\nproviders = [\"two\"]"
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_receipt_the_next_provider_and_without_an_approval_the_next_channel() {
    let (one, two) = (Sink::start().await, Sink::start().await);
    one.habit(Act::Answer(200, "{\"id\":\"m-1\"}".into()));
    let plan = open().and_policy("workflow = [\"sms 3s\", \"voice\"]");
    let house = House::start(plan.provider("one", &one).provider("two", &two).and(&routes())).await;
    let to = phone(1);
    let sent = house.door.send(&to).await;
    let code = one.code_of(&to).await;
    let channels: Vec<_> =
        two.wait(&to, 2).await.iter().map(|message| (message.channel.clone(), message.code.clone())).collect();
    assert_eq!(channels, [("sms".to_owned(), code.clone()), ("voice".to_owned(), code.clone())], "the same code");
    let id = sent["id"].as_str().unwrap();
    let shown = house.door.show(id).await;
    assert_eq!((&shown["sends"], shown["deliveries"].as_array().unwrap().len()), (&json!(1), 3), "{shown}");
    assert_eq!(house.door.check(id, &code).await.result(), "approved");
    assert_eq!(one.to(&to).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_explained_before_anything_is_sent() {
    let (one, two) = (Sink::start().await, Sink::start().await);
    let plan = open().and_policy("workflow = [\"sms 30s\", \"voice\"]\nallowed_countries = [\"TZ\"]");
    let house = House::start(plan.provider("one", &one).provider("two", &two).and(&routes())).await;
    let told = house.cli("route explain +255694230173").await;
    let text = String::from_utf8(told.stdout).unwrap();
    for part in [
        "+255694230173, TZ, mobile",
        "1. sms by route 1",
        "one ",
        "0.0071 EUR",
        "without a receipt within 1s",
        "not approved within 30s",
        "2. voice by route 2",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told = house.cli("route explain +254712345678 --channel voice --json").await;
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&json["country_allowed"], &json["steps"][0]["candidates"][0]["provider"]),
        (&json!(false), &json!("two"))
    );
    let told = house.cli("route explain +255694230173 --channel whatsapp").await;
    assert_eq!(told.status.code(), Some(1));
    assert_eq!((one.count(), two.count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_stops_the_workflow() {
    let (one, two) = (Sink::start().await, Sink::start().await);
    let plan = open().and_policy("workflow = [\"sms 2s\", \"voice\"]");
    let house = House::start(plan.provider("one", &one).provider("two", &two).and(&routes())).await;
    let to = phone(1);
    let sent = house.door.send(&to).await;
    let code = one.code_of(&to).await;
    assert_eq!(house.door.check(sent["id"].as_str().unwrap(), &code).await.result(), "approved");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((one.to(&to).len(), two.to(&to).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follow_up_outlives_the_process_that_planned_it() {
    let (one, two) = (Sink::start().await, Sink::start().await);
    let plan = open().and_policy("workflow = [\"sms 2s\", \"voice\"]");
    let rows =
        "[[routes]]\nchannel = \"sms\"\nproviders = [\"one\"]\n[[routes]]\nchannel = \"voice\"\nproviders = [\"two\"]";
    let mut house = House::start(plan.provider("one", &one).provider("two", &two).and(rows)).await;
    let to = phone(1);
    house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": to})).await.ok(201);
    house.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(two.to(&to).is_empty());
    house.restart().await;
    two.wait(&to, 1).await;
}

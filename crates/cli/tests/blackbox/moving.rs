//! What a store has goes into a file and into another store, by the commands: `export`, `import`, `backup`.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::fleet::{on, postgres};
use crate::house::plan::open;
use crate::house::{Dir, House, Plan, Sink, binary, phone, wrong};

fn run(plan: &Plan, dir: &Path, args: &str) -> (i32, Value, String) {
    let output = binary(plan, dir).args(format!("{args} --json").split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args}: {text}"));
    (output.status.code().unwrap_or(-1), value, text)
}

fn store(url: &str, layout: &str) -> String {
    format!("[store]\nurl = \"sqlite:{url}\"\nlayout = \"{layout}\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_exported_verifies_where_it_is_imported() {
    let (dir, sink) = (Arc::new(Dir::new()), Sink::start().await);
    let plan = open().provider("gateway", &sink);
    let old = plan.clone().and(&store("old.db", "standalone"));
    let new = plan.clone().and(&store("new.db", "minimal"));
    let mut house = House::start_in(old.clone(), Arc::clone(&dir), None).await;
    let (first, second) = (house.door.begin(&phone(1)).await, house.door.begin(&phone(2)).await);
    let (right, other) = (sink.code_of(&phone(1)).await, sink.code_of(&phone(2)).await);
    assert_eq!(house.door.check(&first, &wrong(&right, 1)).await.ok(200)["result"], "incorrect");
    assert_eq!(house.door.check(&second, &other).await.ok(200)["result"], "approved");
    house.kill();

    let (exit, exported, text) = run(&old, &dir.0, "export all.jsonl");
    assert_eq!(exit, 0, "{text}");
    let file = std::fs::read_to_string(dir.0.join("all.jsonl")).unwrap();
    assert_eq!(file.lines().count() as u64, exported["rows"].as_u64().unwrap() + 2);
    for code in [&right, &other] {
        assert!(!file.contains(&format!("\"{code}\"")), "a code is in the file");
    }
    assert_eq!(run(&old, &dir.0, "export all.jsonl").0, 2, "nothing is overwritten");
    assert_eq!(run(&old, &dir.0, "export all.jsonl --continue").0, 2, "it is complete");
    // Cut short in the middle of a line, it is gone on with.
    std::fs::write(dir.0.join("all.jsonl"), &file[..file.len() / 2]).unwrap();
    let (exit, cut, _) = run(&new, &dir.0, "import all.jsonl");
    assert_eq!((exit, cut["error"]["code"].as_str()), (1, Some("invalid_line")), "{cut}");
    assert_eq!(run(&old, &dir.0, "export all.jsonl --continue").0, 0);
    assert_eq!(std::fs::read_to_string(dir.0.join("all.jsonl")).unwrap(), file);

    let (exit, imported, text) = run(&new, &dir.0, "import all.jsonl");
    assert!(exit == 0 && imported["whole"] == true && imported["not_kept"].as_u64() > Some(0), "{text}");
    let (exit, again, text) = run(&new, &dir.0, "import all.jsonl");
    assert!(exit == 0 && again["new"].as_object().unwrap().is_empty(), "{text}");

    // The same key of the API, the same ids, the same count of guesses, the same code, once.
    let house = House::start_in(new, Arc::clone(&dir), Some(house.door.key())).await;
    assert_eq!(house.door.show(&first).await["checks_left"], 4);
    assert_eq!(house.door.check(&first, &right).await.ok(200)["result"], "approved");
    assert_eq!(house.door.check(&first, &right).await.ok(200)["result"], "already_used");
    assert_eq!(house.door.check(&second, &other).await.ok(200)["result"], "already_used");
    drop(house);
    let (exit, differs, _) = run(&plan.clone().and(&store("new.db", "minimal")), &dir.0, "import all.jsonl");
    assert!(exit == 1 && differs["differing"][0]["what"] == format!("verification {first}"), "{differs}");

    // Without the ring the codes could not be checked: it says so rather than take them in.
    let elsewhere = plan.and(&store("third.db", "standalone")).and("[keys]\nfile = \"other.keys\"");
    let (exit, refused, text) = run(&elsewhere, &dir.0, "import all.jsonl");
    assert!(exit == 1 && text.contains("bring the key ring"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_on_sqlite_goes_on_on_postgresql_and_back() {
    let (dir, sink) = (Arc::new(Dir::new()), Sink::start().await);
    let old = open().provider("gateway", &sink).and(&store("old.db", "standalone"));
    let fleet = on(&postgres::url()).provider("gateway", &sink);
    let back = open().provider("gateway", &sink).and(&store("back.db", "standalone"));
    let mut house = House::start_in(old.clone(), Arc::clone(&dir), None).await;
    let (first, second) = (house.door.begin(&phone(1)).await, house.door.begin(&phone(2)).await);
    let (right, other) = (sink.code_of(&phone(1)).await, sink.code_of(&phone(2)).await);
    assert_eq!(house.door.check(&first, &wrong(&right, 1)).await.ok(200)["result"], "incorrect");
    assert_eq!(house.door.check(&second, &other).await.ok(200)["result"], "approved");
    house.kill();

    let (exit, exported, text) = run(&old, &dir.0, "export there.jsonl");
    assert_eq!(exit, 0, "{text}");
    let (exit, imported, text) = run(&fleet, &dir.0, "import there.jsonl");
    assert!(exit == 0 && imported["whole"] == true && imported["not_kept"] == 0, "{text}");
    let new: u64 = imported["new"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(new, exported["rows"].as_u64().unwrap());
    let (exit, again, text) = run(&fleet, &dir.0, "import there.jsonl");
    assert!(exit == 0 && again["new"].as_object().unwrap().is_empty() && again["same"] == new, "{text}");

    // The same key of the API, the same ids, the same counts of guesses, the same code, once; and what begins here is here.
    let mut house = House::start_in(fleet.clone(), Arc::clone(&dir), Some(house.door.key())).await;
    assert_eq!(house.door.show(&first).await["checks_left"], 4);
    assert_eq!(house.door.check(&first, &wrong(&right, 1)).await.ok(200)["result"], "incorrect");
    assert_eq!(house.door.check(&first, &right).await.ok(200)["result"], "approved");
    assert_eq!(house.door.check(&first, &right).await.ok(200)["result"], "already_used");
    assert_eq!(house.door.check(&second, &other).await.ok(200)["result"], "already_used");
    let third = house.door.begin(&phone(3)).await;
    let code = sink.code_of(&phone(3)).await;
    house.kill();

    let (exit, _, text) = run(&fleet, &dir.0, "export back.jsonl");
    assert_eq!(exit, 0, "{text}");
    let (exit, imported, text) = run(&back, &dir.0, "import back.jsonl");
    assert!(exit == 0 && imported["whole"] == true && imported["not_kept"] == 0, "{text}");
    let house = House::start_in(back, Arc::clone(&dir), Some(house.door.key())).await;
    assert_eq!(house.door.check(&first, &right).await.ok(200)["result"], "already_used");
    assert_eq!(house.door.check(&third, &code).await.ok(200)["result"], "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_while_the_service_runs_and_can_be_served() {
    let (dir, sink) = (Arc::new(Dir::new()), Sink::start().await);
    let plan = open().provider("gateway", &sink);
    let at = |file: &str| plan.clone().and(&store(file, "standalone"));
    let mut house = House::start_in(at("a.db"), Arc::clone(&dir), None).await;
    let id = house.door.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    let (exit, made, text) = run(&at("a.db"), &dir.0, "backup copy.db");
    assert!(exit == 0 && made["bytes"].as_u64() > Some(4096), "{text}");
    assert_eq!(house.door.check(&id, &wrong(&code, 1)).await.ok(200)["result"], "incorrect");
    let (exit, _, text) = run(&at("a.db"), &dir.0, "backup copy.db");
    assert!(exit == 3 && text.contains("is there already"), "{text}");
    house.kill();
    let house = House::start_in(at("copy.db"), Arc::clone(&dir), Some(house.door.key())).await;
    assert_eq!(house.door.show(&id).await["checks_left"], 5, "as it stood when it was made");
    assert_eq!(house.door.check(&id, &code).await.ok(200)["result"], "approved");
}

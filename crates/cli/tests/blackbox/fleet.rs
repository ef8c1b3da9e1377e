//! H4, H5 with several processes: three real servers on one PostgreSQL, which are killed, and whose database is crashed under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::house::http::{count, id};
use crate::house::plan::open;
use crate::house::{Dir, Door, House, Plan, Reply, Sink, binary, phone, until, wrong};

#[path = "../../../store/tests/support/postgres.rs"]
pub mod postgres;

use postgres::Server;

/// A configuration on a schema of its own.
pub fn on(url: &str) -> Plan {
    let schema = postgres::new_schema();
    open().and(&format!("[store]\nurl = \"{url}\"\nschema = \"{schema}\"\nconnections = 4"))
}

/// The same in one small table.
fn on_small(url: &str) -> Plan {
    on(url).replace("connections = 4", "connections = 4\nlayout = \"minimal\"")
}

/// The same in a table that an application made; `migrate` has added what it lacks.
fn on_table(server: &Server) -> Plan {
    server.psql(
        "CREATE TABLE verification (verification_id varchar(50) PRIMARY KEY, phone varchar(15) NOT NULL, code integer NULL, \
         verification_type varchar(20) NOT NULL, verified boolean NOT NULL, created_at timestamptz NOT NULL, expires_at timestamptz NULL)",
    );
    let existing = "connections = 4\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"";
    let plan = on(&server.url()).replace("connections = 4", existing);
    let dir = Dir::new();
    let migrated = binary(&plan, &dir.0).arg("migrate").output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    plan
}

/// A server of its own, which a test may stop.
pub fn own() -> Server {
    Server::start(&[]).unwrap_or_else(|why| panic!("this test of the PostgreSQL store did NOT run: {why}"))
}

pub async fn fleet(plan: Plan) -> (Vec<House>, Sink) {
    let (first, sink) = House::with_sink(plan).await;
    let (second, third) = (first.neighbour().await, first.neighbour().await);
    (vec![first, second, third], sink)
}

/// All of them at the same instant, one after the other of the doors.
pub async fn race(houses: &[House], requests: Vec<Vec<u8>>) -> Vec<Reply> {
    let barrier = Arc::new(Barrier::new(requests.len()));
    let mut tasks = Vec::with_capacity(requests.len());
    for (nth, request) in requests.into_iter().enumerate() {
        let (door, barrier) = (houses[nth % houses.len()].door.clone(), Arc::clone(&barrier));
        tasks.push(tokio::spawn(async move {
            let stream = TcpStream::connect(door.addr).await.unwrap();
            barrier.wait().await;
            door.exchange(stream, &request).await.unwrap()
        }));
    }
    let mut replies = Vec::with_capacity(tasks.len());
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h4_three_processes_are_exact() {
    three_are_exact(on(&postgres::url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h4_three_processes_are_exact_on_one_small_table() {
    three_are_exact(on_small(&postgres::url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h4_three_processes_are_exact_in_a_table_of_the_application() {
    let server = own();
    three_are_exact(on_table(&server)).await;
    // Each approval is seen by the application's own code, and no code is.
    let verified = server.psql("SELECT count(*) FILTER (WHERE verified), count(code) FROM verification");
    assert_eq!(verified, "4|0");
}

async fn three_are_exact(plan: Plan) {
    let (houses, sink) = fleet(plan).await;
    let door = &houses[0].door;
    for round in 0..4 {
        let to = phone(2 * round);
        let verification = door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let guesses = (0..100).map(|n| door.guess(&verification, &wrong(&code, n))).collect();
        let replies = race(&houses, guesses).await;
        assert_eq!(count(&replies, "incorrect"), 5, "round {round}");
        assert_eq!(count(&replies, "max_attempts_reached"), 95, "round {round}");
        assert_eq!(door.check(&verification, &code).await.result(), "max_attempts_reached");

        let to = phone(2 * round + 1);
        let verification = door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let rights = (0..50)
            .map(|n| if n % 2 == 0 { door.guess(&verification, &code) } else { door.guess_to(&to, &code) })
            .collect();
        let replies = race(&houses, rights).await;
        assert_eq!(count(&replies, "approved"), 1, "round {round}");
    }
    // A first send for one number at all three at once: one verification, and each message carries its one code.
    let to = phone(100);
    let body = json!({"to": to});
    let sends = (0..12).map(|_| door.bytes_of("POST", "/v1/verifications", &[], &body)).collect();
    let replies = race(&houses, sends).await;
    let ids: std::collections::HashSet<_> = replies.iter().map(|reply| id(&reply.json())).collect();
    assert_eq!(ids.len(), 1);
    sink.wait(&to, 12).await;
    let codes: std::collections::HashSet<_> = sink.to(&to).into_iter().map(|message| message.code).collect();
    assert_eq!(codes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h5_while_the_store_is_away_nothing_is_sent_or_evaluated_and_then_it_goes_on() {
    let server = own();
    let (house, sink) = House::with_sink(on(&server.url())).await;
    let verification = house.door.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    assert_eq!(house.door.get("/readyz").await.status, 200);
    for how in [Server::stop, Server::crash] {
        how(&server);
        for n in 0..3 {
            let begun = Instant::now();
            house.door.post("/v1/verifications", json!({"to": phone(2)})).await.problem(503, "store_unavailable");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            let begun = Instant::now();
            house.door.check(&verification, &wrong(&code, n)).await.problem(503, "store_unavailable");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
        assert_eq!(house.door.get("/readyz").await.status, 503);
        assert_eq!(house.door.get("/healthz").await.status, 200);
        server.start_again();
        until("the house is ready by itself", async || house.door.get("/readyz").await.status == 200).await;
    }
    assert_eq!(house.door.show(&verification).await["checks_left"], 5);
    assert!(sink.to(&phone(2)).is_empty(), "nothing was sent");
    assert_eq!(house.door.check(&verification, &code).await.result(), "approved");
    let said = String::from_utf8(house.wrote_err()).unwrap();
    assert!(said.contains("the store is away") && said.contains("the store is back"));
    assert!(!said.contains(server.password()) && !said.contains("%2540"), "no password in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_on_postgresql() {
    let server = own();
    let (house, _sink) = House::with_sink(on(&server.url())).await;
    let text = |output: &std::process::Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
    };
    for command in ["migrate", "doctor", "cleanup", "app list", "key list", "send +255694230173 --json"] {
        let output = house.cli(command).await;
        assert!(output.status.success(), "{command}: {}", text(&output));
        assert!(!text(&output).contains(server.password()) && !text(&output).contains("%2540"), "{}", text(&output));
    }
    let printed = text(&house.cli("migrate --print").await);
    assert!(printed.contains("CREATE SCHEMA IF NOT EXISTS") && printed.contains("COMMIT;"), "{printed}");
    // The other layouts, from nothing: each command, and what is printed.
    for plan in [on_small(&server.url()), on_table(&server)] {
        let (house, _sink) = House::with_sink(plan).await;
        for command in [
            "migrate",
            "doctor",
            "cleanup",
            "cleanup --dry-run",
            "app list",
            "send +255694230173 --json",
            "export a.jsonl",
        ] {
            let output = house.cli(command).await;
            assert!(output.status.success(), "{command}: {}", text(&output));
        }
    }
    // A schema that is not there is named, with what to run.
    let other = house.dir.0.join("other");
    std::fs::create_dir_all(&other).unwrap();
    let mut doctor = crate::house::binary(&on(&server.url()), &other);
    let output = doctor.arg("doctor").output().unwrap();
    assert!(!output.status.success() && text(&output).contains("countersign migrate"), "{}", text(&output));
}

/// What the clients asked, and what they were told.
#[derive(Default)]
struct Told {
    ids: HashMap<String, String>,
    sends_asked: HashMap<String, u64>,
    sends: HashMap<String, u64>,
    wrong_asked: HashMap<String, u64>,
    wrong: HashMap<String, u64>,
    approved: HashMap<String, u64>,
}

const NUMBERS: u32 = 5;
const CAP: u64 = 40;

fn rounds() -> u32 {
    std::env::var("COUNTERSIGN_FLEET_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// One client among several: what breaks for one request may work for the next, at another door.
async fn client(doors: Vec<Door>, sink: Sink, told: Arc<Mutex<Told>>, over: Arc<AtomicBool>, round: u32, worker: u32) {
    for step in 0..u32::MAX {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let door = &doors[(step + worker) as usize % doors.len()];
        let number = phone(1000 * round + (worker + step) % NUMBERS);
        let known = told.lock().unwrap().ids.get(&number).cloned();
        let (Some(known), false) = (known, (step + worker).is_multiple_of(11)) else {
            *told.lock().unwrap().sends_asked.entry(number.clone()).or_default() += 1;
            let reply = door.try_post("/v1/verifications", &json!({"to": number})).await;
            if let Ok(reply) = reply
                && matches!(reply.status, 200 | 201)
            {
                let mut told = told.lock().unwrap();
                *told.sends.entry(number.clone()).or_default() += 1;
                told.ids.entry(number).or_insert_with(|| id(&reply.json()));
            }
            continue;
        };
        let code = sink.to(&number).pop().map(|message| message.code);
        if let (Some(code), true) = (&code, step > 25 && (step + worker).is_multiple_of(13)) {
            if let Ok(reply) = door.try_raw(&door.guess(&known, code)).await
                && reply.status == 200
                && reply.result() == "approved"
            {
                *told.lock().unwrap().approved.entry(known).or_default() += 1;
            }
            continue;
        }
        let Some(code) = code else { continue };
        *told.lock().unwrap().wrong_asked.entry(known.clone()).or_default() += 1;
        if let Ok(reply) = door.try_raw(&door.guess(&known, &wrong(&code, step as usize))).await
            && reply.status == 200
            && reply.result() == "incorrect"
        {
            *told.lock().unwrap().wrong.entry(known).or_default() += 1;
        }
    }
}

/// Reads; again while the store is called away.
async fn patiently(door: &Door, path: &str) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        let reply = door.get(path).await;
        if reply.status != 503 || begun.elapsed() > Duration::from_secs(30) {
            return reply.ok(200);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// In odd rounds a process is killed, in even ones the database: nothing that was said is untrue afterwards.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h5_processes_and_the_database_are_killed_under_load() {
    let server = own();
    let plan = on(&server.url());
    killed_under_load(server, plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h5_processes_and_the_database_are_killed_under_load_in_a_table_of_the_application() {
    let server = own();
    let plan = on_table(&server);
    killed_under_load(server, plan).await;
}

async fn killed_under_load(server: Server, plan: Plan) {
    let plan = plan
        .and_policy(&format!("max_checks = {CAP}\nmax_guesses_per_day = 1000\nhardened_after = 1000"))
        .delivery("timeout = \"1s\"");
    let (mut houses, sink) = fleet(plan).await;
    let (mut sends, mut guesses, mut approvals) = (0, 0, 0);
    for round in 0..rounds() {
        let told = Arc::<Mutex<Told>>::default();
        let over = Arc::<AtomicBool>::default();
        let clients: Vec<_> = (0..8)
            .map(|worker| {
                let doors = houses.iter().map(|house| house.door.clone()).collect();
                tokio::spawn(client(doors, sink.clone(), Arc::clone(&told), Arc::clone(&over), round, worker))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200 + u64::from(round) * 37 % 300)).await;
        if round % 2 == 1 {
            let at = round as usize / 2 % houses.len();
            houses[at].kill();
            tokio::time::sleep(Duration::from_millis(150)).await;
            over.store(true, Ordering::SeqCst);
            for client in clients {
                client.await.unwrap();
            }
            houses[at].restart().await;
        } else {
            server.crash();
            server.start_again();
            for house in &houses {
                until("every house is ready again", async || house.door.get("/readyz").await.status == 200).await;
            }
            // The load goes on for a while on the server that came back.
            tokio::time::sleep(Duration::from_millis(200)).await;
            over.store(true, Ordering::SeqCst);
            for client in clients {
                client.await.unwrap();
            }
        }
        let told = Arc::try_unwrap(told).ok().unwrap().into_inner().unwrap();
        let door = &houses[round as usize % houses.len()].door;
        for (number, verification) in &told.ids {
            let shown = patiently(door, &format!("/v1/verifications/{verification}")).await;
            let of = |what: &HashMap<String, u64>, key: &String| what.get(key).copied().unwrap_or(0);
            let (wrong, asked) = (of(&told.wrong, verification), of(&told.wrong_asked, verification));
            let counted = CAP - shown["checks_left"].as_u64().unwrap();
            assert!((wrong..=asked).contains(&counted), "round {round}: {wrong} told, {counted} kept, {asked} asked");
            assert!(wrong <= CAP, "round {round}: {wrong} guesses were evaluated");
            let approved = of(&told.approved, verification);
            assert!(approved <= 1, "round {round}: a code was accepted {approved} times");
            assert!(approved == 0 || shown["status"] == "approved", "round {round}: {shown}");
            let page = patiently(door, &format!("/v1/verifications?limit=100&to=%2B{}", &number[1..])).await;
            let kept: u64 = page["data"].as_array().unwrap().iter().map(|row| row["sends"].as_u64().unwrap()).sum();
            let (sent, asked) = (of(&told.sends, number), of(&told.sends_asked, number));
            assert!((sent..=asked).contains(&kept), "round {round}: {sent} told, {kept} kept, {asked} asked");
            // A code that was used stays used, and one that was not works once.
            if let Some(code) = sink.to(number).into_iter().next().map(|message| message.code) {
                // On a machine that stands still for seconds an answer may be "not known" here too; then it is asked again.
                let mut reply = door.check(verification, &code).await;
                let asked_twice = reply.status == 503;
                while reply.status == 503 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    reply = door.check(verification, &code).await;
                }
                let result = reply.result();
                match shown["status"].as_str().unwrap() {
                    "approved" => assert_eq!(result, "already_used", "round {round}"),
                    "pending" if asked_twice && result == "already_used" => {}
                    "pending" => assert_eq!(result, "approved", "round {round}"),
                    _ => assert_eq!(result, "max_attempts_reached", "round {round}"),
                }
            }
            sends += sent;
            guesses += wrong;
            approvals += approved;
        }
    }
    assert!(
        sends > u64::from(rounds()) && guesses > u64::from(rounds()),
        "there was a load: {sends} sends, {guesses} guesses"
    );
    // What was acknowledged is carried, by whoever finds that its carrier's lease is over.
    let door = &houses[0].door;
    for round in rounds().saturating_sub(2)..rounds() {
        for nth in 0..NUMBERS {
            let number = phone(1000 * round + nth);
            let settled = async || {
                let path = format!("/v1/verifications?limit=100&to=%2B{}", &number[1..]);
                let page = patiently(door, &path).await;
                let waits = |row: &serde_json::Value| {
                    row["status"] == "pending"
                        && row["deliveries"].as_array().unwrap().iter().any(|delivery| delivery["status"] == "queued")
                };
                !page["data"].as_array().unwrap().iter().any(waits)
            };
            until("no message waits for ever", settled).await;
        }
    }
    eprintln!("{} rounds, acknowledged: {sends} sends, {guesses} wrong guesses, {approvals} approvals", rounds());
}

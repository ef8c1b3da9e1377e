//! The layout "existing" in a real Django project: its migrations make the table, its ORM reads what countersign writes there.
//! `COUNTERSIGN_DJANGO` names a Python that has Django (`django/requirements.txt`); without it the test says that it did not run.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::fleet::own;
use crate::house::plan::{Plan, open};
use crate::house::{Dir, House, Sink, binary, wrong};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The project in a folder, and what runs it.
struct Project<'a> {
    python: &'a str,
    dir: &'a Path,
    /// What tells it of another database than its own.
    variables: Vec<(&'static str, String)>,
}

impl Project<'_> {
    fn run(&self, args: &str) -> String {
        let mut command = Command::new(self.python);
        command
            .current_dir(self.dir)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.variables.iter().cloned())
            .args(args.split_whitespace());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every row, as the ORM has it, without what depends on the clock; those of others first.
    fn rows(&self) -> Vec<Value> {
        let rows: Vec<Value> = serde_json::from_str(&self.run("orm.py show")).unwrap();
        rows.into_iter()
            .map(|mut row| {
                let age = row.as_object_mut().unwrap().remove("age").unwrap().as_f64().unwrap();
                let ours = row["id"].as_str().unwrap().starts_with("vf_");
                assert!(!ours || (0.0..60.0).contains(&age), "created {age} s ago");
                if ours {
                    row.as_object_mut().unwrap().remove("created_at");
                }
                row
            })
            .collect()
    }
}

fn countersign(plan: &Plan, dir: &Path, args: &str) -> (i32, String) {
    let output = binary(plan, dir).args(args.split_whitespace()).output().unwrap();
    (output.status.code().unwrap_or(-1), said(&output))
}

fn python() -> Option<String> {
    let python = std::env::var("COUNTERSIGN_DJANGO").ok().filter(|path| !path.is_empty());
    if python.is_none() {
        assert!(std::env::var_os("CI").is_none(), "COUNTERSIGN_DJANGO names no Python: scripts/test sees to that");
        eprintln!("NOT RUN: the layout \"existing\" with Django, since COUNTERSIGN_DJANGO names no Python");
    }
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_sees_what_was_verified_in_its_own_table() {
    let Some(python) = python() else { return };
    sees_what_was_verified(&python, "sqlite:db.sqlite3", Vec::new(), "\"verification\"", 8).await;
}

/// A server of its own: its table is in the schema that every database has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_sees_what_was_verified_in_its_own_table_on_postgresql() {
    let Some(python) = python() else { return };
    let server = own();
    let variables = vec![
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", server.port.to_string()),
        ("PGUSER", "postgres".to_owned()),
        ("PGPASSWORD", server.password().to_owned()),
        ("PGDATABASE", "postgres".to_owned()),
    ];
    sees_what_was_verified(&python, &server.url(), variables, "\"public\".\"verification\"", 9).await;
    // What supports the table is beside it, and what others would look for in their schema is as it was.
    let tables =
        server.psql("SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'");
    assert!(tables.contains("verification") && !tables.contains("countersign"), "{tables}");
    let ours = server.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'countersign'");
    assert!(ours.parse::<u32>().unwrap() > 8, "{ours}");
}

async fn sees_what_was_verified(
    python: &str,
    url: &str,
    variables: Vec<(&'static str, String)>,
    table: &str,
    lacking: usize,
) {
    let dir = Arc::new(Dir::new());
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/django"), &dir.0);
    let project = Project { python, dir: &dir.0, variables };
    let sink = Sink::start().await;
    let plan = open()
        .provider("gateway", &sink)
        .and(&format!("[store]\nurl = \"{url}\"\nlayout = \"existing\"\n[store.existing]\npreset = \"django\""));

    // Before the application's own migrations there is nothing to serve on, and nothing is made.
    let (exit, text) = countersign(&plan, &dir.0, "doctor");
    assert!(exit == 3 && text.contains("run the application's own migrations first"), "{text}");
    assert!(!dir.0.join("db.sqlite3").exists());
    project.run("manage.py makemigrations accounts");
    project.run("manage.py migrate");
    project.run("orm.py fill");
    let theirs = project.rows();
    assert_eq!(theirs.len(), 2);

    // Who would rather read the SQL first says so; then a service alters nobody's table.
    let careful = plan.clone().variable("COUNTERSIGN_STORE__MIGRATE", "false");
    for args in ["doctor", "serve"] {
        let (exit, text) = countersign(&careful, &dir.0, args);
        assert!(exit == 3 && text.contains("countersign migrate --print"), "{args}: {text}");
    }
    let (_, sql) = countersign(&plan, &dir.0, "migrate --print");
    assert_eq!(sql.matches(&format!("ALTER TABLE {table} ADD COLUMN countersign_")).count(), lacking, "{sql}");
    assert_eq!(countersign(&plan, &dir.0, "migrate").0, 0);
    assert!(countersign(&plan, &dir.0, "migrate --print").1.contains("-- nothing is lacking"));

    let house = House::start_in(plan.clone(), Arc::clone(&dir), None).await;
    let sent = house
        .door
        .simple("send-otp", json!({"phone": "255694230173", "verification_type": "Registration"}))
        .await
        .ok(200);
    let code = sink.code_of("+255694230173").await;
    let ours = |verified: bool| {
        json!({"id": sent["verification_id"], "phone": "255694230173", "code": null, "type": "registration",
               "verified": verified, "lives": 300.0, "user": null})
    };
    assert_eq!(project.rows(), [&theirs[..], &[ours(false)]].concat());
    let verify = async |otp: &str| {
        let body = json!({"phone": "255694230173", "otp": otp, "verification_type": "registration"});
        house.door.simple("verify-otp", body).await
    };
    assert_eq!(verify(&wrong(&code, 1)).await.status, 400);
    // What Django wrote is no code of ours.
    assert_eq!(verify("1234").await.status, 400);
    assert_eq!(project.rows(), [&theirs[..], &[ours(false)]].concat());
    assert_eq!(verify(&code).await.ok(200)["verified"], true);
    assert_eq!(project.rows(), [&theirs[..], &[ours(true)]].concat());
    assert_eq!(verify(&code).await.status, 400, "once");

    // Django still knows its table, and both write to it at the same time.
    project.run("manage.py makemigrations --check accounts");
    project.run("manage.py check");
    let (exit, text) = countersign(&plan, &dir.0, "doctor");
    assert!(text.contains("\"verification\" has what is needed") && exit <= 1, "{text}");
    let (exit, text) = countersign(&plan, &dir.0, "export all.jsonl");
    assert!(exit == 0 && !std::fs::read_to_string(dir.0.join("all.jsonl")).unwrap().contains("theirs-"), "{text}");
}

/// "The server does so at start unless told not to", for the table of an application too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_an_applications_table_is_brought_up_to_date_at_the_start() {
    let dir = Arc::new(Dir::new());
    let table = rusqlite::Connection::open(dir.0.join("app.db")).unwrap();
    table
        .execute_batch(
            "CREATE TABLE verification (verification_id varchar(50) NOT NULL PRIMARY KEY, phone varchar(15) NOT NULL, code integer NULL,
                verification_type varchar(20) NOT NULL, verified bool NOT NULL, created_at datetime NOT NULL, expires_at datetime NULL);
             INSERT INTO verification VALUES ('theirs', '255694230173', 1234, 'Login', 0, '2020-01-01 00:00:00', NULL);",
        )
        .unwrap();
    let plan =
        open().and("[store]\nurl = \"sqlite:app.db\"\nlayout = \"existing\"\n[store.existing]\npreset = \"django\"");
    let careful = plan.clone().variable("COUNTERSIGN_STORE__MIGRATE", "false");
    let (exit, text) = countersign(&careful, &dir.0, "serve");
    assert!(exit == 3 && text.contains("countersign migrate --print"), "{text}");
    let sink = Sink::start().await;
    let house = House::start_in(plan.provider("gateway", &sink), Arc::clone(&dir), None).await;
    house.door.send("+255694230173").await;
    let code = sink.code_of("+255694230173").await;
    assert_eq!(house.door.check_to("+255694230173", &code).await.result(), "approved");
    let mut read = table.prepare("SELECT phone, code, verified FROM verification ORDER BY verified").unwrap();
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, Option<i64>, bool)> = rows.map(Result::unwrap).collect();
    let phone = "255694230173".to_owned();
    assert_eq!(rows, [(phone.clone(), Some(1234), false), (phone, None, true)]);
    let log = String::from_utf8_lossy(&house.wrote_err()).into_owned();
    assert!(log.contains("ALTER TABLE \"verification\" ADD COLUMN countersign_place"), "the SQL was shown: {log}");
}

#![allow(clippy::all, clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use axum::body::Body;
use axum::http::Request;
use countersign::core::policy::Application;
use countersign::*;
use countersign_server::{metrics::Metrics, service::Service, settings::*, token::*};
use std::sync::Arc;
use tower::ServiceExt;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let metrics = Metrics::new();
    let phone = Arc::new(RecordingSender::new("phone"));
    let mut app = Application::new("default".parse().unwrap(), "phone");
    app.limits.clear();
    let v = Verifier::builder().sender(phone.clone()).observer(metrics.clone()).application(app).build().unwrap();
    v.create_application(&"default".parse().unwrap()).await.unwrap();
    let key = v.create_key(&"default".parse().unwrap()).await.unwrap().key.to_string();
    let s = HttpSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: "http://x".into(),
        production: false,
        trusted_proxies: Arc::new([]),
        simple: None,
        bounds: Bounds::default(),
    };
    let t = TokenSigner::new(&TokenKey { kid: "k".into(), seed: [7; 32].into() }, &[], "http://x").unwrap();
    let router = Service::new(v.clone(), s, t, metrics).router();
    let n = 20000u32;
    let cpu = || {
        let s = std::fs::read_to_string("/proc/self/stat").unwrap();
        let f: Vec<_> = s.split(' ').collect();
        (f[13].parse::<u64>().unwrap() + f[14].parse::<u64>().unwrap()) as f64 * 10_000.0
    };
    let req = |path: &str, body: String| {
        Request::post(path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    for (name, f) in [
        ("healthz", 0),
        ("verifier.send", 1),
        ("http send", 2),
        ("http check wrong id", 3),
        ("http 401", 4),
        ("verifier.check", 5),
    ] {
        let c0 = cpu();
        let t0 = std::time::Instant::now();
        for i in 0..n {
            match f {
                0 => {
                    router.clone().oneshot(Request::get("/healthz").body(Body::empty()).unwrap()).await.unwrap();
                }
                1 => {
                    v.send(SendRequest::to(format!("+2556940{:05}", i))).await.unwrap();
                }
                2 => {
                    let r = router
                        .clone()
                        .oneshot(req("/v1/verifications", format!("{{\"to\":\"+2556941{:05}\"}}", i)))
                        .await
                        .unwrap();
                    assert_eq!(r.status(), 201);
                }
                3 => {
                    let r = router
                        .clone()
                        .oneshot(req(
                            "/v1/verifications/check",
                            format!("{{\"to\":\"+2556941{:05}\",\"code\":\"123456\"}}", i),
                        ))
                        .await
                        .unwrap();
                    assert_eq!(r.status(), 200);
                }
                4 => {
                    router
                        .clone()
                        .oneshot(Request::post("/v1/verifications").body(Body::empty()).unwrap())
                        .await
                        .unwrap();
                }
                _ => {
                    v.check(CheckRequest::by_destination(format!("+2556940{:05}", i), "123456")).await.unwrap();
                }
            }
        }
        println!(
            "{name}: {:.2} us cpu, {:.2} us wall",
            (cpu() - c0) / n as f64,
            t0.elapsed().as_micros() as f64 / n as f64
        );
    }
}

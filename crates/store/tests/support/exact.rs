//! What several processes on one database must get right, whatever its tables are.

use std::time::Duration;

use countersign::contract::{Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::{CheckRequest, SendRequest};

/// All at once.
pub async fn all<T: Send + 'static>(tasks: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// All begin the same verifications at once and guess at them at once: each begins once, guesses are counted, and a code opens once.
pub async fn begin_and_guess_exactly(benches: &[Bench]) {
    for round in 0..10 {
        let to = format!("+2556942301{round:02}");
        // All begin the first verification of one destination at once: it begins once.
        let sends = (0..12).map(|nth| {
            let verifier = benches[nth % benches.len()].verifier.clone();
            let to = to.clone();
            async move { verifier.send(SendRequest::to(&to)).await }
        });
        let sent: Vec<_> = all(sends.collect()).await;
        let rows: Vec<_> = sent.into_iter().flatten().map(|sending| sending.sent.verification).collect();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.id == rows[0].id), "one verification began");
        let code = code_of(benches, &to).await;
        let checks = (0..60).map(|nth| {
            let verifier = benches[nth % benches.len()].verifier.clone();
            let code = if nth % 3 == 0 { code.clone() } else { wrong(&code, nth as u32) };
            let (id, to) = (rows[0].id, to.clone());
            async move {
                let request = if nth % 2 == 0 {
                    CheckRequest::by_id(id, &code)
                } else {
                    CheckRequest::by_destination(&to, &code)
                };
                (nth % 2 == 0, verifier.check(request).await.unwrap().result)
            }
        });
        let results = all(checks.collect()).await;
        assert!(results.iter().filter(|(_, result)| *result == CheckResult::Approved).count() <= 1, "{results:?}");
        for by_id in [true, false] {
            let wrong = results.iter().filter(|(by, result)| *by == by_id && *result == CheckResult::Incorrect);
            assert!(wrong.count() <= 5, "{results:?}");
        }
    }
}

/// The code that was sent, whoever of them carried it.
pub async fn code_of(benches: &[Bench], to: &str) -> String {
    loop {
        let messages = benches.iter().flat_map(|bench| bench.phone.messages());
        if let Some(message) = messages.into_iter().find(|message| message.to == to) {
            return message.code;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

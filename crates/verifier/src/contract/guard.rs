//! The guard's blocks: counters like any other, so they must be as exact.

use countersign_core::guard::{Block, Guard, Mode};

use super::*;

pub async fn blocks_of_numbers_are_exact(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| {
        application.guard = Guard { mode: Mode::Enforce, unconfirmed: 7, ..Guard::default() };
    });
    let application = ApplicationName::default();
    let number = |nth: u32| format!("+25569423{nth:04}");
    let wave = async |from: u32| {
        let results = all((from..from + 60).map(|nth| {
            let verifier = bench.verifier.clone();
            async move { verifier.send(SendRequest::to(number(nth))).await.map(|sending| sending.sent.verification) }
        }))
        .await;
        let (taken, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert!(refused.into_iter().all(|result| refusal(result).kind() == Kind::FraudSuspected));
        taken.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let taken = wave(0).await;
    assert_eq!(taken.len(), 7);
    let standings = bench.verifier.guard_blocks(&application).await.unwrap();
    let fullest = &standings[0];
    assert_eq!((fullest.block.as_str(), fullest.unconfirmed, fullest.blocked), ("+25569423xxxx", 7, true));
    assert_eq!(standings.len(), 3, "{standings:?}");
    // Two that are confirmed at once take back eight.
    let confirmed = all(taken.into_iter().take(2).map(|row| {
        let (verifier, phone) = (bench.verifier.clone(), Arc::clone(&bench.phone));
        async move {
            let code = phone.wait_for_code(row.to.reveal()).await;
            verifier.check(CheckRequest::by_id(row.id, &code)).await.unwrap().result
        }
    }))
    .await;
    assert_eq!(confirmed, [CheckResult::Approved; 2]);
    assert!(bench.verifier.guard_blocks(&application).await.unwrap().iter().all(|block| block.unconfirmed == 0));
    assert_eq!(wave(100).await.len(), 7);
    let opened = bench.verifier.open_block(&application, Block::named("+25569423xxxx")).await.unwrap();
    assert_eq!(opened.unconfirmed, 7);
    assert_eq!(wave(200).await.len(), 7);
}

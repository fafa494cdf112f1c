//! What it does while it cannot see: it holds, and trusts nothing that is old.

use super::*;

#[tokio::test]
async fn a_store_that_is_gone_is_no_empty_queue() {
    let mut stage = Stage::with(spec().hold(Duration::from_millis(50))).await;
    let hands = stage.up(2).await;
    stage.tick().await;
    let outage = stage.store.down();
    for _ in 0..3 {
        let record = stage.tick().await;
        assert_eq!((record.decision.step, record.at, record.counts), (Step::Hold, None, None));
        assert!(record.to_string().contains("the store cannot be read"), "{record}");
    }
    outage.lift();
    // Half of it is gone: the counters are there and the workers are not.
    let blind = stage.store.rule(Call::Observe, Fault::Fail, When::After(2));
    assert_eq!(stage.tick().await.decision.step, Step::Hold);
    drop(blind);
    assert_eq!(stage.platform.asked(), NOTHING);
    for hand in &hands {
        assert_eq!(stage.record(hand).await.state, WorkerState::Active);
    }
    // What one has not looked at for a whole hold is not shrunk, though there is nothing to do.
    for mut hand in hands {
        let job = hand.claim(1, false).await.remove(0);
        hand.complete(&job).await;
    }
    let outage = stage.store.down();
    stage.tick().await;
    outage.lift();
    let decision = stage.tick().await.decision;
    let left = Duration::from_millis(50);
    assert_eq!((decision.step, decision.reason), (Step::Keep(2), Reason::Holding { wish: 0, left }));
}

#[tokio::test]
async fn how_long_a_worker_was_idle_while_nobody_looked_does_not_count() {
    let after = Duration::from_millis(50);
    let mut stage = Stage::with(spec().remove_after(after)).await;
    stage.one_drained().await;
    stage.tick().await;
    stage.platform.status_mood(Some(Mood::Refuse));
    let since = Instant::now();
    eventually("it was idle for long enough, unseen", Duration::from_secs(30), async || {
        assert_eq!(stage.tick().await.decision.step, Step::Hold);
        if since.elapsed() > after { Ok(()) } else { Err("too early") }
    })
    .await;
    stage.platform.status_mood(None);
    assert_eq!(stage.asks().await, NOTHING);
    assert_eq!(until_asked(&mut stage).await, ["remove i-1, leaving 0"]);
}

#[tokio::test]
async fn an_old_reading_of_the_platform_is_held_on_and_the_hold_begins_anew() {
    let hold = Duration::from_millis(50);
    let mut stage = Stage::with(spec().hold(hold)).await;
    let mut hand = stage.up(1).await.remove(0);
    let job = hand.claim(1, false).await.remove(0);
    hand.complete(&job).await;
    stage.tick().await;
    stage.platform.grow_old(Duration::from_mins(3));
    assert_eq!(stage.tick().await.decision.step, Step::Hold);
    stage.platform.grow_old(Duration::ZERO);
    let decision = stage.tick().await.decision;
    assert_eq!((decision.step, decision.reason), (Step::Keep(1), Reason::Holding { wish: 0, left: hold }));
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_of_a_removal_leaves_nobody_leaving_for_good() {
    let mut stage = Stage::new().await;
    let hand = stage.one_drained().await;
    // The renewal passes; the answer to `let_go` is lost.
    let losing = stage.store.rule(Call::Scale, Fault::LoseReply, When::After(1));
    let record = stage.tick().await;
    assert!(record.actions.iter().any(|action| matches!(action, Action::Failed(_))), "{record}");
    drop(losing);
    assert_eq!(stage.platform.asked(), NOTHING, "the platform is not told");
    assert_eq!(stage.record(&hand).await.state, WorkerState::Leaving);
    let asked =
        eventually("it is removed after all", Duration::from_secs(30), async || match stage.asks().await.as_slice() {
            [] => Err("nothing asked"),
            asked => Ok(asked.to_vec()),
        })
        .await;
    assert_eq!(asked, ["remove i-1, leaving 0"]);
}

#[tokio::test]
async fn a_platform_that_cannot_be_read_is_held_on_and_harms_no_other_pool() {
    for mood in [Mood::Refuse, Mood::Hang, Mood::Panic] {
        let (store, blind, well) = (store().await, Arc::new(Fake::default()), Arc::new(Fake::default()));
        let other = PoolSpec::new("there", "p".parse().unwrap(), 0..=4).unwrap();
        let mut scaler = Reconciler::new(Arc::new(store.clone()), "me")
            .call_timeouts(LIMIT, LIMIT)
            .pool(spec(), blind.clone())
            .unwrap()
            .pool(other, well.clone())
            .unwrap();
        blind.status_mood(Some(mood));
        store.enqueue(&[NewJob::new("k", "{}").queue("q"), NewJob::new("k", "{}").queue("p")]).await.unwrap();
        let records = scaler.tick().await;
        assert_eq!(records[0].decision.step, Step::Hold, "{mood:?}");
        assert_eq!(records[1].decision.step, Step::Grow { from: 0, to: 1 }, "{mood:?}");
        assert_eq!((blind.asked(), well.asked().len()), (vec![], 1));
        blind.status_mood(None);
        scaler.tick().await;
        assert_eq!(blind.asked(), ["grow to 1"], "{mood:?}");
    }
}

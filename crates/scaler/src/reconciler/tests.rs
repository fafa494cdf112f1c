//! The whole loop against a store, with platforms and people that misbehave in the very moment.

mod blind;
mod stage;
mod watching;

use std::sync::Arc;

use headcount_queue::{
    NewJob,
    store::{
        Admin as _, Enqueue as _, WorkerState,
        faulty::{Call, Fault, When},
    },
};
use headcount_tests::eventually;

use self::stage::{Fake, LIMIT, Mood, Stage, spec, store};
use super::*;
use crate::{
    Money, NoopDriver,
    decide::{Bound, Step, limits::Rules},
};

const NOTHING: [&str; 0] = [];

/// Ticks until something is asked of the platform.
async fn until_asked(stage: &mut Stage) -> Vec<String> {
    eventually("the platform is asked", Duration::from_secs(30), async || match stage.asks().await {
        asked if asked.is_empty() => Err("not asked"),
        asked => Ok(asked),
    })
    .await
}

#[tokio::test]
async fn a_pool_at_zero_hires_for_its_jobs_and_orders_them_once() {
    let mut stage = Stage::new().await;
    assert_eq!(stage.asks().await, NOTHING);
    stage.enqueue(2).await;
    assert_eq!(stage.asks().await, ["grow to 2"]);
    // They boot: nothing more is ordered, tick after tick.
    for _ in 0..3 {
        let record = stage.tick().await;
        assert_eq!((record.decision.step, record.counts.unwrap().booting), (Step::Keep(2), 2));
    }
    let mut hand = stage.worker("i-1").await;
    let jobs = hand.claim(1, false).await;
    let record = stage.tick().await;
    let counts = record.counts.unwrap();
    assert_eq!((counts.up, counts.booting, counts.running, counts.demand.ready), (1, 1, 1, 1));
    assert_eq!(record.wanted(), Some(2));
    assert_eq!(stage.platform.asked(), NOTHING);
    // More work: only the difference is ordered.
    stage.enqueue(9).await;
    assert_eq!(stage.asks().await, ["grow to 4"]);
    hand.complete(&jobs[0]).await;
}

#[tokio::test]
async fn an_instance_where_no_worker_comes_up_is_replaced_once_and_removed() {
    let mut stage = Stage::new().await;
    stage.platform.overdue(Duration::ZERO);
    stage.enqueue(1).await;
    assert_eq!(stage.asks().await, ["grow to 1"]);
    let mut asked = Vec::new();
    eventually("it is given up", Duration::from_secs(30), async || {
        asked.extend(stage.asks().await);
        if asked.is_empty() { Err(()) } else { Ok(()) }
    })
    .await;
    assert_eq!(asked, ["grow to 2"]);
    let mut hand = stage.worker("i-2").await;
    let jobs = hand.claim(1, false).await;
    assert_eq!(until_asked(&mut stage).await, ["remove i-1, leaving 1"]);
    stage.beat(&hand, &jobs).await;
    assert_eq!(stage.record(&hand).await.running, 1);
    assert_eq!(stage.asks().await, NOTHING);
}

#[tokio::test]
async fn instances_whose_workers_beat_for_another_pool_are_left_alone_and_said() {
    let mut stage = Stage::new().await;
    stage.enqueue(1).await;
    assert_eq!(stage.asks().await, ["grow to 1"]);
    let _hand = stage.worker_of("other", "i-1").await;
    stage.enqueue(3).await;
    let record = stage.tick().await;
    assert_eq!(record.decision.step, Step::Hold);
    assert!(record.to_string().contains("start them with --pool here"), "{record}");
    assert_eq!(stage.platform.asked(), NOTHING);
}

#[tokio::test]
async fn a_budget_binds_by_the_platforms_price() {
    let rules = Rules { budget: Money::new(1e-6), ..Rules::default() };
    let mut stage = Stage::with(spec().rules(rules).unwrap()).await;
    let _hands = stage.up(2).await;
    // Its price is not known, and no budget binds.
    assert_eq!(stage.tick().await.decision.step, Step::Keep(2));
    stage.platform.cost(Money::new(1000.0));
    let spent = eventually("it is spent", Duration::from_secs(30), async || {
        let record = stage.tick().await;
        if record.decision.bound.is_some() { Ok(record) } else { Err(record.to_string()) }
    })
    .await;
    assert!(matches!(spent.decision.bound, Some(Bound::Budget { .. })), "{spent}");
    assert_eq!(spent.decision.wish, Some(0));
}

#[tokio::test]
async fn what_a_scaler_asked_for_when_it_was_killed_is_not_taken_for_a_persons() {
    for killed in [true, false] {
        let mut stage = Stage::new().await;
        stage.platform.share();
        stage.tick().await;
        if killed {
            stage.enqueue(2).await;
            stage.platform.mood(Mood::Hang);
            // Dropped half-way: neither its answer nor the tick is written down.
            tokio::select! {
                biased;
                () = eventually("the platform is asked", Duration::from_secs(30), async || {
                    if stage.platform.asked() == ["grow to 2"] { Ok(()) } else { Err(()) }
                }) => {}
                _ = stage.scaler.tick() => panic!("it hangs"),
            }
        }
        stage.platform.grow(2);
        stage.replace_scaler(spec()).await;
        for instance in ["i-1", "i-2"] {
            let mut hand = stage.worker(instance).await;
            for job in hand.claim(1, false).await {
                hand.complete(&job).await;
            }
        }
        let Decision { step, bound, .. } = stage.tick().await.decision;
        match bound {
            None if killed => assert_eq!(step, Step::Shrink { from: 2, to: 0 }),
            Some(Bound::RaisedByHand { size: 2, .. }) if !killed => assert_eq!(step, Step::Keep(2)),
            other => panic!("{killed}: {step:?} {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_worker_is_drained_seen_idle_and_only_then_removed_by_name() {
    let mut stage = Stage::new().await;
    let mut hands = stage.up(2).await;
    let first = hands[0].claim(1, false).await.remove(0);
    let second = hands[1].claim(1, false).await.remove(0);
    hands[0].complete(&first).await;
    // One is idle: it is drained, and not removed in the same tick.
    assert_eq!(stage.asks().await, NOTHING);
    let drained = stage.record(&hands[0]).await;
    assert_eq!(drained.state, WorkerState::Draining);
    assert_eq!(stage.asks().await, ["remove i-1, leaving 1"]);
    assert_eq!(stage.record(&hands[0]).await.state, WorkerState::Leaving);
    // The other is at work.
    assert_eq!(stage.asks().await, NOTHING);
    assert_eq!(stage.record(&hands[1]).await.state, WorkerState::Active);
    hands[1].complete(&second).await;
    stage.tick().await;
    assert_eq!(stage.asks().await, ["remove i-2, leaving 0"]);
}

#[tokio::test]
async fn one_that_still_works_is_drained_and_never_removed_before_it_is_done() {
    // Two slots' worth of work spread over two workers is more than one needs.
    let mut stage = Stage::with(spec().policy(crate::Policy::HalfLinear)).await;
    stage.enqueue(4).await;
    stage.tick().await;
    let mut hands = vec![stage.worker("i-1").await, stage.worker("i-2").await];
    let mut jobs = Vec::new();
    for hand in &mut hands {
        jobs.push(hand.claim(2, false).await);
    }
    hands[0].complete(&jobs[0][0]).await;
    hands[0].complete(&jobs[0][1]).await;
    hands[1].complete(&jobs[1][0]).await;
    stage.store.drain(&[hands[1].boot], "me", Some(Duration::from_mins(1))).await.unwrap();
    stage.platform.asked();
    for _ in 0..3 {
        let record = stage.tick().await;
        assert_eq!(record.counts.unwrap().finishing, 1, "what runs on it is no demand");
        assert!(!stage.platform.asked().iter().any(|asked| asked.contains("i-2")));
    }
    hands[1].complete(&jobs[1][1]).await;
    let asked = [stage.asks().await, stage.asks().await].concat();
    assert!(asked.iter().any(|asked| asked.contains("i-2")), "{asked:?}");
}

#[tokio::test]
async fn work_that_comes_back_recalls_the_drained_before_anything_is_started() {
    let mut stage = Stage::new().await;
    let mut hand = stage.one_drained().await;
    stage.enqueue(1).await;
    let record = stage.tick().await;
    assert_eq!(record.actions, [Action::Recalled(vec!["i-1".into()])]);
    assert_eq!(stage.platform.asked(), NOTHING);
    assert_eq!(hand.claim(1, false).await.len(), 1);
}

#[tokio::test]
async fn a_drain_is_a_lease_that_each_tick_renews() {
    let mut stage = Stage::with(spec().remove_after(Duration::from_hours(1))).await;
    let hand = stage.one_drained().await;
    let first = stage.record(&hand).await;
    let lease = first.drain_until.unwrap() - first.read_at;
    assert!(lease <= chrono::TimeDelta::seconds(60), "{lease}");
    // The store's clock may be too coarse to tell one tick from the next.
    let renewed = eventually("it is renewed", Duration::from_secs(30), async || {
        stage.tick().await;
        let now = stage.record(&hand).await;
        if now.drain_until > first.drain_until { Ok(now) } else { Err(now) }
    })
    .await;
    assert_eq!(renewed.drain_epoch, first.drain_epoch);
}

#[tokio::test]
async fn a_refused_removal_goes_back_to_draining_and_is_asked_for_again_at_once() {
    let mut stage = Stage::new().await;
    let hand = stage.one_drained().await;
    stage.platform.mood(Mood::Refuse);
    assert_eq!(stage.asks().await, ["remove i-1, leaving 0"]);
    assert_eq!(stage.record(&hand).await.state, WorkerState::Draining);
    // No cool-down after a call that did nothing.
    assert_eq!(stage.asks().await, ["remove i-1, leaving 0"]);
}

#[tokio::test]
async fn after_a_refused_removal_it_can_be_recalled() {
    let mut stage = Stage::new().await;
    let mut hand = stage.one_drained().await;
    stage.platform.mood(Mood::Refuse);
    stage.tick().await;
    stage.enqueue(1).await;
    stage.tick().await;
    assert_eq!(hand.claim(1, false).await.len(), 1);
    assert_eq!(stage.platform.asked(), ["remove i-1, leaving 0"]);
}

#[tokio::test]
async fn a_refused_start_is_asked_for_again_at_the_next_tick() {
    let mut stage = Stage::new().await;
    stage.enqueue(2).await;
    stage.platform.mood(Mood::Refuse);
    let record = stage.tick().await;
    assert!(record.to_string().contains("the platform refuses: no"), "{record}");
    stage.platform.mood(Mood::Hang);
    stage.tick().await;
    assert_eq!(stage.asks().await, ["grow to 2", "grow to 2", "grow to 2"]);
}

/// A removal whose answer was lost: until it is known, the worker is not recalled, whatever work there is.
#[tokio::test]
async fn a_removal_of_unknown_outcome_is_not_recalled_until_a_reading_shows_that_it_did_not_happen() {
    for mood in [Mood::Lose, Mood::Hang, Mood::Panic, Mood::Late] {
        let mut stage = Stage::new().await;
        let mut hand = stage.one_drained().await;
        stage.platform.mood(mood);
        let sent = Instant::now();
        stage.tick().await;
        assert_eq!(stage.platform.asked(), ["remove i-1, leaving 0"]);
        stage.enqueue(1).await;
        eventually("it stays after all", Duration::from_secs(30), async || {
            stage.tick().await;
            match stage.record(&hand).await.state {
                WorkerState::Leaving => Err("leaving"),
                _ => Ok(()),
            }
        })
        .await;
        assert!(sent.elapsed() >= LIMIT * 2, "{mood:?}: not before twice the time limit");
        assert_eq!(stage.platform.asked(), ["grow to 2"], "{mood:?}: a new one was started for the work");
        // From draining it may be recalled as any other.
        stage.enqueue(1).await;
        stage.tick().await;
        assert_eq!(hand.claim(1, false).await.len(), 1, "{mood:?}");
    }
}

#[tokio::test]
async fn a_removal_that_happened_though_its_answer_was_lost_is_over_when_it_is_seen() {
    let mut stage = Stage::new().await;
    let hand = stage.one_drained().await;
    stage.platform.mood(Mood::DoAndLose);
    stage.tick().await;
    stage.platform.asked();
    stage.platform.lose("i-1", true);
    let record = stage.tick().await;
    assert_eq!(record.actions, [Action::Buried(vec![hand.boot])]);
    stage.enqueue(1).await;
    assert_eq!(stage.asks().await, ["grow to 1"]);
}

#[tokio::test]
async fn a_removal_that_comes_late_kills_no_job() {
    let mut stage = Stage::new().await;
    let mut hand = stage.one_drained().await;
    stage.platform.mood(Mood::Late);
    stage.tick().await;
    stage.enqueue(1).await;
    stage.tick().await;
    assert_eq!(hand.claim(1, false).await.len(), 0, "it is leaving");
    stage.platform.catch_up();
    let record = stage.tick().await;
    assert!(!record.actions.iter().any(|action| matches!(action, Action::Stayed(_) | Action::Recalled(_))));
    let mut next = stage.worker("i-2").await;
    assert_eq!(next.claim(1, false).await.len(), 1);
}

#[tokio::test]
async fn a_person_who_recalls_or_drains_has_the_last_word() {
    let mut stage = Stage::new().await;
    let mut hands = stage.up(1).await;
    // Drained by a person: neither recalled for work nor removed when idle. Work gets another worker.
    stage.store.drain(&[hands[0].boot], "ann", None).await.unwrap();
    assert_eq!(stage.asks().await, ["grow to 2"]);
    let mut other = stage.worker("i-2").await;
    let job = other.claim(1, false).await.remove(0);
    other.complete(&job).await;
    for asked in [&NOTHING[..], &["remove i-2, leaving 1"], &NOTHING] {
        assert_eq!(stage.asks().await, asked);
    }
    let record = stage.record(&hands[0]).await;
    assert_eq!((record.state, record.drained_by.as_deref()), (WorkerState::Draining, Some("ann")));
    // Recalled by a person, it claims.
    stage.store.recall(&[hands[0].boot]).await.unwrap();
    stage.enqueue(1).await;
    stage.tick().await;
    assert_eq!(hands[0].claim(1, false).await.len(), 1);
}

#[tokio::test]
async fn jobs_of_a_process_that_is_gone_run_again_without_waiting_for_the_window() {
    let mut stage = Stage::new().await;
    let mut hands = stage.up(2).await;
    for hand in &mut hands {
        let jobs = hand.claim(1, false).await;
        stage.beat(hand, &jobs).await;
    }
    // The whole pool at once: the platform is certain, so nothing is doubted.
    stage.platform.lose("i-1", true);
    stage.platform.lose("i-2", true);
    let record = stage.tick().await;
    assert_eq!(record.lost.len(), 2);
    assert!(matches!(&record.actions[0], Action::Buried(boots) if boots.len() == 2), "{record}");
    // They are demand in the same tick, and replaced.
    assert_eq!(stage.platform.asked(), ["grow to 2"]);
    let mut next = stage.worker("i-3").await;
    assert_eq!(next.claim(2, false).await.len(), 2);
}

#[tokio::test]
async fn an_instance_that_a_list_has_lost_is_capacity_until_it_is_known_to_be_gone() {
    let mut stage = Stage::new().await;
    let mut hands = stage.up(3).await;
    for hand in &mut hands {
        hand.claim(1, false).await;
    }
    stage.tick().await;
    stage.platform.lose("i-3", false);
    for _ in 0..4 {
        let record = stage.tick().await;
        assert_eq!(record.counts.unwrap().up, 3, "it beat a moment ago");
    }
    assert_eq!(stage.platform.asked(), NOTHING);
}

#[tokio::test]
async fn a_job_that_falls_due_and_a_suspect_wake_a_pool_at_zero() {
    let mut stage = Stage::new().await;
    stage.store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(Duration::from_millis(30))]).await.unwrap();
    let asked = until_asked(&mut stage).await;
    assert_eq!(asked, ["grow to 1"]);
    // It may have been found in the moment it fell due; this makes it claimable.
    stage.tick().await;
    // Its process dies twice: a suspect now, which lies held.
    for instance in ["i-1", "i-2"] {
        let mut hand = stage.worker(instance).await;
        let jobs = hand.claim(1, true).await;
        assert_eq!(jobs.len(), 1);
        stage.beat(&hand, &jobs).await;
        stage.platform.lose(instance, true);
        stage.tick().await;
    }
    assert_eq!(stage.platform.asked(), ["grow to 1", "grow to 1"]);
    let record = stage.tick().await;
    let demand = record.counts.unwrap().demand;
    assert_eq!((demand.ready, demand.suspects, record.wanted()), (0, true, Some(1)));
    let mut third = stage.worker("i-3").await;
    assert!(third.claim(1, true).await[0].is_suspect());
}

#[tokio::test]
async fn a_due_job_that_the_counters_do_not_show_is_found_all_the_same() {
    let mut stage = Stage::new().await;
    let _unmaintained = stage.store.rule(Call::Maintain, Fault::Fail, When::Always);
    stage.store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(Duration::from_millis(1))]).await.unwrap();
    assert_eq!(until_asked(&mut stage).await, ["grow to 1"]);
}

#[tokio::test]
async fn a_paused_queue_hires_nobody() {
    let mut stage = Stage::new().await;
    stage.enqueue(3).await;
    stage
        .store
        .set(&headcount_queue::store::Target::Queue("q".into()), headcount_queue::store::Setting::Paused(true))
        .await
        .unwrap();
    assert_eq!(stage.asks().await, NOTHING);
    stage
        .store
        .set(&headcount_queue::store::Target::Queue("q".into()), headcount_queue::store::Setting::Paused(false))
        .await
        .unwrap();
    assert_eq!(stage.asks().await, ["grow to 3"]);
}

#[tokio::test]
async fn pools_that_share_a_queue_or_a_name_are_refused_naming_both() {
    let scaler =
        || async { Reconciler::new(Arc::new(store().await), "me").pool(spec(), Arc::new(NoopDriver)).unwrap() };
    let other = PoolSpec::new("there", "p,q".parse().unwrap(), 0..=1).unwrap();
    let error = scaler().await.pool(other, Arc::new(NoopDriver)).unwrap_err().to_string();
    assert!(["here", "there", " q:"].iter().all(|word| error.contains(word)), "{error}");
    assert!(scaler().await.pool(spec(), Arc::new(NoopDriver)).is_err());
}

#[tokio::test]
async fn a_dry_run_decides_and_touches_nothing() {
    let mut stage = Stage::new().await;
    let mut hand = stage.up(1).await.remove(0);
    stage.scaler = stage.scaler.dry_run(true);
    stage.enqueue(2).await;
    assert_eq!(stage.tick().await.decision.step, Step::Grow { from: 1, to: 3 });
    for job in hand.claim(3, false).await {
        hand.complete(&job).await;
    }
    assert_eq!(stage.tick().await.decision.step, Step::Shrink { from: 1, to: 0 });
    assert_eq!(stage.record(&hand).await.state, WorkerState::Active);
    assert_eq!(stage.platform.asked(), NOTHING);
}

#[tokio::test]
async fn the_loop_gives_every_record_to_its_recorder_and_stops_when_told() {
    let Stage { store, platform, scaler } = Stage::with(spec().interval(Duration::from_millis(10))).await;
    let (sender, mut records) = tokio::sync::mpsc::unbounded_channel();
    let mut scaler = scaler.recorder(move |record| drop(sender.send(record.clone())));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { scaler.run(stopped).await });
    let next = async || tokio::time::timeout(Duration::from_secs(30), records.recv()).await.unwrap().unwrap();
    let (mut next, mut seen) = (next, 0);
    let outage = store.down();
    while next().await.decision.step != Step::Hold {}
    drop(outage);
    store.enqueue(&[NewJob::new("k", "{}").queue("q")]).await.unwrap();
    while !matches!(next().await.decision.step, Step::Grow { .. }) {
        seen += 1;
        assert!(seen < 1000);
    }
    assert_eq!(platform.asked(), ["grow to 1"]);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn dead_workers_are_looked_for_however_slow_the_pools_are() {
    let vigil = Vigil { window: Duration::from_millis(400), scan: Duration::from_millis(50) };
    let Stage { store, platform, scaler } = Stage::with(spec().interval(Duration::from_hours(1))).await;
    let (stop, mut scaler) = (CancellationToken::new(), scaler.vigil(vigil));
    let stage = Stage { store: store.clone(), platform, scaler: Reconciler::new(Arc::new(store), "other") };
    stage.enqueue(1).await;
    assert_eq!(stage.worker("i-1").await.claim(1, false).await.len(), 1);
    let stopped = stop.clone();
    let task = tokio::spawn(async move { scaler.run(stopped).await });
    let mut other = stage.worker("i-2").await;
    eventually("the dead worker's job comes back", Duration::from_secs(30), async || {
        stage.beat(&other, &[]).await;
        match other.claim(1, false).await.len() {
            1 => Ok(()),
            _ => Err("not yet"),
        }
    })
    .await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
}

//! Dynos that restart while something is done about them.

use super::*;

#[tokio::test]
async fn a_dyno_that_is_cycled_keeps_its_name_and_is_one_instance() {
    let heroku = shop(BUSY).lists_ending().grace(SOON).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(2)).await.unwrap();
    up(&heroku, 2).await;
    heroku.cycle("worker.2");
    heroku.until("both run", SOON, |dynos| dynos.iter().filter(|dyno| dyno.pid.is_some()).count() == 3).await;
    let seen = status(&driver).await;
    assert_eq!((seen.desired, names(&seen)), (2, vec!["worker.1", "worker.2"]));
    assert_eq!(seen.instances[1].state, InstanceState::Up, "one of the two is");
}

#[tokio::test]
async fn a_dyno_that_is_cycled_while_it_drains_is_removed_with_its_successor() {
    let heroku = shop(IDLE).grace(SOON).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(2)).await.unwrap();
    up(&heroku, 2).await;
    // The scaler has chosen worker.2; in that moment Heroku restarts it.
    heroku.cycle("worker.2");
    heroku.until_ended(1, SOON).await;
    up(&heroku, 2).await;
    assert_eq!(apply(&driver, remove(&["worker.2"], 1)).await, Ok(Applied { desired: 1, changed: true }));
    let ended = heroku.until_ended(2, SOON).await;
    assert!(ended.iter().all(|ended| ended.name == "worker.2"));
    assert_eq!(heroku.killed(), []);
    up(&heroku, 1).await;
}

#[tokio::test]
async fn a_release_is_told_and_the_pool_keeps_its_size() {
    let heroku = shop(IDLE).grace(SOON).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(3)).await.unwrap();
    up(&heroku, 3).await;
    let before = status(&driver).await;
    heroku.release();
    heroku.until_ended(3, SOON).await;
    up(&heroku, 3).await;
    let after = status(&driver).await;
    assert_eq!((before.release.as_deref(), after.release.as_deref()), (Some("v1"), Some("v2")));
    assert_eq!((after.desired, names(&after)), (3, names(&before)));
}

#[tokio::test]
async fn the_release_is_still_known_when_no_dyno_is_left() {
    let heroku = shop(IDLE).grace(SOON).start().await;
    let driver = driver(&heroku);
    assert_eq!(status(&driver).await.release, None);
    apply(&driver, grow(1)).await.unwrap();
    up(&heroku, 1).await;
    assert_eq!(status(&driver).await.release.as_deref(), Some("v1"));
    apply(&driver, remove(&["worker.1"], 0)).await.unwrap();
    heroku.until_ended(1, SOON).await;
    let empty = status(&driver).await;
    assert_eq!((empty.instances.len(), empty.release.as_deref()), (0, Some("v1")), "an empty pool is no new release");
}

#[tokio::test]
async fn a_crashed_dyno_is_still_an_instance_which_heroku_starts_again() {
    let heroku = shop(IDLE).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(1)).await.unwrap();
    for crash in 1..=2 {
        up(&heroku, 1).await;
        heroku.crash("worker.1");
        heroku.until_ended(crash, SOON).await;
    }
    let crashed = status(&driver).await;
    assert_eq!((names(&crashed), crashed.instances[0].state), (vec!["worker.1"], InstanceState::Up));
    assert!(crashed.warnings[0].contains("worker.1 has crashed"), "{crashed:?}");
    heroku.revive("worker.1");
    up(&heroku, 1).await;
    assert_eq!(status(&driver).await.warnings, [""; 0]);
}

/// Workers of the real program, a scaler in front of them, and a release in the very moment in which the pool would shrink.
#[tokio::test]
async fn a_release_that_lands_when_the_pool_would_shrink_freezes_it_until_all_beat_again() {
    let place = headcount_tests::Place::postgres().await;
    place.says("migrate").await;
    let program = headcount_tests::process::headcount().display().to_string();
    let job = place.handler("until [ -e $JOBS/go ]; do sleep 0.1; done");
    let heroku = FakeHeroku::app("shop")
        .process("worker", [program.as_str(), "work", "--exec", job.as_str(), "--slots", "1", "--grace", "4s"])
        .env("HEADCOUNT_URL", &place.url)
        .env("HEADCOUNT_POOL", "worker")
        .env("JOBS", place.folder.path())
        .boot(Duration::from_secs(4))
        .grace(Duration::from_secs(5))
        .start()
        .await;
    let store = headcount_queue::store::open(&place.url.parse().unwrap(), &headcount_queue::store::Options::default())
        .await
        .unwrap();
    let spec = headcount_scaler::PoolSpec::new("worker", "local".parse().unwrap(), 0..=3).unwrap();
    let spec = spec.policy(headcount_scaler::Policy::Linear).hold(Duration::ZERO).remove_after(Duration::ZERO);
    let token = Token::new("HEROKU_API_KEY", heroku.token()).unwrap();
    let config = HerokuConfig::new("shop", token).unwrap().base_url(&heroku.url()).unwrap();
    let config = config.read_every(Duration::ZERO).pool("worker", "worker").unwrap();
    let driver = std::sync::Arc::new(HerokuDriver::new(config).unwrap());
    let mut scaler =
        headcount_scaler::Reconciler::new(store, "scaler").pool(spec.idle_to_zero(Duration::ZERO), driver).unwrap();
    place.headcount("enqueue burst --queue local --lines").stdin("{}\n{}\n{}\n").start().ends_well(SOON).await;
    let until = async |scaler: &mut headcount_scaler::Reconciler, what: &str, met: &dyn Fn(&str, u32) -> bool| {
        let scaler = tokio::sync::Mutex::new(scaler);
        headcount_tests::eventually(what, SOON * 2, async || {
            let records = scaler.lock().await.tick().await;
            let record = records.first().ok_or_else(|| "no lease yet".to_owned())?;
            let up = record.counts.map_or(0, |counts| counts.running);
            if met(&record.to_string(), up) { Ok(()) } else { Err(record.to_string()) }
        })
        .await;
    };
    until(&mut scaler, "three dynos work", &|_, running| running == 3).await;
    // Their jobs end, and so the pool would shrink; in this moment all restart.
    std::fs::write(place.folder.file("go"), "").unwrap();
    headcount_tests::eventually("all jobs are done", SOON, async || {
        let left = place.states().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    heroku.release();
    until(&mut scaler, "it is frozen and says so", &|told, _| {
        assert!(!told.contains("shrink") && !told.contains("grow to"), "{told}");
        told.contains("keep 3: 0 would do; release v2 is coming up")
    })
    .await;
    assert_eq!(heroku.quantity("worker"), 3);
    until(&mut scaler, "all beat again, and it shrinks", &|told, _| {
        assert!(!told.contains("grow to"), "{told}");
        told.contains("shrink from 3 to 0")
    })
    .await;
    until(&mut scaler, "nobody is left", &|_, _| heroku.quantity("worker") == 0).await;
    assert_eq!(heroku.killed(), []);
}

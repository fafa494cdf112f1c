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

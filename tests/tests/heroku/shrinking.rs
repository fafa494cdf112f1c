//! Growing and removing.

use super::*;

#[tokio::test]
async fn a_pool_grows_and_shrinks_by_its_highest_dynos_and_kills_none() {
    let heroku = shop(IDLE).grace(SOON).start().await;
    let driver = driver(&heroku);
    assert_eq!(apply(&driver, grow(3)).await, Ok(Applied { desired: 3, changed: true }));
    up(&heroku, 3).await;
    assert_eq!(names(&status(&driver).await), ["worker.1", "worker.2", "worker.3"]);
    assert_eq!(apply(&driver, remove(&["worker.3", "worker.2"], 1)).await, Ok(Applied { desired: 1, changed: true }));
    let ended = heroku.until_ended(2, SOON).await;
    assert!(ended.iter().all(|ended| matches!(ended.how, How::Asked(status) if status.success())), "{ended:?}");
    let after = status(&driver).await;
    assert_eq!((after.desired, names(&after)), (1, vec!["worker.1"]));
    assert_eq!(apply(&driver, remove(&["worker.1"], 0)).await, Ok(Applied { desired: 0, changed: true }));
    heroku.until_ended(3, SOON).await;
    assert_eq!(status(&driver).await.instances, []);
    assert_eq!(heroku.killed(), []);
}

#[tokio::test]
async fn a_dyno_that_works_is_not_killed_for_one_that_idles() {
    let heroku = shop(BUSY).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(10)).await.unwrap();
    up(&heroku, 10).await;
    let refused = apply(&driver, remove(&["worker.8", "worker.9"], 8)).await.unwrap_err();
    assert!(matches!(&refused, DriverError::Refused(why) if why.contains("would kill worker.10")), "{refused}");
    up(&heroku, 10).await;
    assert!(heroku.ended().is_empty());
}

#[tokio::test]
async fn a_plan_that_somebody_overtook_kills_nobody() {
    let heroku = shop(BUSY).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(3)).await.unwrap();
    up(&heroku, 3).await;
    heroku.scale("worker", 4);
    up(&heroku, 4).await;
    let refused = apply(&driver, remove(&["worker.3"], 2)).await.unwrap_err();
    assert!(matches!(&refused, DriverError::Refused(why) if why.contains("the plan is dropped")), "{refused}");
    assert!(heroku.ended().is_empty());
}

#[tokio::test]
async fn the_answer_comes_while_the_process_still_ends_and_a_raise_starts_another_beside_it() {
    let heroku = shop(BUSY).grace(SOON).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(2)).await.unwrap();
    up(&heroku, 2).await;
    apply(&driver, remove(&["worker.2"], 1)).await.unwrap();
    assert!(heroku.ended().is_empty(), "it still ends");
    assert_eq!(names(&status(&driver).await), ["worker.1"]);
    assert_eq!(apply(&driver, grow(2)).await, Ok(Applied { desired: 2, changed: true }));
    let twice = heroku.until("both worker.2 run", SOON, |dynos| {
        dynos.iter().filter(|dyno| dyno.name == "worker.2" && dyno.printed.contains("up")).count() == 2
    });
    twice.await;
    let after = status(&driver).await;
    assert_eq!((after.desired, names(&after)), (2, vec!["worker.1", "worker.2"]));
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_seen_at_the_next_look_and_not_asked_again() {
    let heroku = shop(IDLE).grace(SOON).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(3)).await.unwrap();
    up(&heroku, 3).await;
    for fault in [Fault::status(503), Fault::Reset] {
        let before = heroku.quantity("worker");
        let highest = format!("worker.{before}");
        heroku.fail(Call::Update, fault.once_done());
        let lost = apply(&driver, remove(&[&highest], before - 1)).await.unwrap_err();
        assert!(matches!(lost, DriverError::Unknown(_)), "{lost}");
        assert_eq!(status(&driver).await.desired, before - 1);
        let again = apply(&driver, remove(&[&highest], before - 1)).await;
        assert_eq!(again, Ok(Applied { desired: before - 1, changed: false }));
    }
    heroku.until_ended(2, SOON).await;
    assert_eq!(heroku.killed(), []);
    assert_eq!(heroku.updates().len(), 3, "one growth and two removals");
}

#[tokio::test]
async fn a_removal_that_heroku_did_not_make_leaves_all_up() {
    let heroku = shop(BUSY).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(2)).await.unwrap();
    up(&heroku, 2).await;
    heroku.fail(Call::Update, Fault::Reset);
    assert!(matches!(apply(&driver, remove(&["worker.2"], 1)).await, Err(DriverError::Unknown(_))));
    let after = status(&driver).await;
    assert_eq!((after.desired, names(&after)), (2, vec!["worker.1", "worker.2"]));
    assert!(after.instances.iter().all(|instance| instance.state == InstanceState::Up));
    up(&heroku, 2).await;
}

#[tokio::test]
async fn heroku_kills_what_does_not_end_and_the_record_shows_it() {
    let heroku = shop(BUSY).start().await;
    let driver = driver(&heroku);
    apply(&driver, grow(1)).await.unwrap();
    up(&heroku, 1).await;
    apply(&driver, remove(&["worker.1"], 0)).await.unwrap();
    heroku.until_ended(1, SOON).await;
    assert_eq!(heroku.killed()[0].name, "worker.1", "a job was lost, and a test would see it");
}

//! Removing: exactly what was named, or nothing.

use super::*;

/// What is refused, and that nothing was asked for.
async fn refused(heroku: &FakeHeroku, driver: &HerokuDriver, change: Change) -> String {
    let before = heroku.updates().len();
    let answer = apply(driver, change).await;
    assert_eq!(heroku.updates().len(), before, "it was asked for");
    let Err(DriverError::Refused(why)) = answer else { panic!("{answer:?}") };
    why
}

#[tokio::test]
async fn the_unbroken_run_at_the_top_is_removed() {
    let heroku = shop().start().await;
    heroku.scale("worker", 10);
    let driver = driver(&heroku);
    assert_eq!(apply(&driver, remove([9, 10], 8)).await, Ok(Applied { desired: 8, changed: true }));
    assert_eq!(names(&status(&driver).await.unwrap()).last(), Some(&"worker.8"));
}

#[tokio::test]
async fn what_would_kill_another_is_refused_and_names_it() {
    let heroku = shop().start().await;
    heroku.scale("worker", 10);
    let driver = driver(&heroku);
    for (numbers, size) in [(&[8, 9][..], 8), (&[1], 9), (&[9], 9)] {
        let why = refused(&heroku, &driver, remove(numbers.iter().copied(), size)).await;
        assert!(why.contains("would kill worker.10"), "{why}");
    }
    let why = refused(&heroku, &driver, remove([8, 10], 8)).await;
    assert!(why.contains("would kill worker.9"), "{why}");
    assert_eq!(heroku.quantity("worker"), 10);
}

#[tokio::test]
async fn a_quantity_that_was_changed_by_hand_drops_the_plan() {
    let heroku = shop().start().await;
    heroku.scale("worker", 10);
    let driver = driver(&heroku);
    assert_eq!(status(&driver).await.unwrap().desired, 10);
    for by_hand in [11, 9, 3] {
        heroku.scale("worker", by_hand);
        let why = refused(&heroku, &driver, remove([9, 10], 8)).await;
        assert!(why.contains(&format!("has {by_hand} dynos now and the plan was made for 10")), "{why}");
    }
}

#[tokio::test]
async fn what_is_gone_already_is_not_removed_again() {
    let heroku = shop().start().await;
    heroku.scale("worker", 8);
    let driver = driver(&heroku);
    assert_eq!(apply(&driver, remove([9, 10], 8)).await, Ok(Applied { desired: 8, changed: false }));
    assert!(heroku.updates().is_empty());
}

#[tokio::test]
async fn a_removal_that_is_refused_harms_no_other_change() {
    let heroku = shop().start().await;
    heroku.scale("worker", 3);
    let media = Change::GrowTo { pool: PoolRef::from("media"), size: 2 };
    let answers = driver(&heroku).apply(&[remove([1], 2), media]).await;
    assert!(matches!(&answers[0], Err(DriverError::Refused(why)) if why.contains("would kill worker.3")));
    assert_eq!(answers[1], Ok(Applied { desired: 2, changed: true }));
    assert_eq!((heroku.quantity("worker"), heroku.quantity("mediaworker")), (3, 2));
}

#[tokio::test]
async fn where_dynos_have_no_numbers_all_go_or_none() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let listed = |name: &str| {
        let dynos = serde_json::json!([{"name": name, "type": "worker", "state": "up"}]);
        Fault::Malformed(dynos.to_string())
    };
    heroku.fail(Call::Dynos, listed("worker-5c6b7d8f9d-x2v4k"));
    let driver = driver(&heroku);
    let seen = status(&driver).await.unwrap();
    assert_eq!(seen.instances[0].ordinal, None);
    assert_eq!(driver.limits(&pool()).removal, Removal::Unknown);
    let named = |names: &[&str], size| {
        let instances = names.iter().map(|name| InstanceId::from(*name)).collect();
        Change::Remove { pool: pool(), instances, size }
    };
    let why = refused(&heroku, &driver, named(&["worker-5c6b7d8f9d-x2v4k"], 1)).await;
    assert!(why.contains("all of them or none"), "{why}");
    let all = named(&["worker-5c6b7d8f9d-x2v4k", "worker-5c6b7d8f9d-q8z2w"], 0);
    assert_eq!(apply(&driver, all).await, Ok(Applied { desired: 0, changed: true }));
}

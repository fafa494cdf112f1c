//! What calls cost, and when none is made.

use super::*;

async fn reads(heroku: &FakeHeroku, driver: &HerokuDriver) -> Vec<String> {
    heroku.take_requests();
    status(driver).await.unwrap();
    let mut requests = heroku.take_requests();
    requests.sort();
    requests
}

const BOTH: [&str; 2] = ["GET dynos", "GET formation"];

#[tokio::test]
async fn between_readings_the_answer_is_what_was_read_with_its_age() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let driver = driver(&heroku);
    assert_eq!(reads(&heroku, &driver).await, BOTH);
    wait(&driver, Duration::from_secs(59));
    heroku.scale("worker", 3);
    let known = status(&driver).await.unwrap();
    assert_eq!((known.desired, names(&known).len()), (2, 2));
    assert!(known.age >= Duration::from_secs(59) && known.age < Duration::from_secs(89), "{:?}", known.age);
    assert!(known.instances[0].age >= Duration::from_secs(59), "it has grown older since");
    assert_eq!(heroku.take_requests(), [""; 0]);
    wait(&driver, Duration::from_secs(1));
    let read = status(&driver).await.unwrap();
    assert!(read.desired == 3 && read.age < SOON, "{read:?}");
}

#[tokio::test]
async fn after_a_change_the_dynos_are_read_at_once_and_then_until_it_is_seen() {
    let heroku = shop().start().await;
    let driver = driver(&heroku);
    assert_eq!(reads(&heroku, &driver).await, BOTH);
    apply(&driver, grow(2)).await.unwrap();
    assert_eq!(reads(&heroku, &driver).await, ["GET dynos"]);
    assert_eq!(reads(&heroku, &driver).await, [""; 0], "all are there");
    // Heroku lists none of the new ones yet.
    heroku.fail(Call::Dynos, Fault::Malformed("[]".into()));
    apply(&driver, grow(3)).await.unwrap();
    assert_eq!(status(&driver).await.unwrap().instances, []);
    assert_eq!(reads(&heroku, &driver).await, [""; 0], "that soon it would be the same");
    wait(&driver, Duration::from_secs(10));
    assert_eq!(reads(&heroku, &driver).await, ["GET dynos"]);
    assert_eq!(status(&driver).await.unwrap().instances.len(), 3);
}

#[tokio::test]
async fn told_to_wait_it_asks_nothing_and_answers_from_what_it_knows() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let driver = driver(&heroku);
    status(&driver).await.unwrap();
    wait(&driver, Duration::from_mins(1));
    heroku.fail(Call::Formation, Fault::status(429).retry_after("120"));
    let error = status(&driver).await.unwrap_err();
    assert!(matches!(&error, DriverError::Unavailable(why) if why.contains("none for 120s")), "{error}");
    heroku.take_requests();
    let known = status(&driver).await.unwrap();
    assert!(known.desired == 2 && known.age >= Duration::from_mins(1), "{known:?}");
    for change in [grow(3), remove([2], 1)] {
        let error = apply(&driver, change).await.unwrap_err();
        assert!(matches!(&error, DriverError::Unavailable(why) if why.contains("asked again in")), "{error}");
    }
    assert_eq!(heroku.take_requests(), [""; 0]);
    wait(&driver, Duration::from_mins(2));
    assert_eq!(apply(&driver, grow(3)).await, Ok(Applied { desired: 3, changed: true }));
}

#[tokio::test]
async fn with_nothing_known_a_wait_is_no_empty_pool() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let driver = driver(&heroku);
    heroku.fail(Call::Dynos, Fault::status(429));
    status(&driver).await.unwrap_err();
    let error = status(&driver).await.unwrap_err();
    assert!(matches!(error, DriverError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn too_many_requests_for_a_change_is_no_change() {
    let heroku = shop().start().await;
    let driver = driver(&heroku);
    heroku.fail(Call::Update, Fault::status(429));
    assert!(matches!(apply(&driver, grow(2)).await, Err(DriverError::Unavailable(_))));
    assert_eq!(heroku.quantity("worker"), 0);
}

#[tokio::test]
async fn with_few_tokens_left_it_grows_and_does_not_shrink() {
    let heroku = shop().tokens(500).start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    let scarce = status(&driver).await.unwrap();
    assert!(scarce.warnings[0].contains("few API requests are left for the account of SHOP_TOKEN"), "{scarce:?}");
    let error = apply(&driver, remove([3], 2)).await.unwrap_err();
    assert!(matches!(&error, DriverError::Refused(why) if why.contains("API requests left, and below 500")), "{error}");
    assert_eq!(apply(&driver, grow(4)).await, Ok(Applied { desired: 4, changed: true }));
    status(&driver).await.unwrap();
    wait(&driver, Duration::from_secs(61));
    assert_eq!(reads(&heroku, &driver).await, ["GET /account/rate-limits"], "which costs nothing");
    wait(&driver, Duration::from_secs(30));
    assert_eq!(reads(&heroku, &driver).await, BOTH, "or the scaler would be blind, and not grow either");
}

#[tokio::test]
async fn once_there_are_tokens_again_it_shrinks() {
    let heroku = shop().tokens(400).start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    status(&driver).await.unwrap();
    apply(&driver, remove([3], 2)).await.unwrap_err();
    heroku.set_tokens(4000);
    wait(&driver, Duration::from_mins(1));
    assert_eq!(status(&driver).await.unwrap().warnings, [""; 0]);
    assert_eq!(apply(&driver, remove([3], 2)).await, Ok(Applied { desired: 2, changed: true }));
}

#[tokio::test]
async fn its_third_of_the_account_is_all_it_takes() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let driver = HerokuDriver::new(config(&heroku).read_every(Duration::ZERO)).unwrap();
    for _ in 0..600 {
        let now = Instant::now();
        driver.lock().tokens.spend(now);
        driver.lock().tokens.spend(now);
    }
    let error = status(&driver).await.unwrap_err();
    assert!(matches!(&error, DriverError::Unavailable(why) if why.contains("its third")), "{error}");
    let error = apply(&driver, remove([2], 1)).await.unwrap_err();
    assert!(matches!(&error, DriverError::Refused(why) if why.contains("its third")), "{error}");
    assert_eq!(apply(&driver, grow(3)).await, Ok(Applied { desired: 3, changed: true }), "a part is kept for growing");
    wait(&driver, Duration::from_hours(1));
    assert_eq!(status(&driver).await.unwrap().desired, 3);
}

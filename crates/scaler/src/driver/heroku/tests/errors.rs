//! Answers that say no, and what is told of them.

use super::*;

/// What comes of reading and of growing where both are answered so.
async fn both(fault: Fault) -> (DriverError, DriverError) {
    let heroku = shop().start().await;
    let reading = driver(&heroku);
    heroku.fail(Call::Formation, fault.clone());
    let read = status(&reading).await.unwrap_err();
    heroku.fail(Call::Update, fault);
    let changed = apply(&driver(&heroku), grow(2)).await.unwrap_err();
    assert_eq!((heroku.faults_left(), heroku.quantity("worker")), (0, 0));
    (read, changed)
}

#[track_caller]
fn refused(error: &DriverError, words: &[&str]) {
    let DriverError::Refused(why) = error else { panic!("{error:?}") };
    for word in words {
        assert!(why.contains(word), "{word:?} is not in {why}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_by_its_variable() {
    let heroku = shop().start().await;
    let token = Token::new("SHOP_TOKEN", "of-yesterday").unwrap();
    let config = HerokuConfig::new("shop", token).unwrap().base_url(&heroku.url()).unwrap();
    let driver = HerokuDriver::new(config.pool("mail", "worker").unwrap()).unwrap();
    for error in [status(&driver).await.unwrap_err(), apply(&driver, grow(1)).await.unwrap_err()] {
        refused(&error, &["401 unauthorized", "set SHOP_TOKEN", "heroku authorizations:create"]);
    }
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let (read, changed) = both(Fault::status(403)).await;
    for error in [read, changed] {
        refused(&error, &["403 forbidden", "SHOP_TOKEN", "scope read or write", "`operate` on shop"]);
    }
}

#[tokio::test]
async fn an_unknown_app_and_an_unknown_process_type_are_told_apart() {
    let (read, changed) = both(Fault::status(404)).await;
    refused(&read, &["there is no app shop", "check the app's name"]);
    refused(&changed, &["no such process type", "Procfile"]);
}

#[tokio::test]
async fn a_process_type_that_is_unknown_harms_no_other() {
    let heroku = shop().start().await;
    let driver = HerokuDriver::new(config(&heroku).pool("typo", "wroker").unwrap()).unwrap();
    let typo = Change::GrowTo { pool: PoolRef::from("typo"), size: 2 };
    let [mail, typo] = driver.apply(&[grow(3), typo]).await.try_into().unwrap();
    assert_eq!(mail, Ok(Applied { desired: 3, changed: true }));
    refused(&typo.unwrap_err(), &["no such process type"]);
    assert_eq!((heroku.quantity("worker"), heroku.updates().len()), (3, 3), "together, then each alone");
}

#[tokio::test]
async fn a_conflict_is_for_the_next_tick() {
    let (read, changed) = both(Fault::status(409)).await;
    for error in [read, changed] {
        refused(&error, &["409 conflict", "asked again at the next tick"]);
    }
}

#[tokio::test]
async fn other_refusals_are_told_in_herokus_words() {
    let (read, changed) = both(Fault::status(422)).await;
    for error in [read, changed] {
        refused(&error, &["422 invalid_params: Invalid parameters."]);
    }
    let (read, changed) = both(Fault::status(402)).await;
    for error in [read, changed] {
        refused(&error, &["paid", "past due"]);
    }
    let (read, changed) = both(Fault::status(418)).await;
    for error in [read, changed] {
        refused(&error, &["418"]);
    }
}

#[tokio::test]
async fn a_limit_is_remembered_and_forgotten_again() {
    let heroku = shop().most("worker", 5).start().await;
    let driver = driver(&heroku);
    refused(
        &apply(&driver, grow(9)).await.unwrap_err(),
        &["422 cannot_update_above_limit", "more than 5", "lower the pool's max"],
    );
    assert_eq!(driver.limits(&pool()).max, Some(5));
    assert_eq!(driver.limits(&PoolRef::from("media")).max, None, "it is this process type's");
    assert_eq!(apply(&driver, grow(5)).await, Ok(Applied { desired: 5, changed: true }));
    wait(&driver, Duration::from_mins(10));
    assert_eq!(driver.limits(&pool()).max, None);
}

#[tokio::test]
async fn a_limit_without_a_number_is_found_by_halving() {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    let driver = driver(&heroku);
    let full = Fault::above_limit("cannot_run_above_limit", "You have reached the limit of your account.", None);
    heroku.fail(Call::Update, full.clone());
    refused(&apply(&driver, grow(10)).await.unwrap_err(), &["cannot_run_above_limit"]);
    assert_eq!(driver.limits(&pool()).max, Some(6));
    heroku.fail(Call::Update, full);
    apply(&driver, grow(6)).await.unwrap_err();
    assert_eq!(driver.limits(&pool()).max, Some(4));
}

#[tokio::test]
async fn a_limit_of_one_pool_harms_no_other() {
    let heroku = shop().most("worker", 5).start().await;
    let driver = driver(&heroku);
    let media = Change::GrowTo { pool: PoolRef::from("media"), size: 2 };
    let [mail, media] = driver.apply(&[grow(9), media]).await.try_into().unwrap();
    refused(&mail.unwrap_err(), &["cannot_update_above_limit"]);
    assert_eq!(media, Ok(Applied { desired: 2, changed: true }));
    assert_eq!((driver.limits(&pool()).max, driver.limits(&PoolRef::from("media")).max), (Some(5), None));
}

/// Everything that is logged, to the last detail.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_token_is_in_no_message_and_in_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(subscriber.finish());
    let heroku = shop().start().await;
    let echo = format!("you sent Bearer {} to us", heroku.token());
    let misplaced = format!(r#"[{{"type":"worker","quantity":"{echo}"}}]"#);
    let told = Fault::above_limit("invalid_params", &echo, None);
    let mut shown = Vec::new();
    for fault in [
        Fault::Malformed(echo.clone()),
        Fault::Malformed(misplaced),
        told,
        Fault::status(401),
        Fault::status(500),
        Fault::Reset,
    ] {
        let driver = driver(&heroku);
        heroku.fail(Call::Formation, fault.clone());
        let read = status(&driver).await.unwrap_err();
        heroku.fail(Call::Update, fault.clone());
        let changed = apply(&driver, grow(2)).await.unwrap_err();
        shown.push(format!("{read} {read:?} {changed} {changed:?} {driver} {driver:?} {:?}", driver.lock()));
    }
    let shown = shown.join("\n");
    assert!(shown.contains("you sent Bearer [token] to us"), "{shown}");
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("PATCH /apps/shop/formation") && logged.contains("heroku answered"), "{logged}");
    for text in [shown, logged] {
        assert!(!text.contains(heroku.token()), "{text}");
    }
}

//! Answers that do not come, or that say nothing: what may have happened is not believed either way.

use super::*;

/// One that waits for a silent server no longer than a test can, and for any other as long as it takes.
fn impatient(heroku: &FakeHeroku, fault: &Fault) -> HerokuDriver {
    let silent = matches!(fault, Fault::Silence) || *fault == Fault::Silence.once_done();
    let limit = if silent { Duration::from_millis(700) } else { SOON };
    HerokuDriver::new(config(heroku).read_timeout(limit).write_timeout(limit)).unwrap()
}

async fn unavailable(fault: Fault, words: &str) {
    let heroku = shop().start().await;
    heroku.scale("worker", 2);
    for call in [Call::Formation, Call::Dynos] {
        let driver = impatient(&heroku, &fault);
        heroku.fail(call, fault.clone());
        let error = status(&driver).await.unwrap_err();
        assert!(matches!(&error, DriverError::Unavailable(why) if why.contains(words)), "{call:?}: {error}");
        assert_eq!(status(&driver).await.unwrap().desired, 2, "the next reading is as good as any");
    }
}

/// A change that gets no clear answer, whether it was made or not: then a reading tells.
async fn unknown(fault: Fault, words: &str) {
    for (fault, made) in [(fault.clone(), 2), (fault.once_done(), 5)] {
        let heroku = shop().start().await;
        heroku.scale("worker", 2);
        let driver = impatient(&heroku, &fault);
        assert_eq!(status(&driver).await.unwrap().desired, 2);
        heroku.fail(Call::Update, fault.clone());
        let error = apply(&driver, grow(5)).await.unwrap_err();
        assert!(matches!(&error, DriverError::Unknown(why) if why.contains(words)), "{fault:?}: {error}");
        assert_eq!((heroku.quantity("worker"), heroku.updates().len()), (made, 1), "it is not asked twice");
        assert_eq!(status(&driver).await.unwrap().desired, made, "what was read before does not count any more");
    }
}

#[tokio::test]
async fn a_fault_of_the_servers() {
    for code in [500, 502, 503] {
        unavailable(Fault::status(code), &format!("{code} ")).await;
        unknown(Fault::status(code), &format!("{code} ")).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_reset() {
    unavailable(Fault::Reset, "").await;
    unknown(Fault::Reset, "").await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long() {
    unavailable(Fault::Silence, "within 700ms").await;
    unknown(Fault::Silence, "within 700ms").await;
}

#[tokio::test]
async fn an_answer_that_makes_no_sense() {
    for text in ["<html>Bad gateway</html>", "", "{}", r#"[{"type":"worker"}]"#] {
        unavailable(Fault::Malformed(text.into()), "cannot be read").await;
        unknown(Fault::Malformed(text.into()), "cannot be read").await;
    }
    unknown(Fault::Malformed("[]".into()), "does not mention worker").await;
    unknown(Fault::Malformed(r#"[{"type":"web","quantity":5}]"#.into()), "does not mention worker").await;
}

/// A growing pool that believed it would ask for fewer dynos than it has.
#[tokio::test]
async fn a_formation_without_a_type_whose_dynos_are_listed_is_not_believed() {
    for text in ["[]", r#"[{"type":"web","quantity":5}]"#] {
        let heroku = shop().start().await;
        heroku.scale("worker", 3);
        let driver = driver(&heroku);
        heroku.fail(Call::Formation, Fault::Malformed(text.into()));
        let Err(DriverError::Unavailable(why)) = status(&driver).await else { panic!("it is believed") };
        assert!(why.contains("does not mention it"), "{why}");
        wait(&driver, SOON * 10);
        assert_eq!(status(&driver).await.unwrap().desired, 3);
        heroku.fail(Call::Formation, Fault::Malformed(text.into()));
        let answer = apply(&driver, grow(2)).await;
        assert!(matches!(answer, Err(DriverError::Unavailable(_))), "{answer:?}");
        assert_eq!((heroku.quantity("worker"), heroku.updates().len()), (3, 0));
    }
}

#[tokio::test]
async fn a_slow_answer_in_time_is_an_answer() {
    let heroku = shop().start().await;
    heroku.fail(Call::Update, Fault::Slow(Duration::from_millis(100)));
    assert_eq!(apply(&driver(&heroku), grow(2)).await, Ok(Applied { desired: 2, changed: true }));
}

#[tokio::test]
async fn what_was_never_sent_did_not_happen() {
    let heroku = shop().start().await;
    let driver = driver(&heroku);
    drop(heroku);
    for error in [status(&driver).await.unwrap_err(), apply(&driver, grow(2)).await.unwrap_err()] {
        assert!(
            matches!(&error, DriverError::Unavailable(why) if why.contains("cannot connect to 127.0.0.1")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
    let heroku = shop().start().await;
    let secure = heroku.url().replace("http://", "https://");
    let driver = HerokuDriver::new(config(&heroku).base_url(&secure).unwrap()).unwrap();
    for error in [status(&driver).await.unwrap_err(), apply(&driver, grow(2)).await.unwrap_err()] {
        assert!(matches!(error, DriverError::Unavailable(_)), "{error}");
    }
    assert!(heroku.requests().is_empty());
}

#[tokio::test]
async fn a_failed_reading_before_a_change_means_that_nothing_happened() {
    let heroku = shop().start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    heroku.fail(Call::Formation, Fault::status(500));
    assert!(matches!(apply(&driver, remove([3], 2)).await, Err(DriverError::Unavailable(_))));
    assert!(heroku.updates().is_empty());
}

#[tokio::test]
async fn after_a_lost_answer_every_look_reads_until_the_change_cannot_be_on_its_way() {
    let heroku = shop().start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    heroku.fail(Call::Update, Fault::status(500));
    assert!(matches!(apply(&driver, remove([3], 2)).await, Err(DriverError::Unknown(_))));
    heroku.take_requests();
    for _ in 0..3 {
        assert_eq!(status(&driver).await.unwrap().desired, 3);
    }
    assert_eq!(heroku.take_requests().len(), 6, "each of the three reads both lists");
    // It arrives after all.
    heroku.scale("worker", 2);
    assert_eq!(status(&driver).await.unwrap().desired, 2);
    wait(&driver, Duration::from_secs(31));
    status(&driver).await.unwrap();
    heroku.take_requests();
    status(&driver).await.unwrap();
    assert_eq!(heroku.take_requests(), [""; 0]);
}

#[tokio::test]
async fn after_a_lost_answer_no_other_change_of_that_pool_is_sent() {
    let heroku = shop().start().await;
    heroku.fail(Call::Update, Fault::status(500).once_done());
    let media = Change::GrowTo { pool: PoolRef::from("media"), size: 1 };
    let [first, second, media] = driver(&heroku).apply(&[grow(2), grow(3), media]).await.try_into().unwrap();
    assert!(matches!(first, Err(DriverError::Unknown(_))));
    assert!(matches!(&second, Err(DriverError::Unavailable(why)) if why.contains("is not known yet")), "{second:?}");
    assert!(matches!(media, Err(DriverError::Unknown(_))), "it was in the same call");
    assert_eq!(heroku.updates().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_is_a_lost_answer() {
    let heroku = shop().start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    status(&driver).await.unwrap();
    heroku.fail(Call::Update, Fault::Silence.once_done());
    let dropped = tokio::time::timeout(Duration::from_millis(500), apply(&driver, remove([3], 2))).await;
    assert!(dropped.is_err());
    assert_eq!(status(&driver).await.unwrap().desired, 2, "it is read, not remembered");
}

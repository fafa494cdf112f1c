//! What a webhook is told.

use std::fs;

use headcount_tests::{Inbox, Place, eventually, process::Signal};

use crate::{JOB, SOON, local};

#[tokio::test]
async fn a_budget_that_is_nearly_spent_is_told_once_although_the_address_refuses_at_first() {
    let place = Place::sqlite();
    let inbox = Inbox::open("hooks/s3cret", 1).await;
    place.says("migrate").await;
    let dear = "policy = \"linear\"\nmin = 1\nprice = 3600\nbudget = 1\n";
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB).replace("policy = \"linear\"\n", dear)).unwrap();
    let mut scaler = place.headcount("scale").env("HEADCOUNT_WEBHOOK_URL", inbox.url()).start();
    eventually("it is told", SOON, async || {
        let taken = inbox.taken();
        if taken.is_empty() { Err(taken) } else { Ok(()) }
    })
    .await;
    assert!(scaler.signal(Signal::TERM));
    let ended = scaler.ends_well(SOON).await;
    let taken = inbox.taken();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!((&taken[0]["event"], &taken[0]["pool"]), (&"budget".into(), &"here".into()));
    assert!(taken[0]["text"].as_str().unwrap().contains("of the day's budget of 1.00"), "{taken:?}");
    let log = ended.stderr() + &ended.stdout();
    assert!(log.contains("of the day's budget") && !log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn a_webhook_that_is_no_address_is_refused_unshown() {
    let place = Place::sqlite();
    place.says("migrate").await;
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let ended = place.headcount("scale").env("HEADCOUNT_WEBHOOK_URL", "ftp://x/s3cret").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78));
    let told = ended.stderr();
    assert!(told.contains("HEADCOUNT_WEBHOOK_URL") && told.contains("https://") && !told.contains("s3cret"), "{told}");
}

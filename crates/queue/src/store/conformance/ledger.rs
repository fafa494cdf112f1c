//! The ledger: what was decided and why, equal decisions in a row counted, and what the scaler is to remember.

use super::{
    scaling::{POOL, hold, known_pool, pool, scaler},
    trial::{HOUR, Trial, tick},
};
use crate::{
    Error, Json,
    store::{Decided, Fence, NewDecision, Weight},
};

fn decision(pool: &str, weight: Weight, gist: &str, detail: &str) -> NewDecision {
    NewDecision { pool: pool.into(), weight, gist: gist.into(), detail: Json(detail.into()), state: None }
}

fn hold_on(gist: &str, detail: &str) -> NewDecision {
    decision(POOL, Weight::Hold, gist, detail)
}

async fn record(trial: &Trial<'_>, fence: &Fence, decisions: &[NewDecision]) {
    trial.store.record(fence, decisions).await.expect("decisions are written");
    tick(&*trial.store).await;
}

async fn ledger(trial: &Trial<'_>) -> Vec<Decided> {
    trial.store.ledger(None, None, 100).await.expect("the ledger is shown")
}

/// Their gists, the latest first.
async fn gists(trial: &Trial<'_>, pool: Option<&str>, limit: u32) -> Vec<String> {
    trial.store.ledger(pool, None, limit).await.unwrap().into_iter().map(|decided| decided.gist).collect()
}

/// With its time, by the store's clock.
pub async fn a_decision_is_shown_as_it_was_taken(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let before = trial.now().await;
    let detail = "{\"seen\": {\"ready\": 7},\n \"größe\": \"\\u0001\"}";
    record(trial, &fence, &[decision(POOL, Weight::Change, "grow to 3", detail)]).await;
    let after = trial.now().await;
    let mut entries = ledger(trial).await;
    assert_eq!(entries.len(), 1);
    let entry = entries.remove(0);
    assert_eq!((entry.pool.as_str(), entry.weight, entry.gist.as_str()), (POOL, Weight::Change, "grow to 3"));
    assert_eq!((entry.detail.0.as_str(), entry.count), (detail, 1));
    assert_eq!(entry.first_at, entry.last_at);
    assert!(before <= entry.first_at && entry.first_at <= after);
    assert_eq!(known_pool(trial, POOL).await.latest, Some(entry));
    trial.store.record(&fence, &[]).await.expect("no decision is none");
    assert_eq!(ledger(trial).await.len(), 1);
}

/// A pool that holds for an hour is one entry, with the latest of what was seen.
pub async fn equal_decisions_in_a_row_are_one_entry(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    record(trial, &fence, &[hold_on("enough", "1")]).await;
    let first = ledger(trial).await.remove(0);
    record(trial, &fence, &[hold_on("enough", "2")]).await;
    record(trial, &fence, &[hold_on("enough", "3")]).await;
    let entries = ledger(trial).await;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].id, entries[0].first_at, entries[0].count), (first.id, first.first_at, 3));
    assert_eq!(entries[0].detail, Json("3".into()));
    assert!(entries[0].last_at > first.last_at);
    // Two in one call are no more equal, and no less.
    record(trial, &fence, &[hold_on("enough", "4"), hold_on("enough", "5"), hold_on("other", "6")]).await;
    let counts: Vec<_> = ledger(trial).await.into_iter().map(|entry| (entry.gist, entry.count)).collect();
    assert_eq!(counts, [("other".into(), 1), ("enough".into(), 5)]);
}

/// Another weight, another gist, another pool, or something in between.
pub async fn different_decisions_are_entries_of_their_own(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail")]).await.unwrap();
    for decision in [
        hold_on("a", "1"),
        decision(POOL, Weight::Change, "a", "2"),
        hold_on("a", "3"),
        hold_on("b", "4"),
        hold_on("a", "5"),
    ] {
        record(trial, &fence, &[decision]).await;
    }
    assert_eq!(gists(trial, Some(POOL), 9).await, ["a", "b", "a", "a", "a"]);
    // A decision for another pool in between is none of this one's.
    record(trial, &fence, &[decision("mail", Weight::Hold, "a", "6")]).await;
    record(trial, &fence, &[hold_on("a", "7")]).await;
    let entries = ledger(trial).await;
    assert_eq!(entries.len(), 6);
    assert!(entries.windows(2).all(|pair| pair[0].id > pair[1].id), "the latest first, by its number");
    assert_eq!((entries[1].count, entries[1].detail.0.as_str()), (2, "7"));
    assert_eq!(known_pool(trial, POOL).await.latest.as_ref(), Some(&entries[1]));
    assert_eq!(known_pool(trial, "mail").await.latest.as_ref(), Some(&entries[0]));
}

/// Of one pool or of all, up to a time, so many.
pub async fn the_ledger_is_read_by_pool_by_time_and_to_a_limit(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    for gist in ["a", "b"] {
        record(trial, &fence, &[hold_on(gist, "1"), decision("mail", Weight::Hold, gist, "1")]).await;
    }
    record(trial, &fence, &[hold_on("b", "2")]).await;
    let between = trial.now().await;
    tick(&*trial.store).await;
    record(trial, &fence, &[hold_on("b", "3")]).await;
    record(trial, &fence, &[hold_on("c", "1")]).await;
    assert_eq!(gists(trial, Some(POOL), 9).await, ["c", "b", "a"]);
    assert_eq!(gists(trial, Some("mail"), 9).await, ["b", "a"], "whether its pool is known or not");
    assert_eq!(gists(trial, Some(POOL), 2).await, ["c", "b"]);
    assert_eq!(gists(trial, None, 9).await.len(), 5);
    assert_eq!(gists(trial, None, 0).await.len(), 0);
    assert_eq!(gists(trial, Some("unknown"), 9).await.len(), 0);

    let then = trial.store.ledger(Some(POOL), Some(between), 1).await.unwrap();
    assert_eq!((then[0].gist.as_str(), then[0].count), ("b", 3), "what began by then, as it stands now");
    let all = trial.store.ledger(None, Some(between), 9).await.unwrap();
    assert_eq!(all.len(), 4);
    let first = all.last().unwrap().first_at;
    assert!(!trial.store.ledger(None, Some(first), 9).await.unwrap().is_empty(), "that very moment included");
    let before = first - chrono::TimeDelta::milliseconds(1);
    assert_eq!(trial.store.ledger(None, Some(before), 9).await.unwrap(), []);
}

/// A new leader goes on with it. A decision without a state leaves it as it was.
pub async fn a_pools_state_is_remembered_with_its_decision(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail")]).await.unwrap();
    let state = "{\"z\": 1.5, \"ring\": [1, 2]}";
    let with = NewDecision { state: Some(Json(state.into())), ..hold_on("a", "1") };
    record(trial, &fence, &[with]).await;
    assert_eq!(known_pool(trial, POOL).await.state, Some(Json(state.into())));
    assert_eq!(known_pool(trial, "mail").await.state, None);
    record(trial, &fence, &[hold_on("blind", "2")]).await;
    assert_eq!(known_pool(trial, POOL).await.state, Some(Json(state.into())));
    trial.store.release_lease(&fence).await.unwrap();
    let next = hold(trial, "scaler", "scaler-2", HOUR).await;
    assert_eq!(known_pool(trial, POOL).await.state, Some(Json(state.into())));
    let other = NewDecision { state: Some(Json("2".into())), ..hold_on("blind", "3") };
    let mail = NewDecision { state: Some(Json("3".into())), ..decision("mail", Weight::Hold, "x", "{}") };
    record(trial, &next, &[other, mail]).await;
    assert_eq!(known_pool(trial, POOL).await.state, Some(Json("2".into())));
    assert_eq!(known_pool(trial, "mail").await.state, Some(Json("3".into())));
}

/// What is written down before a platform is asked, lest it be forgotten if the scaler is killed meanwhile.
pub async fn a_pools_state_is_remembered_without_a_decision(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail")]).await.unwrap();
    let state = |text: &str| Json(text.into());
    let with = NewDecision { state: Some(state("1")), ..hold_on("a", "1") };
    record(trial, &fence, &[with]).await;
    let states =
        [(POOL.to_owned(), state("{\"z\": 2}")), ("mail".to_owned(), state("3")), ("no".to_owned(), state("4"))];
    trial.store.remember(&fence, &states).await.expect("one that is not known is passed over");
    assert_eq!(known_pool(trial, POOL).await.state, Some(state("{\"z\": 2}")));
    assert_eq!(known_pool(trial, "mail").await.state, Some(state("3")));
    assert_eq!(ledger(trial).await.len(), 1);
    trial.store.release_lease(&fence).await.unwrap();
    let late = trial.store.remember(&fence, &[(POOL.to_owned(), state("5"))]).await;
    assert!(matches!(late, Err(Error::Superseded)), "{late:?}");
    assert_eq!(known_pool(trial, POOL).await.state, Some(state("{\"z\": 2}")));
}

/// A purge leaves what is not old.
pub async fn a_purge_leaves_what_was_decided_lately(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    record(trial, &fence, &[hold_on("a", "1"), decision(POOL, Weight::Change, "b", "2")]).await;
    let before = ledger(trial).await;
    trial.store.purge(100).await.unwrap();
    assert_eq!(ledger(trial).await, before);
}

//! Actions on many jobs at once, and the filters that find them.

use std::{cell::Cell, time::Duration};

use super::trial::{HOUR, Trial, completed, end, eventually, failed, ids, kept, keyed, plain, retry, snooze};
use crate::{
    Conflict, JobId, NewJob, Queue, Scope, State,
    limits::INLINE_BYTES,
    store::{Action, Filter, Verdict},
};

/// Acts page by page to the end, once. Returns what was done, in order.
async fn pass(trial: &Trial<'_>, action: Action, filter: &Filter, page: u32) -> Vec<JobId> {
    let mut filter = filter.clone();
    let mut done = Vec::new();
    loop {
        let acted = trial.store.act(action, &filter, page).await.expect("an action passes");
        assert!(acted.done.len() <= page as usize, "no more than {page} at once");
        done.extend(acted.done);
        let Some(last) = acted.last else { break };
        assert!(filter.after.is_none_or(|after| last > after), "each page goes on");
        filter.after = Some(last);
    }
    assert!(done.is_sorted(), "by ascending id");
    done
}

/// What the filter finds: listed, counted, page by page.
async fn found(trial: &Trial<'_>, filter: &Filter) -> Vec<JobId> {
    let listed: Vec<JobId> = trial.jobs(filter).await.into_iter().map(|job| job.id).collect();
    assert_eq!(trial.store.count(filter).await.expect("a count passes"), listed.len() as u64, "{filter:?}");
    let mut paged = Vec::new();
    let mut filter = filter.clone();
    while let Some(job) = trial.store.jobs(&filter, 1).await.expect("a page is shown").pop() {
        paged.push(job.id);
        filter.after = Some(job.id);
    }
    assert_eq!(paged, listed, "{filter:?}");
    listed
}

/// The jobs of the filters' cases: their ids, in order.
async fn stage(trial: &Trial<'_>) -> Vec<JobId> {
    let long = "x".repeat(2 * INLINE_BYTES);
    let mail = |user: &str| NewJob::new("mail", format!("{{\"user\":{{\"id\":{user}}},\"to\":[\"a\",\"b\"]}}"));
    let bulk = [
        mail("7").queue("a"),
        mail("\"7\"").queue("b").key("k"),
        mail("70").queue("a").key("K"),
        NewJob::new("thumb", format!("{{\"pad\":\"{long}\",\"user\":{{\"id\":7}},\"ok\":true}}")).queue("a"),
        NewJob::new("thumb", "[{\"a.b\":1,\"n\":-0.5},{\"n\":\"größe '%_\"}]").queue("b").delay(HOUR),
        NewJob::new("thumb", "\"text\"").queue("b").key("k2").delay(2 * HOUR),
        NewJob::new("fail", "null").queue("f"),
        NewJob::new("fail", "{}").queue("f").key("k"),
    ];
    let ids: Vec<JobId> = trial.store.enqueue(&bulk).await.unwrap().into_iter().map(|e| e.id).collect();
    let mut worker = trial.worker("f").await;
    for (job, error) in worker.take(2).await.iter().zip(["disk full: 100% of C:\\_", "Disk is gone"]) {
        worker.settle(job, Verdict::Failed { error: error.into(), keep: None }).await;
    }
    ids
}

/// Each of them alone and several together, in jobs and in counts.
pub async fn a_filter_finds_by_each_of_its_fields(trial: &Trial<'_>) {
    let ids = stage(trial).await;
    let all = Filter::default();
    let payload = |path: &str, value: &str| Filter { payload: Some((path.into(), value.into())), ..all.clone() };
    let error = |text: &str| Filter { error: Some(text.into()), ..all.clone() };
    let key = |key: &str| Filter { key: Some(key.into()), ..all.clone() };
    let unknown = JobId(ids[7].0 + 1000);
    for (filter, expected) in [
        (all.clone(), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { ids: vec![ids[5], ids[2], unknown, ids[2]], ..all.clone() }, vec![2, 5]),
        (Filter { ids: vec![unknown], ..all.clone() }, vec![]),
        (Filter { queue: Some("a".into()), ..all.clone() }, vec![0, 2, 3]),
        (Filter { kind: Some("thumb".into()), ..all.clone() }, vec![3, 4, 5]),
        (Filter { states: vec![State::Scheduled, State::Failed], ..all.clone() }, vec![4, 5, 6, 7]),
        (key("k"), vec![1, 7]),
        (key("K"), vec![2]),
        (key("none"), vec![]),
        (error("full"), vec![6]),
        (error("isk "), vec![6, 7]),
        (error("100% of C:\\_"), vec![6]),
        (error("100_"), vec![]),
        (error("%"), vec![6]),
        (payload("user.id", "7"), vec![0, 1, 3]),
        (payload("user.id", "70"), vec![2]),
        (payload("user.id", "\"7\""), vec![]),
        (payload("user", "7"), vec![]),
        (payload("to.1", "b"), vec![0, 1, 2]),
        (payload("to.2", "b"), vec![]),
        (payload("ok", "true"), vec![3]),
        (payload("0.n", "-0.5"), vec![4]),
        (payload("1.n", "größe '%_"), vec![4]),
        (payload("nothing.there", ""), vec![]),
        (Filter { after: Some(ids[5]), ..all.clone() }, vec![6, 7]),
        (Filter { older_than: Some(Duration::ZERO), ..all.clone() }, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter { older_than: Some(HOUR), ..all.clone() }, vec![]),
        (Filter { queue: Some("a".into()), kind: Some("mail".into()), ..payload("user.id", "7") }, vec![0]),
        (Filter { ids: ids.clone(), states: vec![State::Failed], ..key("k") }, vec![7]),
        (Filter { ids: vec![ids[0], ids[3]], after: Some(ids[0]), ..payload("user.id", "7") }, vec![3]),
    ] {
        let expected: Vec<JobId> = expected.into_iter().map(|n: usize| ids[n]).collect();
        assert_eq!(found(trial, &filter).await, expected, "{filter:?}");
    }
}

/// The time of the enqueue counts, by the store's clock.
pub async fn a_filter_tells_old_jobs_from_young_ones(trial: &Trial<'_>) {
    let old = trial.enqueue(plain("q").delay(HOUR)).await;
    let enqueued_at = trial.job(old).await.enqueued_at;
    trial.until_past(enqueued_at + Duration::from_millis(500)).await;
    let young = trial.enqueue(plain("q")).await;
    let young_at = trial.job(young).await.enqueued_at;
    let between = enqueued_at + Duration::from_millis(100);
    let listed = eventually("the look is quick enough to tell", async || {
        let before = trial.now().await;
        let older_than = Some((before - between).to_std().expect("it has passed"));
        let filter = Filter { older_than, ..Filter::default() };
        let listed: Vec<JobId> = trial.jobs(&filter).await.into_iter().map(|job| job.id).collect();
        // At the time of the look the bound had moved on by no more than this.
        (between + (trial.now().await - before) < young_at).then_some(listed)
    })
    .await;
    assert_eq!(listed, [old]);
}

/// What a filter finds is acted on, and nothing else; by every field.
pub async fn an_action_takes_what_the_filter_finds_and_nothing_else(trial: &Trial<'_>) {
    let filters: [fn(&[JobId]) -> Filter; 9] = [
        |ids| Filter { ids: vec![ids[0], ids[4]], ..Filter::default() },
        |_| Filter { queue: Some("a".into()), ..Filter::default() },
        |_| Filter { kind: Some("thumb".into()), ..Filter::default() },
        |_| Filter { states: vec![State::Scheduled], ..Filter::default() },
        |_| Filter { key: Some("k".into()), ..Filter::default() },
        |_| Filter { error: Some("full".into()), ..Filter::default() },
        |_| Filter { payload: Some(("user.id".into(), "7".into())), ..Filter::default() },
        |ids| Filter { after: Some(ids[3]), ..Filter::default() },
        |_| Filter { older_than: Some(HOUR), ..Filter::default() },
    ];
    for (n, filter) in filters.into_iter().enumerate() {
        let ids = stage(trial).await;
        let filter = filter(&ids);
        let expected = found(trial, &filter).await;
        assert_eq!(pass(trial, Action::Delete, &filter, 100).await, expected, "filter {n}");
        let left: Vec<JobId> = trial.jobs(&Filter::default()).await.into_iter().map(|job| job.id).collect();
        let untouched: Vec<JobId> = ids.into_iter().filter(|id| !expected.contains(id)).collect();
        assert_eq!(left, untouched, "filter {n}");
        assert_eq!(pass(trial, Action::Delete, &Filter::default(), 3).await, untouched, "filter {n}");
        trial.assert_counted().await;
    }
}

/// A job of each state; the action moves those whose state allows it, and passes over the others unchanged.
pub async fn an_action_passes_over_jobs_whose_state_does_not_allow_it(trial: &Trial<'_>) {
    for action in [Action::Cancel, Action::Retry, Action::Delete] {
        let queue = action.done();
        let jobs = trial.fill(queue, 6).await;
        let scheduled = trial.enqueue(plain(queue).delay(HOUR)).await;
        let suspect = trial.enqueue(plain(queue).priority(9)).await;
        trial.make_suspect(queue, suspect).await;
        let mut worker = trial.worker(queue).await;
        let claimed = worker.take(4).await;
        assert_eq!(ids(&claimed), jobs[..4]);
        worker.settle_all(&[end(&claimed[0], kept("done")), end(&claimed[1], failed())]).await;
        trial.store.cancel(jobs[4]).await.unwrap();
        // 0 completed, 1 failed, 2 and 3 running, 4 cancelled, 5 queued.
        let before = trial.jobs_of(queue).await;
        let expected: Vec<JobId> =
            before.iter().filter(|job| action.states().contains(&job.state)).map(|job| job.id).collect();
        let filter = Filter { queue: Some(queue.into()), ..Filter::default() };
        assert_eq!(pass(trial, action, &filter, 2).await, expected, "{queue}");
        for job in before {
            let after = trial.find(job.id).await;
            if !expected.contains(&job.id) {
                assert_eq!(after.as_ref(), Some(&job), "{queue}: passed over");
                continue;
            }
            let state = after.map(|job| job.state);
            match action {
                Action::Cancel if job.state == State::Running => assert_eq!(state, Some(State::Running)),
                Action::Cancel => assert_eq!(state, Some(State::Cancelled), "{queue}: {job:?}"),
                Action::Retry => assert_eq!(state, Some(State::Queued), "{queue}: {job:?}"),
                Action::Delete => assert_eq!(state, None, "{queue}: {job:?}"),
            }
        }
        assert_eq!(pass(trial, action, &filter, 2).await, [], "{queue}: a second pass finds nothing to do");
        if action == Action::Cancel {
            let answer = worker.beat(&[&claimed[2], &claimed[3]], &[]).await;
            assert_eq!(answer.cancelled.len(), 2, "those that run are told");
        }
        let other = if action == Action::Delete { State::Running } else { State::Completed };
        let none = Filter { states: vec![other], ..filter };
        assert_eq!(pass(trial, action, &none, 10).await, [], "{queue}");
        assert!(trial.find(scheduled).await.is_some() || action == Action::Delete);
        trial.assert_counted().await;
    }
}

/// Page after page by ascending ids, whatever lies between; a limit of nothing does nothing.
pub async fn an_action_goes_page_by_page_to_the_end(trial: &Trial<'_>) {
    let mut wanted = Vec::new();
    for n in 0..23_i16 {
        let job = plain(if n % 4 == 3 { "other" } else { "q" }).priority(-n);
        let id = trial.enqueue(if n % 3 == 0 { job.delay(HOUR) } else { job }).await;
        if n % 4 != 3 {
            wanted.push(id);
        }
    }
    let filter = Filter { queue: Some("q".into()), ..Filter::default() };
    assert_eq!(trial.store.act(Action::Cancel, &filter, 0).await.unwrap().done, []);
    let first = trial.store.act(Action::Cancel, &filter, 5).await.unwrap();
    assert_eq!(first.done, wanted[..5], "the first page, by ascending id");
    assert_eq!(first.last, Some(wanted[4]), "go on after the last that was looked at");
    let rest = Filter { after: first.last, ..filter.clone() };
    assert_eq!(pass(trial, Action::Cancel, &rest, 5).await, wanted[5..]);
    for &id in &wanted {
        trial.assert_state(id, State::Cancelled).await;
    }
    let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
    assert_eq!(found(trial, &cancelled).await, wanted);
    assert_eq!(pass(trial, Action::Retry, &cancelled, 7).await, wanted);
    let mut worker = trial.worker("q").await;
    let mut claimed = ids(&worker.take(100).await);
    claimed.sort();
    assert_eq!(claimed, wanted, "each is queued again, once");
    trial.assert_counted().await;
}

/// Of several failed jobs of one key one may be retried; the others are passed over, and so is one whose key is held.
pub async fn a_retry_of_many_passes_over_those_whose_key_is_taken(trial: &Trial<'_>) {
    let job = |key| keyed("q", key, Scope::Unfinished, Conflict::Keep);
    let mut worker = trial.worker("q").await;
    let mut broken = Vec::new();
    for key in ["a", "a", "b", "b", "c"] {
        let id = trial.enqueue(job(key)).await;
        let running = worker.take_one().await;
        worker.settle(&running, failed()).await;
        broken.push(id);
    }
    let holder = trial.enqueue(job("b")).await;
    let filter = Filter { queue: Some("q".into()), states: vec![State::Failed], ..Filter::default() };
    let done = pass(trial, Action::Retry, &filter, 2).await;
    assert_eq!(done, [broken[0], broken[4]]);
    for id in [broken[1], broken[2], broken[3]] {
        trial.assert_state(id, State::Failed).await;
    }
    assert_eq!(found(trial, &filter).await, [broken[1], broken[2], broken[3]]);
    let mut claimed = ids(&worker.take(10).await);
    claimed.sort();
    assert_eq!(claimed, [broken[0], broken[4], holder]);
    trial.assert_counted().await;
}

/// An end by hand lets keys go like any other, and whoever waits takes over; he may be of the same page.
pub async fn an_action_hands_keys_on(trial: &Trial<'_>) {
    for action in [Action::Cancel, Action::Delete] {
        let queue = action.done();
        let job = keyed(queue, "k", Scope::Unfinished, Conflict::RunAgain);
        let holder = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        let running = worker.take_one().await;
        let waiting = trial.enqueue(job.clone()).await;
        worker.settle(&running, retry(HOUR)).await;
        let only = Filter { ids: vec![holder], ..Filter::default() };
        assert_eq!(pass(trial, action, &only, 10).await, [holder]);
        let claimed = worker.take(10).await;
        assert_eq!(ids(&claimed), [waiting], "{queue}");
        let next = trial.enqueue(job.clone()).await;
        worker.settle(&claimed[0], Verdict::Return).await;
        let all = Filter { queue: Some(queue.into()), states: action_states(action), ..Filter::default() };
        Queue::new(trial.store.clone()).act(action, &all).await.expect("an action passes");
        assert!(trial.jobs(&all).await.is_empty(), "{queue}: neither {waiting} nor {next} is left");
        assert!(trial.admit(job).await.is_new(), "{queue}: the key is free");
    }
    trial.assert_counted().await;
}

/// The states that an action leads out of.
fn action_states(action: Action) -> Vec<State> {
    match action {
        Action::Delete => vec![State::Scheduled, State::Queued],
        _ => action.states().to_vec(),
    }
}

/// While workers send jobs round, an action that is repeated to its end gets them all.
pub async fn an_action_gets_those_that_move_meanwhile(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 60).await;
    let over = Cell::new(false);
    let acting = async {
        let filter = Filter { queue: Some("q".into()), ..Filter::default() };
        let done = Queue::new(trial.store.clone()).act(Action::Cancel, &filter).await.expect("an action passes");
        assert!(done >= jobs.len() as u64, "each was cancelled, or its worker asked to: {done}");
        over.set(true);
    };
    tokio::join!(acting, go_round(trial, &over), go_round(trial, &over));
    for id in jobs {
        trial.assert_state(id, State::Cancelled).await;
    }
    trial.assert_counted().await;
}

/// Claims a few, gives them back or puts them off, and promotes, until it is over and nothing is left.
async fn go_round(trial: &Trial<'_>, over: &Cell<bool>) {
    let binding = "q".parse().expect("a binding");
    let mut worker = trial.worker("q").await;
    eventually("all jobs have come to their end", async || {
        let claimed = worker.take(4).await;
        let verdict = |n: usize| if n.is_multiple_of(2) { Verdict::Return } else { snooze(Duration::ZERO) };
        let settled: Vec<_> = claimed.iter().enumerate().map(|(n, job)| end(job, verdict(n))).collect();
        worker.settle_all(&settled).await;
        trial.store.promote(10).await.expect("a promotion passes");
        let left = trial.store.outstanding(&binding).await.expect("an exact look");
        (over.get() && left.is_empty()).then_some(())
    })
    .await;
}

/// What is done is what `Queue` says it did, and its jobs are what a worker then gets.
pub async fn an_action_by_the_queues_handle_counts_what_it_did(trial: &Trial<'_>) {
    let queue = Queue::new(trial.store.clone());
    trial.fill("q", 5).await;
    let mut worker = trial.worker("q").await;
    for job in worker.take(3).await {
        worker.settle(&job, failed()).await;
    }
    let filter = Filter { queue: Some("q".into()), ..Filter::default() };
    assert_eq!(queue.act(Action::Retry, &filter).await.unwrap(), 3);
    let claimed = worker.take(10).await;
    assert_eq!(claimed.len(), 5);
    for job in claimed {
        worker.settle(&job, completed()).await;
    }
    assert_eq!(queue.act(Action::Delete, &filter).await.unwrap(), 0);
    trial.assert_counted().await;
}

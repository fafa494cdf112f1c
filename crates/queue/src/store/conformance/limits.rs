//! What the limits forbid never gets in; and what a worker says in the end never blocks the settling of others.

use std::time::Duration;

use super::trial::{HOUR, Trial, done, end, kept, park, plain};
use crate::{
    Error, Expiry, NewJob, Resolution, Retention, State,
    limits::{MAX_ATTEMPTS, MAX_BULK, MAX_DELAY, MAX_ERROR, MAX_NAME, MAX_OUTPUT, MAX_PAYLOAD},
    store::{Filter, Verdict},
};

/// Each with an error that says what is wrong, and nothing of it in the store.
pub async fn what_is_not_allowed_is_refused_with_a_reason(trial: &Trial<'_>) {
    let ok = || plain("q");
    let over = Duration::from_secs(1);
    for (job, reason) in [
        (NewJob::new("", "{}"), "kind"),
        (NewJob::new("two words", "{}"), "kind"),
        (NewJob::new("k".repeat(MAX_NAME + 1), "{}"), "128"),
        (ok().queue(""), "queue"),
        (ok().queue("a,b"), "queue"),
        (ok().queue("q".repeat(MAX_NAME + 1)), "128"),
        (NewJob::new("kind", ""), "JSON"),
        (NewJob::new("kind", "{'a': 1}"), "JSON"),
        (NewJob::new("kind", "{} {}"), "JSON"),
        (NewJob::new("kind", "\"\\u0000\""), "U+0000"),
        (NewJob::new("kind", "\"\0\""), ""),
        (NewJob::new("kind", format!("\"{}\"", "x".repeat(MAX_PAYLOAD - 1))), "payload"),
        (ok().meta("{"), "meta"),
        (ok().max_attempts(0), "attempts"),
        (ok().max_attempts(MAX_ATTEMPTS + 1), "attempts"),
        (ok().delay(MAX_DELAY + over), "ten years"),
        (ok().delay(Duration::MAX), "ten years"),
        (ok().run_at("2201-01-01T00:00:00Z".parse().expect("a time")), "2200"),
        (ok().timeout(Duration::ZERO), "timeout"),
        (ok().timeout(MAX_DELAY + over), "ten years"),
        (ok().max_run_time(Duration::ZERO), "run time"),
        (ok().max_run_time(Duration::MAX), "ten years"),
    ] {
        match trial.store.enqueue(&[ok(), job]).await {
            Err(Error::Rejected(why)) => assert!(why.contains(reason), "{why:?} says nothing of {reason:?}"),
            other => panic!("what breaks the limit of {reason:?} gave {other:?}"),
        }
    }
    let refused = trial.store.enqueue(&vec![ok(); MAX_BULK + 1]).await;
    assert!(matches!(refused, Err(Error::Rejected(_))), "a bulk of more than {MAX_BULK}");
    assert_eq!(trial.jobs(&Filter::default()).await, []);
    let refused =
        trial.store.set(&crate::store::Target::Queue("two words".into()), crate::store::Setting::Paused(true)).await;
    assert!(matches!(refused, Err(Error::Rejected(_))), "a pause of what can be no queue gave {refused:?}");
}

/// The limits are allowed themselves.
pub async fn what_is_just_allowed_is_taken(trial: &Trial<'_>) {
    let name = "größe".chars().chain(std::iter::repeat('n')).take(MAX_NAME - 2).collect::<String>();
    assert_eq!(name.len(), MAX_NAME);
    let far = "2199-12-31T23:59:59.999999Z".parse().expect("a time");
    let jobs = [
        NewJob::new(&*name, "{}").queue(&*name).max_attempts(MAX_ATTEMPTS),
        plain("q").delay(MAX_DELAY).timeout(MAX_DELAY).max_run_time(MAX_DELAY),
        plain("q").run_at(far),
        plain("App\\Jobs\\Mail:7.'urgent'\"%").priority(i16::MIN),
        NewJob::new("kind", format!("\"{}\"", "x".repeat(MAX_PAYLOAD - 2))).queue("q"),
    ];
    let enqueued = trial.store.enqueue(&jobs).await.unwrap();
    let shown = trial.jobs(&Filter::default()).await;
    assert_eq!(shown.iter().map(|job| job.id).collect::<Vec<_>>(), enqueued.iter().map(|e| e.id).collect::<Vec<_>>());
    assert_eq!((&shown[0].queue, &shown[0].kind, shown[0].max_attempts), (&name, &name, MAX_ATTEMPTS));
    assert_eq!(shown[1].run_at - shown[1].enqueued_at, chrono::TimeDelta::from_std(MAX_DELAY).expect("it fits"));
    assert_eq!(shown[2].run_at, far);
    assert_eq!((&*shown[3].queue, shown[3].priority), ("App\\Jobs\\Mail:7.'urgent'\"%", i16::MIN));
    let mut worker = trial.worker(&name).await;
    assert_eq!(worker.take_one().await.id, shown[0].id);
}

/// Texts that handlers and their children come up with.
fn odd_texts(longest: usize) -> Vec<String> {
    vec![
        String::new(),
        "\0".into(),
        "a\0b\0".into(),
        "\u{1}\u{7f}\u{85}\u{feff}\u{fffd}\u{10ffff}\r\n\t".into(),
        "'; DROP TABLE ready; -- $1 \\ % \\u0000".into(),
        "x".repeat(longest),
        "begin ".to_owned() + &"ß".repeat(longest) + " end",
    ]
}

/// Whatever the text, the attempt ends; of one that is too long the end stays.
pub async fn an_error_of_any_length_and_any_character_is_settled(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let make: [fn(String) -> Verdict; 5] = [
        |error| Verdict::Retry { error, after: HOUR },
        |error| Verdict::Failed { error, keep: None },
        |reason| Verdict::Snooze { reason: Some(reason), after: HOUR },
        |reason| Verdict::Interrupt { reason },
        |reason| Verdict::Cancelled { reason },
    ];
    for make in make {
        let texts = odd_texts(MAX_ERROR);
        let ids = trial.fill("q", texts.len()).await;
        let claimed = worker.take(100).await;
        let settled: Vec<_> = claimed.iter().zip(&texts).map(|(job, text)| end(job, make(text.clone()))).collect();
        worker.settle_all(&settled).await;
        for (id, text) in ids.into_iter().zip(texts) {
            let begin: String = text.chars().take(20).collect();
            let job = trial.job(id).await;
            assert_ne!(job.state, State::Running, "{:?} of {begin:?}", make(begin.clone()));
            let attempts = trial.store.attempts(id).await.unwrap();
            let kept = attempts.last().map(|attempt| attempt.error.clone()).into_iter().chain(job.error);
            for kept in kept {
                assert!(kept.len() <= MAX_ERROR, "{} bytes are kept of {begin:?}", kept.len());
                if text.len() <= MAX_ERROR && !text.contains('\0') {
                    assert_eq!(kept, text);
                } else if text.ends_with("end") {
                    assert!(kept.ends_with("end"), "the end is kept: {:?}", &kept[kept.floor_char_boundary(30)..]);
                }
            }
            trial.store.delete(id).await.unwrap();
        }
    }
}

/// The same of what a job has to show; of one that is too long the beginning stays.
pub async fn an_output_of_any_length_and_any_character_is_settled(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let texts = odd_texts(MAX_OUTPUT);
    let ids = trial.fill("q", texts.len()).await;
    let claimed = worker.take(100).await;
    let settled: Vec<_> = claimed.iter().zip(&texts).map(|(job, text)| end(job, kept(text))).collect();
    worker.settle_all(&settled).await;
    for (id, text) in ids.into_iter().zip(texts) {
        let begin: String = text.chars().take(20).collect();
        let job = trial.job(id).await;
        assert_eq!(job.state, State::Completed, "with the output {begin:?}");
        let output = job.output.unwrap_or_default();
        assert!(output.len() <= MAX_OUTPUT, "{} bytes are kept of {begin:?}", output.len());
        if text.len() <= MAX_OUTPUT && !text.contains('\0') {
            assert_eq!(output, text);
        } else if text.starts_with("begin") {
            assert!(output.starts_with("begin"), "the beginning is kept");
        }
    }
}

/// A third party's words are cut as a handler's are, whether they come early or not.
pub async fn an_answer_of_any_length_and_any_character_is_taken(trial: &Trial<'_>) {
    type Make = fn(String) -> Resolution;
    let mut worker = trial.worker("q").await;
    let make: [(Make, usize); 3] = [
        (|output| Resolution::Completed { output: Some(output) }, MAX_OUTPUT),
        (|error| Resolution::Failed { error }, MAX_ERROR),
        (|error| Resolution::Retry { error, after: None }, MAX_ERROR),
    ];
    for early in [false, true] {
        for (make, longest) in make {
            for text in odd_texts(longest) {
                let begin: String = text.chars().take(20).collect();
                let what = format!("{:?}, early: {early}", make(begin));
                let id = trial.enqueue(plain("q")).await;
                let job = worker.take_one().await;
                let secret = worker.callback(&job).await;
                if !early {
                    worker.settle(&job, park()).await;
                }
                trial.store.resolve(id, &secret, &make(text.clone())).await.unwrap_or_else(|e| panic!("{what}: {e}"));
                if early {
                    worker.settle(&job, park()).await;
                }
                let job = trial.job(id).await;
                let expected = if longest == MAX_ERROR { State::Failed } else { State::Completed };
                assert!(job.state == expected || job.state == State::Scheduled, "{what}: {:?}", job.state);
                let attempts = trial.store.attempts(id).await.unwrap();
                let kept = attempts.last().map(|attempt| attempt.error.clone()).into_iter().chain(job.error);
                for kept in kept.chain(job.output) {
                    assert!(kept.len() <= longest, "{what}: {} bytes are kept", kept.len());
                    if text.len() <= longest && !text.contains('\0') {
                        assert_eq!(kept, text, "{what}");
                    } else if text.ends_with("end") {
                        let whole =
                            if longest == MAX_OUTPUT { kept.starts_with("begin") } else { kept.ends_with("end") };
                        assert!(whole, "{what}: the better half is kept");
                    }
                }
                trial.store.delete(id).await.unwrap();
            }
        }
    }
    // One that says that it has nothing to show.
    let id = trial.enqueue(plain("q")).await;
    let (_, secret) = worker.park_one(park()).await;
    trial.store.resolve(id, &secret, &Resolution::Completed { output: None }).await.unwrap();
    let job = trial.job(id).await;
    assert_eq!((job.state, job.output), (State::Completed, None));
    let (id, longest) = (trial.enqueue(plain("q")).await, "x".repeat(MAX_OUTPUT));
    let (_, secret) = worker.park_one(park()).await;
    trial.store.resolve(id, &secret, &done(&longest)).await.unwrap();
    assert!(trial.job(id).await.output == Some(longest));
}

/// A wait or a retention that no calendar holds does not stop the worker from settling.
pub async fn waits_and_retentions_of_any_length_are_settled(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let error = "it broke".to_owned();
    for length in [Duration::MAX, Duration::from_secs(u64::from(u32::MAX) * 100), MAX_DELAY] {
        let verdicts = [
            (Verdict::Retry { error: error.clone(), after: length }, State::Scheduled),
            (Verdict::Snooze { reason: None, after: length }, State::Scheduled),
            (Verdict::Failed { error: error.clone(), keep: Some(length) }, State::Failed),
            (Verdict::Completed { output: None, keep: length }, State::Completed),
            (
                Verdict::Park {
                    wait: length,
                    expiry: Expiry::Fail,
                    keep: Retention { completed: length, failed: Some(length) },
                    retry: length,
                },
                State::WaitAsync,
            ),
        ];
        let ids = trial.fill("q", verdicts.len()).await;
        let claimed = worker.take(10).await;
        let secret = worker.callback(&claimed[4]).await;
        let settled: Vec<_> = claimed
            .iter()
            .zip(&verdicts)
            .map(|(job, (verdict, _))| crate::store::Settlement { ran: length, ..end(job, verdict.clone()) })
            .collect();
        worker.settle_all(&settled).await;
        for (id, (verdict, state)) in ids.into_iter().zip(verdicts) {
            assert_eq!(trial.state(id).await, state, "{verdict:?}");
        }
        assert_eq!(trial.store.promote(100).await.unwrap().jobs, 0, "so long a wait is not over");
        assert_eq!(trial.store.expire(100).await.unwrap(), [], "so long a deadline has not passed");
        trial.store.resolve(claimed[4].id, &secret, &done("at last")).await.expect("it waits for that");
        assert_eq!(trial.store.purge(100).await.unwrap(), 0, "so long a retention has not ended");
    }
}

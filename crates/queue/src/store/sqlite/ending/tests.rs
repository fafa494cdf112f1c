//! What becomes of a job, for each way in which an attempt may end.

use super::*;

fn job() -> Job {
    Job {
        id: JobId(1),
        lane: Lane { queue: "q".into(), priority: 0, kind: "k".into() },
        attempt: 0,
        max_attempts: 3,
        interruptions: 0,
        deaths: 0,
        started_at: 4,
        worker: "host:5".into(),
        cancel: false,
        key: None,
    }
}

fn running(job: Job) -> RunningJob {
    RunningJob { job, boot: BootId(2), claim: 3, begun: true, answer: None }
}

/// As of a job whose answers are kept for a minute.
const TERMS: Terms = Terms {
    expiry: Expiry::Retry,
    keep: Retention { completed: Duration::from_mins(1), failed: Some(Duration::from_mins(2)) },
    retry: Duration::from_secs(9),
};

fn park() -> Verdict {
    let Terms { expiry, keep, retry } = TERMS;
    Verdict::Park { wait: Duration::from_secs(5), expiry, keep, retry }
}

fn answers() -> [Resolution; 5] {
    let retry = |after| Resolution::Retry { error: "e".into(), after };
    [
        Resolution::Completed { output: Some("o".into()) },
        Resolution::Failed { error: "e".into() },
        retry(None),
        retry(Some(Duration::from_secs(1))),
        Resolution::StillWaiting(Duration::from_secs(7)),
    ]
}

fn verdicts() -> [Verdict; 8] {
    let after = Duration::from_secs(1);
    [
        park(),
        Verdict::Completed { output: None, keep: Duration::ZERO },
        Verdict::Retry { error: "e".into(), after },
        Verdict::Failed { error: "e".into(), keep: None },
        Verdict::Snooze { reason: None, after },
        Verdict::Return,
        Verdict::Interrupt { reason: "r".into() },
        Verdict::Cancelled { reason: "r".into() },
    ]
}

#[test]
fn only_failures_spend_an_attempt_and_only_interruptions_count_as_such() {
    let counts: Vec<_> = verdicts()
        .iter()
        .map(|verdict| Ending::of(running(job()), verdict, Duration::ZERO).job)
        .map(|job| (job.attempt, job.interruptions))
        .collect();
    assert_eq!(counts, [(0, 0), (0, 0), (1, 0), (1, 0), (0, 0), (0, 0), (0, 1), (0, 0)]);
}

#[test]
fn a_handler_that_ends_by_itself_clears_the_deaths_and_a_return_keeps_them() {
    let deaths: Vec<_> = verdicts()
        .iter()
        .map(|verdict| Ending::of(running(Job { deaths: 2, ..job() }), verdict, Duration::ZERO))
        .map(|ending| (ending.job.deaths, ending.place() == Some(Place::Suspect)))
        .collect();
    let (kept, cleared) = ((2, true), (0, false));
    assert_eq!(deaths, [cleared, cleared, cleared, cleared, cleared, kept, kept, cleared]);
}

#[test]
fn what_would_run_again_or_wait_is_cancelled_if_that_was_asked() {
    let cancelled: Vec<_> = verdicts()
        .iter()
        .map(|verdict| Ending::of(running(Job { cancel: true, ..job() }), verdict, Duration::ZERO))
        .map(|ending| ending.place() == Some(Place::Finished(State::Cancelled)))
        .collect();
    assert_eq!(cancelled, [true, false, true, false, true, true, true, true]);
}

#[test]
fn a_death_counts_only_for_what_had_started_and_the_third_is_quarantine() {
    let dies = |deaths, begun, blame| {
        let (ending, rescue) = Ending::of_the_dead(RunningJob { begun, ..running(Job { deaths, ..job() }) }, blame);
        (ending.job.deaths, ending.job.interruptions, rescue)
    };
    assert_eq!(dies(0, true, true), (1, 1, Rescue::Requeued));
    assert_eq!(dies(1, true, true), (2, 1, Rescue::Isolated));
    assert_eq!(dies(2, true, true), (3, 1, Rescue::Quarantined));
    assert_eq!(dies(0, false, true), (0, 0, Rescue::Requeued));
    assert_eq!(dies(2, false, true), (2, 0, Rescue::Isolated));
    assert_eq!(dies(2, true, false), (2, 0, Rescue::Isolated));
}

#[test]
fn too_many_interruptions_are_quarantine_and_the_text_says_what_to_do() {
    let tired = running(Job { interruptions: MAX_INTERRUPTIONS - 1, ..job() });
    let ending = Ending::of(tired, &Verdict::Interrupt { reason: "the worker stopped".into() }, Duration::ZERO);
    let Fate::Finished { state: State::Failed, error: Some(error), .. } = &ending.fate else {
        panic!("{ending:?}");
    };
    assert!(error.contains("20 times") && error.contains("the worker stopped") && error.contains("retry"), "{error}");
}

#[test]
fn an_answer_makes_the_same_of_a_job_that_is_parked_and_of_one_that_is_about_to_be() {
    let ran = Duration::from_secs(3);
    for attempt in [0, 2] {
        for answer in answers() {
            let job = Job { attempt, ..job() };
            let early = RunningJob { answer: Some(answer.clone()), ..running(job.clone()) };
            let early = Ending::of(early, &park(), ran);
            let parked = ParkedJob { job, digest: None, parked_at: 5, deadline: 6, terms: TERMS };
            assert_eq!(early.ran, Some(ran));
            match Ending::answered(parked, answer) {
                Some(late) => assert_eq!(late, Ending { ran: Some(Duration::ZERO), ..early }),
                None => assert_eq!(early.fate, Fate::Parked { wait: Duration::from_secs(7), terms: TERMS }),
            }
        }
    }
}

#[test]
fn a_retry_waits_its_own_time_or_the_kinds_and_fails_a_job_that_has_no_attempt_left() {
    let fate = |attempt, answer| {
        let job = Job { attempt, ..job() };
        Ending::of(RunningJob { answer: Some(answer), ..running(job) }, &park(), Duration::ZERO).fate
    };
    let [_, failed, retry, soon, _] = answers();
    let later = |secs| Fate::Later { after: Duration::from_secs(secs), note: Some("e".into()) };
    assert_eq!((fate(1, retry.clone()), fate(1, soon)), (later(9), later(1)));
    assert_eq!(fate(2, retry), fate(0, failed));
}

#[test]
fn a_cancel_is_heeded_by_a_job_that_would_wait_or_run_again_and_not_by_one_that_was_answered_for() {
    let cancelled = answers().map(|answer| {
        let job = Job { cancel: true, ..job() };
        let ending = Ending::of(RunningJob { answer: Some(answer), ..running(job) }, &park(), Duration::ZERO);
        ending.place() == Some(Place::Finished(State::Cancelled))
    });
    assert_eq!(cancelled, [false, false, true, true, true]);
}

#[test]
fn a_deadline_that_passes_spends_the_attempt_and_says_how_long_nobody_answered() {
    let expired = |attempt, expiry| {
        let (parked_at, deadline) = (1_000_000, 8_000_000);
        let terms = Terms { expiry, ..TERMS };
        let job = Job { attempt, ..job() };
        Ending::expired(ParkedJob { job, digest: None, parked_at, deadline, terms })
    };
    let again = expired(0, Expiry::Retry);
    let error = "nobody answered for it before its deadline, 7 s after it was handed over";
    assert_eq!((again.fate, again.job.attempt), (Fate::Back, 1));
    assert_eq!(again.attempt, Some((1, AttemptOutcome::Failed, error.into())));
    for over in [expired(2, Expiry::Retry), expired(0, Expiry::Fail)] {
        assert_eq!(over.fate, finished(State::Failed, error.into(), TERMS.keep.failed));
    }
}

//! Readings and changes that fail, a store that goes away, and a scaler that is killed again and again: nobody at work is
//! let go, drained workers come back by themselves, and when all is well again the work is finished and the pool is empty.
//!
//! Two pools at once, each with a store and a Heroku of its own, for most of this is waiting. What fails, and how, is
//! drawn by a seed that each failure names; `HEADCOUNT_TEST_SEED` draws the same again.

use std::{fmt, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_tests::{
    FakeHeroku, Process, Server,
    heroku::{Call, Fault, State},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::{platforms::Ground, *};

/// One course of it.
struct Course {
    /// How the pool whose scaler is killed all the time is kept.
    settings: &'static str,
    /// How often its scaler is killed.
    kills: usize,
    /// How long each of its lives is at least.
    life: Duration,
    /// How many readings of each kind fail at the beginning of a life, at most.
    readings: usize,
    /// How many changes in a row fail, at most.
    changes: usize,
    /// For how long the store is away.
    outage: Duration,
    /// Whether leases are waited for, and answers that come late or never. Else a dead scaler's leases are ended by hand.
    patient: bool,
}

/// Follows the load at once, but for the hold: 20 s on Heroku, as long as a dyno is taken to boot.
const LINEAR: &str = "policy = \"linear\"\nremove_after = \"500ms\"";
const SHORT: Course = Course {
    settings: LINEAR,
    kills: 2,
    life: Duration::ZERO,
    readings: 4,
    changes: 2,
    outage: Duration::from_secs(6),
    patient: false,
};
/// With the policy that learns, which lets nobody go in its first minute.
const LONG_ONE: Course = Course {
    settings: "start_within = \"5s\"\nremove_after = \"500ms\"",
    kills: 6,
    life: Duration::from_secs(30),
    readings: 6,
    changes: 5,
    outage: Duration::from_secs(90),
    patient: true,
};
const MAX: u32 = 3;
/// The drain of a scaler that is gone ends after this.
const DRAIN_LEASE: TimeDelta = TimeDelta::minutes(1);

/// The long one with `tests/run --long`.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
fn course() -> &'static Course {
    if std::env::var_os("HEADCOUNT_TEST_LONG").is_some() { &LONG_ONE } else { &SHORT }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
fn seed() -> u64 {
    match std::env::var("HEADCOUNT_TEST_SEED") {
        Ok(seed) => seed.parse().expect("HEADCOUNT_TEST_SEED is a number"),
        Err(_) => rand::random(),
    }
}

/// A pool on Heroku, and what goes wrong there.
struct Scene {
    ground: Ground,
    course: &'static Course,
    seed: u64,
    dice: StdRng,
    began: Instant,
    /// What has gone wrong so far.
    told: Vec<String>,
}

/// For the messages of failures.
impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with HEADCOUNT_TEST_SEED={}, so far {:#?}", self.seed, self.told)
    }
}

impl Scene {
    fn on(ground: Ground, course: &'static Course, seed: u64) -> Self {
        Self { ground, course, seed, dice: StdRng::seed_from_u64(seed), began: Instant::now(), told: Vec::new() }
    }

    fn place(&self) -> &Place {
        &self.ground.place
    }

    fn heroku(&self) -> &FakeHeroku {
        self.ground.dynos()
    }

    fn tell(&mut self, what: &str) {
        self.told.push(format!("{:.1?}: {what}", self.began.elapsed()));
    }

    /// Draws faults for the next calls of these kinds: at least one each, at most so many.
    fn faults(&mut self, calls: &[Call], most: usize) {
        for &call in calls {
            let faults: Vec<Fault> = (0..self.dice.random_range(1..=most)).map(|_| self.fault(call)).collect();
            self.tell(&format!("the next of {call:?}: {faults:?}"));
            for fault in faults {
                self.heroku().fail(call, fault);
            }
        }
    }

    fn fault(&mut self, call: Call) -> Fault {
        let fault = match self.dice.random_range(0..if self.course.patient { 8 } else { 6 }) {
            0 => Fault::status(500),
            1 => Fault::status(503),
            2 => Fault::Reset,
            3 => Fault::Malformed("[{\"quantity\":".into()),
            4 => Fault::Malformed("{}".into()),
            // Without the header nothing would be asked for a minute. It means that nothing was done.
            5 => return Fault::status(429).retry_after("1"),
            // A reading waits longer than a change does: one that is slow has not failed.
            6 if call == Call::Update => return Fault::Slow(Duration::from_secs(7)),
            _ => Fault::Silence,
        };
        if call == Call::Update && self.dice.random_bool(0.5) { fault.once_done() } else { fault }
    }

    /// Kills a scaler in whatever it is at.
    async fn kill(&mut self, scaler: Process) {
        scaler.kill_tree();
        self.tell("the scaler is killed");
        if !self.course.patient {
            let ended = "UPDATE headcount.lease SET until = clock_timestamp() - interval '1 ms'";
            self.database().await.execute(ended).await.unwrap();
        }
    }

    /// Kills a scaler as soon as the platform has heard of one more change, and starts the next.
    async fn kill_as_it_asks(&mut self, scaler: Process, settings: &str) -> Process {
        let before = self.heroku().updates().len();
        eventually(&format!("a change is asked for, {self}"), LONG, async || {
            if self.heroku().updates().len() > before { Ok(()) } else { Err(self.heroku().requests()) }
        })
        .await;
        self.kill(scaler).await;
        self.ground.scaler_with(MAX, settings)
    }

    async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.place().url).await.unwrap()
    }

    /// The store's time.
    async fn now(&self) -> DateTime<Utc> {
        self.database().await.fetch_one("SELECT clock_timestamp()").await.unwrap().get(0)
    }

    /// Enqueues jobs that each run until the test says so: whoever is let go meanwhile is let go wrongly.
    async fn fill(&self, jobs: u32, others: usize) {
        let lines = "\"until\"\n".repeat(jobs as usize) + &"0.1\n".repeat(others);
        self.place().headcount("enqueue long --queue local --lines").stdin(lines).start().ends_well(SOON).await;
    }

    async fn until_all_are_at_work(&self) {
        eventually(&format!("all are at work, {self}"), LONG, async || {
            let at_work = notes(self.place()).len();
            if at_work == MAX as usize { Ok(()) } else { Err((at_work, self.heroku().dynos())) }
        })
        .await;
    }

    /// The job of one of them ends, and no other is there: the load has fallen.
    fn release(&mut self, dyno: &str) {
        self.tell(&format!("the job of {dyno} ends"));
        fs::write(self.place().folder.file(format!("go.{dyno}")), "").unwrap();
    }

    async fn until_done(&self, others: impl AsyncFn() -> Result<(), String>) {
        fs::write(self.place().folder.file("go"), "").unwrap();
        eventually(&format!("all recovers, {self}"), LONG, async || {
            let left = self.place().states().await;
            if !left.is_empty() {
                return Err(format!("{left:?}, {:?}", self.heroku().dynos()));
            }
            others().await
        })
        .await;
    }

    /// Each job ran once, to its end, and nothing was killed.
    fn judge(&self, jobs: usize) {
        println!("{self}");
        let notes = notes(self.place());
        assert_eq!(notes.len(), jobs, "{self}");
        for job in &notes {
            assert!(job.lines().count() == 2 && job.ends_with("\nend\n"), "not once to its end: {notes:#?}, {self}");
        }
        assert_eq!(self.ground.killed(), [""; 0], "{self}");
    }
}

/// The scaler is killed again and again, and each of its lives begins with readings that fail.
async fn all_around_fails(course: &'static Course, seed: u64) {
    let server = Server::private().await;
    let ground = Ground::heroku_in(Place::on(server.database().await)).await;
    let mut scene = Scene::on(ground, course, seed);
    scene.fill(MAX, 6).await;
    scene.faults(&[Call::Formation, Call::Dynos], course.readings);
    scene.faults(&[Call::Update], course.changes);
    let mut scaler = scene.ground.scaler_with(MAX, course.settings);
    scaler = scene.kill_as_it_asks(scaler, course.settings).await;
    scene.until_all_are_at_work().await;
    scene.heroku().forget_faults();
    // A claim may be forgotten in a crash of the server until something later is on its disk.
    scene.fill(0, 1).await;

    for kill in 0..course.kills {
        if kill == 0 {
            server.stop_immediately().await;
            pass(course.outage).await;
            server.start().await;
            scene.tell("the store was away");
        }
        if kill == course.kills / 2 {
            scene.release("worker.3");
        }
        scene.faults(&[Call::Formation, Call::Dynos], course.readings);
        scene.kill(scaler).await;
        let (since, born) = (Instant::now(), scene.now().await);
        scaler = scene.ground.scaler_with(MAX, course.settings);
        scaler.line("it is ready", SOON, |line| line.contains("scaler ready")).await;
        eventually(&format!("it has held on bad readings, and decided upon good ones, {scene}"), LONG, async || {
            let rows = scene.place().rows("why worker -n 100").await;
            let lately = |row: &&Value| row["last_at"].as_str().and_then(|at| at.parse().ok()) > Some(born);
            let holds = |row: &Value| row["gist"].as_str().is_some_and(|gist| gist.starts_with("hold"));
            let (held, decided) = (rows.iter().filter(lately).any(holds), rows.first().filter(lately));
            let decided = decided.is_some_and(|latest| !holds(latest));
            if held && decided && scene.heroku().faults_left() == 0 { Ok(()) } else { Err(rows) }
        })
        .await;
        pass(course.life.saturating_sub(since.elapsed())).await;
        let asked = scene.heroku().updates();
        assert!(asked.iter().all(|asked| asked[0]["quantity"] == MAX), "{asked:?} {scene}");
        assert_eq!(scene.heroku().quantity("worker"), MAX, "{scene}");
        assert_eq!(scene.heroku().ended(), [], "{scene}");
        let workers = scene.place().rows("workers").await;
        assert!(workers.iter().all(|worker| worker["state"] == "active"), "{workers:#?} {scene}");
    }

    scene
        .until_done(async || {
            let dynos = scene.heroku().dynos();
            if dynos.is_empty() { Ok(()) } else { Err(format!("{dynos:?}")) }
        })
        .await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
    scene.judge(MAX as usize + 7);
}

/// The scaler is killed while a worker is drained, and the one that follows removes it while changes fail.
async fn the_drained_come_back(course: &'static Course, seed: u64) {
    let mut scene = Scene::on(Ground::heroku().await, course, seed);
    scene.fill(MAX, 0).await;
    // What is drained is not removed by this one.
    let scaler = scene.ground.scaler_with(MAX, "policy = \"linear\"\nremove_after = \"1h\"");
    scene.until_all_are_at_work().await;
    scene.release("worker.3");
    eventually(&format!("one is drained, {scene}"), LONG, async || {
        let workers = scene.place().rows("workers").await;
        let draining = workers.iter().any(|worker| worker["instance"] == "worker.3" && worker["state"] == "draining");
        if draining { Ok(()) } else { Err(workers) }
    })
    .await;
    scene.kill(scaler).await;
    // Nobody else is free to run it.
    let job = scene.place().enqueue("long 0.1 --queue local").await;
    let mut database = scene.database().await;
    let until: DateTime<Utc> = database.fetch_one("SELECT drain_until FROM headcount.drain").await.unwrap().get(0);
    let now = scene.now().await;
    assert!(until > now && until <= now + DRAIN_LEASE, "it is drained until {until}, {scene}");
    let file = format!("job.{job}");
    assert!(!scene.place().folder.file(&file).exists(), "one that is drained has claimed, {scene}");
    if !course.patient {
        for sql in [
            "UPDATE headcount.drain SET drain_until = clock_timestamp()",
            "UPDATE headcount.worker SET drain_until = clock_timestamp() WHERE state = 'draining'",
        ] {
            database.execute(sql).await.unwrap();
        }
    }
    eventually(&format!("it has come back and runs the job, {scene}"), LONG, async || {
        let note = fs::read_to_string(scene.place().folder.file(&file)).unwrap_or_default();
        if note == "start worker.3\nend\n" { Ok(()) } else { Err((note, scene.place().rows("workers").await)) }
    })
    .await;
    assert!(!course.patient || scene.now().await > until, "it came back before {until}, {scene}");

    scene.faults(&[Call::Formation, Call::Dynos], course.readings);
    scene.faults(&[Call::Update], course.changes);
    let mut scaler = scene.ground.scaler(MAX);
    if course.patient {
        scaler = scene.kill_as_it_asks(scaler, LINEAR).await;
    }
    eventually(&format!("it is let go, {scene}"), LONG, async || {
        let dynos = scene.heroku().dynos();
        // Its worker ends by itself once it is let go, and Heroku starts it again until it is told that it is.
        if let Some(crashed) = dynos.iter().find(|dyno| dyno.state == State::Crashed) {
            scene.heroku().revive(&crashed.name);
        }
        if dynos.len() < MAX as usize { Ok(()) } else { Err((dynos, scene.place().rows("workers").await)) }
    })
    .await;
    scene.heroku().forget_faults();
    assert_eq!(scene.heroku().quantity("worker"), MAX - 1, "{scene}");
    let ended = scene.heroku().ended();
    assert!(ended.iter().all(|dyno| dyno.name == "worker.3"), "{ended:?} {scene}");
    scene.until_done(async || Ok(())).await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
    scene.judge(MAX as usize + 1);
}

/// Lets so much time pass.
async fn pass(time: Duration) {
    let since = Instant::now();
    eventually("the time has passed", time * 3, async || if since.elapsed() >= time { Ok(()) } else { Err(()) }).await;
}

#[tokio::test]
async fn nobody_at_work_is_let_go_while_all_around_fails_and_all_recovers() {
    let (course, seed) = (course(), seed());
    println!("HEADCOUNT_TEST_SEED={seed}");
    tokio::join!(all_around_fails(course, seed), the_drained_come_back(course, seed));
}

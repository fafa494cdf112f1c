//! What is seen of a scaler from outside: its log, and what it shows.

use std::{io, sync::Mutex};

use headcount_queue::store::Store;

use super::*;
use crate::watch::{Standing, Totals};

/// What was logged so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_logged_of_a_pool_bears_its_name_within_its_tick() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _kept = tracing::subscriber::set_default(subscriber);
    let mut stage = Stage::new().await;
    stage.enqueue(1).await;
    stage.asks().await;
    stage.platform.status_mood(Some(Mood::Refuse));
    stage.asks().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for word in ["grow to 1", "the platform does not answer"] {
        let line = text.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(line.contains("tick{pools=1}:pool{name=here}: "), "{line}");
    }
}

#[tokio::test]
async fn it_shows_what_it_saw_and_counts_what_it_did() {
    let mut stage = Stage::new().await;
    let watch = stage.scaler.watch();
    let pool = || watch.look().pools.remove(spec().name()).unwrap();
    assert!(!watch.look().ready().ok, "it has not begun");

    stage.enqueue(2).await;
    stage.platform.mood(Mood::Refuse);
    stage.platform.mood(Mood::Lose);
    for _ in 0..3 {
        stage.tick().await;
    }
    let seen = watch.look();
    assert_eq!(seen.standing, Standing::Acts);
    assert!(seen.health().ok && seen.ready().ok && seen.last_tick.is_some());
    let shown = pool();
    assert_eq!(shown.latest.unwrap().wanted(), Some(2));
    assert!(shown.queues.unwrap().oldest.is_some());
    let Totals { ticks, answers, .. } = shown.totals;
    assert_eq!(ticks, 3);
    assert_eq!(answers, [(("grow", "ok"), 1), (("grow", "refused"), 1), (("grow", "unknown"), 1)].into());

    // What is not seen is not shown, and no zero.
    stage.platform.status_mood(Some(Mood::Refuse));
    stage.tick().await;
    let blind = pool();
    assert_eq!((blind.latest.unwrap().counts, blind.queues), (None, None));
    assert_eq!(blind.totals.unseen, [("platform", 1)].into());
    assert_eq!(blind.totals.decisions[&("hold", "platform_unseen")], 1);
    assert!(watch.look().ready().ok, "the store is read");

    // Another one of its lease stands by, and shows no numbers of its own.
    let shared: Arc<dyn Store> = Arc::new(stage.store.clone());
    let mut other = Reconciler::new(shared, "me").pool(spec(), stage.platform.clone()).unwrap();
    assert!(other.tick().await.is_empty());
    let seen = other.watch().look();
    assert!(matches!(seen.standing, Standing::StandsBy { .. }) && seen.ready().ok, "{seen:?}");
    assert_eq!(seen.pools[spec().name()].latest, None);
}

#[tokio::test]
async fn one_that_never_read_its_store_lives_and_is_not_ready() {
    let mut stage = Stage::new().await;
    let outage = stage.store.down();
    stage.tick().await;
    let seen = stage.scaler.watch().look();
    assert_eq!((seen.health().ok, seen.ready().ok, seen.standing), (true, false, Standing::Unsure));
    assert_eq!(seen.pools[spec().name()].totals.unseen, [("store", 1)].into());
    outage.lift();
    stage.tick().await;
    assert!(stage.scaler.watch().look().ready().ok);
    let stop = CancellationToken::new();
    stop.cancel();
    stage.scaler.run(stop).await;
    let seen = stage.scaler.watch().look();
    assert_eq!((seen.health().ok, seen.standing), (false, Standing::Ended));
}

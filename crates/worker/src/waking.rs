//! Hearing from the store that jobs came in, so that an idle worker need not ask all the time.
//!
//! Who enqueues tells only workers whose queues are flagged as asleep; the dispatcher sets the flag before its last look
//! and clears it when there is much to do. A worker that ends clears nothing: others may sleep, and a flag that is set
//! without need costs each enqueue a notice that nobody hears, until someone finds so much to do that it clears it; one
//! that is clear without need costs a job its start on time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headcount_queue::{Binding, store::Store};
use tokio::sync::Notify;

use crate::outage::Outage;

/// Words that come closer together count as one: each makes every idle worker of the fleet look.
const HUSH: Duration = Duration::from_millis(10);

/// Pokes the dispatcher when jobs come in, until the store says that it cannot tell. `hears`: whether it can be relied
/// on.
pub(crate) async fn listen(store: Arc<dyn Store>, queues: Binding, poke: Arc<Notify>, hears: Arc<AtomicBool>) {
    let mut outage = Outage::of("listening for jobs");
    let mut wakes = loop {
        match store.listen(&queues).await {
            Ok(Some(wakes)) => break wakes,
            Ok(None) => return,
            Err(error) => tokio::time::sleep(outage.failed(&error)).await,
        }
    };
    outage.over();
    hears.store(true, Ordering::Relaxed);
    // What came in before was told to nobody; and only a look after this says that the worker sleeps.
    poke.notify_one();
    loop {
        wakes.next().await;
        poke.notify_one();
        tokio::time::sleep(HUSH).await;
    }
}

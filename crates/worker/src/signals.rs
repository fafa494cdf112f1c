//! The process's signals, as supervisors and terminals use them.
//!
//! | signal | what the worker does |
//! |---|---|
//! | TERM, QUIT | stops within its grace: [`Stopper::stop`] |
//! | HUP | lets everything that runs finish: [`Stopper::finish`] |
//! | INT | the same; a second one stops at once: [`Stopper::stop_now`] |

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    task::AbortHandle,
};

use crate::{Error, Stopper};

/// Signals being listened to; they are ignored, not restored, once this is dropped: a process has one set of handlers.
#[derive(Debug)]
pub struct Signals {
    task: AbortHandle,
    interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// Whether an INT has come: a terminal's user, rather than a supervisor, ends the program.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens to the process's signals on behalf of this worker, from now on.
///
/// # Errors
/// [`Error::System`] when the operating system refuses a handler.
pub fn listen(stopper: &Stopper) -> Result<Signals, Error> {
    let on = |kind| signal(kind).map_err(|source| Error::System { what: "a signal handler", source });
    let (mut term, mut quit) = (on(SignalKind::terminate())?, on(SignalKind::quit())?);
    let (mut hup, mut int) = (on(SignalKind::hangup())?, on(SignalKind::interrupt())?);
    let stopper = stopper.clone();
    let interrupted = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&interrupted);
    let task = tokio::spawn(async move {
        loop {
            select! {
                Some(()) = term.recv() => stopper.stop(),
                Some(()) = quit.recv() => stopper.stop(),
                Some(()) = hup.recv() => stopper.finish(),
                Some(()) = int.recv() => {
                    if noted.swap(true, Ordering::Relaxed) {
                        stopper.stop_now();
                    } else {
                        stopper.finish();
                    }
                }
                else => return,
            }
        }
    });
    Ok(Signals { task: task.abort_handle(), interrupted })
}

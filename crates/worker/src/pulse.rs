//! Whether a worker's heart beats, for whoever asks in its process.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// When a worker's heart beat, and when the store last answered it. Cheap to clone; clones show the same worker.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Beats>>);

#[derive(Debug, Default)]
struct Beats {
    tried: Option<Instant>,
    landed: Option<Instant>,
}

impl Pulse {
    /// How long ago the heart last did anything at all, whether or not the store answered; none: it has not begun.
    pub fn tried(&self) -> Option<Duration> {
        self.lock().tried.map(|at| at.elapsed())
    }

    /// How long ago a beat last landed in the store; none: none has yet.
    pub fn landed(&self) -> Option<Duration> {
        self.lock().landed.map(|at| at.elapsed())
    }

    pub(crate) fn tries(&self) {
        self.lock().tried = Some(Instant::now());
    }

    pub(crate) fn lands(&self) {
        self.lock().landed = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        // Every change is one assignment, so a panic while it was locked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A store's tables: how they are made, whether they are as made, who may use them.

use serde::Serialize;

/// A step that makes or changes the store's tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The version that it leads to.
    pub version: i64,
    /// What it is called.
    pub name: String,
    /// What it runs.
    pub sql: String,
}

/// Something in the store's tables that is not as the migrations make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: `table ready`, `index later_due`.
    pub object: String,
    /// What the migrations make; none where there should be nothing.
    pub expected: Option<String>,
    /// What is there; none where something is missing.
    pub found: Option<String>,
}

/// Database roles, each of which gets exactly what its task needs; several names are separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// For applications that enqueue.
    pub enqueue: Vec<String>,
    /// For workers.
    pub worker: Vec<String>,
    /// For the scaler.
    pub scaler: Vec<String>,
    /// For those who only look.
    pub read: Vec<String>,
}

//! Growing never exhausts the database: a pool is capped at the workers whose connections fit.

use std::fmt;

/// The database's connections, and who needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many the server takes (`max_connections`), its reserved ones left out.
    pub server: u32,
    /// What share of them is kept for the application, in percent. Default 20.
    pub reserved_percent: u32,
    /// How many a worker uses at most, whatever its slots. Default 3.
    pub per_worker: u32,
    /// How many the workers of other pools may use.
    pub others: u32,
}

impl Connections {
    /// A server that takes so many, with no other pool.
    pub const fn of(server: u32) -> Self {
        Self { server, reserved_percent: 20, per_worker: 3, others: 0 }
    }

    /// How many workers fit.
    pub fn workers(&self) -> u32 {
        let share = u64::from(100u32.saturating_sub(self.reserved_percent));
        let ours = (u64::from(self.server) * share / 100).saturating_sub(u64::from(self.others));
        (ours / u64::from(self.per_worker.max(1))) as u32
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "each uses {} of the database's {} connections, ", self.per_worker, self.server)?;
        if self.others > 0 {
            write!(f, "other pools' workers {}, ", self.others)?;
        }
        write!(f, "and {} % stay for the application", self.reserved_percent)
    }
}

//! By hand: cancel, retry, delete, pause, and the drains of workers.
//!
//! A job that a claim in flight takes is matched nowhere: it has left the one table for the statement that waited for
//! it, and is not yet in the other for that statement's view. So a move by id that matched nothing is tried again, until
//! a look at all the tables in one view says that there is nothing to move.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    PostgresStore, column,
    connection::{Fault, Line, transact},
};
use crate::{
    Error, JobId, Resolution, Result, Secret, State,
    store::{Acted, Action, Admin, BootId, Cancel, Difference, Filter, Grants, Resolve, Setting, Step, Target},
};

/// How often to look for a job that moves each time.
pub(super) const TRIES: u32 = 100;

/// What a move by id may do.
#[derive(Debug, Clone, Copy)]
struct Move {
    /// As a participle.
    wanted: &'static str,
    /// From which states.
    from: &'static [State],
}

const CANCEL: Move =
    Move { wanted: "cancelled", from: &[State::Scheduled, State::Queued, State::Running, State::WaitAsync] };
const RETRY: Move = Move { wanted: "retried", from: &[State::Failed, State::Cancelled] };
const DELETE: Move = Move {
    wanted: "deleted",
    from: &[State::Scheduled, State::Queued, State::WaitAsync, State::Completed, State::Failed, State::Cancelled],
};

#[async_trait]
impl Admin for PostgresStore {
    async fn cancel(&self, id: JobId) -> Result<Cancel> {
        for _ in 0..TRIES {
            let rows = self.ask(&self.statements.cancel, |query| query.bind(id.0)).await?;
            if column(&rows[0], "done")? {
                return Ok(Cancel::Done);
            }
            if column(&rows[0], "asked")? {
                return Ok(Cancel::Asked);
            }
            self.still(id, CANCEL).await?;
        }
        Err(Error::Busy(id))
    }

    async fn retry(&self, id: JobId) -> Result<()> {
        for _ in 0..TRIES {
            let rows = self.ask(&self.statements.retry, |query| query.bind(id.0)).await?;
            if column(&rows[0], "done")? {
                self.notices.tell(column::<Option<&str>>(&rows[0], "queue")?);
                return Ok(());
            }
            if let Some(holder) = column::<Option<i64>>(&rows[0], "holder")? {
                return Err(Error::KeyTaken { id, holder: JobId(holder) });
            }
            self.still(id, RETRY).await?;
        }
        Err(Error::Busy(id))
    }

    async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        self.resolved(id, secret, resolution).await
    }

    async fn delete(&self, id: JobId) -> Result<()> {
        for _ in 0..TRIES {
            if !self.ask(&self.statements.delete, |query| query.bind(id.0)).await?.is_empty() {
                return Ok(());
            }
            self.still(id, DELETE).await?;
        }
        Err(Error::Busy(id))
    }

    async fn act(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
        self.acted(action, filter, limit).await
    }

    async fn set(&self, target: &Target, setting: Setting) -> Result<()> {
        self.set_one(target, setting).await
    }

    async fn drain(&self, boots: &[BootId], by: &str, lease: Option<Duration>) -> Result<Vec<(BootId, i64)>> {
        let boots = numbers(boots);
        transact!(self.connections, line => self.drain_workers(&mut line, &boots, by, lease).await?)
    }

    async fn recall(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        let boots = numbers(boots);
        transact!(self.connections, line => self.recall_workers(&mut line, &boots).await?)
    }

    async fn leave(&self, boot: BootId, drain: i64) -> Result<bool> {
        transact!(self.connections, line => self.try_leave(&mut line, boot, drain).await?)
    }

    async fn stay(&self, boot: BootId) -> Result<bool> {
        Ok(!self.ask(&self.statements.stay, |query| query.bind(boot.0)).await?.is_empty())
    }

    async fn migrate(&self) -> Result<i64> {
        self.migrated().await
    }

    async fn plan(&self) -> Result<Vec<Step>> {
        self.pending().await
    }

    async fn drift(&self) -> Result<Vec<Difference>> {
        self.differences().await
    }

    async fn grant(&self, grants: &Grants) -> Result<()> {
        self.granted(grants).await
    }

    async fn check_version(&self) -> Result<()> {
        self.version_checked().await
    }
}

impl PostgresStore {
    /// Whether the job is still where it may be moved from; else an error that says where it is.
    async fn still(&self, id: JobId, to: Move) -> Result<()> {
        match self.state_of(id).await? {
            None => Err(Error::NotFound(id)),
            Some(state) if to.from.contains(&state) => Ok(()),
            Some(state) => Err(Error::WrongState { id, state, wanted: to.wanted }),
        }
    }

    async fn try_leave(&self, line: &mut Line<'_>, boot: BootId, drain: i64) -> Result<bool, Fault> {
        let rows = line.rows(sqlx::query(self.statements.lock_worker.clone()).bind(boot.0)).await?;
        let leaves = match rows.first() {
            Some(row) => {
                column::<&str>(row, "state")? == "draining"
                    && column::<i64>(row, "drain_epoch")? == drain
                    && !column::<bool>(row, "lapsed")?
            }
            None => false,
        };
        let leaves = leaves && {
            // A later statement, which sees what the claims took that the lock has waited for.
            let rows = line.rows(sqlx::query(self.statements.owns.clone()).bind(boot.0)).await?;
            !column::<bool>(&rows[0], "owns")?
        };
        if leaves {
            line.rows(sqlx::query(self.statements.leave.clone()).bind(boot.0)).await?;
        }
        Ok(leaves)
    }
}

fn numbers(boots: &[BootId]) -> Vec<i64> {
    boots.iter().map(|boot| boot.0).collect()
}

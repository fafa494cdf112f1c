//! Dynos on Heroku: a pool is a process type of an app.
//!
//! Heroku knows one number per process type, its quantity, and no conditional write. It removes the dynos with the
//! highest numbers, with TERM and after 30 s with KILL, and answers at once while they still end. So every change reads
//! the formation right before it, never lowers a quantity to grow, and lowers it only where that removes exactly the
//! dynos that were named.
//!
//! Calls cost tokens of the account, which deploys and people use too: at most a third of each hour's are used. While
//! nothing changes, formation and dynos are read once a minute, and what is answered in between says how old it is.
//!
//! Source: Heroku Platform API, version 3, by its published schema: formation list and batch update, dyno list, rate
//! limits.

mod config;
mod answer;
mod failure;
mod tokens;
mod facts;
mod calls;
mod view;
mod change;
mod make;
mod sizes;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use headcount_queue::{Error, Result as Checked};

use super::{Applied, Change, DriverError, Limits, PoolRef, PoolStatus, Removal, ScalerDriver};
use crate::{http::Server, price::Money};
use facts::Facts;

pub use config::{HerokuConfig, Token};
pub use sizes::{DynoSize, SIZES, price_per_hour};

/// What Heroku gives a dyno between TERM and KILL.
const GRACE: Duration = Duration::from_secs(30);
/// How long a dyno usually takes, until its boot time has been learned.
const BOOT: Duration = Duration::from_secs(20);
/// One that has no worker after this long is lost.
const OVERDUE: Duration = Duration::from_mins(2);

/// Resizes the process types of one app on Heroku.
///
/// A dyno without a [worker](crate::observe) of the pool for two minutes counts as lost. Its instance is named as Heroku
/// names the dyno, `worker.2`, which is what the dyno finds in `DYNO`.
pub struct HerokuDriver {
    config: HerokuConfig,
    server: Server,
    facts: Mutex<Facts>,
    /// Held by whoever calls Heroku: what one call learns is for all that wait.
    turn: tokio::sync::Mutex<()>,
}

impl HerokuDriver {
    /// A driver of this configuration. Heroku is not called yet.
    ///
    /// # Errors
    /// [`Error::Rejected`] if it has no pool.
    pub fn new(config: HerokuConfig) -> Checked<Self> {
        if config.pools.is_empty() {
            return Err(Error::Rejected(format!("no pool is a process type of {}", config.app)));
        }
        let server = Server::new(&config.base);
        Ok(Self { config, server, facts: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// The size of a pool's dynos, by the latest reading; `None` if there is none yet, or if the size is not among
    /// [`SIZES`].
    pub fn size(&self, pool: &PoolRef) -> Option<&'static DynoSize> {
        self.lock().size(self.config.pools.get(pool)?)
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process_type(&self, pool: &PoolRef) -> Result<&str, DriverError> {
        self.config.pools.get(pool).map(String::as_str).ok_or_else(|| {
            DriverError::Refused(format!("pool {pool} is no process type of {}: configure one", self.config.app))
        })
    }
}

#[async_trait]
impl ScalerDriver for HerokuDriver {
    fn limits(&self, pool: &PoolRef) -> Limits {
        let limits = Limits {
            boot: BOOT,
            overdue: OVERDUE,
            removal: Removal::Highest,
            grace: GRACE,
            shared: true,
            ..Limits::DEFAULT
        };
        let Some(process_type) = self.config.pools.get(pool) else { return limits };
        let facts = self.lock();
        let removal = if facts.is_without_numbers(process_type) { Removal::Unknown } else { Removal::Highest };
        Limits { max: facts.most(process_type, Instant::now()), removal, ..limits }
    }

    fn price(&self, pool: &PoolRef) -> Option<Money> {
        self.size(pool).and_then(|size| Money::new(size.price(Duration::from_hours(1))))
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.refresh().await {
            return pools.iter().map(|pool| self.process_type(pool).and(Err(error.clone()))).collect();
        }
        let facts = self.lock();
        let now = Instant::now();
        let (Some(formation), Some(listing)) = (&facts.formation, &facts.listing) else {
            let lost = DriverError::Unavailable("what was read has been lost".into());
            return pools.iter().map(|_| Err(lost.clone())).collect();
        };
        let age = (now - formation.at, now - listing.at);
        let status = |process_type: &str| {
            if view::contradicts(&formation.what, &listing.what, process_type) {
                return Err(contradiction(process_type));
            }
            let mut status = view::status(&formation.what, &listing.what, process_type, &self.config.app, age);
            status.release = facts.release.map(|version| format!("v{version}"));
            if facts.tokens.are_scarce() {
                status.warnings.push(format!(
                    "few API requests are left for the account of {}: until there are more, dynos are added but not \
                     removed; see what else uses its token",
                    self.config.token
                ));
            }
            Ok(status)
        };
        pools.iter().map(|pool| self.process_type(pool).and_then(status)).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let _turn = self.turn.lock().await;
        self.make(changes).await
    }
}

fn contradiction(process_type: &str) -> DriverError {
    DriverError::Unavailable(format!("Heroku lists dynos of {process_type} and a formation that does not mention it"))
}

impl fmt::Display for HerokuDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heroku: {}", self.config.app)
    }
}

impl fmt::Debug for HerokuDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HerokuDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

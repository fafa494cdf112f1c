//! The scaler of Headcount: it resizes pools of workers so that they follow their queues, and kills no job for it.
//!
//! A [`Reconciler`] goes round in ticks. In each it [observes](observe) the store and the platform, [decides](decide)
//! how many workers should be claiming, and [acts](act): it recalls draining workers before it grows the pool, and it
//! drains workers, and sees them idle, before it has the platform remove them. What it saw, decided and did is a
//! [`TickRecord`].
//!
//! The platform stands behind [`ScalerDriver`]: [`LocalDriver`] keeps worker processes on this machine, [`HerokuDriver`]
//! dynos on Heroku, and with the feature `aws` there is `AwsDriver` for Auto Scaling groups. Workers and scaler never speak to each other; they meet in the store.
//!
//! In reading order: [`config`] is what a user writes, [`PoolSpec`] says what a pool is, [`driver`] what a platform does
//! for it, [`observe`] what is seen, [`decide`] what follows from it, [`act`] how it is done without harm, and
//! [`reconciler`] is the loop, and [`watch`] what is seen of it from outside.

pub mod config;
mod price;
mod account;
pub mod schedule;
mod pool;
pub mod driver;
pub mod observe;
pub mod decide;
pub mod act;
pub mod reconciler;
mod record;
mod notice;
mod http;
mod webhook;
pub mod watch;

pub use account::Account;
pub use config::Config;
#[cfg(feature = "aws")]
pub use driver::aws_asg::{AwsConfig, AwsDriver};
pub use driver::{
    ScalerDriver,
    command::{CommandConfig, CommandDriver},
    heroku::{HerokuConfig, HerokuDriver, Token},
    local::{LocalConfig, LocalDriver, Log},
    noop::NoopDriver,
};
pub use notice::{Concern, Notice};
pub use observe::source::{Source, SqlSource};
pub use pool::{Policy, PoolSpec};
pub use price::Money;
pub use reconciler::{Reconciler, Replacer};
pub use record::{Counts, Detail, TickRecord};
pub use watch::Watch;
pub use webhook::Webhook;

//! The scaler's configuration: a text becomes a [`Config`], or all of its mistakes at once.
//!
//! ```toml
//! [pool.worker]
//! queues = { default = "1m", mail = "2m" }
//! driver = { heroku = { app = "acme", process = "worker" } }
//! max = 20
//!
//! [pool.batch]
//! queues = ["batch"]
//! driver = { aws = { group = "acme-batch", region = "eu-west-1" } }
//! policy = "linear"
//! max = 8
//! schedule = [{ cron = "0 8 * * 1-5", min = 4 }, { cron = "0 19 * * *", min = 0 }]
//! ```
//!
//! | key of a pool | is | default |
//! |---|---|---|
//! | `queues` | the queues it serves: a list of names and beginnings (`"mail.*"`), or a table with the start-within of each | required |
//! | `driver` | its platform: [`heroku`, `aws`, `local`, `command` or `noop`](DriverConfig) | required |
//! | `max` | the most workers, ever: there is no safe default for money | required |
//! | `min` | the fewest workers | 0 |
//! | `source` | where its numbers come from instead of the store: `{ sql, url_env, timeout }`; nobody is drained then, and it shrinks only while nothing waits and nothing runs | the store |
//! | `start_within` | within what time jobs should start | 1 min, or twice the boot time if that is longer |
//! | `percentile` | what share of them, in percent | 95 |
//! | `policy` | `waiting-time`, `linear` or `half-linear` | `waiting-time` |
//! | `interval` | the time between two looks | 5 s |
//! | `slots` | how many jobs a worker runs at once, until one has said so itself | 1 |
//! | `remove_after` | how long a worker is drained and idle before it is removed | the longest of boot time, minimum bill and 1 min |
//! | `idle_to_zero` | how long there is no work before the last worker goes | 5 min |
//! | `grow_cooldown`, `shrink_cooldown` | how long after a change there is no other | 0 |
//! | `grow_step`, `shrink_step` | by how many workers it changes at most in one tick | no limit |
//! | `tolerance` | a change of less than this share of the size is not made | 0 |
//! | `schedule` | other bounds from a time on: a list of `{ cron, min, max }` | none |
//! | `timezone` | of the schedule and of a budget's day | `UTC` |
//! | `price` | what an instance costs in an hour | on Heroku, what its size costs; else unknown |
//! | `budget` | what may be spent in a day | no limit |
//! | `overflow_of` | the pool that comes first on the queues that both serve: this one gets what that cannot meet | none |
//! | `respect_manual` | how long a size set by hand is a floor | 30 min |
//! | `token_env` | the environment variable with the token of a heroku driver | `HEROKU_API_KEY` |
//! | `drain_timeout` | how long a drain may take before it is given up, and how long it is not tried again then | no limit |
//!
//! Secrets stand in environment variables, which are named here and read elsewhere.

mod mistake;
mod section;
mod driver;
mod pool;
mod owners;
mod table;
#[cfg(test)]
mod tests;

use toml::de::DeTable;

use mistake::Notes;
use section::Section;

pub use driver::{DriverConfig, HEROKU_TOKEN_ENV, SourceConfig};
pub use mistake::{Mistake, Mistakes};
pub use pool::{PoolConfig, QueueConfig};
pub use table::{Row, Table};

/// What is to be scaled, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The pools, in the order of the text.
    pub pools: Vec<PoolConfig>,
}

impl Config {
    /// A small text that is valid, for those who have none yet.
    pub const EXAMPLE: &str = "\
[pool.here]
queues = [\"*\"]
driver = { local = {} }
max = 4
start_within = \"1m\"
";

    /// Reads a text.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let notes = Notes::on(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            notes.syntax(error);
        }
        let whole = Section::new("the file".into(), 0..0, document.get_ref(), &notes);
        let pools = pools(&whole);
        whole.finish();
        notes.finish()?;
        Ok(Self { pools })
    }

    /// Every pool with all values in force, defaults marked.
    pub fn table(&self) -> Table<'_> {
        Table::of(self)
    }
}

fn pools(whole: &Section<'_>) -> Vec<PoolConfig> {
    const REMEDY: &str = "a pool begins with a line such as [pool.worker]";
    let pools = whole.section("pool", "{ worker = { … } }");
    let Some(pools) = whole.require("pool", pools, REMEDY) else { return Vec::new() };
    let mut read = Vec::new();
    for ((name, at), value) in pools.entries() {
        match value.get_ref().as_table() {
            Some(table) => {
                let section = Section::new(format!("pool.{name}"), at, table, whole.notes);
                read.push(pool::read(name, &section));
                section.finish();
            }
            None => whole.notes.wrong(&at, format!("`pool.{name}` is a table: {REMEDY}")),
        }
    }
    if read.is_empty() && pools.entries().is_empty() {
        whole.notes.missing(&pools.at, format!("there is no pool; {REMEDY}"));
    }
    owners::check(&read, whole.notes);
    let chains: Vec<Vec<String>> =
        read.iter().map(|draft| owners::above(draft, &read).map(str::to_owned).collect()).collect();
    let configs = read.into_iter().map(|draft| draft.config).zip(chains);
    configs.filter_map(|(config, above)| config.map(|config| PoolConfig { above, ..config })).collect()
}

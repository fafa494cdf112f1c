//! From the configuration to the platforms: a driver for each app, region and account, with the secrets of the
//! environment.
//!
//! A driver that a changed configuration needs as it was is kept: the workers of a local one are its children.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use headcount_scaler::{
    CommandConfig, CommandDriver, Config, HerokuConfig, HerokuDriver, LocalConfig, LocalDriver, NoopDriver, PoolSpec,
    ScalerDriver, SqlSource, Token,
    config::{DriverConfig, PoolConfig, SourceConfig},
};

use crate::{
    commands::work::secrets,
    env::{self, Env},
    exit::refused,
};

/// See the module.
pub(super) struct Drivers {
    env: Env,
    url: String,
    known: Vec<Known>,
}

/// A driver, with all that it was made from.
struct Known {
    key: Key,
    driver: Arc<dyn ScalerDriver>,
    /// The local one, whose workers end with it.
    local: Option<Arc<LocalDriver>>,
}

/// What makes a driver another one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// The app, the variable of its token, and the process type of each pool.
    Heroku { app: String, token_env: String, processes: BTreeMap<String, String> },
    /// Of one account and region, the group of each pool.
    #[cfg(feature = "aws")]
    Aws { region: Option<String>, role_arn: Option<String>, profile: Option<String>, groups: BTreeMap<String, String> },
    /// One for each pool.
    Own { pool: String, config: DriverConfig },
}

impl Drivers {
    pub(super) fn new(env: &Env, url: &str) -> Self {
        Self { env: env.clone(), url: url.to_owned(), known: Vec::new() }
    }

    /// The pools with their drivers, in the order of the configuration. On an error nothing has changed.
    pub(super) async fn pools(&mut self, config: &Config) -> Result<Vec<(PoolSpec, Arc<dyn ScalerDriver>)>> {
        let mut pools = Vec::new();
        let mut known = Vec::new();
        for pool in &config.pools {
            let spec = self.spec(pool).with_context(|| format!("pool {}", pool.name))?;
            let key = key(pool, config);
            let driver = match known.iter().chain(&self.known).find(|known: &&Known| known.key == key) {
                Some(found) => Known { key, driver: Arc::clone(&found.driver), local: found.local.clone() },
                None => self.make(key, pool, config).await.with_context(|| format!("pool {}", pool.name))?,
            };
            pools.push((spec, Arc::clone(&driver.driver)));
            known.push(driver);
        }
        for gone in std::mem::replace(&mut self.known, known) {
            let kept = |local: &Arc<LocalDriver>| {
                self.known.iter().any(|known| known.local.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, local)))
            };
            if let Some(local) = gone.local.filter(|local| !kept(local)) {
                tracing::info!(driver = %local, "its pool is no longer configured: its workers are told to end");
                tokio::spawn(async move { local.shutdown(Duration::from_hours(1)).await });
            }
        }
        Ok(pools)
    }

    /// The pool, with its own source if it has one.
    fn spec(&self, pool: &PoolConfig) -> Result<PoolSpec> {
        let spec = pool.spec()?;
        let Some(SourceConfig { sql, url_env, timeout }) = &pool.source else { return Ok(spec) };
        let url = self.env.named(url_env)?.ok_or_else(|| {
            refused(format!("{url_env} is not set: it holds the URL of the database that `source` asks (postgres://…)"))
        })?;
        let source = SqlSource::new(url, sql, *timeout).map_err(|why| refused(format!("{url_env}: {why}")))?;
        Ok(spec.source(Arc::new(source)))
    }

    /// Ends the workers of this machine, within their grace and `limit`.
    pub(super) async fn shutdown(self, limit: Duration) {
        let locals = self.known.into_iter().filter_map(|known| Some((known.local?, known.key)));
        let ends = locals.map(|(local, key)| async move {
            let grace = match key {
                Key::Own { config: DriverConfig::Local { grace, .. }, .. } => grace,
                _ => Duration::ZERO,
            };
            local.shutdown(grace + limit).await
        });
        futures::future::join_all(ends).await;
    }

    async fn make(&self, key: Key, pool: &PoolConfig, config: &Config) -> Result<Known> {
        let mut local = None;
        let driver: Arc<dyn ScalerDriver> = match &key {
            Key::Heroku { app, token_env, processes } => Arc::new(self.heroku(app, token_env, processes)?),
            #[cfg(feature = "aws")]
            Key::Aws { .. } => Arc::new(self.aws(&key, config).await?),
            Key::Own { config: DriverConfig::Local { command, grace }, .. } => {
                let keys = tokens(config);
                Arc::clone(local.insert(Arc::new(self.local(&pool.name, command.as_deref(), *grace, keys)?))) as _
            }
            Key::Own { config: DriverConfig::Command { status, set, timeout }, .. } => {
                let withheld = secrets::withheld(&self.env, &[]).into_iter().chain(tokens(config).map(Into::into));
                Arc::new(CommandDriver::new(CommandConfig::new(status, set, withheld).timeout(*timeout)))
            }
            Key::Own { config: DriverConfig::Aws { .. }, .. } => {
                return Err(refused("this program was built without the driver for AWS: build it with --features aws"));
            }
            Key::Own { .. } => Arc::new(NoopDriver),
        };
        Ok(Known { key, driver, local })
    }

    fn heroku(&self, app: &str, token_env: &str, processes: &BTreeMap<String, String>) -> Result<HerokuDriver> {
        let secret = self.env.named(token_env)?.ok_or_else(|| {
            refused(format!(
                "{token_env} is not set: it holds the Heroku API key (`heroku authorizations:create --scope read,write`)"
            ))
        })?;
        let mut heroku = HerokuConfig::new(app, Token::new(token_env, secret)?)?;
        if let Some(url) = self.env.get(&env::HEROKU_API_URL)? {
            heroku = heroku.base_url(url)?;
        }
        for (pool, process) in processes {
            heroku = heroku.pool(pool, process)?;
        }
        Ok(HerokuDriver::new(heroku)?)
    }

    #[cfg(feature = "aws")]
    async fn aws(&self, key: &Key, config: &Config) -> Result<headcount_scaler::AwsDriver> {
        use headcount_scaler::{AwsConfig, AwsDriver};

        let Key::Aws { region, role_arn, profile, groups } = key else { unreachable!("called for this key only") };
        let variable =
            || Ok::<_, anyhow::Error>(self.env.get(&env::AWS_REGION)?.or(self.env.get(&env::AWS_DEFAULT_REGION)?));
        let region = match region {
            Some(region) => region.clone(),
            None => variable()?
                .ok_or_else(|| refused("no region: write region = \"eu-west-1\" beside the group, or set AWS_REGION"))?
                .to_owned(),
        };
        let mut aws = AwsConfig::new(&region)?;
        for pool in &config.pools {
            if let Some(group) = groups.get(&pool.name) {
                aws = aws.pool(&pool.spec()?, group)?;
            }
        }
        if let Some(arn) = role_arn {
            aws = aws.role_arn(arn)?;
        }
        if let Some(profile) = profile {
            aws = aws.profile(profile)?;
        }
        if let Some(url) = self.env.get(&env::AWS_ENDPOINT_URL)? {
            aws = aws.endpoint(url)?;
        }
        Ok(AwsDriver::new(aws).await)
    }

    /// `tokens`: the names of the variables that hold the tokens of other pools' platforms.
    fn local<'t>(
        &self,
        pool: &str,
        command: Option<&[String]>,
        grace: Duration,
        tokens: impl Iterator<Item = &'t str>,
    ) -> Result<LocalDriver> {
        let command = if let Some(command) = command {
            command.to_vec()
        } else {
            let program = std::env::current_exe().context("the path of this program")?;
            vec![program.to_string_lossy().into_owned(), "work".into(), "--pool".into(), pool.to_owned()]
        };
        // The store's URL may hold a password: it goes through the environment, which other users cannot read.
        let config = LocalConfig::new(command).env(env::URL.name, &self.url).env(env::POOL.name, pool).grace(grace);
        // A worker has no business with the platform's keys.
        let keys = env::PLATFORM_KEYS.into_iter().chain(tokens);
        let config = keys.fold(config, LocalConfig::env_remove);
        // Nor can it listen where the scaler does, or tell of its absence: it ends with it.
        let config = config.env_remove(env::LISTEN.name).env_remove(env::WEBHOOK_URL.name);
        Ok(LocalDriver::new(config))
    }
}

/// The variables that hold the tokens of the pools' platforms, whatever the configuration calls them.
fn tokens(config: &Config) -> impl Iterator<Item = &str> {
    config.pools.iter().filter_map(|pool| match &pool.driver {
        DriverConfig::Heroku { token_env, .. } => Some(token_env.as_str()),
        _ => None,
    })
}

/// What the driver of this pool is made from. One of an app or an account serves all their pools.
fn key(pool: &PoolConfig, config: &Config) -> Key {
    match &pool.driver {
        DriverConfig::Heroku { app, token_env, .. } => {
            let same = config.pools.iter().filter_map(|other| match &other.driver {
                DriverConfig::Heroku { app: a, process, token_env: t } if a == app && t == token_env => {
                    Some((other.name.clone(), process.clone()))
                }
                _ => None,
            });
            Key::Heroku { app: app.clone(), token_env: token_env.clone(), processes: same.collect() }
        }
        #[cfg(feature = "aws")]
        DriverConfig::Aws { region, role_arn, profile, .. } => {
            let same = config.pools.iter().filter_map(|other| match &other.driver {
                DriverConfig::Aws { group, region: r, role_arn: a, profile: p }
                    if (r, a, p) == (region, role_arn, profile) =>
                {
                    Some((other.name.clone(), group.clone()))
                }
                _ => None,
            });
            Key::Aws {
                region: region.clone(),
                role_arn: role_arn.clone(),
                profile: profile.clone(),
                groups: same.collect(),
            }
        }
        other => Key::Own { pool: pool.name.clone(), config: other.clone() },
    }
}

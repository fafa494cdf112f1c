//! `headcount scale`: resizes the pools of a configuration.

mod drivers;
mod file;
mod show;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use headcount_queue::store::{Options, Store};
use headcount_scaler::{Reconciler, Replacer, TickRecord, Webhook};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    commands::Session,
    env::{self, Env},
    exit::{Exit, refused},
    listen::{self, Listener, Scalers},
    store,
};
use drivers::Drivers;
use file::{Found, Watched};
use show::Shown;

/// The lease of the scalers of a store's configured pools: of all that run, one acts.
const LEASE: &str = "scaler";
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What a call to end the local workers may take beyond their own grace.
const LAST: Duration = Duration::from_secs(5);

/// Resize the pools of workers so that they follow their queues, until told to stop
///
/// Pools and platforms stand in a file, headcount.toml. It is read again when it changes; one with mistakes is told, and the
/// one before stays in force. Any number of scalers may run for one store: one acts, the others stand by and take over
/// within seconds. Secrets come from the environment.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration. Default: HEADCOUNT_CONFIG, else headcount.toml in this folder.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Check the configuration, print every value in force, and end. Asks neither the store nor a platform.
    #[arg(long, conflicts_with_all = ["once", "dry_run"])]
    check: bool,
    /// Go round once and end. Workers that are drained thereby claim again after a minute, unless a scaler goes on.
    #[arg(long)]
    once: bool,
    /// Look and decide, and print what would be done, but change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Show /metrics (for Prometheus), /health and /ready over HTTP: on a port of this machine, like 9464, which is the
    /// default, or on an address that others reach, like 0.0.0.0:9464. Default: HEADCOUNT_LISTEN, else nowhere.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = listen::PORT,
          conflicts_with_all = ["once", "check"])]
    listen: Option<String>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let found = Found::find(args.config.as_deref(), &session.env)?;
    let config = found.read()?;
    if args.check {
        session.out.rows(&config.table().rows, file::table)?;
        return Ok(Exit::Done);
    }
    let listener = if args.once { None } else { Listener::bind(args.listen.as_deref(), &session.env).await? };
    let choice = store::store_url(&session.global, &session.env, true)?;
    info!("store: {choice}");
    let mut drivers = Drivers::new(&session.env, &choice.url.expose());
    let pools = drivers.pools(&config).await?;
    let queue = store::open(&choice, &Options { application: "headcount scale".into(), ..Options::default() }).await?;

    let mut scaler = scaler(Arc::clone(queue.store()), args.dry_run);
    for (spec, driver) in pools {
        scaler = scaler.pool(spec, driver)?;
    }
    if let Some(webhook) = webhook(&session.env)?.filter(|_| !args.dry_run) {
        scaler = scaler.webhook(webhook);
    }
    if args.once {
        let records = scaler.tick_once().await;
        for record in &records {
            session.out.row(&record.detail(), |_| record.to_string())?;
        }
        drivers.shutdown(LAST).await;
        let blind = records.is_empty() || records.iter().any(|record| record.counts.is_none());
        return Ok(if blind { Exit::Failed } else { Exit::Done });
    }

    let stop = CancellationToken::new();
    let mut ends = Ends::listen()?;
    let replacer = scaler.replacer();
    let shown = Shown { scaler: scaler.watch(), scalers: Scalers::new(Arc::clone(queue.store())) };
    let _shown = listener.map(|listener| listener.show(shown));
    let stopped = stop.clone();
    let rounds = tokio::spawn(async move { scaler.run(stopped).await });
    info!(config = %found, pools = config.pools.len(), "scaler ready");
    let mut watched = Watched::new(found);
    let signal = loop {
        tokio::select! {
            signal = ends.next() => break signal,
            () = tokio::time::sleep(LOOK) => reload(&mut watched, &mut drivers, &replacer).await,
        }
    };
    info!("{signal}: stopping");
    stop.cancel();
    rounds.await.context("the scaler broke off")?;
    drivers.shutdown(LAST).await;
    Ok(if signal == "interrupted" { Exit::Interrupted } else { Exit::Done })
}

fn scaler(store: Arc<dyn Store>, dry_run: bool) -> Reconciler {
    let holder = format!("{} process {}", env::host(), std::process::id());
    let scaler = Reconciler::new(store, LEASE).holder(&holder).dry_run(dry_run);
    if dry_run { scaler.recorder(|record: &TickRecord| info!("{record}")) } else { scaler }
}

/// Where matters are told, if anywhere.
pub(crate) fn webhook(env: &Env) -> Result<Option<Webhook>> {
    let url = env.get(&env::WEBHOOK_URL)?;
    url.map(|url| Webhook::new(url).map_err(|error| refused(format!("{}: {error}", env::WEBHOOK_URL.name)))).transpose()
}

/// Puts a changed file into force, or says what is wrong with it.
async fn reload(watched: &mut Watched, drivers: &mut Drivers, replacer: &Replacer) {
    let config = match watched.changed() {
        None => return,
        Some(Ok(config)) => config,
        Some(Err(why)) => {
            error!("{why:#}: the configuration before stays in force");
            return;
        }
    };
    match drivers.pools(&config).await {
        Ok(pools) => {
            info!(pools = pools.len(), "the configuration has changed and is in force");
            if let Err(why) = replacer.replace(pools) {
                error!("{why}: the configuration before stays in force");
            }
        }
        Err(why) => error!("{why:#}: the configuration before stays in force"),
    }
}

/// What ends a scaler.
struct Ends {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).context("listening for signals");
        Ok(Self { int: on(SignalKind::interrupt())?, term: on(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.int.recv() => "interrupted",
            _ = self.term.recv() => "terminated",
        }
    }
}

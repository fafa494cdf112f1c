//! `headcount work`: a worker that runs any program as its handler.

mod absence;
mod machine;
mod parent;
pub(super) mod secrets;
mod show;

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Result;
use headcount_queue::{
    Binding,
    limits::check_name,
    store::{Options, Store},
};
use headcount_worker::{
    Error, Exit as Ended, Handler, Verbosity, Worker,
    exec::{Exec, ExecConfig, LineCommand, LineConfig, find_program},
    signals,
};
use tracing::{error, info, warn};

use absence::Absence;
pub(crate) use parent::ParentOrder;

use crate::{
    commands::{Session, scale::webhook},
    duration,
    env::{self, Env},
    exit::{Exit, refused, usage},
    global::Global,
    listen::{self, Listener, Scalers},
    store,
};

/// A worker whose pool nobody knows yet looks so often, and says so so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Run a worker: claim jobs and run a program for each
///
/// The program gets the payload (JSON) on standard input, and HEADCOUNT_JOB_ID, HEADCOUNT_JOB_KIND, HEADCOUNT_JOB_QUEUE
/// and HEADCOUNT_JOB_ATTEMPT in its environment. Exit status 0 completes the job, with what was written to standard
/// output as its output (64 KiB at most); 65 fails it for good; 75 snoozes it: run again later, no attempt spent; 126
/// and 127 say that the environment is broken: the job goes back and the worker ends with 78. Anything else is a failed
/// attempt with the end of standard error as its message. A job runs at least once: write the program so that running
/// it again does no harm.
///
/// The worker stays in the foreground and logs to standard output. TERM and QUIT: it claims nothing more, lets what
/// runs finish within the grace, gives the rest back at no cost, and ends with 0, or with 93 if jobs were given back.
/// HUP and INT: it lets everything finish, however long that takes; a second INT ends it at once.
///
/// On an instance of EC2 it asks the metadata service for the instance's id, unless HEADCOUNT_INSTANCE names it,
/// and for the instance's end. When Auto Scaling ends the instance, it lets everything finish; when a Spot instance is
/// taken back, it is out by then, as on a TERM. AWS_EC2_METADATA_DISABLED=true turns that off.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// The program and its arguments, split into words as a shell does, with quotes; no shell runs. Required: the
    /// command has no kinds compiled in (a Rust program that has some runs them with headcount::Worker).
    #[arg(long, value_name = "COMMAND", required_unless_present = "from_parent")]
    exec: Option<String>,
    /// The queues, separated by commas: names, and beginnings of names with a * behind (mail.* for mail.urgent, not for
    /// mail; quote it, or the shell may take it for files). Default: those that the scaler's configuration gives its pool;
    /// without a pool any, except the private ones of `headcount run`.
    #[arg(long, short = 'Q', value_name = "NAMES")]
    queue: Option<Binding>,
    /// How many jobs it runs at once, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// The pool that it belongs to, for the scaler. Default: HEADCOUNT_POOL, else the process type of DYNO, else none.
    #[arg(long, value_name = "NAME", value_parser = pool)]
    pool: Option<String>,
    /// End with 0 once nothing is left to do in its queues, on whatever worker. Jobs due later do not count.
    #[arg(long)]
    exit_if_empty: bool,
    /// End with 0 after this many attempts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    exit_after: Option<u64>,
    /// How often to look for jobs when there were none. Shorter finds them sooner and asks the store more often.
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = duration::parse)]
    poll: Duration,
    /// Poll at exactly that interval. Default: at half to one and a half times of it, so that the polls of a fleet do
    /// not come together.
    #[arg(long)]
    no_jitter: bool,
    /// Do not have the store tell it of jobs that come in, but only poll. Default: on Postgres it is told, so that jobs
    /// start within milliseconds, and polls ever less often, down to every fourth time, while it finds nothing. Costs
    /// one connection.
    #[arg(long)]
    no_listen: bool,
    /// For each such time that the first job of a queue's priority has waited, that priority counts as one higher, like
    /// 10m, so that a stream of urgent jobs starves nobody. Default: priorities are strict.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    age_priorities: Option<Duration>,
    /// How willing it and its programs are to let others of the machine go first, from -20 to 19, as the command `nice`
    /// has it. Without the permission for it a warning is logged, and nothing changes. Default: as it was started.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
    /// Within which time it is out after a TERM. Less than the platform's own patience: Heroku kills after 30 s.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration::parse)]
    grace: Duration,
    /// The most connections to the store, whatever the slots; the heartbeat has one more.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// For how long to wait for a store that does not answer before ending with 69.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    store_patience: Duration,
    /// Hand this environment variable on to the program although it may hold a key; repeat it, or separate several with
    /// commas; NAME* stands for all that begin so.
    ///
    /// Not handed on otherwise: HEADCOUNT_*, AWS_*, HEROKU_*, PG*, DATABASE_URL, *_DATABASE_URL, and whatever holds the
    /// address of a database or a broker with a password in it (postgres, mysql, mariadb, sqlserver, mongodb, redis,
    /// amqp).
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pass_env: Vec<String>,
    /// Show /metrics (for Prometheus), /health and /ready over HTTP: on a port of this machine, like 9464, which is the
    /// default, or on an address that others reach, like 0.0.0.0:9464. Default: HEADCOUNT_LISTEN, else nowhere.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = listen::PORT)]
    listen: Option<String>,
    /// Read what to run as one line of JSON from standard input, and stop when that ends: how `headcount run` hires.
    #[arg(long, hide = true, conflicts_with = "exec")]
    from_parent: bool,
}

fn pool(name: &str) -> Result<String, String> {
    check_name("a pool", name).map_err(|error| error.to_string())?;
    Ok(name.to_owned())
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    // What is wrong here is said before the store is opened: no store mends it.
    let handler = handler(&args, &session.env)?;
    let machine = if args.from_parent { None } else { machine::find(&session.env)? };
    let instance = match (instance(&session.env)?, &machine) {
        (Some(named), _) => Some(named),
        (None, Some(machine)) => machine::name(machine).await,
        (None, None) => None,
    };
    if let Some(machine) = &machine
        && machine::is_over(machine).await
    {
        // A supervisor that starts it again and again costs nobody a job.
        return Ok(Exit::Done);
    }
    let named = args.pool.is_some() || session.env.get(&env::POOL)?.is_some();
    let pool = match &args.pool {
        Some(pool) => Some(pool.clone()),
        None => pool_of(&session.env)?,
    };

    // Those that `headcount run` hires are its own affair, and many.
    let listener = if args.from_parent { None } else { Listener::bind(args.listen.as_deref(), &session.env).await? };

    let choice = store::store_url(&session.global, &session.env, true)?;
    info!("store: {choice}");
    let options = Options { connections: args.connections, ..Options::default() };
    let queue = store::open(&choice, &options).await?;

    let pulse = Arc::new(OnceLock::new());
    let shown = show::Shown { pulse: Arc::clone(&pulse), scalers: Scalers::new(Arc::clone(queue.store())) };
    let _shown = listener.map(|listener| listener.show(shown));

    let queues = match (args.queue, &pool) {
        (Some(queues), _) => queues,
        (None, Some(pool)) => published(queue.store().as_ref(), pool, named).await?,
        (None, None) => Binding::Any,
    };

    if let Some(webhook) = webhook(&session.env)? {
        let holder = format!("{} process {}", env::host(), std::process::id());
        tokio::spawn(Absence::new(Arc::clone(queue.store()), holder, webhook).watch());
    }
    let mut builder = Worker::builder(queue)
        .handle_any(handler)
        .queues(&queues.to_string())
        .slots(args.slots)
        .poll(args.poll)
        .jitter(!args.no_jitter)
        .listen(!args.no_listen)
        .verbosity(verbosity(&session.global))
        .grace(args.grace)
        .host(env::host())
        .store_patience(args.store_patience)
        .exit_if_empty(args.exit_if_empty);
    if let Some(pool) = pool {
        builder = builder.pool(pool);
    }
    if let Some(instance) = instance {
        builder = builder.instance(instance);
    }
    if let Some(each) = args.age_priorities {
        builder = builder.age_priorities(each);
    }
    if let Some(niceness) = args.nice {
        builder = builder.nice(niceness);
    }
    if let Some(attempts) = args.exit_after {
        builder = builder.exit_after(attempts);
    }
    let worker = builder.build().map_err(told)?;
    let stopper = worker.stopper();
    let _ = pulse.set(worker.pulse());
    let signals = signals::listen(&stopper).map_err(told)?;
    let _listening = machine.map(|machine| machine.listen(&stopper));
    if args.from_parent {
        let gone = parent::gone(io::stdin());
        tokio::spawn(async move {
            let _ = gone.await;
            warn!("the process that hired this worker has ended: stopping");
            stopper.stop();
        });
    }
    let ended = worker.run().await.map_err(told)?;
    Ok(status(&ended, signals.interrupted()))
}

/// The queues that a scaler has published for this pool. `named`: the user said that it is in the pool, so one waits for
/// its scaler; a dyno's process type alone need not be any scaler's pool.
async fn published(store: &dyn Store, pool: &str, named: bool) -> Result<Binding> {
    let mut told = None::<Instant>;
    loop {
        if let Some(known) = store.pools(Some(pool)).await?.pop() {
            info!(pool, queues = %known.queues, "queues as its scaler has published them");
            return Ok(known.queues);
        }
        if !named {
            return Ok(Binding::Any);
        }
        if told.is_none_or(|at| at.elapsed() > TELL_EVERY) {
            told = Some(Instant::now());
            warn!("no scaler has published the queues of pool {pool} yet: waiting for it; --queue starts without one");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How much it logs; `HEADCOUNT_LOG` filters what is left.
const fn verbosity(global: &Global) -> Verbosity {
    match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    }
}

/// What runs the jobs: the program of `--exec`, or what the parent orders.
fn handler(args: &Args, env: &Env) -> Result<Arc<dyn Handler>> {
    if args.from_parent {
        let order = ParentOrder::read(&mut io::stdin().lock())?;
        let (program, words) = find(&order.program(), env)?;
        let mut config = LineConfig::new(program, words, order.spool());
        config.remove_env = secrets::own(env, &args.pass_env);
        return Ok(Arc::new(LineCommand::new(config)));
    }
    let words = shell_words::split(args.exec.as_deref().unwrap_or_default())
        .map_err(|error| usage(format!("--exec: {error}: close every quote")))?;
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let (program, words) = find(&words, env)?;
    let mut config = ExecConfig::new(program, words);
    config.remove_env = secrets::withheld(env, &args.pass_env);
    if !config.remove_env.is_empty() {
        let names: Vec<_> = config.remove_env.iter().map(|name| name.to_string_lossy()).collect();
        info!(withheld = names.join(","), "the program does not get these variables; --pass-env hands one on");
    }
    Ok(Arc::new(Exec::new(config)))
}

/// The program that the first of these words names, and its arguments.
fn find(words: &[OsString], env: &Env) -> Result<(PathBuf, Vec<OsString>)> {
    let Some((name, arguments)) = words.split_first() else {
        return Err(usage("--exec names no program"));
    };
    let program = find_program(name, env.raw(&env::PATH)).map_err(|error| refused(error.to_string()))?;
    Ok((program, arguments.to_vec()))
}

/// What the platform calls the instance.
fn instance(env: &Env) -> Result<Option<String>> {
    Ok(env.get(&env::INSTANCE)?.or(env.get(&env::DYNO)?).map(str::to_owned))
}

/// The pool that the environment names: on Heroku the process type, `worker` of `worker.3`.
fn pool_of(env: &Env) -> Result<Option<String>> {
    if let Some(pool) = env.get(&env::POOL)? {
        return Ok(Some(pool.to_owned()));
    }
    let dyno = env.get(&env::DYNO)?;
    Ok(dyno.and_then(|dyno| dyno.rsplit_once('.')).map(|(process_type, _)| process_type.to_owned()))
}

/// A worker's error as the command's own: what it refuses is a configuration.
fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Rejected(why) => refused(why),
        Error::Store(error) => error.into(),
        error => error.into(),
    }
}

/// The exit status for the way in which a worker ended.
fn status(ended: &Ended, interrupted: bool) -> Exit {
    match ended {
        Ended::StoreLost => {
            error!("the store did not answer for longer than --store-patience; other workers rescue its jobs");
            Exit::StoreLost
        }
        Ended::BrokenEnvironment(why) => {
            error!("no job can be run here: {why}; the jobs went back, mend it and start the worker again");
            Exit::Refused
        }
        _ if interrupted => Exit::Interrupted,
        Ended::Forced { .. } => Exit::ForcedStop,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Line::parse_from([&["x"], words].concat()).args
    }

    #[test]
    fn a_worker_without_a_handler_is_refused_and_bad_numbers_too() {
        for line in [
            &[][..],
            &["--exec", "true", "--slots", "0"],
            &["--exec", "true", "--queue", "a b"],
            &["--exec", "true", "--nice", "20"],
        ] {
            assert!(Line::try_parse_from([&["x"], line].concat()).is_err(), "{line:?}");
        }
        assert!(Line::try_parse_from(["x"]).unwrap_err().to_string().contains("--exec"));
    }

    #[test]
    fn a_program_that_is_missing_or_unreadable_is_told_before_the_store_is_opened() {
        let env = Env::of([("PATH", "/nonexistent")], None);
        for (exec, code, why) in [
            ("handler --flag", Exit::Refused, "PATH"),
            ("'unclosed", Exit::Usage, "quote"),
            ("", Exit::Usage, "no program"),
        ] {
            let Err(error) = handler(&args(&["--exec", exec]), &env) else { panic!("{exec} was accepted") };
            assert_eq!(exit::status(&error), code, "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_dyno_names_its_instance_and_its_pool_unless_something_nearer_does() {
        let dyno = Env::of([("DYNO", "heavy.worker.3")], None);
        assert_eq!(instance(&dyno).unwrap().unwrap(), "heavy.worker.3");
        assert_eq!(pool_of(&dyno).unwrap().unwrap(), "heavy.worker");
        let named = Env::of([("DYNO", "worker.3"), ("HEADCOUNT_INSTANCE", "i-0a"), ("HEADCOUNT_POOL", "mail")], None);
        assert_eq!(instance(&named).unwrap().unwrap(), "i-0a");
        assert_eq!(pool_of(&named).unwrap().unwrap(), "mail");
        assert_eq!(pool_of(&Env::of([("DYNO", "worker-6b8d")], None)).unwrap(), None);
    }

    #[test]
    fn every_end_has_its_status() {
        for (ended, interrupted, code) in [
            (Ended::Done, false, Exit::Done),
            (Ended::Stopped, false, Exit::Done),
            (Ended::Stopped, true, Exit::Interrupted),
            (Ended::Left, false, Exit::Done),
            (Ended::Forced { given_back: 1 }, false, Exit::ForcedStop),
            (Ended::Forced { given_back: 1 }, true, Exit::Interrupted),
            (Ended::StoreLost, true, Exit::StoreLost),
            (Ended::BrokenEnvironment("x".into()), false, Exit::Refused),
        ] {
            assert_eq!(status(&ended, interrupted), code, "{ended:?}");
        }
    }
}

//! `headcount run`: a durable xargs whose workers come and go with the lines.
//!
//! Every line of standard input becomes a job in a private queue; the scaler's local driver hires worker processes for
//! them; what each line's command wrote is printed whole when it has ended. All that a later `--resume` needs lies in
//! the run's own [`Folder`].

mod folder;
mod input;
mod progress;
mod spool;

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use headcount_queue::{
    Binding, Depth, JobRecord, JsonBytes, Queue, State,
    limits::head,
    store::{BootId, Filter, Options, Outstanding},
};
use headcount_scaler::{LocalConfig, LocalDriver, Log, Policy, PoolSpec, Reconciler, TickRecord};
use headcount_worker::exec::find_program;
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{Session, work::ParentOrder},
    duration,
    env::{self, host},
    exit::{Exit, refused, usage},
    output::is_reader_gone,
    store::{self, Choice},
};
use folder::{Folder, Record};
use input::Input;
use progress::{Figures, Progress};
use spool::Spool;

/// How often the queue, the workers and the spool are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the store may be silent before the run ends.
const STORE_PATIENCE: Duration = Duration::from_mins(5);
/// So many failed lines are listed; the rest is counted.
const LISTED: u32 = 20;

/// Run a command for each line of standard input, as many at once as you allow, and survive being killed.
///
/// `{}` in the command stands for the line; without it the line is the last argument. No shell is involved, and the
/// command's standard input is empty. What it writes is printed whole when it has ended. Workers are hired while lines
/// wait and let go when none is left. Killed at any moment, `headcount run --resume NAME` finishes what was left: a
/// line that was running may run again, no other does.
///
/// Ends with 0 if every line succeeded, 1 if some failed (they are listed, and stay), 130 if it was interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  find . -name '*.jpg' | headcount run --max 4 -- convert {} {}.png")]
pub(crate) struct Args {
    /// The most worker processes at once. Default: as many as the machine has processors.
    #[arg(long, value_name = "N")]
    max: Option<NonZeroU32>,
    /// How many lines each worker runs at once. Default 1.
    #[arg(long, value_name = "N")]
    slots: Option<NonZeroU32>,
    /// How often a line that failed is tried again, with growing waits from 1 s to 1 min.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume")]
    retries: u16,
    /// The run's name, for --resume. Default: a short one that is free.
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    name: Option<String>,
    /// Finish what is left of this run. The command is the one it was begun with.
    #[arg(long, value_name = "NAME")]
    resume: Option<String>,
    /// With --resume, for a run that was cut off before it had read its input to the end: read the same input again
    /// from the start and go on after the lines already taken.
    #[arg(long, requires = "resume")]
    input: bool,
    /// How long lines that run may take to end after an interruption before they are stopped and put back, like 10s.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    grace: Duration,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    command: Vec<OsString>,
}

/// Runs the command for each line.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let signals = Signals::listen()?;
    let runs = store::data_folder(&session.env)?.join("runs");
    let named = store::named_url(&session.global, &session.env, false)?;
    if args.resume.is_none() {
        look_up(&args.command, session)?;
    }
    let mut folder = match &args.resume {
        Some(name) => Folder::open(&runs, name, named.as_ref().map(|choice| &choice.url))?,
        None => Folder::create(&runs, args.name.as_deref(), Record::new(&args.command, args.retries, named.as_ref()))?,
    };
    look_up(&folder.record.command(), session)?;
    let choice = named.unwrap_or_else(|| folder.own_store());
    let queue = store::open(&choice, &Options::default()).await?;
    session.note(&format!("run {}: store {}", folder.name(), choice.url));

    let run = Run {
        binding: Binding::queue(&folder.record.queue)?,
        spool: Spool::new(folder.spool(), session.global.json),
        progress: Progress::new(session.global.quiet, std::io::stderr().is_terminal()),
        queue,
    };
    let input = if args.resume.is_none() {
        Input::from_start(&run.queue, run.queue_name(), folder.record.retries)
    } else {
        run.free_lines_of_dead_workers().await?;
        if args.input && !folder.record.input_complete {
            let taken = input::taken(&run.queue, run.queue_name()).await?;
            session.note(&format!("run {}: going on after line {taken} of the input", folder.name()));
            Input::after(taken, &run.queue, run.queue_name(), folder.record.retries)
        } else {
            Input::none()
        }
    };
    let workers = Workers::hire(&args, &folder, &choice, &run)?;
    let end = run.follow(input, &workers, &mut folder, signals, args.grace).await;
    drop(workers);
    run.conclude(end?, folder, &choice, session).await
}

/// Refuses a command that is not there before any worker stumbles over it.
fn look_up(command: &[OsString], session: &Session) -> Result<()> {
    let program = command.first().ok_or_else(|| usage("there is no command: write it after --"))?;
    find_program(program, session.env.raw(&env::PATH)).map(drop).map_err(|error| refused(error.to_string()))
}

/// How following the lines ended.
enum End {
    /// Nothing is left of the lines that were taken.
    Finished,
    /// A signal, or nobody reads the output any more.
    Interrupted,
}

/// A run under way.
struct Run {
    queue: Queue,
    binding: Binding,
    spool: Spool,
    progress: Progress,
}

impl Run {
    fn queue_name(&self) -> &str {
        self.binding.entries().and_then(|names| names.first()).map_or("", String::as_str)
    }

    /// Frees the lines of workers that no longer live on this machine, without waiting until their silence proves it.
    ///
    /// The folder's lock is ours, so nobody else hires for this run, and its workers are all of this machine. Their
    /// supervisor ended too: no line is to blame for that.
    async fn free_lines_of_dead_workers(&self) -> Result<()> {
        let store = self.queue.store();
        let gone: Vec<BootId> = store
            .workers()
            .await?
            .into_iter()
            .filter(|worker| worker.queues == self.binding && worker.host == host() && !is_alive(worker.pid))
            .map(|worker| worker.boot)
            .collect();
        store.bury(&gone).await?;
        if !gone.is_empty() {
            store.rescue_dead(false).await?;
        }
        Ok(())
    }

    /// Follows the lines until none is left: prints what they wrote, shows how far it is.
    async fn follow(
        &self,
        mut input: Input,
        workers: &Workers,
        folder: &mut Folder,
        mut signals: Signals,
        grace: Duration,
    ) -> Result<End> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen_at = Instant::now();
        let ended = loop {
            select! {
                name = signals.next() => {
                    self.progress.say(&format!("{name}: letting running lines end; once more stops them now"));
                    break Ok(End::Interrupted);
                }
                result = input.end() => match result {
                    Ok(()) => folder.input_is_complete()?,
                    Err(error) => break Err(error),
                },
                _ = look.tick() => {
                    match self.spool.print(&self.progress) {
                        Ok(()) => {}
                        Err(error) if is_reader_gone(&error) => break Ok(End::Interrupted),
                        Err(error) => break Err(error),
                    }
                    if let Some(trouble) = workers.trouble() {
                        break Err(refused(format!("no worker comes up: {trouble}; see {}", folder.log().display())));
                    }
                    match self.figures(workers, input.is_open()).await {
                        Ok((figures, left)) => {
                            seen_at = Instant::now();
                            self.progress.show(&figures);
                            if !input.is_open() && left.is_empty() {
                                break Ok(End::Finished);
                            }
                        }
                        Err(error) if seen_at.elapsed() > STORE_PATIENCE => {
                            break Err(error).context("the store was silent for five minutes; --resume goes on later");
                        }
                        Err(error) => tracing::warn!(%error, "the store could not be read; trying again"),
                    }
                }
            }
        };
        workers.stop_hiring();
        // Idle workers are gone in no time; those of an interrupted run have the grace, and a moment to put lines back.
        let interrupted = !matches!(ended, Ok(End::Finished));
        let patience = if interrupted { grace + Duration::from_secs(3) } else { Duration::from_secs(10) };
        select! {
            _ = workers.driver.shutdown(patience) => {}
            _ = signals.next() => {
                workers.driver.shutdown(Duration::ZERO).await;
            }
        }
        match self.spool.print(&self.progress) {
            Err(error) if !is_reader_gone(&error) => return Err(error),
            _ => {}
        }
        ended
    }

    async fn figures(&self, workers: &Workers, reading: bool) -> Result<(Figures, Outstanding)> {
        let depth = self.depth().await?;
        let left = self.queue.store().outstanding(&self.binding).await?;
        let figures = Figures {
            done: depth.1,
            failed: depth.0.failed,
            running: depth.0.running,
            left: depth.0.ready + depth.0.scheduled + depth.0.held,
            workers: workers.up(),
            reading,
        };
        Ok((figures, left))
    }

    /// How many lines stand where, and how many are done.
    async fn depth(&self) -> Result<(Depth, i64)> {
        let store = self.queue.store();
        store.fold().await?;
        let queues = store.queues().await?;
        let ours = queues.into_iter().find(|queue| queue.queue == self.queue_name());
        Ok(ours.map_or((Depth::default(), 0), |queue| (queue.depth, queue.flow.completed)))
    }

    /// Says how it ended. A run of which nothing is left leaves nothing behind.
    async fn conclude(self, end: End, folder: Folder, choice: &Choice, session: &mut Session) -> Result<Exit> {
        self.progress.clear();
        let (depth, done) = self.depth().await?;
        let resume = format!("headcount run --resume {}", folder.name());
        if matches!(end, End::Interrupted) {
            session.note(&format!("interrupted with {done} lines done; go on with: {resume}"));
            return Ok(Exit::Interrupted);
        }
        if depth.failed > 0 {
            let filter =
                Filter { queue: Some(self.queue_name().into()), states: vec![State::Failed], ..Filter::default() };
            for job in self.queue.store().jobs(&filter, LISTED).await? {
                if session.out.is_json() {
                    session.out.row(&job, told)?;
                } else {
                    eprintln!("failed: {}", told(&job));
                }
            }
            let which = format!("--url {} --queue {} --state failed", choice.url, self.queue_name());
            eprintln!(
                "{} of {} lines failed; all of them: headcount jobs list {which}",
                depth.failed,
                depth.failed + done
            );
            eprintln!("to try them again: headcount jobs retry {which} && {resume}");
        }
        if !folder.record.input_complete {
            eprintln!("the input was cut off after {} lines", depth.failed + done);
            eprintln!("to go on with the rest, give the same input again: {resume} --input");
        }
        if depth.failed > 0 || !folder.record.input_complete {
            return Ok(Exit::Failed);
        }
        session.note(&format!("all {done} lines done"));
        folder.remove()?;
        Ok(Exit::Done)
    }
}

/// A failed line and why, in one line of text.
fn told(job: &JobRecord) -> String {
    let line = serde_json::from_str::<JsonBytes>(&job.payload.0).map(|line| line.0).unwrap_or_default();
    let error = job.error.as_deref().unwrap_or("no reason kept");
    format!("{}: {}", head(&String::from_utf8_lossy(&line), 200), error.trim_end().replace('\n', " | "))
}

fn is_alive(pid: u32) -> bool {
    // A process that may not be signalled lives too.
    rustix::process::Pid::from_raw(pid as i32)
        .is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// The worker processes and the scaler that hires them.
struct Workers {
    driver: Arc<LocalDriver>,
    stop: CancellationToken,
    records: watch::Receiver<Option<TickRecord>>,
    scaler: JoinHandle<()>,
}

impl Workers {
    fn hire(args: &Args, folder: &Folder, choice: &Choice, run: &Run) -> Result<Self> {
        let slots = args.slots.unwrap_or(NonZeroU32::MIN);
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let max = args.max.map_or(processors, NonZeroU32::get);
        let program = std::env::current_exe().context("finding this program, to start workers with it")?;
        let words = ["work", "--from-parent", "--quiet", "--queue", run.queue_name(), "--poll", "100ms", "--slots"];
        let mut command: Vec<OsString> = vec![program.into()];
        command.extend(words.map(OsString::from));
        command.push(slots.to_string().into());
        command.push("--grace".into());
        command.push(format!("{}ms", args.grace.as_millis()).into());
        // The store's URL may hold a password: it goes through the environment, which other users cannot read, and the
        // worker takes it out again before it runs a line.
        let config = LocalConfig::new(command)
            .env(env::URL.name, choice.url.expose())
            .stdin(ParentOrder::new(&folder.record.command(), &folder.spool()).to_line())
            .log(Log::File(folder.log()));
        let driver = Arc::new(LocalDriver::new(config));
        let spec = PoolSpec::new(run.queue_name(), run.binding.clone(), 0..=max)?
            .slots(slots)
            .policy(Policy::Linear)
            .interval(LOOK)
            .hold(Duration::from_secs(1))
            .remove_after(Duration::from_millis(500))
            .idle_to_zero(Duration::from_secs(1));
        let (sender, records) = watch::channel(None);
        let name = format!("{}@{} process {}", run.queue_name(), host(), std::process::id());
        let mut reconciler = Reconciler::new(Arc::clone(run.queue.store()), name)
            .pool(spec, Arc::clone(&driver) as _)?
            .recorder(move |record| drop(sender.send_replace(Some(record.clone()))));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let scaler = tokio::spawn(async move { reconciler.run(stopped).await });
        Ok(Self { driver, stop, records, scaler })
    }

    fn up(&self) -> u32 {
        let record = self.records.borrow();
        record.as_ref().and_then(|record| record.counts).map_or(0, |counts| counts.up + counts.draining)
    }

    /// What keeps workers from coming up, once it has lasted.
    fn trouble(&self) -> Option<String> {
        let record = self.records.borrow();
        let trouble = record.as_ref()?.trouble.as_ref().filter(|trouble| trouble.is_lasting())?;
        Some(trouble.to_string())
    }

    fn stop_hiring(&self) {
        self.stop.cancel();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.scaler.abort();
    }
}

/// INT, TERM and HUP: each interrupts the run.
struct Signals([(&'static str, Signal); 3]);

impl Signals {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).context("listening for signals");
        Ok(Self([
            ("interrupted", on(SignalKind::interrupt())?),
            ("terminated", on(SignalKind::terminate())?),
            ("hung up", on(SignalKind::hangup())?),
        ]))
    }

    async fn next(&mut self) -> &'static str {
        let [(int, on_int), (term, on_term), (hup, on_hup)] = &mut self.0;
        select! {
            _ = on_int.recv() => int,
            _ = on_term.recv() => term,
            _ = on_hup.recv() => hup,
        }
    }
}

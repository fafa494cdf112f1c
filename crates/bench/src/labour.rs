//! Worker processes: real ones, which say by their own clock when they began and when they were done.
//!
//! The bench starts its own program again for each. It writes an [`Order`] to its standard input, a line of JSON; reads
//! `ready`, once it is connected; writes `go`; and reads the [`Account`], a line of JSON, when nothing is left to do or the
//! input has ended.

use std::{
    ffi::OsString,
    io::stdin,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use headcount_queue::{Backoff, Context, Job, JobError, Outcome, Queue, StoreUrl, store::Options};
use headcount_worker::{Verbosity, Worker};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::cpu;

/// How often a worker that goes on until it is told says how far it is.
const WORD_EVERY: Duration = Duration::from_millis(50);

/// What a worker process is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The store.
    pub(crate) url: String,
    /// Its queues; none: any.
    pub(crate) queues: String,
    /// Its slots; none: as many as it has by default.
    pub(crate) slots: Option<u32>,
    /// It ends after so many jobs; none: when nothing is left.
    pub(crate) jobs: Option<u64>,
    /// It goes on until its input ends, and says again and again how many jobs it has done.
    pub(crate) until_told: bool,
    /// Every so many-th job fails at its first attempt, and is tried again.
    pub(crate) fails_each: Option<u64>,
}

/// What a worker process has done. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Jobs that have completed.
    pub(crate) jobs: u64,
    /// When the first began.
    pub(crate) first: u64,
    /// When the last ended. Not when its process did: one that finds nothing left asks a few times more, at its ease,
    /// whether the others have left anything.
    pub(crate) last: u64,
    /// The most memory that it had, in KiB.
    pub(crate) memory: u64,
    /// The processor time that it took, in microseconds.
    pub(crate) cpu: u64,
}

impl Account {
    /// All of these together.
    pub(crate) fn sum(accounts: &[Self]) -> Self {
        Self {
            jobs: accounts.iter().map(|account| account.jobs).sum(),
            first: accounts.iter().map(|account| account.first).min().unwrap_or_default(),
            last: accounts.iter().map(|account| account.last).max().unwrap_or_default(),
            memory: accounts.iter().map(|account| account.memory).max().unwrap_or_default(),
            cpu: accounts.iter().map(|account| account.cpu).sum(),
        }
    }

    /// Jobs a second.
    pub(crate) fn rate(&self) -> f64 {
        let took = Duration::from_nanos(self.last.saturating_sub(self.first));
        self.jobs as f64 / took.as_secs_f64().max(1e-6)
    }
}

/// How worker processes are started.
#[derive(Debug)]
pub(crate) struct Labour {
    program: PathBuf,
    args: Vec<OsString>,
}

/// A worker process that is connected, and waits for the word or works.
#[derive(Debug)]
pub(crate) struct Hand {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Labour {
    pub(crate) const fn new(program: PathBuf, args: Vec<OsString>) -> Self {
        Self { program, args }
    }

    /// Starts one, and returns when it is connected.
    pub(crate) async fn hire(&self, order: &Order) -> Result<Hand> {
        let mut process = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started as a worker", self.program.display()))?;
        let input = process.stdin.take().context("the worker's input is a pipe")?;
        let output = BufReader::new(process.stdout.take().context("the worker's output is a pipe")?).lines();
        let mut hand = Hand { process, input: Some(input), output };
        hand.say(&serde_json::to_string(order)?).await?;
        ensure!(hand.line().await? == "ready", "the worker process says something else than that it is ready");
        Ok(hand)
    }

    /// Has so many of them do what is there, and tells what they did, together.
    pub(crate) async fn work_off(&self, order: &Order, processes: usize) -> Result<Account> {
        let mut hands = Vec::with_capacity(processes);
        for _ in 0..processes {
            hands.push(self.hire(order).await?);
        }
        for hand in &mut hands {
            hand.go().await?;
        }
        let mut accounts = Vec::with_capacity(processes);
        for hand in hands {
            accounts.push(hand.done().await?);
        }
        Ok(Account::sum(&accounts))
    }
}

impl Hand {
    async fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the worker has been told to end")?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(input.flush().await?)
    }

    /// The next line that it says.
    pub(crate) async fn line(&mut self) -> Result<String> {
        self.output.next_line().await?.context("a worker process has ended without having said what it did")
    }

    /// It may begin.
    pub(crate) async fn go(&mut self) -> Result<()> {
        self.say("go").await
    }

    /// Waits until it is done.
    pub(crate) async fn done(mut self) -> Result<Account> {
        loop {
            let line = self.line().await?;
            if let Ok(account) = serde_json::from_str(&line) {
                self.process.wait().await?;
                return Ok(account);
            }
        }
    }

    /// Tells it to end, and waits for that.
    pub(crate) async fn stop(mut self) -> Result<Account> {
        self.input = None;
        self.done().await
    }
}

/// A job that does nothing, whatever its payload.
#[derive(Debug, Serialize, Deserialize)]
struct Noop {
    #[serde(default, skip_serializing)]
    _pad: IgnoredAny,
}

#[derive(Debug, Default)]
struct Tally {
    fails_each: Option<u64>,
    started: AtomicU64,
    done: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    const BACKOFF: Backoff = Backoff::fixed(Duration::from_secs(1));
    type State = Arc<Tally>;

    async fn run(self, cx: &Context<Arc<Tally>>) -> Result<Outcome, JobError> {
        let tally = cx.state();
        let started = tally.started.fetch_add(1, Ordering::Relaxed);
        if started == 0 {
            tally.first.store(now(), Ordering::Relaxed);
        }
        if cx.attempt() == 1 && tally.fails_each.is_some_and(|each| started.is_multiple_of(each)) {
            return Err(JobError::retry("as ordered"));
        }
        tally.done.fetch_add(1, Ordering::Relaxed);
        tally.last.fetch_max(now(), Ordering::Relaxed);
        Ok(Outcome::DONE)
    }
}

/// A worker process: does what its standard input says, and says what it did.
///
/// # Errors
/// The order cannot be read, the store cannot be reached, or the worker fails.
pub async fn labour() -> Result<()> {
    // Nothing else goes on here that a wait for the next line could hold up.
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).context("the order is a line of JSON")?;
    let queue = Queue::connect_with(&order.url.parse::<StoreUrl>()?, &Options::default()).await?;
    let tally = Arc::new(Tally { fails_each: order.fails_each, ..Tally::default() });
    let mut builder = Worker::builder(queue).state(Arc::clone(&tally)).handle::<Noop>().verbosity(Verbosity::Quiet);
    if !order.queues.is_empty() {
        builder = builder.queues(&order.queues);
    }
    if let Some(slots) = order.slots {
        builder = builder.slots(slots);
    }
    builder = match order.jobs {
        Some(jobs) => builder.exit_after(jobs),
        None => builder.exit_if_empty(!order.until_told),
    };
    let worker = builder.build()?;
    let stopper = worker.stopper();
    println!("ready");
    stdin().read_line(&mut line)?;
    if order.until_told {
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(WORD_EVERY);
            loop {
                ticks.tick().await;
                println!("done {}", tally.done.load(Ordering::Relaxed));
            }
        });
        std::thread::spawn(move || {
            // Its end is the word.
            let _ = stdin().read_line(&mut line);
            stopper.stop();
        });
    }
    worker.run().await?;
    let account = Account {
        jobs: tally.done.load(Ordering::Relaxed),
        first: tally.first.load(Ordering::Relaxed),
        last: tally.last.load(Ordering::Relaxed),
        memory: memory()?,
        cpu: cpu::of(std::process::id()).unwrap_or_default().as_micros() as u64,
    };
    println!("{}", serde_json::to_string(&account)?);
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "processes of one machine are timed beside each other; no store is asked"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// The most memory that this process had, in KiB; 0 where the system does not say.
fn memory() -> Result<u64> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(0) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

//! A child with everything it starts: one process group, ended as a whole, whatever happens to whoever waits for it.

use std::{io, process::ExitStatus, sync::Arc, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group, test_kill_process_group},
};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    select,
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::guard::{Guard, Guarded};

/// How often to look whether a group is empty: nothing tells.
const LOOK: Duration = Duration::from_millis(10);
/// How long the reaping of a killed child may take.
const REAP: Duration = Duration::from_secs(1);

/// A running child that leads a process group. Dropped before its end, the group gets a TERM and, after the grace, a
/// KILL.
#[derive(Debug)]
pub(super) struct Group {
    child: Option<Running>,
    pid: Pid,
    grace: Duration,
    reapers: Reapers,
}

/// A leader that has not been waited for, and the watch over its group.
#[derive(Debug)]
struct Running {
    child: Child,
    _guarded: Guarded,
}

impl Group {
    /// Starts the command as the leader of a new group.
    pub(super) fn start(
        mut command: Command,
        grace: Duration,
        reapers: Reapers,
        guard: &Arc<Guard>,
    ) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid =
            child.id().and_then(|id| Pid::from_raw(id as i32)).ok_or_else(|| io::Error::other("no process id"))?;
        Ok(Self { child: Some(Running { child, _guarded: guard.over(pid) }), pid, grace, reapers })
    }

    /// Its pipes, as far as they were asked for and are not taken.
    pub(super) fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        let Some(Running { child, .. }) = &mut self.child else { return (None, None, None) };
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    }

    /// Waits until the leader has ended. What it left behind in its group is killed: it would hold on to the pipes,
    /// and nobody would ever end it.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(Running { child, .. }) = &mut self.child else {
            return Err(io::Error::other("the group has ended"));
        };
        let status = child.wait().await?;
        // The leader's number may be given to another process from now on, and is not for as long as its group has
        // members. The kernel hands out all other numbers first, so the moment in between is safe.
        signal(self.pid, Signal::KILL);
        self.child = None;
        Ok(status)
    }

    /// Ends it: TERM to all, KILL after the grace to what is left.
    pub(super) async fn end(mut self) {
        if let Some(child) = self.child.take() {
            end(child, self.pid, self.grace, &self.reapers.hurry).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.reapers.adopt(child, self.pid, self.grace);
        }
    }
}

/// Ends groups whose attempts were dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Reapers {
    tasks: TaskTracker,
    hurry: Arc<Notify>,
}

impl Reapers {
    fn adopt(&self, child: Running, pid: Pid, grace: Duration) {
        // At once, not when the task is first polled: the process may be about to end.
        signal(pid, Signal::TERM);
        let Ok(runtime) = Handle::try_current() else {
            signal(pid, Signal::KILL);
            return;
        };
        let hurry = Arc::clone(&self.hurry);
        let kill = KillOnDrop(Some(pid));
        self.tasks.spawn_on(
            async move {
                // A runtime that shuts down drops this task, and with it the group.
                let _kill = kill;
                end(child, pid, grace, &hurry).await;
            },
            &runtime,
        );
    }

    /// Waits until every group has ended; what is left after two thirds of the limit is killed.
    pub(super) async fn close(&self, limit: Duration) {
        self.tasks.close();
        if timeout(limit * 2 / 3, self.tasks.wait()).await.is_err() {
            self.hurry.notify_waiters();
            let _ = timeout(limit / 3, self.tasks.wait()).await;
        }
        self.tasks.reopen();
    }
}

async fn end(mut running: Running, pid: Pid, grace: Duration, hurry: &Notify) {
    let mut kill = KillOnDrop(Some(pid));
    signal(pid, Signal::TERM);
    let child = &mut running.child;
    let ended = async {
        let _ = child.wait().await;
        while exists(pid) {
            sleep(LOOK).await;
        }
    };
    select! {
        ended = timeout(grace, ended) => if ended.is_ok() {
            kill.0 = None;
        },
        () = hurry.notified() => {}
    }
    drop(kill);
    let _ = timeout(REAP, child.wait()).await;
}

struct KillOnDrop(Option<Pid>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            signal(pid, Signal::KILL);
        }
    }
}

fn signal(group: Pid, signal: Signal) {
    // A group without members is what was wanted; members of another user cannot be reached.
    let _ = kill_process_group(group, signal);
}

fn exists(group: Pid) -> bool {
    test_kill_process_group(group) != Err(Errno::SRCH)
}

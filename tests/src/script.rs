//! A server run by one of the programs `tests/private-…`, which say how they are spoken to.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// A running script; the server goes when this is dropped, or when this process ends in any other way.
#[derive(Debug)]
pub(crate) struct Script {
    pipes: Mutex<Option<Pipes>>,
    child: Child,
}

#[derive(Debug)]
struct Pipes {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a server by the program of this name in `tests`, and returns its address.
    pub(crate) fn start(program: &str, args: &[&str]) -> (Self, String) {
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its failures come as answers. A test runner would wait for whoever holds its own output open.
            .stderr(Stdio::null())
            // Not in our group: a runner that kills a test kills the group, and the script has to clean up after it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("tests/{program} can be run: {error}"));
        let orders = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = answer(&mut answers);
        assert!(address.contains("://"), "{program}: no server: {address}");
        (Self { pipes: Mutex::new(Some(Pipes { orders, answers })), child }, address)
    }

    /// Gives an order and waits until it is carried out.
    pub(crate) fn order(&self, order: &str) {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().expect("they are open until the drop");
        writeln!(pipes.orders, "{order}").expect("the script reads its orders");
        let answer = answer(&mut pipes.answers);
        assert_eq!(answer, "ok", "{order}");
    }
}

/// Does what blocks, as speaking to a script does, apart from the runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn answer(answers: &mut impl BufRead) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the script's answer can be read");
    line.trim_end().to_owned()
}

impl Drop for Script {
    fn drop(&mut self) {
        self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.child.wait();
    }
}

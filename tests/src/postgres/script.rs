//! A server run by `tests/private-postgres`, which says how it is spoken to.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// A running script; the server goes when this is dropped, or when this process ends in any other way.
#[derive(Debug)]
pub(super) struct Script {
    pipes: Mutex<Option<Pipes>>,
    child: Child,
}

#[derive(Debug)]
struct Pipes {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a server and returns its address.
    pub(super) fn start() -> (Self, String) {
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/private-postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its failures come as answers. A test runner would wait for whoever holds its own output open.
            .stderr(Stdio::null())
            // Not in our group: a runner that kills a test kills the group, and the script has to clean up after it.
            .process_group(0)
            .spawn()
            .expect("tests/private-postgres can be run");
        let orders = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = answer(&mut answers);
        assert!(address.starts_with("postgres://"), "no private Postgres server: {address}");
        (Self { pipes: Mutex::new(Some(Pipes { orders, answers })), child }, address)
    }

    /// Gives an order and waits until it is carried out.
    pub(super) fn order(&self, order: &str) {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().expect("they are open until the drop");
        writeln!(pipes.orders, "{order}").expect("the script reads its orders");
        let answer = answer(&mut pipes.answers);
        assert_eq!(answer, "ok", "{order}");
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

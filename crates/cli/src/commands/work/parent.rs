//! A worker that another `headcount` process hired: its orders come on standard input, which ends with its parent.
//!
//! The command of a `headcount run` never lies in the store, where others could read it or change it; nor on a command
//! line, which every user of the machine can see. The parent writes one line of JSON and keeps the pipe open: however
//! the parent ends, the pipe closes, and the worker stops as on a TERM.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, Read},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};
use headcount_queue::JsonBytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::exit::refused;

/// The longest order: a command line may have two megabytes, and base64 adds a third.
const MAX_ORDER: u64 = 8 << 20;

/// What a parent tells a worker that it hires, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParentOrder {
    /// The program and its arguments. Words of a command line need not be UTF-8.
    program: Vec<JsonBytes>,
    /// The folder into which the jobs' output is written.
    spool: JsonBytes,
}

impl ParentOrder {
    /// An order to run this program and to write its output into this folder.
    pub(crate) fn new(program: &[OsString], spool: &Path) -> Self {
        let bytes = |text: &OsStr| JsonBytes(text.as_bytes().to_vec());
        Self { program: program.iter().map(|word| bytes(word)).collect(), spool: bytes(spool.as_os_str()) }
    }

    /// The program and its arguments.
    pub(crate) fn program(&self) -> Vec<OsString> {
        self.program.iter().map(|word| OsString::from_vec(word.0.clone())).collect()
    }

    /// The folder into which the jobs' output is written.
    pub(crate) fn spool(&self) -> PathBuf {
        OsString::from_vec(self.spool.0.clone()).into()
    }

    /// The line that the parent writes, its line break included.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings always serialize");
        line.push(b'\n');
        line
    }

    /// Reads the line that the parent wrote.
    pub(crate) fn read(input: &mut impl BufRead) -> Result<Self> {
        let mut line = Vec::new();
        input.take(MAX_ORDER).read_until(b'\n', &mut line).context("reading the parent's order")?;
        if line.last() != Some(&b'\n') {
            return Err(refused(
                "the parent ended before it had said what to run: --from-parent is for `headcount run`",
            ));
        }
        let order: Self = serde_json::from_slice(&line).map_err(|error| {
            refused(format!("the parent's order is not understood: {error}; is it of this version?"))
        })?;
        if order.program.is_empty() {
            return Err(refused("the parent's order names no program"));
        }
        Ok(order)
    }
}

/// Resolves when the parent has ended: when its end of the pipe is closed.
pub(crate) fn gone(mut input: impl Read + Send + 'static) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    // A thread, since a read of standard input cannot be called off. It ends with the process.
    thread::spawn(move || {
        let mut ignored = [0; 1024];
        while matches!(input.read(&mut ignored), Ok(1..)) {}
        let _ = sender.send(());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::exit::{Exit, status};

    #[test]
    fn an_order_comes_through_whole_whatever_its_bytes() {
        let words = [OsString::from("convert"), OsString::from_vec(b"a b\xff\n{}".to_vec())];
        let order = ParentOrder::new(&words, Path::new("/tmp/spool"));
        let line = order.to_line();
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
        let read = ParentOrder::read(&mut line.as_slice()).unwrap();
        assert_eq!(read.program(), words);
        assert_eq!(read.spool(), Path::new("/tmp/spool"));
    }

    #[test]
    fn an_order_that_was_cut_short_runs_nothing() {
        let line = ParentOrder::new(&["rm".into()], Path::new("/s")).to_line();
        for input in [&line[..0], &line[..line.len() - 1], b"{}\n", b"{\"program\":[],\"spool\":\"/s\"}\n"] {
            let error = ParentOrder::read(&mut &*input).unwrap_err();
            assert_eq!(status(&error), Exit::Refused, "{error}");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_pipe_is_the_end_of_the_parent() {
        let (reader, writer) = io::pipe().unwrap();
        let mut gone = gone(reader);
        assert!(gone.try_recv().is_err());
        drop(writer);
        gone.await.unwrap();
    }
}

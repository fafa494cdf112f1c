//! What goes to standard output: aligned tables for people, one JSON object a row for programs.

mod table;

use std::{
    fmt,
    io::{self, BufWriter, Stdout, Write},
};

use anyhow::Result;
use serde::Serialize;

pub(crate) use table::Table;

/// Standard output, in one of its two forms.
#[derive(Debug)]
pub(crate) struct Output<W: Write = Stdout> {
    json: bool,
    out: BufWriter<W>,
}

impl Output {
    /// Standard output as `--json` wants it.
    pub(crate) fn new(json: bool) -> Self {
        Self::to(io::stdout(), json)
    }
}

impl<W: Write> Output<W> {
    /// Another writer.
    pub(crate) fn to(out: W, json: bool) -> Self {
        Self { json, out: BufWriter::new(out) }
    }

    /// Whether programs read it.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// One row: as a JSON object, or as the line that `human` makes of it.
    pub(crate) fn row<T: Serialize>(&mut self, row: &T, human: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json { self.json_row(row) } else { self.text(&format!("{}\n", human(row))) }
    }

    /// Many rows: as JSON objects, or as the table that `human` makes of them.
    pub(crate) fn rows<T: Serialize>(&mut self, rows: &[T], human: impl FnOnce(&[T]) -> Table) -> Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| self.json_row(row));
        }
        self.text(&human(rows).to_string())
    }

    /// Text for people, as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(reader_gone)
    }

    /// Hands on what has been written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(reader_gone)
    }

    fn json_row<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.out.write_all(&line).map_err(reader_gone)
    }
}

/// Nobody reads standard output any more. Not an [`io::Error`], for a store's broken connection is one too.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for ReaderGone {}

pub(crate) fn reader_gone(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("writing to standard output"),
    }
}

/// Whether an error only says that nobody reads standard output any more.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>()
}

/// Says something beside the result, on standard error. That nobody reads it is no reason to stop, as `eprintln!` would.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text for a terminal: control characters, which could move its cursor or change its title, are shown and not sent.
/// Line breaks and tabs stay where `multiline`.
pub(crate) fn printable(text: &str, multiline: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' if multiline => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// The first line of a text, at most `max` characters; what was cut leaves an ellipsis.
pub(crate) fn brief(text: &str, max: usize) -> String {
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default();
    let mut shown = printable(line, false);
    let cut = shown.chars().count() > max;
    if cut {
        shown = shown.chars().take(max.saturating_sub(1)).collect();
    }
    if cut || line.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_broken_connection() {
        let mut out = Output::to(Closed, true);
        out.row(&7, ToString::to_string).unwrap();
        assert!(is_reader_gone(&out.flush().unwrap_err()));
        assert!(!is_reader_gone(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc", false), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable("a\tb\nc\u{9b}", true), "a\tb\nc\\u{9b}");
    }

    #[test]
    fn a_long_text_is_cut_to_its_first_line() {
        assert_eq!(brief("short", 10), "short");
        assert_eq!(brief("one\ntwo", 10), "one…");
        assert_eq!(brief("größer als zehn", 7), "größer…");
        assert_eq!(brief("\n\nlate\n", 10), "late");
    }
}

//! What is wrong with a configuration: every mistake at once, each with its place and its remedy.

use std::{cell::RefCell, collections::BTreeSet, fmt, ops::Range};

/// Everything that is wrong with a configuration, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Mistakes {
    /// Each of them; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, mistake)| write!(f, "{}{mistake}", if i == 0 { "" } else { "\n" }))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// Collects mistakes while a text is read.
#[derive(Debug)]
pub(super) struct Notes<'t> {
    text: &'t str,
    found: RefCell<Vec<Note>>,
}

#[derive(Debug)]
struct Note {
    at: usize,
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It is no TOML.
    Syntax,
    /// Something is not there; it may only be unreadable.
    Missing,
    /// Something is there and wrong.
    Wrong,
}

impl<'t> Notes<'t> {
    pub(super) fn on(text: &'t str) -> Self {
        Self { text, found: RefCell::default() }
    }

    pub(super) fn wrong(&self, at: &Range<usize>, message: impl Into<String>) {
        self.note(at.start, Kind::Wrong, message.into());
    }

    pub(super) fn missing(&self, at: &Range<usize>, message: impl Into<String>) {
        self.note(at.start, Kind::Missing, message.into());
    }

    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or(self.text.len(), |span| span.start);
        self.note(at, Kind::Syntax, error.message().to_owned());
    }

    fn note(&self, at: usize, kind: Kind, message: String) {
        self.found.borrow_mut().push(Note { at, kind, message });
    }

    /// The line and column of a place in the text.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// Nothing, if nothing was wrong.
    pub(super) fn finish(self) -> Result<(), Mistakes> {
        let mut found = self.found.take();
        // What cannot be read seems to be missing, and draws more mistakes after it: an array that is never closed, one
        // in every line below. The first of lines without a gap is the one to mend.
        let broken: BTreeSet<usize> =
            found.iter().filter(|n| n.kind == Kind::Syntax).map(|n| self.place(n.at).0).collect();
        let mut told = BTreeSet::new();
        found.retain(|note| {
            let line = self.place(note.at).0;
            match note.kind {
                Kind::Syntax => !broken.contains(&(line - 1)) && told.insert(line),
                Kind::Missing => broken.is_empty(),
                // What could not be read at all stands nowhere.
                Kind::Wrong => !broken.contains(&line) && (broken.is_empty() || note.at > 0),
            }
        });
        found.sort_by_key(|note| note.at);
        let mistakes: Vec<Mistake> = found
            .into_iter()
            .map(|note| {
                let (line, column) = self.place(note.at);
                Mistake { line, column, message: note.message }
            })
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes)) }
    }
}

/// What was probably meant, if one of these is near to what was written.
pub(super) fn meant<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let distance = |known: &'a str| {
        let word = known.to_lowercase();
        // "berlin" for "Europe/Berlin".
        let last = word.rsplit('/').next().unwrap_or_default();
        let distance = strsim::damerau_levenshtein(&written, &word).min(strsim::damerau_levenshtein(&written, last));
        (distance, known)
    };
    let (distance, best) = known.into_iter().map(distance).min_by_key(|&(distance, _)| distance)?;
    // A letter in three may be wrong: with more, words have little in common.
    let length = written.chars().count();
    (distance <= (length / 3).max(1) && distance < length).then_some(best)
}

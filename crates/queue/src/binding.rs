//! Which queues a worker serves.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    limits::{PRIVATE_PREFIX, check_name},
};

/// The queues that a worker is bound to: any, or a list of names and prefixes.
///
/// Read from text, a list is separated by commas; spaces, empty entries and repetitions are dropped
/// (`" a, b,,a"` is `a` and `b`), and an empty text is [`Binding::Any`]. An entry that ends in `*` stands for every queue
/// whose name begins so: `mail.*` for `mail.urgent`, not for `mail`. Private queues (those that begin with `run:`) are
/// meant only by an entry that begins so itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Binding {
    /// Every queue except private ones (those that begin with `run:`).
    #[default]
    Any,
    /// These queues, or those that begin like an entry that ends in `*`, and no other; sorted.
    Queues(Vec<String>),
}

impl Binding {
    /// One queue.
    pub fn queue(name: &str) -> Result<Self, Error> {
        check_name("a queue", name)?;
        Ok(Self::Queues(vec![name.to_owned()]))
    }

    /// Whether `queue` is served.
    pub fn includes(&self, queue: &str) -> bool {
        match self {
            Self::Any => !queue.starts_with(PRIVATE_PREFIX),
            Self::Queues(_) => self.ranges().iter().any(|range| range.includes(queue)),
        }
    }

    /// The same as ranges of names, in the order of their bytes: what a store asks its index for. They do not overlap.
    pub fn ranges(&self) -> Vec<Range> {
        let entries = match self {
            Self::Any => &["*".to_owned()][..],
            Self::Queues(entries) => entries,
        };
        let mut ranges: Vec<Range> = entries.iter().flat_map(|entry| Range::of(entry)).collect();
        ranges.sort();
        // `mail.*, mail.urgent` is one range: a queue that is named twice is not served twice.
        let mut apart: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| range.start < *end) => {
                    if last.end.is_some() && range.end.as_ref().is_none_or(|end| Some(end) > last.end.as_ref()) {
                        last.end = range.end;
                    }
                }
                _ => apart.push(range),
            }
        }
        apart
    }

    /// The entries as they were given, or `None` for any.
    pub fn entries(&self) -> Option<&[String]> {
        match self {
            Self::Any => None,
            Self::Queues(queues) => Some(queues),
        }
    }
}

/// Queues whose names lie in a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// From this name on.
    pub start: String,
    /// Up to, and without, this name; `None` is the end of all names.
    pub end: Option<String>,
}

impl Range {
    /// The one or two ranges of an entry.
    fn of(entry: &str) -> Vec<Self> {
        let Some(prefix) = entry.strip_suffix('*') else {
            // No name has a control character, so nothing lies between a name and this.
            return vec![Self { start: entry.to_owned(), end: Some(format!("{entry}\u{1}")) }];
        };
        let whole = Self { start: prefix.to_owned(), end: successor(prefix) };
        if prefix.starts_with(PRIVATE_PREFIX) || !whole.includes(PRIVATE_PREFIX) {
            return vec![whole];
        }
        let below = Self { start: whole.start, end: Some(PRIVATE_PREFIX.to_owned()) };
        vec![below, Self { start: successor(PRIVATE_PREFIX).expect("it has a last character"), end: whole.end }]
    }

    /// Whether this name lies in it.
    pub fn includes(&self, name: &str) -> bool {
        self.start.as_str() <= name && self.end.as_deref().is_none_or(|end| name < end)
    }
}

/// The first text after all that begin with this prefix, in the order of bytes.
fn successor(prefix: &str) -> Option<String> {
    let mut prefix = prefix.to_owned();
    while let Some(last) = prefix.pop() {
        // Skips what is no character: char's own steps do.
        if let Some(next) = (last..=char::MAX).nth(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

/// Checks an entry of a list: a queue's name, or the beginning of one and `*`.
fn check_entry(entry: &str) -> Result<(), Error> {
    check_name("a queue", entry.strip_suffix('*').filter(|prefix| !prefix.is_empty()).unwrap_or(entry))
}

impl FromStr for Binding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut queues: Vec<String> =
            text.split(',').map(str::trim).filter(|q| !q.is_empty()).map(str::to_owned).collect();
        queues.sort();
        queues.dedup();
        // `*` alone is any.
        if queues.iter().any(|queue| queue == "*") {
            return Ok(Self::Any);
        }
        for queue in &queues {
            check_entry(queue)?;
        }
        Ok(if queues.is_empty() { Self::Any } else { Self::Queues(queues) })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Queues(queues) => f.write_str(&queues.join(",")),
        }
    }
}

impl From<Binding> for String {
    fn from(binding: Binding) -> Self {
        binding.to_string()
    }
}

impl TryFrom<String> for Binding {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_leniently_and_checked() {
        let binding: Binding = " a, b,,a".parse().unwrap();
        assert_eq!(binding, Binding::Queues(vec!["a".into(), "b".into()]));
        assert_eq!(binding.to_string().parse::<Binding>().unwrap(), binding);
        assert_eq!(" , ".parse::<Binding>().unwrap(), Binding::Any);
        assert!("a b".parse::<Binding>().is_err());
    }

    #[test]
    fn a_prefix_includes_what_begins_so_and_private_queues_only_if_it_says_so() {
        let binding: Binding = "mail.*, r*".parse().unwrap();
        for (queue, included) in
            [("mail.urgent", true), ("mail.", true), ("mail", false), ("mails", false), ("red", true), ("run:x", false)]
        {
            assert_eq!(binding.includes(queue), included, "{queue}");
        }
        assert!("run:x*".parse::<Binding>().unwrap().includes("run:xy"));
        assert_eq!("a, *".parse::<Binding>().unwrap(), Binding::Any);
        for bad in ["a*b", "**", "*a"] {
            assert!(bad.parse::<Binding>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_do_not_overlap_and_mean_what_the_binding_means() {
        let ranges = |text: &str| text.parse::<Binding>().unwrap().ranges();
        assert_eq!(ranges("mail.*, mail.urgent, mail.x*").len(), 1);
        assert_eq!(ranges("").len(), 2, "below and above the private queues");
        for text in ["", "a, b", "mail.*, mail.urgent", "r*, run:x", "\u{10ffff}*", "run:*"] {
            let binding: Binding = text.parse().unwrap();
            for name in ["", "a", "ab", "b", "mail.urgent", "r", "run:x", "run;", "s", "\u{10ffff}z"] {
                let found = binding.ranges().iter().filter(|range| range.includes(name)).count();
                assert_eq!(found, usize::from(binding.includes(name)), "{text:?} {name:?}");
            }
        }
    }

    #[test]
    fn any_never_includes_a_private_queue() {
        assert!(Binding::Any.includes("mail"));
        assert!(!Binding::Any.includes("run:thumbs"));
        assert!(Binding::queue("run:thumbs").unwrap().includes("run:thumbs"));
        assert!(!Binding::queue("mail").unwrap().includes("other"));
    }
}

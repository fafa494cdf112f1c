//! Which queues a worker serves.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    limits::{PRIVATE_PREFIX, check_name},
};

/// The queues that a worker is bound to: any, or a list.
///
/// Read from text, a list is separated by commas; spaces, empty entries and repetitions are dropped
/// (`" a, b,,a"` is `a` and `b`), and an empty text is [`Binding::Any`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Binding {
    /// Every queue except private ones (those that begin with `run:`).
    #[default]
    Any,
    /// These queues and no other, sorted.
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
            Self::Queues(queues) => queues.iter().any(|bound| bound == queue),
        }
    }

    /// The listed queues, or `None` for any.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Any => None,
            Self::Queues(queues) => Some(queues),
        }
    }
}

impl FromStr for Binding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut queues: Vec<String> =
            text.split(',').map(str::trim).filter(|q| !q.is_empty()).map(str::to_owned).collect();
        queues.sort();
        queues.dedup();
        for queue in &queues {
            check_name("a queue", queue)?;
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
    fn any_never_includes_a_private_queue() {
        assert!(Binding::Any.includes("mail"));
        assert!(!Binding::Any.includes("run:thumbs"));
        assert!(Binding::queue("run:thumbs").unwrap().includes("run:thumbs"));
        assert!(!Binding::queue("mail").unwrap().includes("other"));
    }
}

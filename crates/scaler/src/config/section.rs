//! A table of a configuration while it is read: each key is asked for once by its type, and what nobody asked for is a
//! mistake.

use std::{cell::RefCell, ops::Range, time::Duration};

use headcount_queue::limits::MAX_DELAY;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::mistake::{Notes, meant};

/// A table, and what of it has been asked for.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// What it is called in messages: `pool.worker`.
    pub(super) name: String,
    /// Where it begins.
    pub(super) at: Range<usize>,
    /// Where mistakes go.
    pub(super) notes: &'t Notes<'t>,
    table: &'t DeTable<'t>,
    known: RefCell<Vec<&'static str>>,
}

/// A value and where it stands.
pub(super) type At<T> = (T, Range<usize>);

impl<'t> Section<'t> {
    pub(super) fn new(name: String, at: Range<usize>, table: &'t DeTable<'t>, notes: &'t Notes<'t>) -> Self {
        Self { name, at, notes, table, known: RefCell::default() }
    }

    /// The value of this key, whatever it is.
    pub(super) fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether this key is given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// All keys with their values, in the order of the text.
    pub(super) fn entries(&self) -> Vec<(At<&'t str>, &'t Spanned<DeValue<'t>>)> {
        let mut entries: Vec<_> =
            self.table.iter().map(|(key, value)| ((key.get_ref().as_ref(), key.span()), value)).collect();
        entries.sort_by_key(|((_, at), _)| at.start);
        entries
    }

    pub(super) fn text(&self, key: &'static str) -> Option<At<&'t str>> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str().filter(|text| !text.trim().is_empty());
        self.checked(value, text, || format!("`{key}` is a text in quotes, and not empty"))
    }

    pub(super) fn number(&self, key: &'static str, from: u32, to: u32) -> Option<At<u32>> {
        let value = self.value(key)?;
        let number = integer(value.get_ref()).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (from..=to).contains(number));
        self.checked(value, number, || format!("`{key}` is a whole number from {from} to {to}"))
    }

    /// A number with or without a fraction.
    pub(super) fn fraction(&self, key: &'static str) -> Option<At<f64>> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Float(float) => {
                float.as_str().replace('_', "").parse().ok().filter(|float: &f64| float.is_finite())
            }
            other => integer(other).map(|number| number as f64),
        };
        self.checked(value, number, || format!("`{key}` is a number, as in {key} = 0.5"))
    }

    /// A length of time, with its unit.
    pub(super) fn duration(&self, key: &'static str) -> Option<At<Duration>> {
        let value = self.value(key)?;
        self.length(key, value)
    }

    /// The same of a value that was found by other means.
    pub(super) fn length(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<Duration>> {
        let length = value.get_ref().as_str().and_then(|text| humantime::parse_duration(text).ok());
        let remedy = || match integer(value.get_ref()) {
            Some(number) => format!("`{key}` needs a unit: \"{number}s\" for seconds, or ms, m, h, d"),
            None => format!("`{key}` is a time with its unit, such as \"30s\", \"1m\", \"2h\" or \"250ms\""),
        };
        let length = self.checked(value, length, remedy)?;
        if length.0 > MAX_DELAY {
            self.notes.wrong(&length.1, format!("`{key}` is longer than ten years"));
            return None;
        }
        Some(length)
    }

    pub(super) fn list(&self, key: &'static str, of: &str) -> Option<At<&'t DeArray<'t>>> {
        let value = self.value(key)?;
        self.checked(value, value.get_ref().as_array(), || format!("`{key}` is a list {of}"))
    }

    /// A list of texts that are not empty.
    pub(super) fn words(&self, key: &'static str, example: &str) -> Option<At<Vec<At<&'t str>>>> {
        let (list, at) = self.list(key, &format!("of texts, as in {key} = {example}"))?;
        let words: Option<Vec<At<&str>>> = list
            .iter()
            .map(|value| {
                let word = value.get_ref().as_str().filter(|word| !word.trim().is_empty());
                self.checked(value, word, || format!("each entry of `{key}` is a text in quotes, and not empty"))
            })
            .collect();
        let words = words?;
        if words.is_empty() {
            self.notes.wrong(&at, format!("`{key}` is empty; write {key} = {example}"));
            return None;
        }
        Some((words, at))
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'static str, example: &str) -> Option<Self> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        let (table, at) = self.checked(value, table, || format!("`{key}` is a table, as in {key} = {example}"))?;
        Some(Self::new(format!("{}.{key}", self.name), at, table, self.notes))
    }

    /// The name of an environment variable. Whatever else stands there may be the secret itself and is not repeated.
    pub(super) fn variable(&self, key: &'static str, example: &str) -> Option<At<&'t str>> {
        let (name, at) = self.text(key)?;
        let letter = |c: char| c.is_ascii_uppercase() || c == '_';
        if name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            return Some((name, at));
        }
        self.notes.wrong(
            &at,
            format!(
                "`{key}` is the name of an environment variable, in capitals, as in {key} = \"{example}\"; a \
                 secret itself does not belong in a file"
            ),
        );
        None
    }

    /// Notes that a key must be there and is not.
    pub(super) fn require<T>(&self, key: &str, found: Option<T>, remedy: &str) -> Option<T> {
        if found.is_none() && !self.has(key) {
            self.notes.missing(&self.at, format!("{}: `{key}` is missing; {remedy}", self.name));
        }
        found
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for ((key, at), _) in self.entries() {
            if known.contains(&key) {
                continue;
            }
            let env = if key.to_lowercase().contains("url") { "url_env" } else { "token_env" };
            if is_secret(key) && known.contains(&env) {
                self.notes.wrong(
                    &at,
                    format!(
                        "`{key}` would put a secret into the file; put it into an environment variable and name \
                         that: {env} = \"{}\"",
                        if env == "url_env" { "QUEUE_DATABASE_URL" } else { "HEROKU_API_KEY" },
                    ),
                );
            } else if is_secret(key) {
                self.notes.wrong(
                    &at,
                    format!(
                        "`{key}` would put a secret into the file; secrets come from environment variables, by \
                         token_env of a heroku driver, url_env of a source, and profile or role_arn of an aws driver"
                    ),
                );
            } else {
                let remedy = match meant(key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{} may have: {}", self.name, known.join(", ")),
                };
                self.notes.wrong(&at, format!("unknown key `{key}`: {remedy}"));
            }
        }
    }

    fn checked<T>(
        &self,
        value: &Spanned<DeValue<'_>>,
        found: Option<T>,
        remedy: impl FnOnce() -> String,
    ) -> Option<At<T>> {
        if found.is_none() {
            self.notes.wrong(&value.span(), remedy());
        }
        Some((found?, value.span()))
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Whether a key of this name would hold a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let words = ["token", "secret", "password", "api_key", "apikey", "access_key", "credential"];
    !key.ends_with("_env") && (key == "url" || key.ends_with("_url") || words.iter().any(|word| key.contains(word)))
}

//! SQLite's errors, by what the caller can do about them.

use std::io;

use crate::Error;

/// SQLite's primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Whether another connection holds what this one wanted (`SQLITE_BUSY` and its kinds, `SQLITE_LOCKED`).
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(5 | 6))
}

/// An error of SQLite's by what the caller can do about it.
pub(super) fn fault(error: sqlx::Error) -> Error {
    match (code(&error), &error) {
        // SQLITE_READONLY, _CANTOPEN, _NOTADB: a wrong file or wrong rights.
        (Some(8 | 14 | 26), _) => Error::Rejected(format!("the SQLite file cannot be used: {error}")),
        (None, sqlx::Error::Configuration(_)) => Error::Rejected(error.to_string()),
        (None, sqlx::Error::Io(io)) if io.kind() == io::ErrorKind::InvalidData => Error::Rejected(error.to_string()),
        _ => Error::Unavailable(Box::new(error)),
    }
}

//! The flags that every verb takes.

/// What every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The store: postgres://USER@HOST/DATABASE or sqlite:FILE. Without it HEADCOUNT_URL, else
    /// DATABASE_URL, else the embedded store in your data folder. A password is safer in HEADCOUNT_URL, since other
    /// users of the machine see command lines. Behind a pooler that gives each transaction another connection
    /// (PgBouncer in transaction mode) add ?pooler=transaction.
    // Text, and read later: the parser would print a URL that it refuses, password and all.
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub(crate) url: Option<String>,
    /// The schema of a Postgres store's tables; the same as ?schema=NAME in its URL. Default: headcount.
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) schema: Option<String>,
    /// Print one JSON object a row, with stable snake_case names.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) json: bool,
    /// Say only what was asked for, and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose", hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Say more of what goes on.
    #[arg(long, short, global = true, hide_short_help = true)]
    pub(crate) verbose: bool,
}

//! The arguments. Their docs are the help.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use uuid::Uuid;

use crate::{commands::keys::KeyFile, database::Span, failure::EXIT_CODES, output::OutputArgs};

/// Finds, ends and watches the web sessions that sessile keeps in Postgres or SQLite.
///
/// A session is one browser or device of a user, or of a visitor without a user (anonymous). `list --user ada` shows
/// ada's sessions, and `revoke --user ada` ends them: ada is logged out everywhere.
#[derive(Debug, Parser)]
#[command(name = "sessile", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DatabaseArgs {
    /// The database: `postgres://user@host/name` or `sqlite://path`. Without it, the variable SESSILE_DATABASE_URL or
    /// DATABASE_URL, also from a file `.env`. Other users of this machine can see the arguments of a process: put a
    /// password into the environment, or into PGPASSFILE.
    #[arg(long, global = true, value_name = "URL", help_heading = "Database")]
    pub(crate) database_url: Option<String>,
    /// End a question to the database after this time.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Database"
    )]
    pub(crate) timeout: Span,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List live sessions, the newest first.
    List(List),
    /// Show one session and what happened to it.
    Show(Show),
    /// End sessions: some, all of a user, or all. Asks first.
    Revoke(Revoke),
    /// Show what happened to sessions, the newest event first.
    Events(Events),
    /// Show numbers: totals, ages, sizes, disk space. Reads the whole table of sessions.
    Stats {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Watch log-ins, ends and the backlog in the terminal.
    Watch(Watch),
    /// Delete the rows of sessions whose time is over, once or on a schedule.
    Cleanup(Cleanup),
    /// Check the database, and say how to mend what is wrong.
    Doctor {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show which keys seal and hash the sessions, or give all sessions the active keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Create or update the tables.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print the SQL that creates the roles of a Postgres and gives each the rights that it needs.
    ///
    /// An administrator runs it with psql after the migrations: `sessile roles | psql "$DATABASE_URL" -v ON_ERROR_STOP=1`.
    /// The roles are sessile_app, sessile_viewer, sessile_operator and sessile_cleanup. It asks no database.
    Roles,
    /// Serve the web console, for you alone.
    ///
    /// It prints a link that works once, within ten minutes. The browser that opens it may use the console until the
    /// command ends, and nobody else may.
    Console(ConsoleArgs),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands into a folder.
    Man {
        /// The folder.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Of this user: the id that the application passed to `log_in`.
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Of this realm. Scans.
    #[arg(long, value_name = "NAME")]
    pub(crate) realm: Option<String>,
    /// Created at least this long ago. Scans.
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Span>,
    /// Created less than this long ago. Scans.
    #[arg(long, value_name = "TIME")]
    pub(crate) younger_than: Option<Span>,
    /// Not seen for at least this long. Scans.
    #[arg(long, value_name = "TIME")]
    pub(crate) idle: Option<Span>,
    /// Last seen from this address. Scans.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<IpAddr>,
    /// Without a user. Scans.
    #[arg(long, conflicts_with_all = ["user", "logged_in"])]
    pub(crate) anonymous: bool,
    /// With a user. Scans.
    #[arg(long)]
    pub(crate) logged_in: bool,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Go on after the page that ended here.
    #[arg(long, value_name = "SESSION")]
    pub(crate) after: Option<Uuid>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The size of a page, for `list` and `events`.
#[derive(Args, Debug)]
pub(crate) struct PageArgs {
    /// The most rows to print.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print all pages.
    #[arg(long)]
    pub(crate) all: bool,
    /// The most rows to read for one page, where a condition scans: it has no index, so the command reads rows, the
    /// newest first, until it has enough that fit.
    #[arg(long, value_name = "ROWS", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) scan: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The session's id.
    pub(crate) session: Uuid,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false).args(["sessions", "user", "all"]))]
pub(crate) struct Revoke {
    /// The ids of sessions.
    #[arg(value_name = "SESSION")]
    pub(crate) sessions: Vec<Uuid>,
    /// All sessions of this user. Also refuses log-ins that are in flight.
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// With --user: all except this session.
    #[arg(long, value_name = "SESSION", requires = "user")]
    pub(crate) all_but: Option<Uuid>,
    /// Every session of the realm, anonymous ones too.
    #[arg(long)]
    pub(crate) all: bool,
    /// The realm of --user and --all. Default: the default realm.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) realm: String,
    /// Why, for the log of events. At most 500 bytes.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Who does it, for the log of events. Default: the name of this user on this machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Of this user.
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Of this session. Scans, unless --user is given too.
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<Uuid>,
    /// Of this kind. May be repeated. Scans, unless --user is given too.
    #[arg(long = "event", value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(sessile_admin::EVENTS))]
    pub(crate) kinds: Vec<String>,
    /// By an actor whose name begins with this text: `command:`, `role:grace`. Scans, unless --user is given too.
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Of this realm. Scans, unless --user is given too.
    #[arg(long, value_name = "NAME")]
    pub(crate) realm: Option<String>,
    /// Not older than this.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Span>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Go on after the page that ended here.
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub(crate) after: Option<sessile_admin::EventKey>,
    /// Print new events as they happen, the oldest first, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["all", "after", "json"])]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn key(text: &str) -> Result<sessile_admin::EventKey, String> {
    text.parse().map_err(|error: sessile_admin::Error| error.to_string())
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// How often to ask the database.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Span,
}

#[derive(Args, Debug)]
pub(crate) struct ConsoleArgs {
    /// The address to listen on. Port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Show everything, and let nobody end a session.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Who uses it, for the log of events. Default: the name of this user on this machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Behind a reverse proxy: the path below which browsers see the console, as `/sessions`.
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
    /// Behind a reverse proxy: the origin under which browsers see it, as `https://admin.example.org`.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Listen on an address that other machines reach. Put a proxy with HTTPS before it: whoever sees the traffic can use
    /// the console.
    #[arg(long)]
    pub(crate) allow_remote: bool,
}

/// A path that no browser and no router takes for another one.
fn base_path(text: &str) -> Result<String, String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/-_.~".contains(char);
    let path = text.trim_end_matches('/');
    let has_odd_part = path.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    if path.is_empty() || (path.starts_with('/') && path.chars().all(is_plain) && !has_odd_part) {
        return Ok(path.to_owned());
    }
    Err("a path begins with / and has letters, digits, -, _, ~ and .".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Cleanup {
    /// Run again and again, with this pause, until Ctrl-C.
    #[arg(long, value_name = "TIME", conflicts_with = "cron")]
    pub(crate) every: Option<Span>,
    /// Run at the times of a cron expression with five fields, in UTC, until Ctrl-C: `*/5 * * * *`.
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// Count the rows, and delete none.
    #[arg(long, conflicts_with_all = ["every", "cron"])]
    pub(crate) dry_run: bool,
    /// The most rows that a statement deletes.
    #[arg(long, value_name = "ROWS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Also delete events and recorded runs that are older than this. Without it, all of them stay: the command does not
    /// know how long the application keeps them (`Policy::keep_events`).
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_events: Option<Span>,
    /// Record no event for an expired session, as an application with `Policy::record_events(false)`.
    #[arg(long)]
    pub(crate) no_events: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Show how many live sessions and events have which key. Reads the data of all sessions, and all events.
    List {
        /// Exit with 1 if a live session or an event still has this key. Look before you retire it.
        #[arg(long, value_name = "NAME")]
        unused: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Seal the live sessions of a realm with the active key, and hash their secrets with that of the pepper.
    ///
    /// Requests go on meanwhile. It may be interrupted, and run again.
    Rewrap(Rewrap),
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("active").required(true).multiple(true).args(["seal", "pepper"]))]
pub(crate) struct Rewrap {
    /// The application's active key for data: its name, and a file with 32 bytes or their base64.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) seal: Option<KeyFile>,
    /// A key that has sealed data until now. May be repeated.
    #[arg(long, value_name = "NAME=FILE", requires = "seal")]
    pub(crate) read: Vec<KeyFile>,
    /// The application's algorithm for data.
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        default_value = "xchacha20-poly1305",
        requires = "seal"
    )]
    pub(crate) algorithm: Cipher,
    /// The active key of the application's pepper. Plain hashes are converted.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) pepper: Option<KeyFile>,
    /// The realm. Default: the default realm.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) realm: String,
    /// Go on after the session where a run was interrupted.
    #[arg(long, value_name = "SESSION")]
    pub(crate) after: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Cipher {
    #[value(name = "xchacha20-poly1305")]
    Xchacha20Poly1305,
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Run the migrations that the database lacks.
    Run {
        /// Print the SQL and run nothing. The script also writes the ledger, so that it counts as run.
        #[arg(long)]
        sql: bool,
        /// With --sql: print all migrations, and ask no database. --database-url may then be `postgres://` or
        /// `sqlite://`.
        #[arg(long, requires = "sql")]
        all: bool,
    },
    /// Show which migrations the database has.
    Status {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Undo the newest migration. Its tables and columns are lost. Asks first.
    Revert {
        /// Undo all migrations after this one. 0 undoes all.
        #[arg(long, value_name = "MIGRATION")]
        to: Option<i64>,
        /// Print the SQL and run nothing.
        #[arg(long)]
        sql: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

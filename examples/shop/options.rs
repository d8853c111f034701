//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use sessile::{OnLimit, SessionCookie};

/// A small web shop whose sessions live in SQLite or Postgres.
#[derive(Parser)]
#[command(name = "shop")]
pub(crate) struct Options {
    /// The database of the sessions: sqlite://FILE or postgres://…
    #[arg(long, value_name = "URL", default_value = "sqlite://shop-sessions.db")]
    pub(crate) database_url: String,

    /// The address to listen on: HOST:PORT, or :PORT for this machine only. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = listen_address)]
    pub(crate) listen: String,

    /// Log out users who were not seen for this long
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = humantime::parse_duration)]
    pub(crate) idle_timeout: Duration,

    /// Log out all users this long after their log-in
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    pub(crate) absolute_timeout: Duration,

    /// Forget the cart of a visitor who is not logged in after this long [default: the idle
    /// timeout]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) anonymous_idle_timeout: Option<Duration>,

    /// Delete expired sessions this often
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) cleanup_every: Duration,

    /// How many devices one user can be logged in on [default: any number]
    #[arg(long, value_name = "N")]
    pub(crate) sessions_per_user: Option<u32>,

    /// The effect of a log-in beyond that limit
    #[arg(long, value_enum, default_value = "end-oldest")]
    pub(crate) on_limit: Limit,

    /// The name of the session cookie. Browsers send a host's cookies to all of its ports, so a second shop
    /// on this machine needs another name. Otherwise each shop replaces the other's cookie
    #[arg(long, value_name = "NAME", default_value = "id", value_parser = cookie_name)]
    cookie_name: String,

    /// Use the cookie that a shop on the internet has: __Host-NAME, which browsers accept over HTTPS only. For a
    /// shop behind a proxy that speaks HTTPS
    #[arg(long)]
    https: bool,

    /// Show counts and latencies to Prometheus at this address, at /metrics. Needs the feature `metrics`
    #[arg(long, value_name = "ADDRESS", value_parser = metrics_address)]
    pub(crate) metrics_listen: Option<String>,

    /// Let any request wait ?slow_ms= between loading its session and saving it, to test races
    #[arg(long)]
    pub(crate) slow_param: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Limit {
    /// The oldest log-in ends
    EndOldest,
    /// The new log-in is refused
    Refuse,
}

impl From<Limit> for OnLimit {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::EndOldest => Self::EndOldest,
            Limit::Refuse => Self::Refuse,
        }
    }
}

impl Options {
    pub(crate) fn cookie(&self) -> sessile::Result<SessionCookie> {
        match self.https {
            true => SessionCookie::default().named(format!("__Host-{}", self.cookie_name)),
            false => SessionCookie::insecure_for_development().named(&self.cookie_name),
        }
    }
}

fn cookie_name(name: &str) -> sessile::Result<String> {
    SessionCookie::insecure_for_development().named(name).map(|_| name.to_owned())
}

fn metrics_address(text: &str) -> Result<String, String> {
    if !cfg!(feature = "metrics") {
        return Err("this shop counts nothing: build it with --features metrics".to_owned());
    }
    listen_address(text)
}

fn listen_address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("there is no port in it")?;
    port.parse::<u16>().map_err(|error| error.to_string())?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok(format!("{host}:{port}"))
}

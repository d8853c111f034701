//! Which database, and who asks.

use std::time::Duration;

use sessile_admin::Database;

use crate::{
    args::DatabaseArgs,
    failure::{Code, Failure, Result},
};

const VARIABLES: [&str; 2] = ["SESSILE_DATABASE_URL", "DATABASE_URL"];

impl DatabaseArgs {
    /// The URL from the option, else from the environment, else from the file `.env` of this folder or one above.
    pub(crate) fn url(&self) -> Result<String> {
        if let Some(url) = &self.database_url {
            return Ok(url.clone());
        }
        let set = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
        if let Some(url) = VARIABLES.into_iter().find_map(set) {
            return Ok(url);
        }
        let file = match dotenvy::dotenv_iter() {
            Ok(file) => file.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let file = file.map_err(|_| {
            // The error shows the line, which may contain a password.
            Failure::new(Code::Usage, "the file .env cannot be read")
                .remedy("write each line of it as NAME=value, or use --database-url")
        })?;
        let in_file = |name| file.iter().find(|(key, _)| key == name).map(|(_, url)| url.clone());
        VARIABLES.into_iter().find_map(in_file).ok_or_else(|| {
            Failure::new(Code::Usage, "no database is named").remedy(
                "use --database-url URL, or set SESSILE_DATABASE_URL or DATABASE_URL, also in .env",
            )
        })
    }

    /// Opens the database only for reading, without a look at its schema.
    pub(crate) async fn open_any(&self) -> Result<Database> {
        Ok(Database::open(&self.url()?).await?.time_limit(self.timeout.into()))
    }

    /// Opens a database that has the schema, only for reading.
    pub(crate) async fn open(&self) -> Result<Database> {
        let database = self.open_any().await?;
        database.check_schema().await?;
        Ok(database)
    }

    /// The database without the user and the password, for a question to a person.
    pub(crate) fn place(&self) -> Result<String> {
        let url = self.url()?;
        let (scheme, rest) = url.split_once(':').unwrap_or(("", &url));
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        if scheme == "sqlite" {
            return Ok(format!("the file {rest}"));
        }
        Ok(format!("the database {}", rest.rsplit_once('@').map_or(rest, |(_, place)| place)))
    }
}

/// The name of the person in the log of events: `command:grace`.
pub(crate) fn actor(operator: Option<&str>) -> String {
    format!("command:{}", operator_name(operator))
}

/// The name that was given, else the person's user name on this machine.
pub(crate) fn operator_name(given: Option<&str>) -> String {
    // `sudo` keeps the name of the person.
    let sudo = || std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let given = given.map(str::to_owned);
    given.or_else(sudo).or_else(|| whoami::username().ok()).unwrap_or_else(|| "unknown".to_owned())
}

/// A duration as people write it: `90s`, `30m`, `2h`, `7days`. It has whole seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text)
            .map_err(|error| format!("{error}. Examples: 90s, 30m, 2h, 7days"))?;
        u32::try_from(span.as_secs()).map_err(|_| "at most 136 years".to_owned())?;
        Ok(Self(span))
    }
}

impl Span {
    /// The whole seconds. [`FromStr`](std::str::FromStr) has checked that they fit.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

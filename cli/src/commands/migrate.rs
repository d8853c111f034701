use std::io::{self, Write};

use sessile::Sessions;
use sessile_admin::{Database, ErrorKind, Kind, Migration, MigrationState};

use super::confirm;
use crate::{
    args::{DatabaseArgs, Migrate},
    failure::{Code, Failure, Result},
    interrupt::Interrupt,
    output::{Column, OutputArgs},
    text::moment,
};

pub(crate) async fn run(from: &DatabaseArgs, args: Migrate) -> Result {
    match args {
        Migrate::Run { sql: true, all: true } => print_all(from.url()?.parse()?),
        Migrate::Run { sql: true, all: false } => print_missing(from).await,
        Migrate::Run { sql: false, .. } => migrate(from).await,
        Migrate::Status { output } => status(from, output).await,
        Migrate::Revert { to, sql, yes } => revert(from, to, sql, yes).await,
    }
}

fn print_all(kind: Kind) -> Result {
    let migrator = Database::migrator(kind);
    let up = migrator.iter().filter(|one| !one.migration_type.is_down_migration());
    let versions: Vec<_> = up.map(|one| one.version).collect();
    print(kind, &versions, true)
}

async fn print_missing(from: &DatabaseArgs) -> Result {
    let database = from.open_any().await?;
    let missing = missing(&database.migrations().await?);
    print(database.kind(), &missing, true)
}

fn print(kind: Kind, versions: &[i64], up: bool) -> Result {
    let mut out = io::stdout().lock();
    if versions.is_empty() {
        return Ok(writeln!(out, "-- Nothing to run.")?);
    }
    Ok(write!(out, "begin;\n{}\ncommit;\n", Database::script(kind, versions, up))?)
}

fn missing(migrations: &[Migration]) -> Vec<i64> {
    let missing = migrations.iter().filter(|one| one.state == MigrationState::Missing);
    missing.map(|one| one.version).collect()
}

async fn migrate(from: &DatabaseArgs) -> Result {
    let _finish = Interrupt::watch();
    let url = from.url()?;
    let (sessions, before) = match from.open_any().await {
        Ok(database) => (database.sessions_of("").await?, missing(&database.migrations().await?)),
        Err(failure) => {
            let file = sqlite_file(&url).filter(|file| !file.exists()).ok_or(failure)?;
            let sessions = Sessions::builder(sessile::connect(&url).await?).build()?;
            writeln!(io::stdout(), "Created {}.", file.display())?;
            (sessions, missing(&from.open_any().await?.migrations().await?))
        }
    };
    sessions.migrate().await?;
    let after = from.open_any().await?.migrations().await?;
    let mut out = io::stdout().lock();
    for one in after.iter().filter(|one| before.contains(&one.version)) {
        writeln!(out, "Ran {} {}.", one.version, one.description)?;
    }
    Ok(writeln!(out, "The database has the schema of this release.")?)
}

fn sqlite_file(url: &str) -> Option<std::path::PathBuf> {
    let options: sqlx::sqlite::SqliteConnectOptions = url.parse().ok()?;
    Some(options.get_filename().to_owned())
}

async fn status(from: &DatabaseArgs, output: OutputArgs) -> Result {
    let migrations = from.open_any().await?.migrations().await?;
    let columns = vec![
        Column::<Migration>::new("migration", |one| one.version.to_string()),
        Column::<Migration>::new("about", |one| one.description.clone()),
        Column::<Migration>::new("state", |one| {
            match one.state {
                MigrationState::Installed => "installed",
                MigrationState::Missing => "missing",
                MigrationState::Changed => "installed with another text",
                _ => "of a newer release",
            }
            .to_owned()
        }),
        Column::<Migration>::new("installed (UTC)", |one| {
            one.installed_at.map(moment).unwrap_or_default()
        }),
    ];
    output.print(columns, &migrations)
}

async fn revert(from: &DatabaseArgs, to: Option<i64>, sql: bool, yes: bool) -> Result {
    let database = from.open_any().await?;
    let all = database.to_revert(0).await?;
    // Without a goal, only the newest one.
    let to = to.unwrap_or_else(|| all.get(1).copied().unwrap_or(0));
    let undone = database.to_revert(to).await?;
    if sql {
        return print(database.kind(), &undone, false);
    }
    if undone.is_empty() {
        return Err(Failure::new(
            Code::Usage,
            "there is no migration to undo; nothing was changed",
        )
        .remedy("see `sessile migrate status`"));
    }
    let list: Vec<_> = undone.iter().map(ToString::to_string).collect();
    let loss =
        if undone.len() == all.len() { "all sessions are lost" } else { "what they added is lost" };
    let question = format!("This undoes {} in {}: {loss}.", list.join(", "), from.place()?);
    confirm(&question, "yes", yes)?;
    let _finish = Interrupt::watch();
    let undone = database.revert(to).await.map_err(|error| match error.kind() {
        ErrorKind::Database => Failure::from(error).remedy(
            "nothing was changed; look for views or functions of yours that use the tables",
        ),
        _ => error.into(),
    })?;
    let mut out = io::stdout().lock();
    for version in undone {
        writeln!(out, "Undid {version}.")?;
    }
    Ok(())
}

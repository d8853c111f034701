use std::time::Duration;

use serde::Deserialize;
use sqlx::{Connection, PgConnection, PgPool, raw_sql};

use super::{Finding, rights};
use crate::{Database, Error, ErrorKind, Result, database::Pool};

/// A difference of the clocks that no network explains.
const CLOCKS_APART: Duration = Duration::from_secs(2);

pub(super) async fn checks(
    database: &Database,
    clock: Duration,
    found: &mut Vec<Finding>,
) -> Result<()> {
    found.push(clocks(database, clock).await?);
    found.push(autovacuum(database).await?);
    found.push(encoding(database).await?);
    rights::checks(database, found).await?;
    if let Pool::Postgres(pool) = &database.reads {
        found.push(pooler(pool).await?);
    }
    Ok(())
}

async fn clocks(database: &Database, clock: Duration) -> Result<Finding> {
    const CHECK: &str = "clock";
    let theirs = Duration::from_micros(database.now().await?.timestamp_micros().unsigned_abs());
    let apart = theirs.abs_diff(clock);
    if apart < CLOCKS_APART {
        return Ok(Finding::well(CHECK, format!("{} ms from this machine's", apart.as_millis())));
    }
    let finding = format!("the database's clock is {} s from this machine's", apart.as_secs());
    let remedy = "let both machines use NTP. Sessions follow the database's clock, so a jump of it ends them early or late";
    Ok(Finding::fault(CHECK, finding, remedy))
}

async fn autovacuum(database: &Database) -> Result<Finding> {
    const CHECK: &str = "autovacuum";
    #[derive(Deserialize)]
    struct Vacuum {
        is_on: bool,
        is_off_for: Option<String>,
        dead: u64,
        live: u64,
    }
    let mut ask = database.statement();
    ask.sql(
        "select json_build_object(
            'is_on', current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean,
            'is_off_for', (select c.relname from pg_class as c where c.relnamespace = to_regnamespace('sessile')
                and c.reloptions::text ilike '%autovacuum_enabled=%' and c.reloptions::text !~* 'autovacuum_enabled=(true|on|yes|1)' limit 1),
            'dead', coalesce(s.n_dead_tup, 0), 'live', coalesce(s.n_live_tup, 0))
        from (select) as one left join pg_stat_user_tables as s on s.schemaname = 'sessile' and s.relname = 'sessions'",
    );
    let vacuum: Vacuum = database.one(&ask).await?;
    if !vacuum.is_on {
        let remedy = "set autovacuum = on and track_counts = on: without it the table only grows";
        return Ok(Finding::fault(CHECK, "it is off for the whole server", remedy));
    }
    if let Some(table) = vacuum.is_off_for {
        let remedy = format!("alter table sessile.{table} reset (autovacuum_enabled)");
        return Ok(Finding::fault(CHECK, format!("it is off for sessile.{table}"), remedy));
    }
    if vacuum.dead > 10_000 && vacuum.dead > vacuum.live {
        let finding = format!(
            "{} dead rows beside {} live ones: it does not keep up",
            vacuum.dead, vacuum.live
        );
        let remedy = "look for a transaction that is open for long (pg_stat_activity.xact_start), then: vacuum sessile.sessions";
        return Ok(Finding::fault(CHECK, finding, remedy));
    }
    Ok(Finding::well(
        CHECK,
        format!("on; {} dead rows beside {} live ones", vacuum.dead, vacuum.live),
    ))
}

async fn encoding(database: &Database) -> Result<Finding> {
    const CHECK: &str = "encoding";
    #[derive(Deserialize)]
    struct Encoding {
        name: String,
    }
    let mut ask = database.statement();
    ask.sql("select json_build_object('name', current_setting('server_encoding'))");
    let encoding: Encoding = database.one(&ask).await?;
    if encoding.name == "UTF8" {
        return Ok(Finding::well(CHECK, "UTF-8"));
    }
    let remedy = "move the sessions to a database with: create database sessions encoding 'UTF8' template template0";
    Ok(Finding::fault(CHECK, format!("{} cannot hold every text", encoding.name), remedy))
}

/// A setting of one client's connection is seen by another client only through a pooler that hands connections on.
async fn pooler(pool: &PgPool) -> Result<Finding> {
    const CHECK: &str = "pooler";
    let to = pool.connect_options();
    let mut first = PgConnection::connect_with(&to).await?;
    let mut second = PgConnection::connect_with(&to).await?;
    let marked =
        raw_sql("select set_config('sessile.doctor', 'seen', false)").execute(&mut first).await;
    marked.map_err(Error::from)?;
    let mut tx = second.begin().await?;
    let seen = seen(&mut tx).await;
    tx.rollback().await.ok();
    let clear = "select set_config('sessile.doctor', '', false)";
    raw_sql(clear).execute(&mut second).await.ok();
    raw_sql(clear).execute(&mut first).await.ok();
    first.close().await.ok();
    second.close().await.ok();
    if seen? {
        let finding = "this URL leads to a pooler that hands connections on after each transaction";
        let remedy = "if it keeps no prepared statements (PgBouncer before 1.21, or max_prepared_statements = 0), give the application `ConnectOptions::behind_pooler(true)`. A cache hears of other nodes only within its bound: see docs/operations.md";
        return Ok(Finding::fault(CHECK, finding, remedy));
    }
    Ok(Finding::well(CHECK, "none was noticed"))
}

async fn seen(connection: &mut PgConnection) -> Result<bool> {
    use sqlx::Row;
    let rows = raw_sql("select coalesce(current_setting('sessile.doctor', true), '') as mark");
    let row = rows.fetch_one(connection).await?;
    let mark: String =
        row.try_get("mark").map_err(|error| Error::new(ErrorKind::Database, error.to_string()))?;
    Ok(mark == "seen")
}

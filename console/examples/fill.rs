//! Migrates an empty database and fills it, to see and to measure the console: a million sessions on Postgres, a
//! hundred thousand on SQLite.
//!
//! ```sh
//! cargo run --release -p sessile-console --example fill sqlite://full.db
//! cargo run --release -p sessile-console --example mounted sqlite://full.db
//! ```

use std::error::Error;

use sessile::Sessions;
use sqlx::{PgPool, SqlitePool, raw_sql};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: fill URL-of-an-empty-database")?;
    Sessions::builder(sessile::connect(&url).await?).build()?.migrate().await?;
    if url.starts_with("sqlite:") {
        let pool = SqlitePool::connect(&url).await?;
        raw_sql(include_str!("../fill/sqlite.sql")).execute(&pool).await?;
    } else {
        let pool = PgPool::connect(&url).await?;
        raw_sql(include_str!("../fill/postgres.sql")).execute(&pool).await?;
    }
    Ok(())
}

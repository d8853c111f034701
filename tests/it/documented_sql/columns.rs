//! The tables of the columns: all columns of each view, in order, with their types.

use sqlx::{AssertSqlSafe, query_as, query_scalar};

use super::{fill, postgres_pool, section, sqlite_pool};
use crate::support::Db;

struct Column {
    /// On Postgres, and on SQLite.
    names: [String; 2],
    types: [String; 2],
}

/// The views of the section, each with its columns.
fn documented() -> Vec<(&'static str, Vec<Column>)> {
    let views = section("Columns").split("\n### ").skip(1);
    views
        .map(|text| {
            let rows = text.lines().filter(|line| line.starts_with("| `"));
            (text.lines().next().unwrap(), rows.map(column).collect())
        })
        .collect()
}

fn column(row: &str) -> Column {
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let names: Vec<_> = cells[1].split('`').skip(1).step_by(2).collect();
    Column {
        names: [names[0], names[names.len() - 1]].map(str::to_owned),
        types: [cells[2], cells[3]].map(str::to_owned),
    }
}

#[tokio::test]
async fn every_column_is_documented_with_its_type_on_postgres() {
    let db = Db::postgres().await;
    let documented = documented();
    assert_eq!(documented.len(), 5);
    for (view, columns) in documented {
        let there: Vec<(String, String)> = query_as(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = ('sessile.' || $1)::regclass and attnum > 0 order by attnum",
        )
        .bind(view)
        .fetch_all(&postgres_pool(&db))
        .await
        .unwrap();
        let columns: Vec<_> = columns
            .into_iter()
            .map(|Column { names: [name, _], types: [kind, _] }| (name, kind))
            .collect();
        assert_eq!(columns, there, "{view}");
    }
    db.drop().await;
}

#[tokio::test]
async fn every_column_is_documented_with_its_type_on_sqlite() {
    let db = Db::sqlite().await;
    fill(&db, 50).await;
    let pool = sqlite_pool(&db);
    for (view, columns) in documented() {
        let there: Vec<String> = query_scalar("select name from pragma_table_info(?1)")
            .bind(view)
            .fetch_all(&pool)
            .await
            .unwrap();
        let names: Vec<_> = columns.iter().map(|column| column.names[1].clone()).collect();
        assert_eq!(names, there, "{view}");
        for Column { names: [_, name], types: [_, kind] } in columns {
            let values = format!(
                "select distinct typeof({name}) from {view} where {name} is not null order by 1"
            );
            let kinds: Vec<String> =
                query_scalar(AssertSqlSafe(values)).fetch_all(&pool).await.unwrap();
            assert_eq!(kinds, [kind], "{view}.{name}");
        }
    }
    db.drop().await;
}

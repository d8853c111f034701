use serde::Serialize;
use sessile_admin::{Kind, Percentiles};

use crate::{
    args::DatabaseArgs,
    failure::Result,
    output::{Column, OutputArgs, note},
    text::{grouped, moment},
};

/// One number.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: Value,
    unit: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Number(u64),
    Share(f64),
    Text(String),
}

pub(crate) async fn run(database: &DatabaseArgs, output: OutputArgs) -> Result {
    let database = database.open().await?;
    let mut figures = Vec::new();
    let mut add = |name: String, value: Value, unit| figures.push(Figure { name, value, unit });
    let realms = database.realm_counts().await?;
    let sum = |of: fn(&sessile_admin::RealmCounts) -> u64| realms.iter().map(of).sum::<u64>();
    add("live".into(), Value::Number(sum(|realm| realm.live)), "sessions");
    add("anonymous".into(), Value::Number(sum(|realm| realm.anonymous)), "sessions");
    add("expired".into(), Value::Number(sum(|realm| realm.expired)), "sessions");
    if let Some(oldest) = realms.iter().filter_map(|realm| realm.oldest_unswept).min() {
        add("oldest expired".into(), Value::Text(format!("{}Z", moment(oldest))), "");
    }
    for realm in realms.iter().filter(|realm| !realm.realm.is_empty()) {
        add(format!("live in realm {}", realm.realm), Value::Number(realm.live), "sessions");
    }
    match database.spread().await? {
        Some(spread) => {
            let mut percentiles = |name: &str, of: Percentiles, unit| {
                for (part, value) in
                    [("p50", of.p50), ("p90", of.p90), ("p99", of.p99), ("max", of.max)]
                {
                    add(format!("{name} {part}"), Value::Number(value), unit);
                }
            };
            percentiles("age", spread.age_seconds, "seconds");
            percentiles("data", spread.data_bytes, "bytes");
            add("looked at for percentiles".into(), Value::Number(spread.sessions), "sessions");
        }
        None if realms.is_empty() => {}
        None => note(
            "No ages and sizes: no session is live, or this user may not read the table sessions.",
        ),
    }
    for size in database.sizes().await? {
        add(format!("{} {}", size.kind, size.name), Value::Number(size.bytes), "bytes");
    }
    if let Some(churn) = database.churn().await? {
        add("dead rows".into(), Value::Number(churn.dead_rows), "rows");
        add("updates".into(), Value::Number(churn.updates), "rows");
        if let Some(share) = churn.heap_only_share {
            add(
                "heap-only updates".into(),
                Value::Share((share * 1_000.0).round() / 1_000.0),
                "share",
            );
        }
        if let Some(at) = churn.last_vacuum {
            add("last vacuum".into(), Value::Text(format!("{}Z", moment(at))), "");
        }
    }
    if database.kind() == Kind::Sqlite && output.is_table() {
        note("SQLite has no statistics of dead rows and heap-only updates.");
    }
    let columns = vec![
        Column::<Figure>::new("", |figure| figure.name.clone()),
        Column::<Figure>::new("value", |figure| match &figure.value {
            Value::Number(number) => grouped(*number),
            Value::Share(share) => share.to_string(),
            Value::Text(text) => text.clone(),
        }),
        Column::<Figure>::new("unit", |figure| figure.unit.to_owned()),
    ];
    output.print(columns, &figures)
}

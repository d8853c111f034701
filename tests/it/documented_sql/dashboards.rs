//! The questions for Metabase and the dashboard for Grafana. Neither program is here, so the tests put values in place
//! of their variables and macros.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Column, Row, query};

use super::{blocks, fill, postgres_pool, section};
use crate::support::Db;

/// The question with its optional parts, or without them.
fn filled_in(question: &str, with_optional_parts: bool) -> String {
    let mut parts = question.split("[[");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (optional, rest) = part.split_once("]]").unwrap();
        if with_optional_parts {
            text += optional;
        }
        text += rest;
    }
    let values = [("user_id", "'ada'"), ("realm", "''"), ("since", "date '2020-01-01'")];
    values.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

#[tokio::test]
async fn every_question_for_metabase_runs_with_its_optional_parts_and_without() {
    let db = Db::postgres().await;
    fill(&db, 50).await;
    let questions = blocks(section("Metabase"), "metabase");
    assert!(questions.len() >= 5);
    for question in questions {
        for with_optional_parts in [true, false] {
            let text = filled_in(question, with_optional_parts);
            assert!(!text.contains("{{") && !text.contains("[["), "{text}");
            let rows = query(AssertSqlSafe(&*text)).fetch_all(&postgres_pool(&db)).await;
            assert!(!rows.unwrap().is_empty(), "{text}");
        }
    }
    db.drop().await;
}

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../../docs/grafana-dashboard.json")).unwrap()
}

fn targets(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap())
}

/// The queries of all panels for the last day.
pub(super) async fn queries(db: &Db) -> Vec<String> {
    let moment = |ago: &str| {
        format!(
            r#"to_char((now() - interval '{ago}') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"#
        )
    };
    let range = format!("select unnest(array[{}, {}])", moment("1 day"), moment("0"));
    let range: [String; 2] = db.texts(&range, "").await.try_into().unwrap();
    let sql = |target: &Value| expanded(target["rawSql"].as_str().unwrap(), &range);
    targets(&dashboard()).map(sql).collect()
}

/// As Grafana's data source for Postgres does it: a macro's arguments end at the first bracket.
fn expanded(sql: &str, [from, to]: &[String; 2]) -> String {
    let mut parts = sql.split("$__");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('(').unwrap();
        let (arguments, rest) = rest.split_once(')').unwrap();
        let arguments: Vec<_> = arguments.split(',').map(str::trim).collect();
        text += &match (name, &*arguments) {
            ("timeFilter", [column]) => format!("{column} BETWEEN '{from}' AND '{to}'"),
            ("timeGroupAlias", [column, "'1h'", "0"]) => {
                format!(r#"floor(extract(epoch from {column})/3600)*3600 AS "time""#)
            }
            _ => panic!("an unknown macro: {name}({arguments:?})"),
        };
        text += rest;
    }
    text
}

#[tokio::test]
async fn every_panel_of_the_dashboard_for_grafana_has_a_query_that_runs() {
    let db = Db::postgres().await;
    fill(&db, 50).await;
    let dashboard = dashboard();
    let input = &dashboard["__inputs"][0];
    assert_eq!((&input["type"], &input["name"]), (&"datasource".into(), &"DS_SESSILE".into()));
    let queries = queries(&db).await;
    assert!(queries.len() >= 6);
    for (target, text) in targets(&dashboard).zip(queries) {
        assert_eq!(target["datasource"]["uid"], "${DS_SESSILE}");
        assert_eq!(target["datasource"]["type"], input["pluginId"]);
        let rows = query(AssertSqlSafe(&*text)).fetch_all(&postgres_pool(&db)).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert!(!rows.is_empty(), "{text}");
        // A series needs this column, and its rows in the order of time.
        assert_eq!(rows[0].column(0).name() == "time", target["format"] == "time_series", "{text}");
    }
    db.drop().await;
}

/// Panels without overlap, each with an id.
#[test]
fn the_panels_of_the_dashboard_have_places_of_their_own() {
    let dashboard = dashboard();
    let mut places: Vec<(Value, [u64; 4])> = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24);
        for (id, [left, top, width, height]) in &places {
            assert!(
                x >= left + width || *left >= x + w || y >= top + height || *top >= y + h,
                "{panel}"
            );
            assert_ne!(*id, panel["id"]);
        }
        places.push((panel["id"].clone(), [x, y, w, h]));
    }
}

//! Every statement on Postgres has a shape that Citus accepts when the tables are distributed, except for the
//! statements that are marked as not running there. This test does not need Citus: it reads the texts in
//! `.sqlx`.

use std::{fs, path::Path};

use serde_json::Value;

#[test]
fn every_statement_has_a_shape_that_citus_takes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut statements = 0;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file: Value =
            serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        if file["db_name"] != "PostgreSQL" {
            continue;
        }
        statements += 1;
        let text = file["query"].as_str().unwrap();
        found.extend(complaints(text).iter().map(|complaint| format!("{complaint}:\n{text}\n")));
    }
    assert!(statements > 20, "only {statements} statements in .sqlx");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The parts that Citus would refuse, or send to every shard.
fn complaints(statement: &str) -> Vec<String> {
    if statement.contains("-- Not where the table is distributed.") {
        return Vec::new();
    }
    let tokens = &tokens(statement);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| &*tokens[at]);
        let after = |on: usize| tokens.get(at + on).map_or("", |token| &**token);
        match &**token {
            "select" if after(1) == "from" => found.push("a select of no column".to_owned()),
            "limit" if after(1) == "(" => found.push("a limit that is a subquery".to_owned()),
            "ctid" => found.push("a place in the table".to_owned()),
            "for" if after(1) == "update" || after(1) == "share" => {
                // The lock of one row, which is in one shard.
                let is_of_one = tokens[..at].windows(3).rev().take(40).any(
                    |window| matches!(window, [column, is, value] if column == "user_id" && is == "=" && value.starts_with('$')),
                );
                if after(1) == "update" || !is_of_one {
                    found.push(format!("for {}, which may be of several shards", after(1)));
                }
            }
            "pg_notify" => {
                let end = closing(tokens, at + 1);
                let is_text =
                    tokens.get(end + 1..end + 3).is_some_and(|cast| cast == ["::", "text"]);
                if before(2) != "(" || before(1) != "select" || !is_text {
                    found.push("pg_notify but as (select pg_notify(…)::text)".to_owned());
                }
            }
            // Not `for update`, nor `do update set`.
            "update" | "delete" | "insert" if matches!(before(1), "" | "(" | ")") => {
                let end = end_of_group(tokens, at);
                found.extend(complaints_of_write(&tokens[at..end]));
            }
            _ => {}
        }
    }
    found
}

/// The complaints about an update, a delete or an insert.
fn complaints_of_write(tokens: &[String]) -> Vec<String> {
    let returning = tokens.iter().rposition(|token| token == "returning").unwrap_or(tokens.len());
    let (body, returned) = tokens.split_at(returning);
    let mut found = Vec::new();
    if returned.contains(&"(".to_owned()) {
        found.push("an expression in returning".to_owned());
    }
    // The coordinator computes the values of an insert before it sends them to a shard.
    if body[0] == "insert" {
        return found;
    }
    for (at, token) in body.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| &*body[at]);
        let after = |on: usize| body.get(at + on).map_or("", |token| &**token);
        match &**token {
            "case" => {
                let end = body[at..].iter().position(|token| token == "end").unwrap() + at;
                found.extend(changing(&body[at..end]));
            }
            "coalesce" => found.extend(changing(&body[at..closing(body, at + 1)])),
            "+" | "-" if after(1).parse::<u32>().is_err() => {
                let is_of_now = before == ")" && after(1) == "interval";
                if !is_of_now {
                    found.push(format!("arithmetic with {}", after(1)));
                }
            }
            "::" if after(1) == "json" && after(2) != "[" => {
                found.push("a cast to json".to_owned());
            }
            // A table's name before its columns is not a function's name.
            name if after(1) == "("
                && before != "as"
                && name.starts_with(|first: char| first.is_ascii_alphabetic())
                && !KEYWORDS.contains(&name)
                && !IMMUTABLE.contains(&name)
                && !(name == "now" && after(2) == ")") =>
            {
                found.push(format!("{name}(), which is not immutable or not on the list of those"));
            }
            _ => {}
        }
    }
    found
}

/// An expression that is evaluated late must be immutable.
fn changing(tokens: &[String]) -> Option<String> {
    tokens.iter().any(|token| token == "now").then(|| "now() in a case or coalesce".to_owned())
}

const KEYWORDS: &[&str] =
    &["and", "any", "array", "exists", "from", "in", "not", "or", "using", "where"];

const IMMUTABLE: &[&str] = &["coalesce", "greatest", "least", "octet_length", "position", "unnest"];

/// Words, with dots and parameters; numbers; `::`; every other character. Leaves out comments and quoted
/// text.
fn tokens(statement: &str) -> Vec<String> {
    let lines = statement.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut tokens = Vec::new();
    for (at, part) in text.split('\'').enumerate() {
        if at % 2 == 1 {
            tokens.push("''".to_owned());
            continue;
        }
        let mut word = String::new();
        for letter in part.chars().chain(Some(' ')) {
            if letter.is_ascii_alphanumeric() || "_.$".contains(letter) {
                word.push(letter.to_ascii_lowercase());
                continue;
            }
            if !word.is_empty() {
                tokens.push(std::mem::take(&mut word));
            }
            match tokens.last_mut() {
                Some(colon) if letter == ':' && colon == ":" => colon.push(':'),
                _ if !letter.is_whitespace() => tokens.push(letter.to_string()),
                _ => {}
            }
        }
    }
    tokens
}

/// The closing parenthesis of the one that opens here.
fn closing(tokens: &[String], open: usize) -> usize {
    assert_eq!(tokens[open], "(");
    end_of_group(tokens, open + 1)
}

/// The closing parenthesis of the group that contains this token, or the end of all tokens.
fn end_of_group(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match &**token {
            "(" => depth += 1,
            ")" if depth == 0 => return at,
            ")" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn each_shape_that_it_refuses_is_found() {
    let refused = [
        ("with a as (select from t where id = $1) select 1 from a", "no column"),
        ("select id from t order by id limit (select n from size)", "limit"),
        ("select id from t where id = any($1) for update skip locked", "for update"),
        ("select id from t where used_at < $1 for share", "for share"),
        ("select id from ended, pg_notify('sessile', 'session ' || id)", "pg_notify"),
        ("select id, pg_notify('sessile', id) from ended", "pg_notify"),
        ("insert into t (id) values ($1) returning id, now() as now", "returning"),
        (
            "with a as (delete from t where id = $1 returning now() < until as live) select 1 from a",
            "returning",
        ),
        ("delete from t where ctid < $1", "place"),
        ("delete from t where id = $1 and clock_timestamp() > until", "clock_timestamp()"),
        (
            "update t set until = $1 where (select set_config('a', 'b', true)) is not null",
            "set_config()",
        ),
        ("update t set until = seen + idle where id = $1", "arithmetic with idle"),
        ("update t set until = now() + make_interval(secs => idle) where id = $1", "arithmetic"),
        ("update t set data = new.data::json from new where t.id = new.id", "json"),
        ("update t set at = coalesce(at, now()) where id = $1", "coalesce"),
        ("update t set at = case when at is null then now() else at end where id = $1", "case"),
    ];
    for (statement, complaint) in refused {
        let found = complaints(statement);
        assert!(found.iter().any(|found| found.contains(complaint)), "{statement}: {found:?}");
    }
    let taken = [
        "select id, now() as now from t where id = any($1) -- for update",
        "select revoked_at from t where user_id = $2 for share",
        "with a as (update t set n = n + 1, at = greatest(t.at, $2) from unnest($1::uuid[]) as new (id) where t.id = new.id and now() < t.until returning t.id)
            select id from a where (select pg_notify('sessile', 'session ' || id)::text) is not null",
        "delete from t where used_at < now() - interval '1 day' returning id",
        "insert into t (id, at) select id, now() from unnest($1::uuid[]) as new (id) on conflict (id) do update set at = excluded.at returning id",
    ];
    for statement in taken {
        assert_eq!(complaints(statement), Vec::<String>::new(), "{statement}");
    }
}

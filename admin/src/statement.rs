use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::Kind;

/// A read statement that is put together for one of the two databases. Each row that it returns is one JSON object, so
/// that both databases have the same types, and one row that a person has edited does not fail the others.
#[derive(Debug)]
pub(crate) struct Statement {
    kind: Kind,
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Bytes(Vec<u8>),
}

/// The clock of SQLite as the tables have it, in milliseconds.
pub(crate) const SQLITE_NOW: &str = "cast(unixepoch('subsec') * 1000 as integer)";

impl Statement {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, text: String::new(), values: Vec::new() }
    }

    /// Adds a text that is the same for both.
    pub(crate) fn sql(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds the text of this database.
    pub(crate) fn per(&mut self, postgres: &str, sqlite: &str) -> &mut Self {
        self.sql(match self.kind {
            Kind::Postgres => postgres,
            Kind::Sqlite => sqlite,
        })
    }

    /// Adds a JSON object of these columns, which have the same names in it.
    pub(crate) fn object(&mut self, columns: &[&str]) -> &mut Self {
        self.per("json_build_object(", "json_object(");
        for (index, column) in columns.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let is_id = matches!(*column, "id" | "session_id");
            let value = match (self.kind, *column) {
                // `::text` of an address has its netmask, if a person has written one.
                (Kind::Postgres, "ip") => "host(ip)".to_owned(),
                (Kind::Sqlite, column) if is_id => format!("nullif(lower(hex({column})), '')"),
                (_, column) => column.to_owned(),
            };
            self.sql(&format!("{separator}'{column}', {value}"));
        }
        self.sql(")")
    }

    /// Adds a parameter.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.values.push(Value::Text(value.to_owned()));
        self.parameter("")
    }

    pub(crate) fn integer(&mut self, value: i64) -> &mut Self {
        self.values.push(Value::Integer(value));
        self.parameter("")
    }

    pub(crate) fn id(&mut self, id: Uuid) -> &mut Self {
        self.values.push(match self.kind {
            Kind::Postgres => Value::Text(id.to_string()),
            Kind::Sqlite => Value::Bytes(id.as_bytes().to_vec()),
        });
        self.parameter("::uuid")
    }

    pub(crate) fn moment(&mut self, at: DateTime<Utc>) -> &mut Self {
        self.values.push(match self.kind {
            Kind::Postgres => Value::Text(at.to_rfc3339()),
            Kind::Sqlite => Value::Integer(at.timestamp_millis()),
        });
        self.parameter("::timestamptz")
    }

    /// Adds the moment that is so many seconds before now, by the database's clock.
    pub(crate) fn ago(&mut self, seconds: i64) -> &mut Self {
        self.per("now() - interval '1 second' * ", SQLITE_NOW)
            .per("", " - 1000 * ")
            .integer(seconds)
    }

    fn parameter(&mut self, postgres_type: &str) -> &mut Self {
        let number = self.values.len();
        match self.kind {
            Kind::Postgres if postgres_type.is_empty() => self.sql(&format!("${number}")),
            // As a text, because sqlx's features for other types would change an application's own queries.
            Kind::Postgres => self.sql(&format!("${number}::text{postgres_type}")),
            Kind::Sqlite => self.sql(&format!("?{number}")),
        }
    }
}

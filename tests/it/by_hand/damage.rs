//! What a person may make of a row.

use sessile::{Error, ErrorKind, SessionId};
use sqlx::{AssertSqlSafe, raw_sql};

use crate::support::{Db, Pool};

/// A text that no error may show.
pub(super) const SECRET: &str = "geheim";

/// What an `update` sets, for each of the databases on which it can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damage {
    pub(super) postgres: Option<&'static str>,
    pub(super) sqlite: Option<&'static str>,
    /// The column that cannot be read afterwards.
    pub(super) column: Option<&'static str>,
}

const fn harmless(postgres: &'static str, sqlite: &'static str) -> Damage {
    Damage { postgres: Some(postgres), sqlite: Some(sqlite), column: None }
}

const fn of(column: &'static str, set: &'static str) -> Damage {
    Damage { postgres: Some(set), sqlite: Some(set), column: Some(column) }
}

const fn of_sqlite(column: &'static str, set: &'static str) -> Damage {
    Damage { postgres: None, sqlite: Some(set), column: Some(column) }
}

/// A row that can be read all the same.
const HARMLESS: &[Damage] = &[
    harmless("created_at = 'infinity'", "created_at = 9223372036854775807"),
    harmless("created_at = '-infinity'", "created_at = -9223372036854775808"),
    harmless("authenticated_at = 'infinity'", "authenticated_at = 9223372036854775807"),
    harmless("authenticated_at = '-infinity'", "authenticated_at = -9223372036854775808"),
    harmless("last_seen_at = 'infinity'", "last_seen_at = 9223372036854775807"),
    harmless("last_seen_at = '-infinity'", "last_seen_at = -9223372036854775808"),
    harmless("expires_at = 'infinity'", "expires_at = 9223372036854775807"),
    harmless("absolute_expires_at = 'infinity'", "absolute_expires_at = 9223372036854775807"),
    harmless("absolute_expires_at = '20000-01-01'", "absolute_expires_at = 568971820800000"),
    harmless(
        "absolute_expires_at = 'infinity', valid_until = 'infinity', expires_at = 'infinity'",
        "absolute_expires_at = 9223372036854775807, valid_until = 9223372036854775807, expires_at = 9223372036854775807",
    ),
    harmless(
        "absolute_expires_at = '290000-01-01', valid_until = '280000-01-01', expires_at = '290000-01-01', last_seen_at = '270000-01-01'",
        "absolute_expires_at = 9100000000000000000, valid_until = 9000000000000000000, expires_at = 9100000000000000000, last_seen_at = 8900000000000000000",
    ),
    harmless(
        "replaced_hash = sha256('old'), replaced_at = 'infinity'",
        "replaced_hash = zeroblob(32), replaced_at = 9223372036854775807",
    ),
    harmless(
        "replaced_hash = sha256('old'), replaced_at = '-infinity'",
        "replaced_hash = zeroblob(32), replaced_at = -9223372036854775808",
    ),
    harmless(
        "replaced_hash = 'short', replaced_at = now()",
        "replaced_hash = x'00', replaced_at = 0",
    ),
    harmless("twin_hashes = ''", "twin_hashes = x''"),
    harmless("twin_hashes = sha256('twin') || '1'", "twin_hashes = zeroblob(33)"),
    harmless("pending_user_id = ''", "pending_user_id = ''"),
    harmless(
        "pending_user_id = repeat('x', 10000), pending_since = 'infinity', pending_until = 'infinity'",
        "pending_user_id = hex(zeroblob(5000)), pending_since = 9223372036854775807, pending_until = 9223372036854775807",
    ),
    harmless(
        "pending_since = '-infinity', pending_until = '-infinity'",
        "pending_since = -9223372036854775808, pending_until = -9223372036854775808",
    ),
    harmless("idle_timeout = 2147483647", "idle_timeout = 2147483647"),
    harmless("revision = 9223372036854775807", "revision = 9223372036854775807"),
    harmless("revision = 9223372036854775806", "revision = 9223372036854775806"),
    harmless("revision = -9223372036854775808", "revision = -9223372036854775808"),
    harmless("revision = -1", "revision = -1"),
    harmless("ip = '10.0.0.0/8'", "ip = 'geheim'"),
    harmless(
        "user_agent = repeat('x', 10000)",
        "user_agent = cast(x'ff00' as text), ip = cast(x'ff' as text)",
    ),
    harmless("remembered = null", "remembered = -7"),
    harmless("data = '{\"a\":0,\"a\":1}'", "data = '{\"a\":0,\"a\":1}'"),
    harmless("data = '{\"\\u0000\":\"\\u0000\"}'", "data = '{\"\\u0000\":\"\\u0000\"}'"),
    harmless(
        "data = ('{\"deep\":' || repeat('[', 2000) || repeat(']', 2000) || '}')::json",
        "data = '{\"deep\":' || replace(hex(zeroblob(1000)), '0', '[') || replace(hex(zeroblob(1000)), '0', ']') || '}'",
    ),
];

/// A row that cannot be read, and the column that is to blame.
const UNREADABLE: &[Damage] = &[
    of("data", "data = '[\"geheim\"]'"),
    of("data", "data = '1'"),
    of("data", "data = 'null'"),
    of("data", "data = '\"geheim\"'"),
    // The half of a character as a key.
    of("data", "data = '{\"geheim\\ud800\":1}'"),
    of_sqlite("data", "data = ''"),
    of_sqlite("data", "data = 'geheim'"),
    of_sqlite("data", "data = '{\"geheim\":'"),
    of_sqlite("data", "data = cast(x'7b2267656865696d223a22ff227d' as text)"),
    of_sqlite("data", "data = cast(x'7b2200223a317d' as text)"),
    of("authenticated_at", "authenticated_at = null"),
    Damage {
        postgres: Some("absolute_expires_at = '-infinity'"),
        sqlite: Some("absolute_expires_at = -9223372036854775808"),
        column: Some("valid_until"),
    },
    Damage {
        postgres: Some("expires_at = '-infinity'"),
        sqlite: Some("expires_at = -9223372036854775808"),
        column: Some("expires_at"),
    },
    of("idle_timeout", "idle_timeout = 0"),
    of("idle_timeout", "idle_timeout = -5"),
    of("idle_timeout", "idle_timeout = -2147483648"),
    of_sqlite("idle_timeout", "idle_timeout = 9223372036854775807"),
    of_sqlite("idle_timeout", "idle_timeout = -9223372036854775808"),
];

/// The same, of rows that are not ada's any more.
const OF_NOBODY: &[Damage] = &[
    of("authenticated_at", "user_id = null"),
    of("user_id", "user_id = ''"),
    Damage {
        postgres: Some("user_id = repeat('geheim', 1667)"),
        sqlite: Some("user_id = replace(hex(zeroblob(834)), '0', 'geheim')"),
        column: Some("user_id"),
    },
    of_sqlite("user_id", "user_id = cast(x'67656865696dff' as text)"),
    of_sqlite("user_id", "user_id = cast(x'67656865696d00' as text)"),
    of_sqlite(
        "user_id",
        "user_id = cast(x'6164ff' as text), pending_user_id = cast(x'ff' as text)",
    ),
];

impl Damage {
    /// Those that leave a row readable.
    pub(super) fn harmless(db: &Db) -> impl Iterator<Item = Self> {
        Self::possible(db, HARMLESS)
    }

    /// Those that make a row unreadable.
    pub(super) fn unreadable(db: &Db) -> impl Iterator<Item = Self> {
        Self::possible(db, UNREADABLE).chain(Self::possible(db, OF_NOBODY))
    }

    /// Those that leave the row a row of its user.
    pub(super) fn of_its_user(db: &Db) -> impl Iterator<Item = Self> {
        Self::possible(db, HARMLESS).chain(Self::possible(db, UNREADABLE)).chain(Self::hash(db))
    }

    /// All of them.
    pub(super) fn all(db: &Db) -> impl Iterator<Item = Self> {
        Self::of_its_user(db).chain(Self::possible(db, OF_NOBODY))
    }

    /// A secret's hash that is none: nobody can have the secret.
    pub(super) fn hash(db: &Db) -> impl Iterator<Item = Self> {
        const SHORT: &[Damage] = &[
            Damage {
                postgres: Some("secret_hash = 'geheim'"),
                sqlite: Some("secret_hash = x'00'"),
                column: Some("secret_hash"),
            },
            Damage {
                postgres: Some("secret_hash = sha256('geheim') || sha256('')"),
                sqlite: Some("secret_hash = zeroblob(64)"),
                column: Some("secret_hash"),
            },
        ];
        Self::possible(db, SHORT)
    }

    fn possible(db: &Db, all: &'static [Self]) -> impl Iterator<Item = Self> {
        let is_postgres = db.is_postgres();
        all.iter().copied().filter(move |damage| {
            let set = if is_postgres { damage.postgres } else { damage.sqlite };
            set.is_some()
        })
    }

    /// An error says whose row it is, and which column is to blame, and no more.
    #[track_caller]
    pub(super) fn check(self, error: &Error, id: SessionId) {
        assert_eq!(error.kind(), ErrorKind::WrongType, "{self:?}: {error:?}");
        assert!(!error.is_transient());
        let text = error.to_string();
        let column = format!("the column {} ", self.column.unwrap());
        assert!(text.contains(&id.to_string()) && text.contains(&column), "{self:?}: {text}");
        assert!(!format!("{text} {error:?}").contains(SECRET), "{error:?}");
    }

    /// Does it to a row, as a person who has taken the checks away and puts them back afterwards.
    pub(super) async fn to(self, db: &Db, id: SessionId) {
        let rows = update(db, "sessions", self.postgres, self.sqlite, &row(db, id)).await;
        assert_eq!(rows, 1, "{self:?}");
    }
}

/// The condition that names a row.
pub(super) fn row(db: &Db, id: SessionId) -> String {
    match db.is_postgres() {
        true => format!("id = '{id}'"),
        false => format!("id = x'{}'", id.as_uuid().simple()),
    }
}

/// Sets what no check would let it set. Returns how many rows have it.
pub(super) async fn update(
    db: &Db,
    table: &str,
    postgres: Option<&str>,
    sqlite: Option<&str>,
    condition: &str,
) -> u64 {
    let rows = match &db.pool {
        Pool::Postgres(pool) => {
            let update =
                format!("update sessile.{table} set {} where {condition}", postgres.unwrap());
            let unchecked = format!(
                "do $do$
                declare
                    checks text[];
                    statement text;
                begin
                    select array_agg(format('alter table sessile.sessions drop constraint %I', conname))
                            || array[$update${update}$update$]
                            || array_agg(format('alter table sessile.sessions add constraint %I %s not valid', conname,
                                replace(pg_get_constraintdef(oid), ' NOT VALID', '')))
                        into checks
                        from pg_constraint where conrelid = 'sessile.sessions'::regclass and contype = 'c';
                    foreach statement in array checks loop
                        execute statement;
                    end loop;
                end
                $do$"
            );
            raw_sql(AssertSqlSafe(unchecked)).execute(pool).await.unwrap();
            let count = format!("select count(*) from sessile.{table} where {condition}");
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(count)).fetch_one(pool).await.unwrap() as u64
        }
        Pool::Sqlite(pool) => {
            let mut connection = pool.acquire().await.unwrap();
            let update = format!("update {table} set {} where {condition}", sqlite.unwrap());
            raw_sql("pragma ignore_check_constraints = 1").execute(&mut *connection).await.unwrap();
            let done = raw_sql(AssertSqlSafe(update)).execute(&mut *connection).await.unwrap();
            raw_sql("pragma ignore_check_constraints = 0").execute(&mut *connection).await.unwrap();
            done.rows_affected()
        }
    };
    db.heard().await;
    rows
}

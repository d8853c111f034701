//! On Postgres, as roles with limited rights: the grants of docs/operations.md, run as they are written
//! there, and the text of an error when one is missing.

use std::time::Duration;

use serde_json::json;
use sessile::{ErrorKind, Sessions};
use sqlx::{AssertSqlSafe, PgPool, raw_sql};

use super::{FIRST, REALMS, sqlx, sqlx_as_documented};
use crate::support::{Browser, Db, Pool};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The grants that the docs had before there was a file of roles. Deployments have made them by hand.
const BY_HAND: &str = "grant usage on schema sessile to sessile_app, sessile_reader;
grant select, insert, update, delete on sessile.sessions, sessile.session_cutoffs to sessile_app;
grant select, insert, update, delete on sessile.session_event_log, sessile.session_event_inbox, sessile.session_cleanup_log to sessile_app;
grant select on sessile.active_sessions, sessile.session_events, sessile.session_counts, sessile.cleanup_runs, sessile.sessions_by_hour to sessile_app;
grant select on sessile.session_schema, sessile._sqlx_migrations to sessile_app;
grant select on sessile.active_sessions to sessile_reader;
";

/// The fenced blocks of a section of docs/operations.md, in order.
pub(crate) fn documented(section: &str, language: &str) -> Vec<&'static str> {
    let (_, text) = OPERATIONS.split_once(&format!("\n## {section}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let opening = format!("```{language}\n");
    text.split(&*opening).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// An empty database and the roles of the docs, under separate names, because roles belong to the whole
/// server.
pub(crate) struct Roles {
    pub(crate) db: Db,
    suffix: String,
}

impl Roles {
    /// The names in the docs and in docs/roles.sql.
    const NAMES: [&str; 10] = [
        "sessile_owner",
        "sessile_app",
        "sessile_viewer",
        "sessile_operator",
        "sessile_cleanup",
        "sessile_reader",
        "shop_login",
        "sweeper",
        "grafana",
        "grace",
    ];

    pub(crate) async fn none() -> Self {
        let db = Db::empty_postgres().await;
        let suffix = db.url.rsplit_once('_').unwrap().1.to_owned();
        Self { db, suffix }
    }

    /// The owner and the schema as the docs create them.
    pub(crate) async fn documented() -> Self {
        let roles = Self::none().await;
        roles.run(roles.statements(0)).await;
        roles
    }

    /// The same, with the roles of a deployment that does not use docs/roles.sql. They have no rights yet.
    pub(crate) async fn made_by_hand() -> Self {
        let roles = Self::documented().await;
        roles
            .run(
                ["sessile_app", "sessile_reader"]
                    .map(|role| format!("create role {} login", roles.name(role))),
            )
            .await;
        roles
    }

    /// The rights of that deployment.
    pub(crate) fn grants_by_hand(&self) -> Vec<String> {
        self.split(BY_HAND)
    }

    /// docs/roles.sql.
    pub(crate) fn file(&self) -> String {
        self.renamed(sessile::store::postgres::ROLES)
    }

    /// Runs docs/roles.sql as the administrator.
    pub(crate) async fn install(&self) {
        self.run([self.file()]).await;
    }

    pub(crate) fn database(&self) -> &str {
        self.db.url.rsplit_once('/').unwrap().1
    }

    pub(crate) fn name(&self, role: &str) -> String {
        format!("{role}_{}", self.suffix)
    }

    /// The statements of the docs' block, each on its own.
    pub(crate) fn statements(&self, block: usize) -> Vec<String> {
        self.split(documented("Roles and grants", "sql")[block])
    }

    fn split(&self, text: &str) -> Vec<String> {
        self.renamed(text).split_terminator(";\n").map(str::to_owned).collect()
    }

    fn renamed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for role in Self::NAMES {
            text = text.replace(role, &self.name(role));
        }
        text
    }

    pub(crate) fn admin(&self) -> &PgPool {
        let Pool::Postgres(pool) = &self.db.pool else { unreachable!() };
        pool
    }

    /// As the administrator.
    pub(crate) async fn run(&self, statements: impl IntoIterator<Item = impl AsRef<str>>) {
        for statement in statements {
            let statement = statement.as_ref();
            let done = raw_sql(AssertSqlSafe(statement)).execute(self.admin()).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The database's address for a role.
    pub(crate) fn url(&self, role: &str) -> String {
        format!("{}?options=-c%20role%3D{}", self.db.url, self.name(role))
    }

    pub(crate) async fn sessions(&self, role: &str) -> Sessions {
        let backend = sessile::connect(&self.url(role)).await.unwrap();
        Sessions::builder(backend).build().unwrap()
    }

    /// Migrates, runs the statement in the error as an administrator, and repeats that. Returns the
    /// statements.
    async fn follow_the_errors(&self, role: &str) -> Vec<String> {
        let mut followed = Vec::new();
        loop {
            assert!(followed.len() < 10, "{followed:?}");
            // A new pool each time, as after a restart.
            let Err(error) = self.sessions(role).await.migrate().await else { return followed };
            assert_eq!(error.kind(), ErrorKind::Schema, "{error:?}");
            assert!(!error.is_transient());
            let text = error.to_string();
            assert!(text.contains(&self.name(role)), "{text}");
            let statement = text.rsplit_once(": ").unwrap().1.to_owned();
            self.run([&statement]).await;
            followed.push(statement.replace(&format!("_{}", self.suffix), ""));
        }
    }

    pub(crate) async fn drop(self) {
        let names: Vec<_> =
            sqlx::query_scalar("select rolname::text from pg_roles where rolname like $1")
                .bind(format!("%{}", self.suffix))
                .fetch_all(self.admin())
                .await
                .unwrap();
        self.db.drop().await;
        let admin = PgPool::connect(&crate::support::postgres_url()).await.unwrap();
        for name in names {
            let name: String = name;
            raw_sql(AssertSqlSafe(format!("drop role \"{name}\""))).execute(&admin).await.unwrap();
        }
        admin.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_grants_are_what_each_role_needs() {
    let roles = Roles::documented().await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    roles.install().await;
    roles.run(roles.statements(1)).await;

    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    let sessions = roles.sessions("shop_login").await;
    sessions.migrate().await.unwrap();
    every_verb_works(&roles.db, &sessions).await;

    let viewer = PgPool::connect(&roles.url("grafana")).await.unwrap();
    let read = async |what: &str| {
        let select = format!("select count(*) from sessile.{what}");
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(select)).fetch_one(&viewer).await
    };
    assert_eq!(read("active_sessions").await.unwrap(), 1);
    for closed in ["sessions", "session_cutoffs"] {
        read(closed).await.unwrap_err();
    }
    viewer.close().await;
    assert_eq!(
        roles.follow_the_errors("grafana").await,
        ["grant select on sessile._sqlx_migrations to grafana"]
    );
    roles.sessions("sweeper").await.sweep().await.unwrap();
    let revoke = "select sessile.revoke_all('a test')";
    let grace = PgPool::connect(&roles.url("grace")).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(revoke).fetch_one(&grace).await.unwrap(), 1);
    grace.close().await;
    roles.drop().await;
}

/// Without the file of the roles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_that_were_made_by_hand_go_on_working() {
    let roles = Roles::made_by_hand().await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    // As the owner, and not as an administrator.
    let owner = PgPool::connect(&roles.url("sessile_owner")).await.unwrap();
    for statement in roles.grants_by_hand() {
        raw_sql(AssertSqlSafe(statement)).execute(&owner).await.unwrap();
    }
    owner.close().await;
    let sessions = roles.sessions("sessile_app").await;
    sessions.migrate().await.unwrap();
    every_verb_works(&roles.db, &sessions).await;
    roles.drop().await;
}

/// Uses every verb. One session is left.
async fn every_verb_works(db: &Db, sessions: &Sessions) {
    let (mut guest, id) = Browser::with(sessions, "a", json!(1)).await;
    let session = guest.open(sessions).await;
    session.update("a", |a: &mut u32| *a += 1).await.unwrap();
    session.begin_log_in().user("ada").await.unwrap();
    session.complete_log_in().await.unwrap();
    session.reauthenticate().await.unwrap();
    guest.finish(&session).await;
    assert_eq!(sessions.find(id).await.unwrap().unwrap().user_id.as_deref(), Some("ada"));
    // A day later, so that the request touches the row.
    db.pass(Duration::from_secs(120)).await;
    assert!(guest.is_in(sessions).await);
    sessions.flush().await.unwrap();

    let (other, _) = Browser::logged_in(sessions, "ada").await;
    let session = guest.open(sessions).await;
    assert_eq!(session.devices().await.unwrap().len(), 2);
    session.log_out_others().await.unwrap();
    assert!(!other.is_in(sessions).await && guest.is_in(sessions).await);
    let (bob, bobs) = Browser::logged_in(sessions, "bob").await;
    assert!(sessions.revoke(bobs).await.unwrap());
    assert!(!bob.is_in(sessions).await);
    assert_eq!(sessions.count().await.unwrap(), 1);
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
    Browser::logged_in(sessions, "eve").await;
    assert_eq!(sessions.revoke_all().await.unwrap().ended, 1);

    // By the index, and by the pages of the table.
    for expired in [1, 3000] {
        db.run(
            &format!("insert into sessile.sessions (id, revision, created_at, last_seen_at, absolute_expires_at,
                    valid_until, expires_at, idle_timeout, secret_hash, data)
                select gen_random_uuid(), 1, old, old, old, old, old, 60, sha256(n::text::bytea), '{{}}'
                from generate_series(1, {expired}) n, (select now() - interval '1 day') as moment (old)"),
            "",
        )
        .await;
        assert_eq!(sessions.sweep().await.unwrap().rows, expired);
    }
    Browser::logged_in(sessions, "ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_names_the_grant_that_is_missing() {
    let roles = Roles::none().await;
    let [owner, stranger] = ["sessile_owner", "stranger"].map(|role| roles.name(role));
    roles.run([format!("create role {owner}"), format!("create role {stranger}")]).await;
    assert_eq!(
        roles.follow_the_errors("sessile_owner").await,
        ["create schema sessile authorization sessile_owner"]
    );
    // There is nothing to do, and the role needs only the right to read.
    assert_eq!(
        roles.follow_the_errors("stranger").await,
        [
            "grant usage on schema sessile to stranger",
            "grant select on sessile._sqlx_migrations to stranger"
        ]
    );
    // One migration is missing: one that can run twice.
    let lacks_one = "delete from sessile._sqlx_migrations where version = 20261126000003";
    roles.run([lacks_one]).await;
    assert_eq!(roles.follow_the_errors("stranger").await, ["grant sessile_owner to stranger"]);
    roles.run([format!("revoke {owner} from {stranger}")]).await;
    // A newer release has migrated.
    roles
        .run(["insert into sessile._sqlx_migrations (version, description, success, checksum, execution_time)
            values (99990101000000, 'later', true, '\\x00', 0)"])
        .await;
    assert_eq!(
        roles.follow_the_errors("stranger").await,
        ["grant select on sessile.session_schema to stranger"]
    );
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_says_how_an_administrator_hands_over_what_they_made() {
    let roles = Roles::none().await;
    sqlx(&roles.db, &["run", "--target-version", REALMS]);
    roles.run([format!("create role {}", roles.name("sessile_owner"))]).await;
    let hand_over = |table: &str| format!("alter table sessile.{table} owner to sessile_owner");
    // Every object in the schema, before the missing migrations add others.
    let relations = roles
        .db
        .texts(
            "select relname::text from pg_class where relnamespace = 'sessile'::regnamespace
                and relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by oid",
            "",
        )
        .await;
    let mut followed = roles.follow_the_errors("sessile_owner").await;
    assert_eq!(followed.pop().unwrap(), "grant create on schema sessile to sessile_owner");
    let mut expected = vec![
        "grant usage on schema sessile to sessile_owner".to_owned(),
        "grant select on sessile._sqlx_migrations to sessile_owner".to_owned(),
    ];
    expected.extend(relations.iter().map(|name| hand_over(name)));
    assert_eq!(followed, expected);
    roles.drop().await;
}

/// An unforeseen error has the server's own text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_refusal_is_told_too() {
    let roles = Roles::documented().await;
    roles.run(["revoke usage on language plpgsql from public"]).await;
    let error = roles.sessions("sessile_owner").await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let text = error.to_string();
    assert!(text.contains("permission denied for language plpgsql"), "{text}");
    assert!(text.contains(&roles.name("sessile_owner")), "{text}");
    // The whole migration was rolled back.
    let tables = "select count(*) from pg_class where relnamespace = 'sessile'::regnamespace";
    assert_eq!(roles.db.number(tables, "").await, 0);
    roles.drop().await;
}

/// With the files and the configuration of the docs, which do not ask for the right to create schemas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_owner_can_use_sqlx_cli() {
    let roles = Roles::documented().await;
    sqlx_as_documented(&roles.url("sessile_owner"), &["run", "--target-version", FIRST]);
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    sqlx_as_documented(&roles.url("sessile_owner"), &["run"]);
    sqlx_as_documented(&roles.url("sessile_owner"), &["revert", "--target-version", "0"]);
    roles.drop().await;
}

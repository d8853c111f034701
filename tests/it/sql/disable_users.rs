//! The recipe of docs/disable-users.sql and docs/disable-users.sqlite.sql: the application disables a user, and the
//! user's sessions end in that transaction.

use sessile::{ErrorKind, Sessions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tokio::task::JoinHandle;

use super::rights::{logged_in, migrated, refused, run};
use crate::{
    migrations::roles::Roles,
    support::{Browser, Db, cases},
    tx::{Tx, until_waiting},
};

const POSTGRES: &str = include_str!("../../../docs/disable-users.sql");
const SQLITE: &str = include_str!("../../../docs/disable-users.sqlite.sql");

const USERS: &str = "create table users (id bigint primary key, disabled boolean default false);
    insert into users (id) values (1), (2), (3);";

cases! {
    a_disabled_user_is_out_at_the_commit,
    only_a_change_to_disabled_ends_sessions,
}

/// As the files are written. Only the role has another name, because roles belong to the whole server.
async fn install(db: &Db) {
    let suffix = db.url.rsplit_once('_').map(|(_, suffix)| suffix.to_owned()).unwrap_or_default();
    match &db.pool {
        crate::support::Pool::Postgres(pool) => {
            let recipe =
                POSTGRES.replace("sessile_disabler", &format!("sessile_disabler_{suffix}"));
            raw_sql(AssertSqlSafe(format!("{USERS}{recipe}"))).execute(pool).await.unwrap();
        }
        crate::support::Pool::Sqlite(pool) => {
            raw_sql(AssertSqlSafe(format!("{USERS}{SQLITE}"))).execute(pool).await.unwrap();
        }
    }
}

/// Deletes the role of the recipe too.
async fn uninstall(db: &Db) {
    if let crate::support::Pool::Postgres(pool) = &db.pool {
        let suffix = db.url.rsplit_once('_').unwrap().1;
        let role = format!("sessile_disabler_{suffix}");
        raw_sql(AssertSqlSafe(format!("drop owned by {role} cascade; drop role {role}")))
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn a_disabled_user_is_out_at_the_commit(db: Db) {
    install(&db).await;
    let sessions = db.sessions().await;
    for commits in [false, true] {
        let (browser, _) = Browser::logged_in(&sessions, "1").await;
        let (other, _) = Browser::logged_in(&sessions, "2").await;
        let early = Browser::default().open(&sessions).await;
        let mut tx = Tx::begin(&db).await;
        tx.execute("update users set disabled = true where id = 1").await;
        assert!(browser.is_in(&sessions).await);
        if commits {
            tx.commit().await;
            assert!(!browser.is_in(&sessions).await);
            let error = early.log_in(1).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LogInRefused);
        } else {
            tx.roll_back().await;
            assert!(browser.is_in(&sessions).await);
            early.log_in(1).await.unwrap();
        }
        assert!(other.is_in(&sessions).await);
    }
    let reasons = db
        .texts(
            "select user_id || ' ' || reason || ' ' || count(*) from sessile.session_events where event = 'revoked' group by user_id, reason",
            "select user_id || ' ' || reason || ' ' || count(*) from session_events where event = 'revoked' group by user_id, reason",
        )
        .await;
    // Two sessions of the first user, the log-in after the rollback, and the whole.
    assert_eq!(reasons, ["1 the user was disabled 4"]);
    uninstall(&db).await;
}

async fn only_a_change_to_disabled_ends_sessions(db: Db) {
    install(&db).await;
    let sessions = db.sessions().await;
    db.run(
        "update users set disabled = null where id = 3",
        "update users set disabled = null where id = 3",
    )
    .await;
    for (update, is_in) in [
        ("id = id", true),
        ("disabled = false", true),
        ("disabled = true", false),
        ("disabled = true", true),
        ("disabled = null", true),
        ("disabled = true", false),
    ] {
        db.pass_for_cutoffs(sessile::seconds(60)).await;
        let (browser, _) = Browser::logged_in(&sessions, "3").await;
        let update = format!("update users set {update} where id = 3");
        db.run(&update, &update).await;
        assert_eq!(browser.is_in(&sessions).await, is_in, "{update}");
    }
    uninstall(&db).await;
}

#[cfg(feature = "cache")]
mod cached {
    use sessile::seconds;

    use super::{Db, install, uninstall};
    use crate::{
        cache::{NEVER, eventually, node, warm},
        support::cases,
    };

    cases! { a_cached_node_hears_of_it }

    async fn a_cached_node_hears_of_it(db: Db) {
        install(&db).await;
        let (here, _) = node(&db, NEVER).await;
        let (browser, _) = warm(&here, "1").await;
        let update = "update users set disabled = true where id = 1";
        db.run(update, update).await;
        eventually(async || !browser.is_in(&here).await).await;
        db.pass_for_cutoffs(seconds(60)).await;
        uninstall(&db).await;
    }
}

/// On Postgres, with the roles of the docs, and an application's role without any right on the schema.
struct Recipe {
    roles: Roles,
    sessions: Sessions,
    app: String,
}

impl Recipe {
    async fn begin() -> Self {
        let roles = migrated().await;
        install(&roles.db).await;
        let app = roles.name("application");
        roles
            .run([format!("create role {app}"), format!("grant select, update on users to {app}")])
            .await;
        let sessions = roles.sessions("sessile_app").await;
        Self { roles, sessions, app }
    }

    async fn connection(&self) -> PgConnection {
        logged_in(&self.roles, &self.app).await
    }

    /// One session of each user, and the events of before are forgotten.
    async fn log_in(&self) -> [Browser; 3] {
        self.roles.db.pass_for_cutoffs(sessile::seconds(60)).await;
        self.roles.db.delete_events().await;
        // A statement that disables several comes to the last one first.
        self.roles.run(["truncate users", "insert into users (id) values (3), (2), (1)"]).await;
        let log_in = async |user| Browser::logged_in(&self.sessions, user).await.0;
        [log_in("1").await, log_in("2").await, log_in("3").await]
    }

    /// The users whose sessions have ended, each with the number of revocations. They came in this order.
    async fn revoked(&self) -> Vec<String> {
        let whole = "select user_id from sessile.session_events where event = 'revoked' and session_id is null order by at";
        self.roles.db.texts(whole, "").await
    }

    async fn drop(self) {
        self.roles.drop().await;
    }
}

async fn all(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        run(connection, statement).await;
    }
}

fn disable(id: u32) -> String {
    format!("update users set disabled = true where id = {id}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_transaction_end_in_the_order_of_their_ids() {
    let recipe = Recipe::begin().await;
    let mut connection = recipe.connection().await;
    let (one, two, three) = (disable(1), disable(2), disable(3));
    let both = "update users set disabled = true where id in (1, 2)";
    let again = "update users set disabled = false where id = 3";
    for (statements, expected) in [
        (vec!["begin", &three, &one, &two, "commit"], &["1", "2", "3"][..]),
        (vec!["begin", &two, "rollback"], &[]),
        // What a savepoint takes back is not done, and what came before it is.
        (vec!["begin", &three, "savepoint s", &one, "rollback to s", &two, "commit"], &["2", "3"]),
        (vec!["begin", "savepoint s", &three, "rollback to s", &three, "commit"], &["3"]),
        (vec!["begin", "savepoint s", &three, "release s", &one, "commit"], &["1", "3"]),
        // Twice in one transaction is once.
        (vec!["begin", &three, again, &three, &one, "commit"], &["1", "3"]),
        (vec!["begin", &three, &two, "set constraints all immediate", "commit"], &["2", "3"]),
        (vec!["begin", "set constraints all immediate", both, "commit"], &["1", "2"]),
        (
            vec![
                "begin",
                &three,
                "set constraints all immediate",
                &one,
                "set constraints all deferred",
                &two,
                "commit",
            ],
            &["3", "1", "2"],
        ),
        (
            vec![
                "begin",
                &three,
                "savepoint s",
                "set constraints all immediate",
                "rollback to s",
                &one,
                "commit",
            ],
            &["1", "3"],
        ),
        // Each statement is its own transaction.
        (vec![&*two, &*one], &["2", "1"]),
    ] {
        let browsers = recipe.log_in().await;
        all(&mut connection, &statements).await;
        assert_eq!(recipe.revoked().await, expected, "{statements:?}");
        for (browser, user) in browsers.iter().zip(["1", "2", "3"]) {
            let is_in = browser.is_in(&recipe.sessions).await;
            assert_eq!(is_in, !expected.contains(&user), "{statements:?}: {user}");
        }
    }
    drop(connection);
    recipe.drop().await;
}

/// One transaction disables 2 and then 1. The other one ends the sessions of 1 and then of 2, as this transaction does
/// at its commit, since it sorts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_transactions_do_not_wait_for_each_other() {
    let recipe = Recipe::begin().await;
    recipe.log_in().await;
    let mut first = recipe.connection().await;
    all(&mut first, &["begin", &disable(2), &disable(1)]).await;
    let mut second = Tx::begin(&recipe.roles.db).await;
    second.execute("set local lock_timeout = '10s'").await;
    second.execute("select sessile.revoke_user('1', 'x')").await;
    let commit = tokio::spawn(async move { all(&mut first, &["commit"]).await });
    until_waiting(&recipe.roles.db, 1).await;
    // It waits for user 1, and does not hold user 2 yet.
    second.execute("select sessile.revoke_user('2', 'x')").await;
    second.commit().await;
    commit.await.unwrap();
    assert_eq!(recipe.revoked().await.len(), 4);
    recipe.drop().await;
}

/// Two transactions disable {1, 2} and {2, 1}. Each has locked the rows of its users in order, as such transactions
/// have to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_transactions_of_the_same_users_come_one_after_the_other() {
    let recipe = Recipe::begin().await;
    recipe.log_in().await;
    let rows = "select from users where id in (1, 2) order by id for update";
    let mut first = recipe.connection().await;
    all(&mut first, &["begin", rows, &disable(1)]).await;
    let mut second = recipe.connection().await;
    let second: JoinHandle<()> = tokio::spawn(async move {
        all(&mut second, &["begin", rows, &disable(2), &disable(1), "commit"]).await;
    });
    until_waiting(&recipe.roles.db, 1).await;
    all(&mut first, &[&disable(2), "commit"]).await;
    second.await.unwrap();
    // The second one found both disabled.
    assert_eq!(recipe.revoked().await, ["1", "2"]);
    recipe.drop().await;
}

/// A log-in that reads the user before the commit, and logs in after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cut_off_is_the_commit() {
    let recipe = Recipe::begin().await;
    let [browser, ..] = recipe.log_in().await;
    let mut connection = recipe.connection().await;
    all(&mut connection, &["begin", &disable(1)]).await;
    let early = Browser::default().open(&recipe.sessions).await;
    let is_disabled = recipe.roles.db.number("select count(*) from users where disabled", "").await;
    assert_eq!(is_disabled, 0);
    // Nobody waits before the commit.
    Browser::logged_in(&recipe.sessions, "1").await;
    run(&mut connection, "commit").await;
    assert_eq!(early.log_in(1).await.unwrap_err().kind(), ErrorKind::LogInRefused);
    assert!(!browser.is_in(&recipe.sessions).await);
    assert_eq!(recipe.sessions.count_of_user(1).await.unwrap(), 0);
    drop(connection);
    recipe.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_gets_no_right_by_it() {
    let recipe = Recipe::begin().await;
    let [browser, ..] = recipe.log_in().await;
    let mut connection = recipe.connection().await;
    for statement in ["select sessile.revoke_user('1', 'x')", "delete from sessile.sessions"] {
        let (_, text) = refused(&mut connection, statement).await;
        assert_eq!(text, "permission denied for schema sessile");
    }
    // Nor may it use the function in a trigger of its own.
    run(&mut connection, "create temporary table mine (disabled boolean)").await;
    let trigger = "create trigger mine after insert on mine for each row execute function public.end_sessions_of_disabled_users()";
    let (_, text) = refused(&mut connection, trigger).await;
    assert_eq!(text, "permission denied for function public.end_sessions_of_disabled_users");
    // A transaction at another level fails as a whole.
    all(&mut connection, &["begin isolation level serializable", &disable(1)]).await;
    let (_, text) = refused(&mut connection, "commit").await;
    assert!(text.contains("a revocation needs a transaction at read committed"), "{text}");
    assert!(browser.is_in(&recipe.sessions).await);
    assert_eq!(recipe.roles.db.number("select count(*) from users where disabled", "").await, 0);
    connection.close().await.unwrap();
    let actor = format!("role:{}", recipe.app);
    let mut connection = recipe.connection().await;
    run(&mut connection, &disable(1)).await;
    let actors = "select distinct actor from sessile.session_events where event = 'revoked'";
    assert_eq!(recipe.roles.db.texts(actors, "").await, [actor]);
    drop(connection);
    recipe.drop().await;
}

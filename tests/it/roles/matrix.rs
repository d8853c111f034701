//! Each role against each table, column, view and function, and against each change of the schema.

use std::collections::{BTreeMap, BTreeSet};

use super::{DENIED, EVERYBODY, code_of, connected, installed};
use crate::migrations::roles::Roles;

/// Who may do what with each relation of the schema. `app: select insert` is a right on all its columns, and
/// `select(ctid at)` one on these columns.
const RELATIONS: [(&str, &str); 12] = [
    (
        "sessions",
        "app: select insert update delete
        cleanup: select(ctid id realm user_id valid_until absolute_expires_at expires_at) update(expires_at) delete",
    ),
    (
        "session_cutoffs",
        "app: select insert update delete
        cleanup: select(user_id used_at) update(used_at) delete",
    ),
    (
        "session_event_log",
        "app: select insert update delete
        cleanup: select(ctid at) insert update(at) delete",
    ),
    (
        "session_event_inbox",
        "app: select insert update delete
        cleanup: select insert update(at) delete",
    ),
    (
        "session_cleanup_log",
        "app: select insert delete
        cleanup: select(ended_at) insert delete",
    ),
    ("session_schema", "app: select\n cleanup: select"),
    ("_sqlx_migrations", "app: select\n cleanup: select"),
    ("active_sessions", "app: select\n viewer: select\n operator: select"),
    ("session_events", "app: select\n viewer: select\n operator: select"),
    ("sessions_by_hour", "app: select\n viewer: select\n operator: select"),
    ("session_counts", "app: select\n viewer: select\n operator: select\n cleanup: select"),
    ("cleanup_runs", "app: select\n viewer: select\n operator: select\n cleanup: select"),
];

/// A call of each function, and who may make it.
const FUNCTIONS: [(&str, &str, &[&str]); 9] = [
    ("revoke", "select sessile.revoke(gen_random_uuid(), 'x')", &["operator"]),
    ("revoke_user", "select sessile.revoke_user('ada', 'x')", &["operator"]),
    ("revoke_others", "select sessile.revoke_others('ada', gen_random_uuid(), 'x')", &["operator"]),
    ("revoke_all", "select sessile.revoke_all('x')", &["operator"]),
    ("revoke_scope", "select sessile.revoke_scope(null, null, 'x', '')", &[]),
    ("cut_off", "select sessile.cut_off('', '')", &[]),
    ("check_revocation", "select sessile.check_revocation('x', '')", &[]),
    ("check_user_id", "select sessile.check_user_id('ada')", &[]),
    (
        "refuse_change_of_event",
        "create temporary table mine (id int);
        create trigger t before update on mine execute function sessile.refuse_change_of_event()",
        &[],
    ),
];

/// What no role may do: change the schema, its rights or its roles.
const CHANGES: [&str; 14] = [
    "create table sessile.mine (id int)",
    "create view sessile.mine as select 1 as one",
    "create function sessile.mine() returns int language sql as 'select 1'",
    "alter table sessile.sessions add column mine int",
    "alter table sessile.sessions alter column data drop not null",
    "drop table sessile.sessions",
    "create index on sessile.sessions (user_agent)",
    "create trigger mine before update on sessile.sessions for each row execute function suppress_redundant_updates_trigger()",
    "alter table sessile.session_event_log disable trigger append_only",
    "create or replace view sessile.active_sessions as select * from sessile.sessions",
    "alter view sessile.active_sessions reset (security_barrier)",
    "alter function sessile.revoke_all(text, text) reset search_path",
    "drop schema sessile cascade",
    "create role sessile_mine",
];

/// A role that has the right only on some columns has these; `*` stands for all.
type Rights = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

fn expected(text: &'static str) -> Rights {
    let mut rights = Rights::new();
    for line in text.lines().map(str::trim) {
        let (who, mut rest) = line.split_once(": ").unwrap();
        assert!(EVERYBODY.contains(&who), "{who}");
        while !rest.is_empty() {
            let end = rest.find([' ', '(']).unwrap_or(rest.len());
            let (right, after) = rest.split_at(end);
            let columns = match after.strip_prefix('(').and_then(|columns| columns.split_once(')'))
            {
                Some((columns, after)) => {
                    rest = after.trim_start();
                    columns.split(' ').map(str::to_owned).collect()
                }
                None => {
                    rest = after.trim_start();
                    BTreeSet::from(["*".to_owned()])
                }
            };
            rights.insert((who, right), columns);
        }
    }
    rights
}

#[test]
fn the_matrix_is_read_as_it_looks() {
    let rights = expected("app: select insert\n cleanup: select(ctid at) delete");
    let of =
        |who, right| rights.get(&(who, right)).map(|columns| columns.iter().cloned().collect());
    assert_eq!(of("app", "insert"), Some(vec!["*".to_owned()]));
    assert_eq!(of("cleanup", "select"), Some(vec!["at".to_owned(), "ctid".to_owned()]));
    assert_eq!(of("cleanup", "delete"), Some(vec!["*".to_owned()]));
    assert_eq!(rights.len(), 4);
}

/// The names of what the schema has, so that a later migration cannot add something that the matrix does not know.
async fn of_schema(roles: &Roles, what: &str) -> BTreeSet<String> {
    roles.db.texts(what, "").await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_do_what_the_matrix_says_with_each_relation() {
    let roles = installed().await;
    let relations = "select relname::text from pg_class where relnamespace = 'sessile'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f', 'S')";
    let known = RELATIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(of_schema(&roles, relations).await, known, "each relation has a row in the matrix");
    let views =
        of_schema(&roles, "select viewname::text from pg_views where schemaname = 'sessile'").await;
    for who in EVERYBODY {
        let mut connection = connected(&roles, who).await;
        for (relation, text) in RELATIONS {
            let rights = expected(text);
            let columns = format!(
                "select attname::text from pg_attribute where attrelid = 'sessile.{relation}'::regclass
                    and not attisdropped and (attnum > 0 or (attname = 'ctid' and '{relation}' <> all (select viewname from pg_views)))"
            );
            let mut asked = Vec::new();
            for column in roles.db.texts(&columns, "").await {
                asked.push((
                    "select",
                    column.clone(),
                    format!("select {column} from sessile.{relation}"),
                ));
                if column != "ctid" {
                    let update = format!("update sessile.{relation} set {column} = default");
                    asked.push(("update", column, update));
                }
            }
            let whole = |statement: &str| format!("{statement} sessile.{relation}");
            let insert = format!("insert into sessile.{relation} default values");
            asked.push(("insert", "*".to_owned(), insert));
            asked.push(("delete", "*".to_owned(), whole("delete from")));
            asked.push(("truncate", "*".to_owned(), whole("truncate")));
            for (right, column, statement) in asked {
                let may = rights
                    .get(&(who, right))
                    .is_some_and(|columns| columns.contains("*") || columns.contains(&column));
                let code = code_of(&mut connection, &statement).await;
                let code = code.as_deref();
                // 55000, 42809: nobody can write into this view, whatever rights they have.
                let is_denied = code == Some(DENIED)
                    || (views.contains(relation)
                        && right != "select"
                        && matches!(code, Some("55000" | "42809" | "0A000")));
                assert_eq!(!is_denied, may, "{who}: {statement}: {code:?}");
                // Whoever may write can still break a constraint, and nobody changes an event.
                let breaks =
                    |code: &str| code.starts_with("23") || code == "55000" || code == "428C9";
                assert!(is_denied || code.is_none_or(breaks), "{who}: {statement}: {code:?}");
            }
        }
    }
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_call_what_the_matrix_says() {
    let roles = installed().await;
    let functions =
        "select proname::text from pg_proc where pronamespace = 'sessile'::regnamespace";
    let known = FUNCTIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(of_schema(&roles, functions).await, known, "each function has a row in the matrix");
    roles.run([format!("grant temporary on database {} to public", roles.database())]).await;
    for who in EVERYBODY {
        let mut connection = connected(&roles, who).await;
        for (name, call, may) in FUNCTIONS {
            let code = code_of(&mut connection, call).await;
            let expected = if may.contains(&who) { None } else { Some(DENIED) };
            assert_eq!(code.as_deref(), expected, "{who}: {name}");
            // A function that runs with its caller's rights can also fail inside.
            let right = format!(
                "select count(*) from pg_proc where pronamespace = 'sessile'::regnamespace and proname = '{name}'
                    and has_function_privilege('{}', oid, 'execute')",
                roles.name(who)
            );
            assert_eq!(
                roles.db.number(&right, "").await,
                i64::from(may.contains(&who)),
                "{who}: {name}"
            );
        }
    }
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_changes_the_schema_or_its_rights() {
    let roles = installed().await;
    for who in EVERYBODY {
        let mut connection = connected(&roles, who).await;
        for change in CHANGES {
            let code = code_of(&mut connection, change).await;
            assert_eq!(code.as_deref(), Some(DENIED), "{who}: {change}");
        }
        // A grant by somebody without the right to grant is an error, or only a warning.
        for grant in ["select on sessile.active_sessions", "select on sessile.sessions"] {
            let mut other = connected(&roles, who).await;
            code_of(&mut other, &format!("grant {grant} to public; commit")).await;
        }
        for what in ["sessions", "active_sessions"] {
            let open = format!(
                "select count(*) from pg_class, aclexplode(relacl) as acl where oid = 'sessile.{what}'::regclass and acl.grantee = 0"
            );
            assert_eq!(roles.db.number(&open, "").await, 0, "{who} opened {what}");
        }
    }
    roles.drop().await;
}

//! A thief who has read the whole database sends each stored value as a cookie.

use std::collections::BTreeSet;

use axum::routing::get;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sessile::{Error, Session};

use super::{bytes, token};
use crate::{
    site::{Site, cookies, routes},
    support::{Db, cases},
};

cases! { no_stored_column_is_a_cookie }

async fn no_stored_column_is_a_cookie(db: Db) {
    let begin = async |session: Session| {
        session.begin_log_in().user("carol").await?;
        Ok::<_, Error>("begun")
    };
    let renew = async |session: Session| session.renew().await;
    let site =
        Site::serve(&db, routes().route("/begin", get(begin)).route("/renew", get(renew))).await;
    // A session in each state, so that no column of a secret is empty.
    let mut guest = site.guest().await;
    let mut renewed = site.user("ada").await;
    renewed.get("/renew").await;
    let (mut one, mut other) = (guest.clone(), guest.clone());
    one.get("/log-in/bob").await;
    other.get("/log-in/bob").await;
    guest = site.guest().await;
    let mut pending = site.guest().await;
    pending.get("/begin").await;
    site.sessions
        .revoke(site.sessions.of_user("ada").await.unwrap()[0].id)
        .reason("a test")
        .await
        .unwrap();
    renewed = site.user("ada").await;
    renewed.get("/renew").await;
    let live = [&guest, &renewed, &one, &other, &pending];
    let ids: BTreeSet<Vec<u8>> = live.map(|visitor| bytes(visitor.token())[..16].to_vec()).into();

    let stored = stored(&db).await;
    let columns: BTreeSet<_> = stored.iter().map(|(column, _)| column.as_str()).collect();
    for column in [
        "sessions.secret_hash",
        "sessions.replaced_hash",
        "sessions.twin_hashes",
        "sessions.data",
        "sessions.pending_user_id",
        "session_event_inbox.reason",
    ] {
        assert!(columns.contains(column), "{column} of {columns:?}");
    }
    let mut sent = 0;
    for (column, value) in &stored {
        let mut values: BTreeSet<Vec<u8>> = [
            value.clone(),
            URL_SAFE_NO_PAD.encode(value).into(),
            STANDARD.encode(value).into(),
            value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            token(&value[..value.len().min(48)], &vec![0; 48usize.saturating_sub(value.len())])
                .into(),
        ]
        .into();
        // As the secret of each session, also a part of a longer value.
        for secret in value.as_chunks::<32>().0 {
            values.extend(ids.iter().map(|id| token(id, secret).into()));
        }
        // A header cannot have the others.
        values.retain(|value| !value.iter().any(u8::is_ascii_control));
        for value in values {
            let line = [b"Cookie: __Host-id=", &value[..]].concat();
            let response = site.get("/", &[line]).await;
            assert_eq!((&*response.body, response.sets_no_cookie()), ("nobody", true), "{column}");
            sent += 1;
        }
    }
    assert!(sent > 300, "{sent}");
    // The search began with cookies that are good.
    for (visitor, who) in live.into_iter().zip(["a guest", "ada", "bob", "bob", "a guest"]) {
        assert_eq!(site.get("/", &[cookies(&[visitor.token()])]).await.body, who);
    }
}

/// Each value of each column of each table, with the column's name.
async fn stored(db: &Db) -> Vec<(String, Vec<u8>)> {
    let columns = db
        .texts(
            "select table_name || '.' || column_name from information_schema.columns
             where table_schema = 'sessile' and is_generated = 'NEVER'",
            "select m.name || '.' || c.name from sqlite_schema m, pragma_table_info(m.name) c where m.type = 'table'",
        )
        .await;
    let mut stored = Vec::new();
    for column in columns {
        let (table, name) = column.split_once('.').unwrap();
        let values = db
            .texts(
                &format!("select distinct to_jsonb({name}) #>> '{{}}' from sessile.{table} where {name} is not null"),
                &format!(
                    "select distinct case typeof({name}) when 'blob' then '\\x' || hex({name}) else cast({name} as text) end
                     from {table} where {name} is not null"
                ),
            )
            .await;
        stored.extend(values.into_iter().map(|value| (column.clone(), read(&value))));
    }
    stored
}

/// The bytes of a value: of hex after `\x`, of a UUID, or of a text.
fn read(text: &str) -> Vec<u8> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        return hex.as_bytes().as_chunks::<2>().0.iter().map(|pair| byte(pair).unwrap()).collect();
    }
    match text.parse::<uuid::Uuid>() {
        Ok(id) => id.as_bytes().to_vec(),
        Err(_) => text.as_bytes().to_vec(),
    }
}

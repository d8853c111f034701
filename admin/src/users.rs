use serde::{Deserialize, Serialize};

use crate::{Database, Result};

/// A user with live sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The application's id of the user.
    pub user_id: String,
    /// The number of live sessions, at most [`User::MOST_COUNTED`].
    pub sessions: u32,
}

impl User {
    /// Sessions of a user are counted up to here.
    pub const MOST_COUNTED: u32 = 1_000;

    /// How many users a search looks at.
    const MOST_LOOKED_AT: i64 = 2_000;
}

impl Database {
    /// Up to `limit` users with live sessions whose id begins with this text, for a search as somebody types. Upper and
    /// lower case count. A user whose id is the text comes first.
    ///
    /// It goes from user to user through the index, and looks at 2,000 users at most, so that it is fast with millions
    /// of sessions. Where the database sorts texts by the rules of a language, and thousands of ids differ from the
    /// text only in case or punctuation, it may miss some. A user of Postgres who may read only the view has no use of the
    /// index's order: for them, **it reads all live sessions.**
    pub async fn users(&self, begins_with: &str, limit: u32) -> Result<Vec<User>> {
        if begins_with.is_empty() || begins_with.contains('\0') {
            return Ok(Vec::new());
        }
        if !self.reads_rows().await? {
            return self.users_of_view(begins_with, limit).await;
        }
        let live = self.live_rows().await?;
        let mut ask = self.statement();
        ask.sql("with recursive found(user_id, seen) as (select * from (select user_id, 1 from ")
            .sql(&live);
        ask.sql(" as live where user_id >= ")
            .text(begins_with)
            .sql(" order by user_id limit 1) as first union all");
        ask.sql(" select (select live.user_id from ").sql(&live);
        ask.sql(" as live where live.user_id > found.user_id order by live.user_id limit 1), found.seen + 1 from found");
        ask.sql(" where found.user_id is not null and found.seen < ").integer(User::MOST_LOOKED_AT);
        // SQLite sorts by bytes, so the first other text is the end.
        ask.per("", " and substr(found.user_id, 1, length(?1)) = ?1")
            .sql("), matching as (select user_id from found where ");
        ask.per("starts_with(user_id, $1)", "substr(user_id, 1, length(?1)) = ?1");
        ask.sql(" limit ").integer(limit.into()).sql(") select ");
        ask.per("json_build_object(", "json_object(")
            .sql("'user_id', user_id, 'sessions', (select count(*) from (select 1 as one from ");
        ask.sql(&live).sql(" as live where live.user_id = matching.user_id limit ");
        ask.integer(User::MOST_COUNTED.into()).sql(") as counted)) from matching");
        self.rows(&ask).await
    }

    /// In one pass, because each step through the view would read the rest of the table.
    async fn users_of_view(&self, begins_with: &str, limit: u32) -> Result<Vec<User>> {
        let mut ask = self.statement();
        ask.sql("select json_build_object('user_id', user_id, 'sessions', least(count(*), ")
            .integer(User::MOST_COUNTED.into())
            .sql(")) from sessile.active_sessions where starts_with(user_id, ")
            .text(begins_with)
            .sql(") group by user_id order by user_id limit ")
            .integer(limit.into());
        self.rows(&ask).await
    }
}

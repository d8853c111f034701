//! One file for each page.

pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod overview;
mod parts;
pub(crate) mod search;
pub(crate) mod session;
pub(crate) mod user;

use sessile_admin::Kind;

use crate::{door::Visitor, problem::Problem};

pub(crate) async fn not_found() -> Problem {
    Problem::not_found("There is no such page.")
}

/// Checks a user's id as the library does, so that the page says what is wrong.
fn checked(user_id: String) -> Result<String, Problem> {
    if user_id.is_empty() || user_id.len() > 255 || user_id.contains('\0') {
        return Err(Problem::invalid("The id of a user has 1 to 255 bytes, and no U+0000."));
    }
    Ok(user_id)
}

/// A page with a condition that no index has reads so many rows: well below 200 ms.
fn scan(visitor: &Visitor) -> u32 {
    match visitor.shared.database.kind() {
        Kind::Postgres => 50_000,
        Kind::Sqlite => 20_000,
    }
}

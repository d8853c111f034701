//! How the file's texts are encoded.

use sqlx::{Sqlite, query_scalar};

use crate::{
    error::{Error, ErrorKind, Result},
    store::connections::Lease,
};

/// An error if the file is in UTF-16. The statements read texts as the bytes that the file has, and take them for
/// UTF-8. An application decides with its first table, and no file changes its encoding later.
pub(super) async fn check(mut connection: Lease<Sqlite>) -> Result<()> {
    let used = connection.begin_use();
    let encoding: String = query_scalar("pragma encoding").fetch_one(used).await?;
    connection.end_use();
    if encoding == "UTF-8" {
        return Ok(());
    }
    let message = format!(
        "the SQLite file has the encoding {encoding}, and sessile needs UTF-8: give sessile a file of its own, such as sessile::connect(\"sqlite://sessions.db\"). Nothing was changed"
    );
    Err(Error::new(ErrorKind::Schema, message))
}

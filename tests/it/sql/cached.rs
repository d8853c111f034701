//! A node with a cache hears of a revocation by SQL, as of one by the library.

use sessile::seconds;

use super::{Path, both_paths, news::shapes};
use crate::{
    cache::{NEVER, eventually, node, warm},
    support::Db,
    tx::Tx,
};

both_paths! { a_copy_ends_with_its_session }

/// No bound ends the copies, so the node has heard of it.
async fn a_copy_ends_with_its_session(db: Db, path: Path) {
    let (here, _) = node(&db, NEVER).await;
    for shape in 0..4 {
        let (browser, id) = warm(&here, "ada").await;
        let mut open = Tx::begin(&db).await;
        path.revoke_in(&mut open, "", shapes(id)[shape]).await;
        assert!(browser.is_in(&here).await, "it is not committed");
        open.commit().await;
        eventually(async || !browser.is_in(&here).await).await;
        db.pass_for_cutoffs(seconds(60)).await;
    }
}

//! Waiting sockets and other nodes learn of a revocation by SQL, as of one by the library.

use std::time::Duration;

use sessile::{SessionId, seconds};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Path, What, both_paths};
use crate::{
    notifications::Heard,
    support::{Browser, Db},
    tx::Tx,
};

both_paths! { a_socket_ends_with_its_session }

const PATIENCE: Duration = seconds(20);

/// The ways in which a session of ada's may end.
pub(super) fn shapes(id: SessionId) -> [What<'static>; 4] {
    let another = Uuid::now_v7().into();
    [What::One(id), What::User("ada"), What::Others("ada", another), What::All]
}

async fn a_socket_ends_with_its_session(db: Db, path: Path) {
    let sessions = db.sessions().await;
    for shape in 0..4 {
        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        let ended = tokio::spawn(browser.open(&sessions).await.ended());
        path.revoke(&db, "", shapes(id)[shape]).await;
        timeout(PATIENCE, ended).await.expect("the socket ends").unwrap();
        db.pass_for_cutoffs(seconds(60)).await;
    }
}

/// The notifications of both paths are equal, and none is sent before the commit.
#[tokio::test]
async fn a_function_notifies_as_the_library_does() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let mut heard = Heard::begin(&db).await;
    for shape in 0..4 {
        for path in [Path::Library, Path::Sql] {
            let (_, id) = Browser::logged_in(&sessions, "ada").await;
            let told = match shape {
                0 => format!("session {id}"),
                1 | 2 => "user ada".to_owned(),
                _ => "all".to_owned(),
            };
            let mut open = Tx::begin(&db).await;
            path.revoke_in(&mut open, "", shapes(id)[shape]).await;
            assert_eq!(heard.since().await, [""; 0]);
            open.commit().await;
            assert_eq!(heard.since().await, [told], "{path:?}");
            // There is no such session any more.
            path.revoke(&db, "", What::One(id)).await;
            assert_eq!(heard.since().await, [""; 0], "{path:?}");
            db.pass_for_cutoffs(seconds(60)).await;
        }
    }
    db.drop().await;
}

use anyhow::Result;
use harness::values;
use tower_sessions::SessionStore;
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike, Config, Pool},
};

use super::tower::{self, Tower, record};
use crate::redis::Redis;

/// On six connections, as in its documentation.
pub(super) async fn peer(redis: &Redis, sessions: usize) -> Result<Tower<RedisStore<Pool>>> {
    let pool = Pool::new(Config::from_url(&redis.url)?, None, None, None, 6)?;
    pool.init().await?;
    let (store, ids) = (RedisStore::new(pool), tower::new_ids(sessions));

    let tasks: Vec<_> = ids
        .chunks(ids.len().div_ceil(256).max(1))
        .map(|ids| {
            let (store, ids) = (store.clone(), ids.to_vec());
            tokio::spawn(async move {
                for id in ids {
                    store.create(&mut record(id, values())).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(Tower::new(store, ids))
}

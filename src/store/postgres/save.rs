//! The statements that write many sessions at once: their values, and when they were last seen.

use sqlx::{Postgres, query};
use uuid::Uuid;

use super::{
    PostgresStore, locked,
    moment::Moment,
    row::{self, JsonText},
};
use crate::{
    client,
    error::{ErrorKind, Result},
    store::{Changed, Save, Touch, connections::Statements},
};

pub(super) async fn save(store: &PostgresStore, saves: &[Save]) -> Result<Changed> {
    locked::passing_by(store, saves, |save| save.holder.id.as_uuid(), write).await
}

async fn write(
    tx: &mut Statements<'_, Postgres>,
    saves: &[&Save],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = saves.iter().map(|s| s.holder.id.as_uuid()).collect();
    let hashes: Vec<Vec<u8>> =
        saves.iter().map(|s| s.holder.secret_hash.as_bytes().to_vec()).collect();
    let revisions: Vec<i64> = saves.iter().map(|s| s.revision).collect();
    let data: Vec<JsonText<&str>> = saves.iter().map(|s| JsonText(&*s.data)).collect();
    let seen: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.last_seen_at)).collect();
    let valid: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.valid_until)).collect();
    let expires: Vec<Moment> = saves.iter().map(|s| Moment(s.lifetime.expires_at)).collect();
    let ips: Vec<Option<String>> = saves.iter().map(|s| s.ip.map(client::address)).collect();
    tx.all(
        query!(
            r#"
            with patience as materialized (
                select set_config('lock_timeout', '50ms', true) as of_a_row
            )
            update sessile.sessions as s
            set data = new.data, revision = (new.revision & 4611686018427387903) + 1,
                last_seen_at = greatest(s.last_seen_at, new.seen),
                valid_until = greatest(s.valid_until, least(new.valid, s.absolute_expires_at)),
                expires_at = greatest(s.expires_at, new.expires),
                ip = coalesce(new.ip::inet, s.ip)
            from unnest((select $1::uuid[]), $2::bytea[], $3::bigint[], $4::json[], $5::timestamptz[], $6::timestamptz[],
                    $7::timestamptz[], $8::text[])
                as new (id, secret_hash, revision, data, seen, valid, expires, ip)
            where s.id = new.id and s.revision = new.revision and now() < s.valid_until
                and (s.secret_hash = new.secret_hash or position(new.secret_hash in s.twin_hashes) > 0)
                and (select of_a_row from patience) is not null
            returning s.id
            "#,
            &ids,
            &hashes,
            &revisions,
            &data as &[JsonText<&str>],
            &seen as &[Moment],
            &valid as &[Moment],
            &expires as &[Moment],
            &ips as &[Option<String>],
        )
        .map(|row| row.id),
    )
    .await
}

pub(super) async fn touch(store: &PostgresStore, touches: &[Touch]) -> Result<()> {
    let mut parts = Vec::from_iter(std::iter::once(touches));
    while let Some(part) = parts.pop() {
        match locked::passing_by(store, part, |touch| touch.holder.id.as_uuid(), move_on).await {
            // No statement skips a locked row there. The other sessions must not lose their touch for it.
            Err(error)
                if error.kind() == ErrorKind::Contention && store.is_distributed().await? =>
            {
                if part.len() > 1 {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
            result => drop(result?),
        }
    }
    Ok(())
}

/// Returns no ids, because no caller asks which rows moved.
async fn move_on(
    tx: &mut Statements<'_, Postgres>,
    touches: &[&Touch],
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = touches.iter().map(|t| t.holder.id.as_uuid()).collect();
    let hashes: Vec<Vec<u8>> =
        touches.iter().map(|t| t.holder.secret_hash.as_bytes().to_vec()).collect();
    let seen: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.last_seen_at)).collect();
    let valid: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.valid_until)).collect();
    let expires: Vec<Moment> = touches.iter().map(|t| Moment(t.lifetime.expires_at)).collect();
    let idle: Vec<i32> = touches.iter().map(|t| row::seconds(t.lifetime.idle_timeout)).collect();
    let absolute: Vec<Moment> =
        touches.iter().map(|t| Moment(t.lifetime.absolute_expires_at)).collect();
    let ips: Vec<Option<String>> = touches.iter().map(|t| t.ip.map(client::address)).collect();
    let keys: Vec<Option<String>> =
        touches.iter().map(|t| t.holder.secret_hash.key().map(str::to_owned)).collect();
    let settles: Vec<bool> = touches.iter().map(|t| t.settles).collect();
    tx.execute(query!(
        r#"
        with patience as materialized (
            select set_config('lock_timeout', '50ms', true) as of_a_row
        )
        update sessile.sessions as s
        set last_seen_at = greatest(s.last_seen_at, new.seen), valid_until = greatest(s.valid_until, new.valid),
            expires_at = greatest(s.expires_at, new.expires),
            ip = coalesce(new.ip::inet, s.ip),
            secret_hash = case when new.settles then new.secret_hash else s.secret_hash end,
            hash_key = case when new.settles then new.hash_key else s.hash_key end,
            twin_hashes = case when new.settles then null else s.twin_hashes end
        from unnest((select $1::uuid[]), $2::bytea[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::int[],
                $7::timestamptz[], $8::text[], $9::boolean[], $10::text[])
            as new (id, secret_hash, seen, valid, expires, idle, absolute, ip, settles, hash_key)
        where s.id = new.id and (s.last_seen_at < new.seen or new.settles) and s.idle_timeout = new.idle
            and least(s.absolute_expires_at, timestamptz '9999-12-31 23:59:59.999Z') = new.absolute and now() < s.valid_until
            and (s.secret_hash = new.secret_hash or position(new.secret_hash in s.twin_hashes) > 0)
            and (select of_a_row from patience) is not null
        "#,
        &ids,
        &hashes,
        &seen as &[Moment],
        &valid as &[Moment],
        &expires as &[Moment],
        &idle,
        &absolute as &[Moment],
        &ips as &[Option<String>],
        &settles,
        &keys as &[Option<String>],
    ))
    .await?;
    Ok(Vec::new())
}

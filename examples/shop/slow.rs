//! `--slow-param`: lets a request wait between loading its session and saving it, to test races.

use std::time::Duration;

use axum::{
    extract::{Query, Request},
    middleware::Next,
    response::Response,
};
use serde::Deserialize;
use sessile::Session;

use crate::refusal::Result;

#[derive(Deserialize)]
pub(crate) struct Slow {
    #[serde(default)]
    slow_ms: u64,
}

pub(crate) async fn slow_down(
    Query(Slow { slow_ms }): Query<Slow>,
    request: Request,
    next: Next,
) -> Result<Response> {
    if slow_ms > 0 {
        // The handler gets this same session, as it is now.
        let session = Session::of(request.extensions()).await?;
        let wait = Duration::from_millis(slow_ms.min(60_000));
        tracing::info!(
            session_id = session.id().map(tracing::field::display),
            ?wait,
            "slowed down"
        );
        tokio::time::sleep(wait).await;
    }
    Ok(next.run(request).await)
}

//! `--metrics-listen`: the figures of the library, for Prometheus, at an address of their own. The public cannot reach
//! that address, so the shop's own routes need no rule for it.

use std::{error::Error, time::Duration};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, time::interval};

/// From a copy in memory to the longest wait of a log-in. Buckets of several nodes can be added up.
const SECONDS: [f64; 12] =
    [1e-5, 1e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 5.0];
/// How late a sweep is.
const LATE: [f64; 7] = [1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0, 604_800.0];
const COUNTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 4096.0];

/// Begins to count. Comes before the sessions are built, because each figure gets its help text then.
pub(crate) fn count() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("sessile_cleanup_backlog_seconds".to_owned()), &LATE)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_length".to_owned()), &COUNTS)?
        .install_recorder()
}

/// Shows the figures.
pub(crate) async fn serve(figures: PrometheusHandle, address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("Metrics on http://{}/metrics", listener.local_addr()?);

    let kept = figures.clone();
    tokio::spawn(async move {
        let mut often = interval(Duration::from_secs(5));
        loop {
            often.tick().await;
            kept.run_upkeep();
        }
    });
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let page = get(async move || ([(CONTENT_TYPE, text)], figures.render()));
    let app = Router::new().route("/metrics", page);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(())
}

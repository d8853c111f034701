//! `--metrics-listen`: what Prometheus scrapes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    browser::Browser,
    program::Shop,
    support::{Db, cases},
};

cases! { a_scrape_counts_what_was_done, the_public_sees_no_figures }

/// The samples of a page in Prometheus' text format, by name and labels. Every line must be a sample, or the help or
/// the type of the samples after it.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let [kind, name, text] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            assert!(kind == "HELP" || (kind == "TYPE" && name == family), "{line}");
            assert!(kind == "HELP" || matches!(text, "counter" | "histogram"), "{line}");
            family = name.to_owned();
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap();
        let name = key.split('{').next().unwrap();
        let part = name.strip_prefix(&family).unwrap();
        assert!(["", "_bucket", "_sum", "_count"].contains(&part), "{line}");
        assert!(samples.insert(key.to_owned(), value.parse().unwrap()).is_none(), "{line}");
    }
    samples
}

async fn scrape(address: &str) -> BTreeMap<String, f64> {
    let response = reqwest::get(address).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    samples(&response.text().await.unwrap())
}

async fn a_scrape_counts_what_was_done(db: Db) {
    let mut shop = Shop::start(&db, &["--metrics-listen", ":0", "--cleanup-every", "20ms"]).await;
    let line = shop.says().await;
    let address = line.strip_prefix("Metrics on ").unwrap();

    let before = scrape(address).await;
    assert!(!before.keys().any(|key| key.starts_with("sessile_log_ins")), "{before:?}");
    let mut ada = Browser::logged_in(&shop, "ada").await;
    let mut other = Browser::logged_in(&shop, "ada").await;
    ada.post(&shop, "/cart", json!({"item": "tea", "quantity": 1})).await;
    ada.press(&shop, "/logout").await.ended(1);
    other.press(&shop, "/logout-everywhere").await.ended(1);

    let after = scrape(address).await;
    let count = |key: &str| after.get(key).copied().unwrap_or_default();
    assert_eq!(count("sessile_log_ins_total"), 2.0, "{after:?}");
    assert_eq!(count(r#"sessile_sessions_ended_total{reason="log_out"}"#), 1.0);
    assert_eq!(count(r#"sessile_sessions_ended_total{reason="log_out_everywhere"}"#), 1.0);
    assert_eq!(count(r#"sessile_operation_duration_seconds_count{verb="log_in"}"#), 2.0);
    assert_eq!(count(r#"sessile_operation_duration_seconds_bucket{verb="log_in",le="+Inf"}"#), 2.0);
    assert!(count(r#"sessile_operation_duration_seconds_count{verb="save"}"#) >= 1.0);
    assert!(count(r#"sessile_operation_duration_seconds_sum{verb="log_in"}"#) > 0.0);
    assert!(count(r#"sessile_cleanup_duration_seconds_count{outcome="done"}"#) >= 1.0);
    // A name, an id and an address are in no label.
    let cookie = ada.seen.iter().chain(&other.seen).flat_map(|cookie| cookie.split('.'));
    for secret in cookie.chain(["ada", "127.0.0.1"]) {
        assert!(!after.keys().any(|key| key.contains(secret)), "{secret}");
    }
}

async fn the_public_sees_no_figures(db: Db) {
    let shop = Shop::start(&db, &[]).await;
    assert_eq!(Browser::new().get(&shop, "/metrics").await.status, 404);
}

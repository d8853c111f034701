//! The style and the script: plain files, under a name with the hash of their text, so that browsers may keep them.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A file that everybody may read.
pub(crate) struct Asset {
    /// Below the base path.
    pub(crate) path: String,
    kind: &'static str,
    text: &'static str,
}

pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("style.css")));
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("js", "text/javascript; charset=utf-8", include_str!("console.js"))
});
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("icon.svg")));

impl Asset {
    fn new(extension: &str, kind: &'static str, text: &'static str) -> Self {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..9]);
        Self { path: format!("/assets/{hash}.{extension}"), kind, text }
    }
}

pub(crate) async fn get(Path(name): Path<String>) -> Response {
    const FOREVER: &str = "public, max-age=31536000, immutable";
    let all = [&*STYLE, &*SCRIPT, &*ICON];
    match all.iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name)) {
        Some(asset) => {
            ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, FOREVER)], asset.text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    }
}

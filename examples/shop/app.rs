//! The routes.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit},
    http::{Extensions, HeaderMap, StatusCode},
    middleware::from_fn,
    routing::{delete, get, post, put},
};
use sessile::{CrossSiteLayer, SessionCookie, SessionLayer, Sessions};

use crate::{
    account, cart, catalogue, confirm,
    customers::Customers,
    devices, guard, page, password, preferences,
    refusal::{self, Refusal},
    slow,
};

const LARGEST_BODY: usize = 16 * 1024;

pub(crate) fn router(
    sessions: Sessions,
    customers: Customers,
    cookie: SessionCookie,
    slow_param: bool,
) -> Router {
    let layer = SessionLayer::new(sessions)
        .cookie(cookie)
        // Behind a proxy, use the header in which the proxy sends the address.
        .client_ip(|_: &HeaderMap, extensions: &Extensions| {
            let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(address.ip())
        })
        .answer(Refusal::of_layer);

    let mut shop = Router::new()
        .route("/", get(catalogue::show))
        .route("/cart", get(cart::show).post(cart::add))
        .route("/cart/{item}", post(cart::set))
        .route("/order", post(cart::order))
        .route("/login", get(account::log_in_form).post(account::log_in))
        .route("/me", get(account::show))
        .route("/logout", post(account::log_out))
        .route("/logout-others", post(devices::log_out_others))
        .route("/logout-everywhere", post(devices::log_out_everywhere))
        .route("/devices", get(devices::show))
        .route("/devices/{id}", delete(devices::log_out))
        .route("/devices/{id}/log-out", post(devices::log_out))
        .route("/preferences", get(preferences::show))
        .route("/preferences/{key}", put(preferences::set).post(preferences::set))
        .route("/password", get(password::form).post(password::change))
        .route("/confirm", get(confirm::form).post(confirm::confirm))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "There is nothing here."))
        .with_state(customers)
        .layer(from_fn(guard::reload_if_superseded))
        .layer(from_fn(refusal::explain_refusals));
    if slow_param {
        shop = shop.layer(from_fn(slow::slow_down));
    }

    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/style.css", get(page::style))
        .route("/icon.svg", get(page::icon))
        .merge(shop.layer(layer))
        .layer(CrossSiteLayer::new().answer(Refusal::of_layer))
        // Again, for the answers that the layers give by themselves.
        .layer(from_fn(refusal::explain_refusals))
        .layer(from_fn(guard::harden))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

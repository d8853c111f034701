//! A small web shop whose sessions live in SQLite or Postgres: log-in, a cart, preferences, "Your
//! devices".
//!
//! `cargo run --example shop`, then open the address that it prints. Any name logs in with the
//! password `demo`. Every page answers JSON too: `curl -H 'Accept: application/json' …`.

mod account;
mod answer;
mod app;
mod cart;
mod cart_page;
mod catalogue;
mod confirm;
mod customers;
mod device_name;
mod devices;
mod guard;
mod input;
mod metrics;
mod moment;
mod options;
mod page;
mod password;
mod preferences;
mod refusal;
mod slow;

use std::{error::Error, io, net::SocketAddr, process::ExitCode};

use clap::Parser;
use sessile::{Schedule, Sessions, days};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{customers::Customers, options::Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("shop: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let figures = options.metrics_listen.is_some().then(metrics::count).transpose()?;
    let sessions = open(&options).await?;
    sessions.migrate().await?;
    let customers = Customers::open(&options.database_url).await?;

    std::thread::spawn(device_name::prepare);
    let cleanup = sessions.spawn_cleanup(Schedule::every(options.cleanup_every));
    let app = app::router(sessions, customers, options.cookie()?, options.slow_param);
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("Listening on http://{}", listener.local_addr()?);
    if let (Some(figures), Some(address)) = (figures, &options.metrics_listen) {
        metrics::serve(figures, address).await?;
    }

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
        .await?;
    // The last request was answered. A running sweep finishes its batch.
    cleanup.stop().await;
    Ok(())
}

async fn open(options: &Options) -> Result<Sessions, Box<dyn Error>> {
    let backend = sessile::connect(&options.database_url).await?;
    let mut builder = Sessions::builder(backend)
        .idle_timeout(options.idle_timeout)
        .absolute_timeout(options.absolute_timeout)
        .remember_me(days(30), days(30))
        // A cart contains no secret, so it may outlive the browser's window.
        .persistent_anonymous_cookie(true);
    if let Some(timeout) = options.anonymous_idle_timeout {
        builder = builder.anonymous_idle_timeout(timeout);
    }
    if let Some(limit) = options.sessions_per_user {
        builder = builder.sessions_per_user(limit, options.on_limit.into());
    }
    Ok(builder.build()?)
}

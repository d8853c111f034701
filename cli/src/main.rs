//! The command `sessile`: see `sessile --help`.

mod args;
mod commands;
mod database;
mod failure;
mod interrupt;
mod output;
mod text;

use std::process::ExitCode;

use clap::Parser;

use self::{args::Cli, failure::Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(commands::run(cli));
        // A statement that is cut off must not keep the command from ending.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}

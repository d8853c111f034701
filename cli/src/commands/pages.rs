//! Texts that need no database: completions and manual pages, from the same arguments as the help, and the SQL of the roles.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::Cli,
    failure::{Code, Failure, Result},
};

pub(crate) fn completions(shell: Shell) -> Result {
    // It panics if it cannot write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sessile", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

pub(crate) fn roles() -> Result {
    Ok(io::stdout().write_all(sessile::store::postgres::ROLES.as_bytes())?)
}

pub(crate) fn manual(folder: Option<&Path>) -> Result {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return Ok(io::stdout().write_all(&page)?);
    };
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        Failure::new(
            Code::Failed,
            format!("the pages cannot be written into {}: {error}", folder.display()),
        )
        .remedy("create the folder, and give this user the right to write there")
    })
}

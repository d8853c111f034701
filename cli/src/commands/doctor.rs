use std::time::{Duration, SystemTime};

use crate::{
    args::DatabaseArgs,
    failure::{Code, Failure, Result},
    output::{Column, OutputArgs},
};

pub(crate) async fn run(database: &DatabaseArgs, output: OutputArgs) -> Result {
    let database = database.open_any().await?;
    #[expect(clippy::disallowed_methods, reason = "this clock itself is to be checked")]
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let findings = database.doctor(clock).await?;
    let columns = vec![
        Column::<sessile_admin::Finding>::new("", |finding| {
            if finding.ok { "ok" } else { "FAULT" }.to_owned()
        }),
        Column::<sessile_admin::Finding>::new("check", |finding| finding.check.to_owned()),
        Column::<sessile_admin::Finding>::new("found", |finding| finding.finding.clone()),
        Column::<sessile_admin::Finding>::new("remedy", |finding| {
            finding.remedy.clone().unwrap_or_default()
        }),
    ];
    output.print(columns, &findings)?;
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        // The table has said it all.
        _ => Err(Failure::new(Code::Findings, "")),
    }
}

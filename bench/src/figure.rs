//! The results of all measurements except the comparison of stores by operation.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cell::rounded;

/// One number: `case` names the row of its table, `what` the column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) measure: String,
    pub(crate) case: String,
    pub(crate) what: String,
    pub(crate) value: f64,
}

/// The machine and the settings for which the numbers are valid.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) processor: String,
    pub(crate) postgres: String,
    pub(crate) scale: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

/// The figures that are stored beside the cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
}

/// The figures of one row.
pub(crate) fn row<const N: usize>(
    measure: &str,
    case: impl Into<String>,
    columns: [(&str, f64); N],
) -> Vec<Figure> {
    let case = case.into();
    let figure = |(what, value): (&str, f64)| Figure {
        measure: measure.to_owned(),
        case: case.clone(),
        what: what.to_owned(),
        value: rounded(value),
    };
    columns.into_iter().map(figure).collect()
}

/// Beside the cells' file, with the same name.
pub(crate) fn path(cells: &Path) -> PathBuf {
    cells.with_extension("figures.json")
}

impl Figures {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").context(path.display().to_string())
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).context(path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Machine {
    pub(crate) fn this(postgres: String, scale: &str, rounds: usize, seconds: f64) -> Self {
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            postgres,
            scale: scale.to_owned(),
            rounds,
            seconds,
        }
    }
}

//! Every relative link in the documents leads to a file, and to a heading if it names one. The documents that are
//! in the package link only to files in the package.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut documents = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(root.join(&path)).unwrap();
                documents.push((path.to_str().unwrap().to_owned(), text));
            }
        }
    }
    assert!(documents.iter().any(|(path, _)| path == "docs/guide.md"));
    let found = broken(&documents, &manifest, |path| root.join(path).exists());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Each link that leads nowhere, one line each.
fn broken<T: AsRef<str>>(
    documents: &[(T, T)],
    manifest: &str,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let list = manifest.split_once("include = [").unwrap().1.split_once(']').unwrap().0;
    let included: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    let is_packaged = |path: &str| included.iter().any(|pattern| includes(pattern, path));
    let mut found = Vec::new();
    for (document, text) in documents {
        let (document, text) = (document.as_ref(), prose(text.as_ref()));
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { document.to_owned() } else { joined(document, file) };
            if !exists(&path) {
                found.push(format!("{document} links to {link}, which does not exist"));
            } else if is_packaged(document) && !is_packaged(&path) {
                found.push(format!("{document} links to {link}, which is not in the package"));
            }
            let target = documents.iter().find(|(other, _)| other.as_ref() == path);
            if let Some((_, text)) = target
                && !heading.is_empty()
                && !anchors(&prose(text.as_ref())).contains(heading)
            {
                found.push(format!("{document} links to {link}, and there is no such heading"));
            }
        }
    }
    found
}

/// The text without its code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose += line;
            prose += "\n";
        }
    }
    prose.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of `[text](target)`, and of lines that say `[text]: target`.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let below = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    inline.chain(below.map(|(_, target)| target))
}

/// The names that GitHub gives to the headings.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(name).collect()
}

/// The path of a link's target, from the root.
fn joined(document: &str, link: &str) -> String {
    let mut path: Vec<_> = document.split('/').collect();
    path.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.join("/")
}

/// Whether a pattern of `include` has the file: `/docs`, `/LICENSE-*`.
fn includes(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    let below = path.strip_prefix(pattern.trim_end_matches('*'));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || pattern.ends_with('*'))
}

#[test]
fn a_broken_link_is_found() {
    const MANIFEST: &str = "include = [\n\"/README.md\",\n\"/docs\", \"/LICENSE-*\"]";
    const FILES: [&str; 5] =
        ["README.md", "docs/guide.md", "docs/charts/a.svg", "LICENSE-MIT", "scripts/test"];
    let with = |readme| {
        let guide =
            "## 2. A *second* factor\n[up](../README.md) ![](charts/a.svg) [x](#1-x)\n# 1. X";
        let documents = [("README.md", readme), ("docs/guide.md", guide)];
        broken(&documents, MANIFEST, |path| FILES.contains(&path))
    };
    for readme in [
        "[guide](docs/guide.md), [MIT](LICENSE-MIT), [web](https://example.org/none)",
        "[factor](docs/guide.md#2-a-second-factor)",
        "```\n[no](link)\n```\n`[no](link)`",
        "[site]: https://example.org",
    ] {
        assert_eq!(with(readme), [""; 0], "{readme}");
    }
    for (readme, message) in [
        ("a [guide](docs/guid.md).", "docs/guid.md, which does not exist"),
        ("[guide]: guide.md", "guide.md, which does not exist"),
        ("[test](scripts/test)", "scripts/test, which is not in the package"),
        ("[x](docs/guide.md#3-x)", "docs/guide.md#3-x, and there is no such heading"),
    ] {
        assert_eq!(with(readme), [format!("README.md links to {message}")], "{readme}");
    }
}

//! Every arrow between two layers points down the list in ARCHITECTURE.md, and every statement has a shape that
//! Citus takes (`distributed.rs`). Every link in the documents leads somewhere (`links.rs`).
//!
//! An arrow is a path that leads from one module to another, in a `use`, in code or in a macro. The
//! test reads the source. It does not see the call of a method, because that call names no path.
#![allow(clippy::unwrap_used)]

mod distributed;
mod links;
mod source;

use std::{collections::BTreeMap, fs, path::Path};

use source::{Source, Used, ancestors};

#[test]
fn every_arrow_points_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let found = arrows(&files(root, "src"), page.split("```").nth(1).unwrap());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The source files below a folder: their paths and their texts.
fn files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(root, &path));
        } else if path.ends_with(".rs") {
            found.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}

/// Each break of a rule of the list, one line each.
///
/// A line of the list names one or several layers and, after two spaces, describes them. A layer is a module
/// with those modules inside it that are not layers themselves. It may use the layers of the lines below.
fn arrows<T: AsRef<str>>(files: &[(T, T)], list: &str) -> Vec<String> {
    let source = Source::of(files);
    // By the path of the layer's module: the layer's name and its line.
    let mut layers = BTreeMap::new();
    for (line, text) in list.lines().enumerate() {
        let names = text.split("  ").next().unwrap_or_default().split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            layers.insert(format!("crate::{}", name.replace('/', "::")), (name, line));
        }
    }
    let layer = |module: &str| ancestors(module).find_map(|path| layers.get(path));

    // By a file and the layer that it uses: one path is enough for the two.
    let mut found = BTreeMap::new();
    for (path, (name, _)) in &layers {
        if !source.modules.contains_key(path) {
            found.insert(("", *name), format!("the list names {name}, which is no module"));
        }
    }
    // The crate's root is a table of contents and has no layer.
    for (path, module) in source.modules.iter().filter(|(path, _)| *path != "crate") {
        let file = &*module.file;
        let Some((own, own_line)) = layer(path) else {
            found.insert((file, ""), format!("{file} is in no layer of the list"));
            continue;
        };
        for Used { path: used, is_public } in module.uses() {
            let (target, rest) = source.resolve(path, used);
            if rest == "*" {
                found.insert((file, ""), format!("{file} hides in {used} what it uses"));
            }
            // A module is a table of contents too: it re-exports what its own modules define.
            let is_contents = *is_public && ancestors(&target).any(|outer| outer == path);
            let Some((other, line)) = layer(&target) else { continue };
            if other != own && line <= own_line && !is_contents {
                let place = if line < own_line { "above" } else { "beside" };
                let message = format!("{file} uses {used} of {other}, {place} {own}");
                found.insert((file, other), message);
            }
        }
    }
    found.into_values().collect()
}

/// Each case changes or adds one file of a small library that is in order.
#[test]
fn an_arrow_up_is_found() {
    const LIST: &str = "top  the first\nleft, right  two\nstore/batch\nstore\nerror  the last";
    const FILES: [(&str, &str); 8] = [
        ("src/lib.rs", "mod top; pub mod store; pub use crate::{top::Top, store::Batched};"),
        ("src/top.rs", "use crate::{Batched, left, store::{self}}; fn f(_: left::X) {}"),
        ("src/left.rs", "use crate::{error::Error, store::Batched as B};"),
        ("src/right/mod.rs", "mod part; pub use self::part::Part;"),
        ("src/right/part.rs", "fn f(_: super::Part) { super::f(crate::error::f()) }"),
        ("src/store/mod.rs", "mod batch; pub use batch::Batched; fn f(batch: u8) { batch }"),
        ("src/store/batch.rs", "use super::Store; #[cfg(test)] mod tests;"),
        ("src/error.rs", "/** [`crate::Top`] */ #[cfg(test)] mod tests { use crate::Top; }"),
    ];
    let with = |file: &str, text| arrows(&[&FILES[..], &[(file, text)]].concat(), LIST);
    assert_eq!(arrows(&FILES, LIST), [""; 0]);
    for (file, text) in [
        ("src/store/batch/tests.rs", "use crate::top::*;"),
        ("src/error.rs", "impl X { #[cfg(all(test, unix))] fn f() { crate::top::f() } }"),
        ("src/error.rs", "#[cfg(test)] impl X { fn f() { crate::top::f() } }"),
    ] {
        assert_eq!(with(file, text), [""; 0], "{text}");
    }
    for (file, text, message) in [
        ("error", "use crate::{top::X as T};", "uses crate::top::X of top, above error"),
        ("error", "fn f() { use crate::Top; }", "uses crate::Top of top, above error"),
        ("error", "fn f(_: Vec<crate::Top>) {}", "uses crate::Top of top, above error"),
        ("error", "fn f() { g!({x}, crate::Top::X) }", "uses crate::Top::X of top, above error"),
        ("error", "mod x { use super::super::Top; }", "uses super::super::Top of top, above error"),
        ("right/part", "use super::super::left;", "uses super::super::left of left, beside right"),
        ("store/batch", "use crate::Top;", "uses crate::Top of top, above store/batch"),
        ("store/batch", "use super::*;", "hides in super::* what it uses"),
        ("store/x", "use super::Batched;", "uses super::Batched of store/batch, above store"),
        (
            "store/x",
            "use crate::store as s; fn f() { s::Batched::f() }",
            "uses s::Batched::f of store/batch, above store",
        ),
        ("store/mod", "use batch::X;", "uses batch::X of store/batch, above store"),
        (
            "store/mod",
            "pub use batch::Batched; fn f(_: Batched) {}",
            "uses Batched of store/batch, above store",
        ),
        ("new", "", "is in no layer of the list"),
    ] {
        let file = format!("src/{file}.rs");
        assert_eq!(with(&file, text), [format!("{file} {message}")], "{text}");
    }
    let longer = format!("{LIST}\nstore/new");
    assert_eq!(arrows(&FILES, &longer), ["the list names store/new, which is no module"]);
}

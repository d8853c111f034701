//! The soak finds bugs that are planted in the library: each in the way in which it does harm.

use std::process::Command;

/// Runs a soak without faults, and returns its report.
fn soak(bug: &str, further: &[&str]) -> String {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_sessile-soak"));
    soak.args(["run", "--without-faults", "--bug", bug]).args(further);
    let output = soak.output().expect("the program starts");
    let report = String::from_utf8(output.stdout).expect("a report is text");
    assert_eq!(
        output.status.code(),
        Some(1),
        "{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!report.ends_with(", 0 violations\n"), "{report}");
    report
}

/// Runs a soak until it finds this harm. A bug may do others before: a session that is inserted
/// again counts from nothing, for one.
fn finds(bug: &str, harm: &str) {
    let report = soak(bug, &["--minutes", "2", "--until-violated", harm]);
    assert!(report.contains(harm), "{harm} is not in:\n{report}");
}

#[test]
fn a_save_that_inserts_what_is_gone() {
    finds("save-upserts", "after its end was answered");
}

#[test]
fn a_load_that_forgets_the_hash() {
    // A made-up one, or one that was replaced: whichever was tried first.
    finds("load-forgets-the-hash", "a token that ");
}

#[test]
fn a_revocation_without_its_cut_off() {
    finds("revocation-without-cutoff", "after its end was answered");
}

#[test]
fn a_touch_that_revives() {
    finds("touch-revives", "after its end was answered");
}

#[test]
fn a_log_out_that_does_nothing() {
    finds("log-out-forgets", "after its end was answered");
}

#[test]
fn a_save_that_loses_writes() {
    // A count that is too low, or a write that was answered after the end: whichever comes first.
    let report = soak("save-loses-writes", &["--minutes", "2", "--until-violated"]);
    assert!(report.contains("VIOLATED"), "{report}");
}

#[test]
fn log_ins_that_are_not_recorded() {
    let report = soak("events-are-missing", &["--minutes", "0.05"]);
    assert!(report.contains("log-ins and 0 events of them"), "{report}");
}

//! `sqlx::migrate!` embeds the migrations: a new file among them has to cause a new build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

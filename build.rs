//! The macros read the migrations, the offline data of the queries and their configuration. So a new file
//! among them must cause a new build.

fn main() {
    for path in ["migrations", ".sqlx", "sqlx.toml"] {
        println!("cargo:rerun-if-changed={path}");
    }
}

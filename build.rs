//! The macros read the migrations, the offline data of the queries and their configuration: a new file
//! among them has to cause a new build.

fn main() {
    for path in ["migrations", ".sqlx", "sqlx.toml"] {
        println!("cargo:rerun-if-changed={path}");
    }
}

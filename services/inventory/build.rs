//! `sqlx::migrate!` embeds the migrations when the crate is compiled; a new file must recompile it.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/inventory");
}

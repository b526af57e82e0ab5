//! `assets![…]` lists functions marked `#[asset]`.

use flowstone_macros::assets;

fn plain() -> u64 {
    1
}

fn main() {
    let _ = assets![flowstone::asset::Asset::new("flights")];
    let _ = assets![plain];
}

//! An argument's type cannot be loaded.

use flowstone_macros::asset;

struct Plane;

#[asset]
fn fleet(#[from("all planes")] planes: Plane) -> u64 {
    let Plane = planes;
    1
}

fn main() {}

//! Values that cannot be stored and loaded.

use flowstone_macros::asset;

struct Plane;

#[asset]
fn planes() -> Vec<Plane> {
    Vec::new()
}

#[asset]
async fn name() -> &'static str {
    "N12345"
}

#[asset]
async fn fleet() -> flowstone::Result<Plane> {
    Ok(Plane)
}

#[asset]
fn borrowing(planes: Option<Vec<&'static str>>) -> u64 {
    planes.map_or(0, |planes| planes.len() as u64)
}

fn main() {}

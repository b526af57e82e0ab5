//! The function's future cannot move between threads.

use std::rc::Rc;

use flowstone_macros::asset;

#[asset]
async fn flights() -> u64 {
    let count = Rc::new(1);
    std::future::ready(()).await;
    *count
}

fn main() {}

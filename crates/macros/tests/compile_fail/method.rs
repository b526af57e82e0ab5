//! A method is no asset.

use flowstone_macros::asset;

struct Client;

impl Client {
    #[asset]
    async fn flights(&self) -> u64 {
        1
    }
}

fn main() {}

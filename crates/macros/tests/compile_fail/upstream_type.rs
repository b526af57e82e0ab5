//! An argument takes its upstream as another type than the upstream is made as.

use std::sync::Arc;

use flowstone::asset::PartitionStream;
use flowstone_macros::asset;

mod ingest {
    #[flowstone_macros::asset]
    pub(crate) async fn numbers() -> Result<Vec<i64>, std::io::Error> {
        Ok(vec![1, 2, 3])
    }
}

use ingest::numbers;

#[asset]
async fn value(numbers: Vec<i32>) -> i32 {
    numbers.iter().sum()
}

#[asset]
async fn optional(numbers: Option<i64>) -> i64 {
    numbers.unwrap_or_default()
}

#[asset]
async fn stream(numbers: PartitionStream<i64>) -> u64 {
    numbers.total()
}

#[asset]
async fn shared(numbers: Arc<i64>) -> i64 {
    *numbers
}

#[asset]
fn by_path(#[from(ingest::numbers)] rows: Vec<String>) -> usize {
    rows.len()
}

fn main() {}

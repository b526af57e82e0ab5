//! The smallest pipeline: two assets, one made from the other.

use flowstone::prelude::*;

#[asset]
async fn numbers() -> Vec<i64> {
    vec![1, 2, 3]
}

/// An argument named after an asset is that asset's value; its type is checked when this compiles.
#[asset]
async fn total(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]
async fn main() -> Result<()> {
    let pipeline = Pipeline::builder("hello").assets(assets![numbers, total]).build()?;
    let total: i64 = flowstone::run(&pipeline, "total").await?;
    println!("total = {total}");
    Ok(())
}

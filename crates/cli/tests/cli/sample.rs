//! The program that the tests drive: a small pipeline with an asset that fails, and some that wait to be let through.
//!
//! With `SAMPLE_GATE=<socket>` each gated step says there who it is, and waits for a line before it goes on; without it
//! nothing waits. So a test knows what runs and decides for how long, and nobody sleeps.

mod sample_items;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use flowstone_core::asset::{Asset, AssetContext, Config, In, PartitionStream};
use flowstone_core::partition::{Daily, Monthly, Partitions};
use flowstone_core::pipeline::Pipeline;
use flowstone_core::{Error, ErrorKind, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Factor {
    #[serde(default = "one")]
    by: i64,
}

fn one() -> i64 {
    1
}

fn main() -> ExitCode {
    flowstone_cli::main(pipeline)
}

fn pipeline() -> Result<Pipeline> {
    if std::env::var_os("SAMPLE_BROKEN_PIPELINE").is_some() {
        return Pipeline::builder("sample")
            .asset(
                Asset::new("alone")
                    .upstream("nobody")
                    .run(|In(n): In<i64>| async move { n }),
            )
            .build();
    }
    let (start, end) = (
        given("SAMPLE_DAYS_START", "2024-01-01"),
        given("SAMPLE_DAYS_END", "2024-01-06"),
    );
    let days = || {
        Daily::from(start.clone())
            .zone(given("SAMPLE_ZONE", "UTC"))
            .until(end.clone())
    };
    let orders = Asset::new("orders")
        .partitions(Partitions::dynamic("customers"))
        .run(|context: AssetContext| async move { context.partition_label() });
    let is_dynamic = std::env::var_os("SAMPLE_DYNAMIC").is_some();
    let fans_out = std::env::var_os("SAMPLE_SCATTER").is_some();
    Pipeline::builder(given("SAMPLE_NAME", "sample"))
        .assets(is_dynamic.then_some(orders))
        .assets(fans_out.then(|| sample_items::assets(days())).into_iter().flatten())
        .asset(
            Asset::new("numbers")
                .description("Three numbers")
                .group("sums")
                .tag("small")
                .defined_at("sample.rs", 1)
                .run(|| async { vec![1_i64, 2, 3] }),
        )
        .asset(
            Asset::new("total")
                .group("sums")
                .upstream("numbers")
                .defined_at("sample.rs", 2)
                .run(|In(numbers): In<Vec<i64>>| async move { numbers.iter().sum::<i64>() }),
        )
        .asset(
            Asset::new("scaled")
                .upstream("total")
                .defined_at("sample.rs", 3)
                .run(|In(total): In<i64>, factor: Config<Factor>| async move { total * factor.by }),
        )
        .asset(
            Asset::new("days")
                .description("A value for each day")
                .partitions(days())
                .tag("gated")
                .code_version(given("SAMPLE_DAYS_CODE", ""))
                .defined_at("sample.rs", 4)
                .run(|context: AssetContext| async move {
                    pass(name(&context), context.cancelled())
                        .await
                        .map(|()| context.partition_label())
                }),
        )
        .asset(
            Asset::new("bulky")
                .defined_at("sample.rs", 9)
                .run(|| async { vec![7_i64; 5000] }),
        )
        .asset(
            Asset::new("stubborn")
                .tag("gated")
                .defined_at("sample.rs", 8)
                .run(|context: AssetContext| async move { wait_at_gate(name(&context)).await.map(|()| 1_i64) }),
        )
        .asset(
            Asset::new("lengths")
                .partitions(days())
                .upstream("days")
                .defined_at("sample.rs", 5)
                .run(|In(day): In<String>| async move { day.len() as i64 }),
        )
        .asset(
            Asset::new("picky")
                .partitions(days())
                .upstream("lengths")
                .defined_at("sample.rs", 6)
                .run(|context: AssetContext, In(len): In<i64>| async move { picky(&context, len) }),
        )
        .asset(
            Asset::new("month")
                .partitions(Monthly::from("2024-01").until("2024-02"))
                .upstream("picky")
                .defined_at("sample.rs", 7)
                .run(
                    |picky: PartitionStream<i64>| async move { Ok::<i64, Error>(picky.collect().await?.iter().sum()) },
                ),
        )
        .build()
}

fn picky(context: &AssetContext, len: i64) -> Result<i64> {
    if context.partition_label() == "2024-01-03" {
        return Err(Error::permanent("the third day is not to its taste").fix("leave the third day away"));
    }
    Ok(len)
}

/// What a test may have otherwise.
fn given(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

fn name(context: &AssetContext) -> String {
    format!(
        "{} {} {}",
        context.asset(),
        context.partition_label(),
        context.attempt()
    )
}

/// Waits to be let through, or to be cancelled.
async fn pass(name: String, cancelled: impl Future<Output = ()>) -> Result<()> {
    tokio::select! {
        passed = wait_at_gate(name) => passed,
        () = cancelled => Err(Error::new(ErrorKind::Cancelled, "it was asked to end")),
    }
}

/// Waits to be let through, whatever happens.
async fn wait_at_gate(name: String) -> Result<()> {
    let Some(gate) = std::env::var_os("SAMPLE_GATE") else {
        return Ok(());
    };
    let waiting = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(gate)?;
        stream.write_all(format!("{name}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    });
    match waiting.await.map_err(Error::from)??.trim_end() {
        "pass" => Ok(()),
        other => Err(Error::permanent(format!("the gate says {other:?}"))),
    }
}

//! Measures what reading lines of JSON costs: `cargo run --release -p flowstone-readers --example read_cost`.

use std::fmt::Write;
use std::time::Instant;

use flowstone_core::Result;
use flowstone_core::reader::{ItemSource, PAGE_LEN};
use flowstone_readers::Jsonl;

const LINES: usize = 1_000_000;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lines.jsonl");
    let mut text = String::new();
    for id in 0..LINES {
        writeln!(
            text,
            r#"{{"id":{id},"carrier":"UA","origin":"EWR","dep_delay":{}}}"#,
            id % 90
        )?;
    }
    std::fs::write(&path, &text)?;
    let by_line = Jsonl::file(&path);
    let by_key = Jsonl::file(&path).key("id");
    for (title, source) in [("by line", by_line), ("by key", by_key)] {
        let started = Instant::now();
        let count = count(&source).await?;
        let took = started.elapsed();
        println!("{title}: {count} lines, {} MB, {took:.3?}", text.len() / 1_000_000);
    }
    Ok(())
}

async fn count(source: &dyn ItemSource) -> Result<usize> {
    let mut reader = source.open().await?;
    let (mut count, mut cursor) = (0, None);
    loop {
        let page = reader.read(cursor.as_ref(), PAGE_LEN).await?;
        count += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            reader.close().await;
            return Ok(count);
        }
    }
}

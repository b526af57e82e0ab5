//! Every reader keeps the promises of its trait.

use crate::support::{Boxed, Folder};
use crate::{parquet, postgres, sql};
use flowstone_core::reader::{Item, ItemSource};
use flowstone_readers::{Csv, Jsonl, Objects, Parquet, Sql, from_fn, from_stream, items_from};
use flowstone_testkit::reader::ReaderUnderTest;
use futures::{StreamExt, stream};

/// Tests the readers of `source`, which has items with these keys.
fn under_test(source: impl ItemSource, keys: impl IntoIterator<Item = impl Into<String>>) -> ReaderUnderTest {
    let source = std::sync::Arc::new(source);
    let open = move || {
        let source = source.clone();
        Box::pin(async move { Ok(Boxed(source.open().await?)) }) as _
    };
    ReaderUnderTest::new(open, keys)
}

fn numbers(count: u64) -> impl Iterator<Item = String> {
    (1..=count).map(|number| number.to_string())
}

mod items {
    flowstone_testkit::reader_conformance!(super::under_test(
        super::items_from(["a", "b", "c", "d", "e", "f", "g"]).unwrap(),
        super::numbers(7)
    ));
}

mod function {
    use super::*;

    /// Counts down; between 4 and 3 lies an empty page that goes on.
    fn countdown() -> ReaderUnderTest {
        let source = from_fn(|start: Option<(u32, bool)>, items_max| async move {
            let (start, is_after_pause) = start.unwrap_or((8, false));
            let end = start.saturating_sub(items_max as u32);
            if start == 4 && !is_after_pause {
                return Ok((Vec::new(), Some((4, true))));
            }
            let end = if start > 4 { end.max(4) } else { end };
            let items = (end..start).rev().map(|number| Item::new(number.to_string(), &number));
            Ok((items.collect::<Result<_, _>>()?, (end > 0).then_some((end, false))))
        });
        under_test(source, (0..8).rev().map(|number| number.to_string()))
    }

    flowstone_testkit::reader_conformance!(countdown());
}

mod stream_of_items {
    use super::*;

    fn words() -> ReaderUnderTest {
        let words = ["zero", "one", "two", "three", "four", "five"];
        let source = from_stream(move || {
            stream::iter(words).then(|word| async move {
                tokio::task::yield_now().await;
                Item::new(word, word)
            })
        });
        under_test(source, words)
    }

    flowstone_testkit::reader_conformance!(words());
}

/// Seven lines, some of them longer than others, one empty.
const LINES: &str = "{\"id\":\"a\"}\n{\"id\":\"b\"}\r\n\n  {\"id\": \"c\", \"long\": \"0123456789012345678901234567890123456789\"}\n{\"id\":\"d\"}\n{\"id\":\"e\"}\n{\"id\":\"f\"}";

mod jsonl {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with("lines.jsonl", super::LINES);
        let source = super::Jsonl::file(folder.path("lines.jsonl")).key("id");
        super::under_test(source, ["a", "b", "c", "d", "e", "f"]).keeping(folder)
    });
}

mod jsonl_by_line {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with("lines.jsonl", super::LINES);
        let source = super::Jsonl::file(folder.path("lines.jsonl"));
        super::under_test(source, ["1", "2", "4", "5", "6", "7"]).keeping(folder)
    });
}

mod jsonl_packed {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with_packed("lines.jsonl.gz", super::LINES);
        let source = super::Jsonl::file(folder.path("lines.jsonl.gz")).key("/id");
        super::under_test(source, ["a", "b", "c", "d", "e", "f"]).keeping(folder)
    });
}

mod jsonl_in_store {
    flowstone_testkit::reader_conformance!({
        let store = crate::support::store([("x/lines.jsonl", super::LINES)]).await;
        super::under_test(
            super::Jsonl::in_store(store, "x/lines.jsonl").key("id"),
            ["a", "b", "c", "d", "e", "f"],
        )
    });
}

const ROWS: &str = "code,name\nEWR,\"Newark\nLiberty\"\nJFK,\"John \"\"F\"\" Kennedy\"\r\n\nLGA,La Guardia\nBOS,Logan International Airport of Boston\nSFO,\nATL,Hartsfield";

mod csv {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with("airports.csv", super::ROWS);
        super::under_test(super::Csv::file(folder.path("airports.csv")), super::numbers(6)).keeping(folder)
    });
}

mod csv_by_key {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with("airports.csv", super::ROWS);
        let source = super::Csv::file(folder.path("airports.csv")).key("code");
        super::under_test(source, ["EWR", "JFK", "LGA", "BOS", "SFO", "ATL"]).keeping(folder)
    });
}

mod csv_packed_in_store {
    flowstone_testkit::reader_conformance!({
        let packed = crate::support::packed(super::ROWS);
        let store = crate::support::store([("airports.csv.gz", packed)]).await;
        super::under_test(super::Csv::in_store(store, "airports.csv.gz"), super::numbers(6))
    });
}

/// Paths in their order, which is not that of their folders.
const PATHS: [&str; 7] = ["a.csv", "a/1", "a/2/x", "a/2.csv", "a0", "b/c/d", "b/c/e"];

mod objects {
    flowstone_testkit::reader_conformance!({
        let mut paths = super::PATHS;
        paths.sort_unstable();
        let store = crate::support::store(paths.map(|path| (path, "x"))).await;
        super::under_test(super::Objects::under(store, ""), paths)
    });
}

mod objects_by_folder {
    flowstone_testkit::reader_conformance!({
        let mut paths = super::PATHS;
        paths.sort_unstable();
        let store = crate::support::store(paths.map(|path| (path, "x"))).await;
        super::under_test(super::Objects::under(store, "").by_folder(), paths)
    });
}

mod objects_on_disk {
    flowstone_testkit::reader_conformance!({
        let mut paths = super::PATHS;
        paths.sort_unstable();
        let (folder, store) = crate::support::disk(&paths).await;
        super::under_test(super::Objects::under(store, ""), paths).keeping(folder)
    });
}

mod parquet_by_row {
    flowstone_testkit::reader_conformance!({
        let folder = super::Folder::with("flights.parquet", super::parquet::flights(3));
        super::under_test(super::Parquet::file(folder.path("flights.parquet")), super::numbers(7)).keeping(folder)
    });
}

mod parquet_by_key_in_store {
    flowstone_testkit::reader_conformance!({
        let store = crate::support::store([("x/flights.parquet", super::parquet::flights(2))]).await;
        let source = super::Parquet::in_store(store, "x/flights.parquet")
            .columns(["delay"])
            .key("id");
        super::under_test(source, ["F1", "F2", "F3", "F4", "F5", "F6", "F7"])
    });
}

mod sqlite {
    flowstone_testkit::reader_conformance!({
        let (folder, path) = super::sql::sqlite(super::sql::PLANES).await;
        super::under_test(super::Sql::sqlite(path).table("planes").key("seats"), super::sql::SEATS).keeping(folder)
    });
}

mod sqlite_by_two_columns {
    flowstone_testkit::reader_conformance!({
        let (folder, path) = super::sql::sqlite(super::sql::PLANES).await;
        let source = super::Sql::sqlite(path)
            .query("SELECT maker, tailnum, seats FROM planes WHERE seats > ?1 -- all of them")
            .bind(0)
            .key("maker")
            .key("tailnum");
        super::under_test(source, super::sql::MAKERS).keeping(folder)
    });
}

mod postgres_by_number {
    flowstone_testkit::reader_conformance!({
        let Some((server, url)) = super::postgres::database(super::postgres::PLANES).await else {
            return;
        };
        super::under_test(
            super::Sql::postgres(url).table("planes").key("seats"),
            super::sql::SEATS,
        )
        .keeping(server)
    });
}

mod postgres_by_two_columns {
    flowstone_testkit::reader_conformance!({
        let Some((server, url)) = super::postgres::database(super::postgres::PLANES).await else {
            return;
        };
        let source = super::Sql::postgres(url)
            .query("SELECT maker, tailnum, seats FROM planes WHERE seats > $1 -- all of them")
            .bind(0)
            .key("maker")
            .key("tailnum");
        super::under_test(source, super::sql::MAKERS).keeping(server)
    });
}

//! Files of items, as the item readers read them, and cursors that come back to them.

use std::path::Path;

use flowstone_core::Result;
use flowstone_core::reader::{Cursor, Item, ItemSource};
use flowstone_readers::{Csv, Jsonl, Parquet};

use super::{Target, texts};

/// Pages that are read by a reader of their own each; more of a file shows nothing new.
const PAGES_MAX: usize = 6;

pub(super) const JSON_LINES: Target = Target {
    name: "item_json_lines",
    corpus: || {
        texts(&[
            "{\"id\": 1}\n{\"id\": \"b\"}\r\n\n  {\"id\": true}",
            "\u{feff}[1, 2]\n\"x\"\nnull\n",
            "{\"id\": {\"id\": 1}}\n",
        ])
    },
    run: |input| {
        with_file(input, "jsonl", |path| {
            agree(&Jsonl::file(path)) | agree(&Jsonl::file(path).key("id"))
        })
    },
};

pub(super) const ROWS: Target = Target {
    name: "item_rows",
    corpus: || {
        texts(&[
            "a,b\n1,2\n\"x\ny\",\"\"\"\"\n",
            "\u{feff}a,b\r\n1,2\r\n\r\n3,4",
            "a\n\"1\n",
            "a,b\n1\n",
            "a\r\u{feff}b\r\u{feff}c\r\n1",
        ])
    },
    run: |input| {
        with_file(input, "csv", |path| {
            agree(&Csv::file(path).typed()) | agree(&Csv::file(path).unquoted().key("a"))
        })
    },
};

pub(super) const PARQUET_ROWS: Target = Target {
    name: "item_parquet",
    corpus: super::parquet_rows::PARQUET.corpus,
    run: |input| {
        with_file(input, "parquet", |path| {
            block_on(pages(&Parquet::file(path), PAGES_MAX)).is_ok()
        })
    },
};

pub(super) const CURSORS: Target = Target {
    name: "item_cursor",
    corpus: || {
        with_file(b"1\n2\n3\n", "jsonl", |path| {
            block_on(async {
                let page = Jsonl::file(path).open().await?.read(None, 1).await?;
                Result::<_>::Ok(vec![page.next.expect("there are more").position])
            })
            .expect("it is read")
        })
    },
    run: |input| {
        let cursor = Cursor {
            version: 1,
            position: input.to_vec(),
        };
        with_file(b"1\n2\n3\n", "jsonl", |path| {
            block_on(async { Jsonl::file(path).open().await?.read(Some(&cursor), 1).await }).is_ok()
        })
    },
};

fn with_file<T>(bytes: &[u8], ending: &str, read: impl FnOnce(&Path) -> T) -> T {
    let file = tempfile::Builder::new()
        .suffix(&format!(".{ending}"))
        .tempfile_in(super::memory());
    let file = file.expect("a file is made");
    std::fs::write(file.path(), bytes).expect("it is written");
    read(file.path())
}

fn block_on<T>(reading: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime starts").block_on(reading)
}

/// Reads everything at once, and again item by item with a reader for each; both must come to the same.
fn agree(source: &dyn ItemSource) -> bool {
    block_on(async {
        let Ok(at_once) = pages(source, PAGES_MAX).await else {
            return false;
        };
        let one_by_one = pages(source, 1)
            .await
            .expect("what can be read at once can be read in pages");
        let keys = |items: &[Item]| {
            items
                .iter()
                .map(|item| item.key.clone())
                .take(PAGES_MAX)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&at_once), keys(&one_by_one));
        true
    })
}

/// The items of the first pages, each read by a reader of its own.
async fn pages(source: &dyn ItemSource, items_max: usize) -> Result<Vec<Item>> {
    let (mut items, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX / items_max {
        let page = source.open().await?.read(cursor.as_ref(), items_max).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(items)
}

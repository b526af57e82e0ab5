//! What rows of Parquet become, and what is said of files that are none.

use std::sync::Arc;

use arrow::array::{Float64Array, Int32Array, ListArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use flowstone_core::ErrorKind;
use flowstone_core::reader::{ITEM_LEN_MAX, ItemSource, PAGE_BYTES_MAX};
use flowstone_readers::Parquet;
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::{Folder, keys, read_all, store, texts};

/// Seven flights, so many to a row group.
pub(crate) fn flights(group_rows: usize) -> Vec<u8> {
    let delays = [Some(1), None, Some(-3), Some(4), None, Some(6), Some(7)];
    let stops = delays.map(|delay| delay.map(|delay| vec![Some(delay), None]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(StringArray::from_iter_values((1..=7).map(|id| format!("F{id}")))) as _,
            false,
        ),
        ("delay", Arc::new(Int32Array::from_iter(delays)) as _, true),
        (
            "speed",
            Arc::new(Float64Array::from(vec![1.5, f64::NAN, 0.0, 1e300, 5.0, 6.0, 7.0])) as _,
            false,
        ),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values((0..7).map(|day| day * 86_400_000_000))
                    .with_timezone("Europe/Zurich"),
            ) as _,
            false,
        ),
        (
            "stops",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(stops)) as _,
            true,
        ),
    ]);
    written(&batch.unwrap(), group_rows)
}

fn written(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn a_row_is_an_object_of_its_columns() {
    let folder = Folder::with("a.parquet", flights(3));

    let items = read_all(&Parquet::file(folder.path("a.parquet")), 4).await.unwrap();

    assert_eq!(items.len(), 7);
    assert_eq!(
        texts(&items)[..2],
        [
            r#"{"id":"F1","delay":1,"speed":1.5,"at":"1970-01-01T00:00:00Z","stops":[1,null]}"#,
            r#"{"id":"F2","delay":null,"speed":null,"at":"1970-01-02T00:00:00Z","stops":null}"#
        ]
    );
}

#[tokio::test]
async fn only_columns_that_are_asked_for_are_read_and_those_of_the_key() {
    let folder = Folder::with("a.parquet", flights(3));
    let source = Parquet::file(folder.path("a.parquet"))
        .columns(["delay"])
        .key("at")
        .key("id");

    let items = read_all(&source, 4).await.unwrap();

    assert_eq!(
        texts(&items)[2],
        r#"{"id":"F3","delay":-3,"at":"1970-01-03T00:00:00Z"}"#
    );
    assert_eq!(keys(&items)[2], r#"["1970-01-03T00:00:00Z","F3"]"#);
}

#[tokio::test]
async fn the_last_page_says_that_it_is_the_last() {
    let folder = Folder::with("a.parquet", flights(3));
    let mut reader = Parquet::file(folder.path("a.parquet")).open().await.unwrap();

    let page = reader.read(None, 7).await.unwrap();

    assert_eq!((page.items.len(), page.next), (7, None));
}

#[tokio::test]
async fn a_file_without_rows_has_no_items() {
    let none = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(Vec::<i32>::new())) as _)]);
    let folder = Folder::with("a.parquet", written(&none.unwrap(), 10));

    assert!(
        read_all(&Parquet::file(folder.path("a.parquet")), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn large_rows_make_short_pages() {
    let texts = (0..24).map(|_| "x".repeat(1 << 20));
    let batch = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from_iter_values(texts)) as _)]);
    let folder = Folder::with("a.parquet", written(&batch.unwrap(), 100));
    let source = Parquet::file(folder.path("a.parquet"));

    let page = source.open().await.unwrap().read(None, 100).await.unwrap();

    assert_eq!(page.items.len(), PAGE_BYTES_MAX >> 20);
    assert_eq!(read_all(&source, 100).await.unwrap().len(), 24);
}

#[tokio::test]
async fn a_row_that_is_too_large_is_refused() {
    let texts = ["x".repeat(ITEM_LEN_MAX + 1)];
    let batch = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from_iter_values(texts)) as _)]);
    let folder = Folder::with("a.parquet", written(&batch.unwrap(), 100));

    let refused = read_all(&Parquet::file(folder.path("a.parquet")), 100)
        .await
        .unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn what_is_wrong_is_said_when_it_is_opened() {
    let whole = flights(3);
    let folder = Folder::with("good.parquet", &whole);
    folder.write("cut.parquet", &whole[..whole.len() - 20]);
    folder.write("none.parquet", "id,delay\n1,2\n");
    folder.write("empty.parquet", "");
    let at = |name: &str| Parquet::file(folder.path(name));
    let empty = store([("x", "")]).await;

    for (source, kind) in [
        (at("gone.parquet"), ErrorKind::NotFound),
        (Parquet::in_store(empty, "gone.parquet"), ErrorKind::NotFound),
        (at(""), ErrorKind::Invalid),
        (at("cut.parquet"), ErrorKind::Corrupt),
        (at("none.parquet"), ErrorKind::Corrupt),
        (at("empty.parquet"), ErrorKind::Corrupt),
        (at("good.parquet").key("ID"), ErrorKind::NotFound),
        (at("good.parquet").columns(["delays"]), ErrorKind::NotFound),
        (at("good.parquet").columns([""; 0]), ErrorKind::Invalid),
        (at("good.parquet").key("stops"), ErrorKind::TypeMismatch),
    ] {
        let refused = source.open().await.err().expect("it cannot be opened");

        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(refused.subject().is_some() && refused.advice().is_some(), "{refused:?}");
    }
    let misspelled = at("good.parquet").columns(["delays"]).open().await.err().unwrap();
    assert_eq!(misspelled.advice(), Some("did you mean \"delay\"?"));
}

#[tokio::test]
async fn a_row_without_its_key_is_named() {
    let folder = Folder::with("a.parquet", flights(3));

    let refused = read_all(&Parquet::file(folder.path("a.parquet")).key("delay"), 10)
        .await
        .unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
    assert!(
        refused
            .to_string()
            .contains("a.parquet, row 2: its key \"delay\" is null"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_cut_within_is_corrupt_or_changed() {
    let objects = store([("a.parquet", flights(3))]).await;
    let source = Parquet::in_store(objects.clone(), "a.parquet");
    let mut opened = source.open().await.unwrap();
    let cursor = opened.read(None, 2).await.unwrap().next;
    let mut damaged = flights(3);
    damaged[4..200].fill(0xff);
    objects.put(&"a.parquet".into(), damaged.into()).await.unwrap();

    let corrupt = source.open().await.unwrap().read(None, 2).await.unwrap_err();
    objects.put(&"a.parquet".into(), flights(2).into()).await.unwrap();
    let changed = source.open().await.unwrap().read(cursor.as_ref(), 2).await.unwrap_err();

    assert_eq!(
        (corrupt.kind(), corrupt.stable_code()),
        (ErrorKind::Corrupt, "parquet_corrupt")
    );
    assert_eq!(
        (changed.kind(), changed.stable_code()),
        (ErrorKind::Corrupt, "source_changed")
    );
}

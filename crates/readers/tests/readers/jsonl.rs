//! What lines of JSON become, and what is said of those that are none.

use crate::support::{Folder, keys, packed, read_all, store, texts};
use flowstone_core::ErrorKind;
use flowstone_core::reader::{Cursor, ITEM_LEN_MAX, ItemSource, PAGE_BYTES_MAX};
use flowstone_readers::{Csv, Jsonl};

#[tokio::test]
async fn a_line_is_taken_as_it_stands() {
    let folder = Folder::with("a.jsonl", "\u{feff}{\"b\": 1,  \"a\": 1.50}\r\n\n [1]\t\n\"x\"\nnull\n");

    let items = read_all(&Jsonl::file(folder.path("a.jsonl")), 10).await.unwrap();

    assert_eq!(texts(&items), [r#"{"b": 1,  "a": 1.50}"#, "[1]", "\"x\"", "null"]);
    assert_eq!(keys(&items), ["1", "3", "4", "5"]);
}

#[tokio::test]
async fn a_file_without_lines_has_no_items() {
    let folder = Folder::with("empty.jsonl", "");

    assert!(
        read_all(&Jsonl::file(folder.path("empty.jsonl")), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn several_fields_make_up_a_key() {
    let folder = Folder::with("a.jsonl", "{\"a\": \"x\", \"b\": {\"c\": 7}}\n");
    let source = Jsonl::file(folder.path("a.jsonl")).key("a").key("/b/c");

    let items = read_all(&source, 10).await.unwrap();

    assert_eq!(keys(&items), [r#"["x","7"]"#]);
}

#[tokio::test]
async fn a_line_that_is_no_json_is_named() {
    let folder = Folder::with("a.jsonl", "{}\n{\"a\": }\n");
    let path = folder.path("a.jsonl");

    let refused = read_all(&Jsonl::file(&path), 10).await.unwrap_err();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Corrupt, "line_invalid")
    );
    assert_eq!(
        refused.to_string(),
        format!(
            "failed to read {}, line 2: it is no JSON: expected value at column 7",
            path.display()
        )
    );
    assert!(refused.advice().unwrap().contains("invalid_as_text"));
}

#[tokio::test]
async fn a_line_that_is_no_json_can_be_an_item_that_fails() {
    let folder = Folder::with("a.jsonl", b"{\"id\": 1}\noops \xff\n{\"id\": 2}\n".as_slice());
    let source = Jsonl::file(folder.path("a.jsonl")).key("id").invalid_as_text();

    let items = read_all(&source, 10).await.unwrap();

    assert_eq!(keys(&items), ["1", "line 2", "2"]);
    assert_eq!(items[1].read::<String>().unwrap(), "oops \u{fffd}");
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_named() {
    let folder = Folder::with("a.jsonl", b"{}\n\"Z\xfcrich\"\n".as_slice());

    let refused = read_all(&Jsonl::file(folder.path("a.jsonl")), 10).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(
        refused
            .to_string()
            .contains("line 2: it is no JSON: byte 3 of it is not UTF-8"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_ends_within_a_line_is_taken_for_cut_off() {
    let folder = Folder::with("a.jsonl", "{\"a\": 1}\n{\"a\": ");

    let refused = read_all(&Jsonl::file(folder.path("a.jsonl")), 10).await.unwrap_err();

    assert!(
        refused.to_string().contains("line 2: the file ends within it"),
        "{refused}"
    );
    assert!(refused.advice().unwrap().contains("cut off"));
}

#[tokio::test]
async fn a_packed_file_that_is_cut_off_is_corrupt() {
    let whole = packed("{}\n".repeat(1_000));
    let folder = Folder::with("a.jsonl.gz", &whole[..whole.len() - 9]);
    folder.write("b.jsonl.gz", "{}\n");

    for name in ["a.jsonl.gz", "b.jsonl.gz"] {
        let refused = read_all(&Jsonl::file(folder.path(name)), 10).await.unwrap_err();

        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Corrupt, "gzip_corrupt"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn packed_files_that_stand_behind_one_another_are_one() {
    let folder = Folder::with("a.jsonl.gz", [packed("1\n2\n"), packed("3\n")].concat());

    let items = read_all(&Jsonl::file(folder.path("a.jsonl.gz")), 2).await.unwrap();

    assert_eq!(texts(&items), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_missing_file_says_so_when_it_is_opened() {
    let folder = Folder::with("a.jsonl", "{}");
    let empty = store([("x", "")]).await;
    let sources = [Jsonl::file(folder.path("b.jsonl")), Jsonl::in_store(empty, "b.jsonl")];

    for source in sources {
        let refused = source.open().await.err().expect("there is no such file");

        assert_eq!(refused.kind(), ErrorKind::NotFound);
        assert!(
            refused.to_string().contains("b.jsonl") && refused.advice().is_some(),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let folder = Folder::with("a.jsonl", "{}");

    let refused = read_all(&Jsonl::file(folder.path("")), 10).await.unwrap_err();

    assert_eq!(
        (refused.kind(), refused.advice()),
        (ErrorKind::Invalid, Some("name a file"))
    );
}

#[tokio::test]
async fn a_line_without_its_key_is_named_with_what_may_be_meant() {
    let folder = Folder::with("a.jsonl", "{\"carrier\": \"UA\", \"route\": {\"from\": null}}\n");
    let read = async |key: &str| {
        let source = Jsonl::file(folder.path("a.jsonl")).key(key);
        read_all(&source, 10).await.unwrap_err()
    };

    let misspelled = read("carier").await;
    let null = read("/route/from").await;
    let object = read("route").await;
    let escape = read("/~2").await;

    assert_eq!(misspelled.kind(), ErrorKind::NotFound);
    assert!(
        misspelled.to_string().contains("line 1: it has no column \"carier\""),
        "{misspelled}"
    );
    assert_eq!(misspelled.advice(), Some("did you mean \"carrier\"?"));
    assert_eq!(null.kind(), ErrorKind::NotFound);
    assert_eq!(object.kind(), ErrorKind::TypeMismatch);
    assert_eq!(escape.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused() {
    let folder = Folder::with("a.jsonl", format!("{{}}\n\"{}\"\n", "x".repeat(ITEM_LEN_MAX + 2_000)));

    let refused = read_all(&Jsonl::file(folder.path("a.jsonl")), 10).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(refused.to_string().contains("line 2"), "{refused}");
}

#[tokio::test]
async fn a_page_of_large_lines_ends_early() {
    let line = format!("\"{}\"\n", "x".repeat(3 << 20));
    let folder = Folder::with("a.jsonl", line.repeat(5));
    let source = Jsonl::file(folder.path("a.jsonl"));
    let mut reader = source.open().await.unwrap();

    let page = reader.read(None, 100).await.unwrap();

    assert_eq!(page.items.len(), PAGE_BYTES_MAX / (3 << 20) + 1);
    assert_eq!(read_all(&source, 100).await.unwrap().len(), 5);
    reader.close().await;
}

/// Reads one line of a file, which is `then` when reading goes on from there with another reader.
async fn second_line(name: &str, first: impl AsRef<[u8]>, then: impl AsRef<[u8]>) -> flowstone_core::Result<Vec<u8>> {
    let folder = Folder::with(name, first);
    let source = Jsonl::file(folder.path(name));
    let cursor = source
        .open()
        .await?
        .read(None, 1)
        .await?
        .next
        .expect("there is another line");
    folder.write(name, then);
    let page = source.open().await?.read(Some(&cursor), 1).await?;
    Ok(page.items[0].json.to_vec())
}

#[tokio::test]
async fn what_is_appended_while_it_is_read_is_read() {
    assert_eq!(second_line("a.jsonl", "1\n", "1\n2\n").await.unwrap(), b"2");
}

#[tokio::test]
async fn a_file_that_was_replaced_or_cut_is_not_read_on() {
    let long = |start: u32| (start..start + 100).map(|n| format!("{n}\n")).collect::<String>();
    let cases = [
        second_line("a.jsonl", "100\n2\n", "200\n2\n").await,
        second_line("a.jsonl", "100\n2\n", "1\n").await,
        second_line("a.jsonl.gz", packed(long(0)), packed(long(1))).await,
        second_line("a.jsonl.gz", packed("100\n2\n"), packed("1\n")).await,
    ];

    for refused in cases {
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Corrupt, "source_changed")
        );
    }
}

#[tokio::test]
async fn an_object_that_became_shorter_is_not_read_on() {
    let objects = store([("a.jsonl", format!("\"{}\"\n2\n", "x".repeat(100)))]).await;
    let source = Jsonl::in_store(objects.clone(), "a.jsonl");
    let cursor = source.open().await.unwrap().read(None, 1).await.unwrap().next;
    object_store::ObjectStoreExt::put(&objects, &"a.jsonl".into(), "1\n".into())
        .await
        .unwrap();

    let mut reader = source.open().await.unwrap();
    let refused = reader.read(cursor.as_ref(), 1).await.unwrap_err();

    assert_eq!(refused.stable_code(), "source_changed", "{refused}");
}

#[tokio::test]
async fn an_older_or_foreign_or_damaged_cursor_is_refused() {
    let folder = Folder::with("a.jsonl", "1\n2\n3\n");
    folder.write("a.csv", "a\n1\n2\n");
    let lines = Jsonl::file(folder.path("a.jsonl"));
    let cursor = lines.open().await.unwrap().read(None, 1).await.unwrap().next.unwrap();
    let rows = Csv::file(folder.path("a.csv"));
    let foreign = rows.open().await.unwrap().read(None, 1).await.unwrap().next.unwrap();
    let older = Cursor {
        version: 0,
        ..cursor.clone()
    };
    let mut cut = cursor;
    cut.position.pop();

    let mut codes = Vec::new();
    for cursor in [older, foreign, cut] {
        let refused = lines.open().await.unwrap().read(Some(&cursor), 1).await.unwrap_err();
        codes.push((refused.kind(), refused.stable_code().to_owned()));
    }

    assert_eq!(
        codes,
        [
            (ErrorKind::Unsupported, "cursor_version".to_owned()),
            (ErrorKind::Unsupported, "cursor_reader".to_owned()),
            (ErrorKind::Corrupt, "cursor_corrupt".to_owned())
        ]
    );
}

#[tokio::test]
async fn lines_longer_than_a_piece_of_the_file_come_whole() {
    let lines: Vec<String> = (0..40).map(|n| format!("\"{}\"", "y".repeat(n * 20_000))).collect();
    let folder = Folder::with("a.jsonl", lines.join("\n"));

    let items = read_all(&Jsonl::file(folder.path("a.jsonl")), 7).await.unwrap();

    assert_eq!(texts(&items), lines);
}

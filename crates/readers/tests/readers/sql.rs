//! What rows of queries become, and what is said of queries and keys that are none.

use std::path::PathBuf;

use flowstone_core::reader::{Cursor, ItemSource};
use flowstone_core::{Error, ErrorKind};
use flowstone_readers::Sql;
use sqlx::{ConnectOptions, Connection};

use crate::support::{Folder, keys, read_all, texts};

pub(crate) const PLANES: &str = "
    CREATE TABLE planes (tailnum TEXT NOT NULL, maker TEXT NOT NULL, seats INTEGER UNIQUE, speed REAL);
    INSERT INTO planes VALUES
        ('N1', 'boeing', 300, 450.5), ('N2', 'airbus', 20, NULL), ('N3', 'Boeing', 100, 1),
        ('N4', 'airbus', 9, 0), ('N5', 'cessna, \"inc\"', 2, 80), ('N6', 'airbus', 1000, 500);
";
pub(crate) const SEATS: [&str; 6] = ["2", "9", "20", "100", "300", "1000"];
pub(crate) const MAKERS: [&str; 6] = [
    r#"["Boeing","N3"]"#,
    r#"["airbus","N2"]"#,
    r#"["airbus","N4"]"#,
    r#"["airbus","N6"]"#,
    r#"["boeing","N1"]"#,
    r#"["cessna, \"inc\"","N5"]"#,
];

/// A database in a folder.
pub(crate) async fn sqlite(sql: &'static str) -> (Folder, PathBuf) {
    let folder = Folder::with("note", "");
    let path = folder.path("flights.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (folder, path)
}

async fn refused(source: &Sql) -> Error {
    let read = read_all(source, 2).await;
    let refused = read.expect_err("it cannot be read");
    assert!(refused.advice().is_some() && refused.subject().is_some(), "{refused:?}");
    refused
}

#[tokio::test]
async fn a_row_is_an_object_of_its_columns_as_sqlite_holds_them() {
    let (_folder, path) = sqlite(
        "CREATE TABLE t (id, v); INSERT INTO t VALUES (1, 1.5), (2, 'é\"'), (3, x'0aff'), (4, NULL), (5, 9e999)",
    )
    .await;

    let items = read_all(&Sql::sqlite(path).table("t").key("id"), 2).await.unwrap();

    assert_eq!(
        texts(&items),
        [
            r#"{"id":1,"v":1.5}"#,
            r#"{"id":2,"v":"é\""}"#,
            r#"{"id":3,"v":"0aff"}"#,
            r#"{"id":4,"v":null}"#,
            r#"{"id":5,"v":null}"#
        ]
    );
}

#[tokio::test]
async fn a_table_gives_the_columns_that_are_asked_for_and_those_of_its_key() {
    let (_folder, path) = sqlite(PLANES).await;
    let source = Sql::sqlite(path).table("planes").columns(["seats"]).key("tailnum");

    let items = read_all(&source, 100).await.unwrap();

    assert_eq!(texts(&items)[0], r#"{"seats":300,"tailnum":"N1"}"#);
}

#[tokio::test]
async fn what_varies_in_a_query_is_bound() {
    let (_folder, path) = sqlite(PLANES).await;
    let query = "SELECT * FROM planes WHERE maker = ?1 AND speed > ?2 AND ?3;";
    let source = Sql::sqlite(path)
        .query(query)
        .bind("airbus")
        .bind(0.5)
        .bind(true)
        .key("seats");

    assert_eq!(keys(&read_all(&source, 1).await.unwrap()), ["1000"]);
}

#[tokio::test]
async fn an_index_on_the_key_serves_every_page() {
    let (_folder, path) = sqlite(PLANES).await;
    let explained = "EXPLAIN QUERY PLAN SELECT * FROM (\nSELECT * FROM \"planes\"\n) AS page \
        WHERE (page.\"seats\" COLLATE BINARY) > (20) ORDER BY page.\"seats\" COLLATE BINARY LIMIT 10";
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();

    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explained).fetch_all(&mut connection).await.unwrap();

    let steps: Vec<&str> = plan.iter().map(|(_, _, _, step)| step.as_str()).collect();
    assert!(steps.len() == 1 && steps[0].contains("USING INDEX"), "{steps:?}");
}

#[tokio::test]
async fn keys_that_a_collation_takes_for_the_same_are_told_apart() {
    let (_folder, path) =
        sqlite("CREATE TABLE t (id TEXT COLLATE NOCASE); INSERT INTO t VALUES ('a'), ('A'), ('b'), ('B')").await;

    let items = read_all(&Sql::sqlite(path).table("t").key("id"), 1).await.unwrap();

    assert_eq!(keys(&items), ["A", "B", "a", "b"]);
}

#[tokio::test]
async fn rows_that_would_be_lost_are_refused() {
    let sql = "CREATE TABLE t (twice, missing, mixed); INSERT INTO t VALUES (1, 1, 1), (1, 2, '1'), (2, NULL, 2)";
    let (_folder, path) = sqlite(sql).await;
    let by = |key: &str| Sql::sqlite(&path).table("t").key(key);

    for items_max in [1, 2, 10] {
        let twice = read_all(&by("twice"), items_max).await.unwrap_err();
        assert_eq!(
            (twice.kind(), twice.stable_code()),
            (ErrorKind::Invalid, "key_not_unique"),
            "{items_max}"
        );
        assert!(twice.to_string().contains("two rows have the key 1"));
    }
    assert_eq!(refused(&by("missing")).await.stable_code(), "key_null");
    assert_eq!(refused(&by("mixed")).await.stable_code(), "item_key_invalid");
    assert_eq!(
        read_all(&by("twice").key("mixed"), 1).await.unwrap_err().stable_code(),
        "item_key_invalid"
    );
    assert_eq!(
        read_all(
            &Sql::sqlite(&path)
                .query("SELECT * FROM t WHERE missing > 0")
                .key("missing"),
            1
        )
        .await
        .unwrap()
        .len(),
        2
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_when_it_is_opened() {
    let (folder, path) = sqlite(PLANES).await;
    folder.write(
        "none.db",
        "this is no database, but long enough to look like one might be here",
    );
    let on = || Sql::sqlite(&path);

    for (source, kind) in [
        (
            Sql::sqlite(folder.path("gone.db")).table("planes").key("seats"),
            ErrorKind::NotFound,
        ),
        (
            Sql::sqlite(folder.path("none.db")).table("planes").key("seats"),
            ErrorKind::Corrupt,
        ),
        (on().table("plane").key("seats"), ErrorKind::Invalid),
        (on().query("SELEC 1").key("a"), ErrorKind::Invalid),
        (on().table("planes").key("seat"), ErrorKind::NotFound),
        (on().table("planes"), ErrorKind::Invalid),
        (on().key("seats"), ErrorKind::Invalid),
    ] {
        let error = source.open().await.err().expect("it cannot be opened");

        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.advice().is_some() && error.subject().is_some(), "{error:?}");
    }
    let misspelled = refused(&on().table("planes").key("seat")).await;
    assert_eq!(misspelled.advice(), Some("did you mean \"seats\"?"));
}

#[tokio::test]
async fn the_query_cannot_change_anything() {
    let (_folder, path) = sqlite(PLANES).await;
    let source = Sql::sqlite(&path)
        .query("SELECT 1 AS id) AS page; DROP TABLE planes; --")
        .key("id");

    let _ = source.open().await;

    assert_eq!(
        read_all(&Sql::sqlite(&path).table("planes").key("seats"), 9)
            .await
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn names_are_data() {
    let (_folder, path) = sqlite("CREATE TABLE \"a\"\"; DROP TABLE t; --\" (\"x y\"\"z\" INTEGER); INSERT INTO \"a\"\"; DROP TABLE t; --\" VALUES (1), (2)").await;
    let source = Sql::sqlite(path).table("a\"; DROP TABLE t; --").key("x y\"z");

    assert_eq!(
        texts(&read_all(&source, 1).await.unwrap()),
        [r#"{"x y\"z":1}"#, r#"{"x y\"z":2}"#]
    );
}

#[tokio::test]
async fn a_page_of_no_rows_goes_on_where_it_was() {
    let (_folder, path) = sqlite(PLANES).await;
    let source = Sql::sqlite(path).table("planes").key("seats");
    let mut reader = source.open().await.unwrap();

    let none = reader.read(None, 0).await.unwrap();
    let all = reader.read(none.next.as_ref(), 10).await.unwrap();

    assert_eq!((none.items.len(), all.items.len(), all.next), (0, 6, None));
}

#[tokio::test]
async fn a_cursor_of_another_key_is_refused() {
    let (_folder, path) = sqlite(PLANES).await;
    let by_two = Sql::sqlite(&path).table("planes").key("maker").key("tailnum");
    let cursor = by_two.open().await.unwrap().read(None, 1).await.unwrap().next;
    let damaged = Cursor {
        version: 1,
        position: b"si".to_vec(),
    };
    let by_one = Sql::sqlite(&path).table("planes").key("seats");
    let mut reader = by_one.open().await.unwrap();

    let of_two = reader.read(cursor.as_ref(), 1).await.unwrap_err();
    let damaged = reader.read(Some(&damaged), 1).await.unwrap_err();

    assert_eq!(
        (of_two.kind(), damaged.kind()),
        (ErrorKind::Unsupported, ErrorKind::Corrupt)
    );
}

#[tokio::test]
async fn rows_may_come_and_go_while_others_are_read() {
    let (_folder, path) = sqlite(PLANES).await;
    let source = Sql::sqlite(&path).table("planes").key("seats");
    let cursor = source.open().await.unwrap().read(None, 3).await.unwrap().next;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();
    let change =
        "DELETE FROM planes WHERE seats = 300; INSERT INTO planes VALUES ('N7', 'x', 1, 1), ('N8', 'x', 200, 1)";
    sqlx::raw_sql(change).execute(&mut connection).await.unwrap();

    let rest = source.open().await.unwrap().read(cursor.as_ref(), 10).await.unwrap();

    assert_eq!(keys(&rest.items), ["100", "200", "1000"]);
}

#[tokio::test]
async fn an_address_is_never_shown() {
    let source = Sql::postgres("postgres://app:secret@127.0.0.1:1/flights")
        .table("planes")
        .key("seats");

    let unreachable = source.open().await.err().unwrap();
    let wrong = Sql::postgres("mysql//secret")
        .table("t")
        .key("a")
        .open()
        .await
        .err()
        .unwrap();

    assert_eq!(unreachable.kind(), ErrorKind::Unavailable);
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    for shown in [format!("{source:?}"), format!("{unreachable:?}"), format!("{wrong:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

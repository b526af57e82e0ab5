//! What rows of CSV become, and what is said of those that are none.

use std::collections::HashSet;

use crate::support::{Folder, keys, read_all, texts};
use flowstone_core::reader::ItemSource;
use flowstone_core::{Error, ErrorKind};
use flowstone_readers::Csv;
use proptest::prelude::*;
use serde::Deserialize;

/// January of the flights out of New York, as in the example.
const FLIGHTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/flights/data/flights.csv.gz"
);

async fn read(name: &str, text: impl AsRef<[u8]>, with: impl Fn(Csv) -> Csv) -> Result<Vec<String>, Error> {
    let folder = Folder::with(name, text);
    let items = read_all(&with(Csv::file(folder.path(name))), 2).await?;
    Ok(texts(&items).into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn the_end_of_the_name_says_what_separates_columns() {
    for (name, text) in [
        ("a.csv", "a,b\n1,2\n"),
        ("a.tsv", "a\tb\n1\t2\n"),
        ("a.PSV", "a|b\n1|2\n"),
    ] {
        assert_eq!(
            read(name, text, |csv| csv).await.unwrap(),
            [r#"{"a":"1","b":"2"}"#],
            "{name}"
        );
    }
    let semicolons = read("a.txt", "a;b\n1;2\n", |csv| csv.delimiter(b';')).await.unwrap();
    assert_eq!(semicolons, [r#"{"a":"1","b":"2"}"#]);
}

#[tokio::test]
async fn quotes_line_ends_and_byte_order_marks_are_understood() {
    let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n\r\n,last";

    let rows = read("a.csv", text, |csv| csv).await.unwrap();

    assert_eq!(rows, [r#"{"a":"x, \"y\"","b":"two\nlines"}"#, r#"{"a":"","b":"last"}"#]);
}

#[tokio::test]
async fn a_byte_order_mark_within_a_file_is_text_wherever_reading_goes_on() {
    let folder = Folder::with("a.csv", "a\n\u{feff}1\n\u{feff}2\n");
    let source = Csv::file(folder.path("a.csv"));
    let cursor = source.open().await.unwrap().read(None, 1).await.unwrap().next;

    let rest = source.open().await.unwrap().read(cursor.as_ref(), 1).await.unwrap();

    assert_eq!(texts(&rest.items), ["{\"a\":\"\u{feff}2\"}"]);
}

#[tokio::test]
async fn quotes_can_be_others_or_none() {
    let others = read("a.csv", "a,b\n'x,''y',\"z\n", |csv| csv.quote(b'\''))
        .await
        .unwrap();
    let none = read("a.tsv", "a\tb\n5\"\t\"x\n", Csv::unquoted).await.unwrap();

    assert_eq!(others, [r#"{"a":"x,'y","b":"\"z"}"#]);
    assert_eq!(none, [r#"{"a":"5\"","b":"\"x"}"#]);
}

#[tokio::test]
async fn a_file_without_header_has_the_columns_that_it_is_given() {
    let rows = read("a.csv", "1,2\n3,4\n", |csv| csv.headers(["x", "y"]).typed())
        .await
        .unwrap();

    assert_eq!(rows, [r#"{"x":1,"y":2}"#, r#"{"x":3,"y":4}"#]);
}

#[tokio::test]
async fn a_header_alone_has_no_rows() {
    assert!(read("a.csv", "a,b\n", |csv| csv).await.unwrap().is_empty());
    assert!(read("a.csv", "a,b", |csv| csv).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_header_is_said_when_it_is_opened() {
    let folder = Folder::with("empty.csv", "");
    folder.write("twice.csv", "a,b,a\n1,2,3\n");
    folder.write("latin.csv", b"Z\xfcrich\n1\n");
    folder.write("good.csv", "carrier,origin\nUA,EWR\n");
    let open = async |csv: Csv| csv.open().await.err().expect("it cannot be opened");

    let empty = open(Csv::file(folder.path("empty.csv"))).await;
    let twice = open(Csv::file(folder.path("twice.csv"))).await;
    let latin = open(Csv::file(folder.path("latin.csv"))).await;
    let key = open(Csv::file(folder.path("good.csv")).key("carier")).await;
    let text = open(Csv::file(folder.path("good.csv")).text("zip")).await;
    let delimiter = open(Csv::file(folder.path("good.csv")).delimiter(b'"')).await;
    let missing = open(Csv::file(folder.path("none.csv"))).await;

    for (error, kind) in [
        (&empty, ErrorKind::Corrupt),
        (&twice, ErrorKind::Corrupt),
        (&latin, ErrorKind::Corrupt),
        (&key, ErrorKind::NotFound),
        (&text, ErrorKind::NotFound),
        (&delimiter, ErrorKind::Invalid),
        (&missing, ErrorKind::NotFound),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.advice().is_some() && error.to_string().contains(".csv"),
            "{error:?}"
        );
    }
    assert!(twice.to_string().contains("two columns are called \"a\""));
    assert_eq!(key.advice(), Some("did you mean \"carrier\"?"));
    assert_eq!(text.advice(), Some("name one of these: carrier, origin"));
}

#[tokio::test]
async fn a_row_of_another_length_is_named_with_row_and_line() {
    let text = "a,b\r\n\"1\n1\",2\r\n\r\n3,4\r\n5\r\n";

    let refused = read("a.csv", text, |csv| csv).await.unwrap_err();

    assert_eq!((refused.kind(), refused.stable_code()), (ErrorKind::Corrupt, "csv_row"));
    let text = refused.to_string();
    assert!(
        text.ends_with("a.csv, row 3 (line 6): it has 1 columns, the header has 2"),
        "{text}"
    );
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_named_with_their_column() {
    let refused = read("a.csv", b"city,n\nBern,1\nZ\xfcrich,2\n", |csv| csv)
        .await
        .unwrap_err();

    let text = refused.to_string();
    assert!(
        text.ends_with("row 2 (line 3): byte 2 of its column \"city\" is not UTF-8"),
        "{text}"
    );
}

#[tokio::test]
async fn a_file_that_ends_within_quotes_is_refused() {
    for text in ["a\n1\n\"2\n3\n", "a\n1\n\"", "a\n1\n\"2"] {
        let refused = read("a.csv", text, |csv| csv).await.unwrap_err();

        assert!(
            refused
                .to_string()
                .contains("row 2 (line 3): the file ends within quotes"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_quote_that_is_never_closed_does_not_take_in_a_large_file() {
    let text = format!("a\n\"{}", "x\n".repeat(10 << 20));

    let refused = read("a.csv", text, |csv| csv).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(refused.to_string().contains("line 2"), "{refused}");
}

#[tokio::test]
async fn rows_may_be_appended_while_they_are_read() {
    let folder = Folder::with("a.csv", "a\n1\n");
    let source = Csv::file(folder.path("a.csv"));
    let cursor = source.open().await.unwrap().read(None, 1).await.unwrap().next;
    folder.write("a.csv", "a\n1\n2\n");

    let rest = source.open().await.unwrap().read(cursor.as_ref(), 10).await.unwrap();
    folder.write("a.csv", "b\n1\n2\n");
    let refused = source
        .open()
        .await
        .unwrap()
        .read(cursor.as_ref(), 10)
        .await
        .unwrap_err();

    assert_eq!(
        (keys(&rest.items), texts(&rest.items)),
        (vec!["2"], vec![r#"{"a":"2"}"#])
    );
    assert_eq!(refused.stable_code(), "source_changed");
}

#[derive(Debug, Deserialize)]
struct Flight {
    carrier: String,
    origin: String,
    dest: String,
    dep_delay: Option<f64>,
    distance: u32,
}

#[tokio::test]
async fn the_flights_of_january_are_read() {
    let source = Csv::file(FLIGHTS).typed().null("NA");

    let items = read_all(&source, 1_000).await.unwrap();
    let flights: Vec<Flight> = items.iter().map(|item| item.read().unwrap()).collect();

    assert_eq!(flights.len(), 27_004);
    assert_eq!(items[27_003].key, "27004");
    let routes: HashSet<_> = flights
        .iter()
        .map(|flight| (&flight.carrier, &flight.origin, &flight.dest))
        .collect();
    assert_eq!(routes.len(), 307);
    assert_eq!(flights.iter().filter(|flight| flight.dep_delay.is_none()).count(), 521);
    assert_eq!(
        flights.iter().map(|flight| u64::from(flight.distance)).sum::<u64>(),
        27_188_805
    );
}

proptest! {
    /// Whatever stands in a table comes back, in pages of any size, each with a reader of its own.
    #[test]
    fn every_value_comes_back(
        rows in prop::collection::vec(prop::collection::vec("[a\",\n\r\u{e4} ]{0,4}", 2), 0..8),
        items_max in 1_usize..4,
        is_crlf: bool,
    ) {
        let quote = |value: &String| format!("\"{}\"", value.replace('"', "\"\""));
        let end = if is_crlf { "\r\n" } else { "\n" };
        let lines = rows.iter().map(|row| row.iter().map(quote).collect::<Vec<_>>().join(",") + end);
        let folder = Folder::with("a.csv", format!("x,y{end}{}", lines.collect::<String>()));
        let source = Csv::file(folder.path("a.csv"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let read: Vec<Vec<String>> = runtime.block_on(async {
            let (mut read, mut cursor) = (Vec::new(), None);
            loop {
                let page = source.open().await.unwrap().read(cursor.as_ref(), items_max).await.unwrap();
                for item in page.items {
                    let row: std::collections::BTreeMap<String, String> = item.read().unwrap();
                    read.push(row.into_values().collect());
                }
                cursor = page.next;
                if cursor.is_none() {
                    return read;
                }
            }
        });

        prop_assert_eq!(read, rows);
    }
}

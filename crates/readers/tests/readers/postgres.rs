//! What rows of Postgres become, and which of its columns are keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowstone_core::ErrorKind;
use flowstone_core::reader::ItemSource;
use flowstone_readers::Sql;
use flowstone_testkit::PostgresServer;
use sqlx::{Connection, PgConnection};

use crate::support::{keys, read_all, texts};

pub(crate) const PLANES: &str = "
    CREATE TABLE planes (tailnum text NOT NULL, maker text NOT NULL, seats integer UNIQUE, speed float8);
    INSERT INTO planes VALUES
        ('N1', 'boeing', 300, 450.5), ('N2', 'airbus', 20, NULL), ('N3', 'Boeing', 100, 1),
        ('N4', 'airbus', 9, 0), ('N5', 'cessna, \"inc\"', 2, 80), ('N6', 'airbus', 1000, 500);
";

/// A database of its own, with this in it; `None` where no Postgres is installed.
pub(crate) async fn database(sql: &'static str) -> Option<(Arc<PostgresServer>, String)> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let server = PostgresServer::shared()?;
    let url = server.database(&format!("flights_{}", MADE.fetch_add(1, Ordering::Relaxed)));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    Some((server, url))
}

#[tokio::test]
async fn a_row_is_what_postgres_makes_of_it() {
    let sql = "CREATE TABLE t (id int8, a text, b numeric, c timestamptz, d int[], e jsonb);
        INSERT INTO t VALUES (9007199254740993, 'é\"', 1.50, NULL, '{1,2}', '{\"x\": [true]}')";
    let Some((_server, url)) = database(sql).await else {
        return;
    };

    let items = read_all(&Sql::postgres(url).table("t").key("id"), 2).await.unwrap();

    assert_eq!(
        texts(&items),
        [r#"{"id":9007199254740993,"a":"é\"","b":1.50,"c":null,"d":[1,2],"e":{"x": [true]}}"#]
    );
}

#[tokio::test]
async fn keys_of_many_types_are_read_on_from() {
    let sql = "CREATE TABLE t AS SELECT n::int2 AS a, n::int8 * 1000000007 AS b, n / 3.0::float8 AS c, n / 7.0 AS d,
            'n' || n AS e, ('n' || n)::varchar(9) AS f, md5(n::text)::uuid AS g, decode(md5(n::text), 'hex') AS h,
            date '2013-01-01' + n AS i, timestamp '2013-01-01' + n * interval '1 microsecond' AS j,
            timestamptz '2013-01-01 UTC' + n * interval '1 microsecond' AS k
        FROM generate_series(1, 20) AS n";
    let Some((_server, url)) = database(sql).await else {
        return;
    };

    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
        let source = Sql::postgres(&url).table("t").key(key);
        let at_once = read_all(&source, 100).await.unwrap();
        let one_by_one = read_all(&source, 1).await.unwrap();

        assert_eq!(at_once.len(), 20, "{key}");
        assert_eq!(keys(&one_by_one), keys(&at_once), "{key}");
    }
}

#[tokio::test]
async fn columns_that_are_no_keys_are_refused() {
    let sql = "CREATE TABLE t (list int[], twice int, missing int, \"Upper\" int);
        INSERT INTO t VALUES ('{1}', 1, 1, 1), ('{2}', 1, 2, 2), ('{3}', 2, NULL, 3)";
    let Some((_server, url)) = database(sql).await else {
        return;
    };
    let by = |key: &str| Sql::postgres(&url).table("t").key(key);

    for (key, code) in [
        ("list", "item_key_invalid"),
        ("twice", "key_not_unique"),
        ("missing", "key_null"),
        ("upper", "column_not_found"),
    ] {
        let refused = read_all(&by(key), 1).await.unwrap_err();
        assert_eq!(refused.stable_code(), code, "{refused}");
        assert!(refused.advice().is_some() && refused.subject().is_some(), "{refused:?}");
    }
    assert_eq!(read_all(&by("Upper"), 1).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_wrong_is_said_when_it_is_opened() {
    let Some((server, url)) = database("CREATE TABLE t (id int)").await else {
        return;
    };
    let on = || Sql::postgres(&url);

    for (source, kind) in [
        (on().table("tt").key("id"), ErrorKind::NotFound),
        (
            Sql::postgres(server.url_of("gone")).table("t").key("id"),
            ErrorKind::NotFound,
        ),
        (
            Sql::postgres(format!("{url}?sslmode=require")).table("t").key("id"),
            ErrorKind::Unsupported,
        ),
        (on().query("SELEC 1").key("id"), ErrorKind::Invalid),
        (on().query("SELECT 1 AS id, 2 AS id").key("id"), ErrorKind::Invalid),
        (
            on().query("SELECT 1 AS id) AS page; DROP TABLE t; --").key("id"),
            ErrorKind::Invalid,
        ),
    ] {
        let refused = source.open().await.err().expect("it cannot be opened");
        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(refused.advice().is_some() && refused.subject().is_some(), "{refused:?}");
    }
    assert!(read_all(&on().table("t").key("id"), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_that_is_lost_is_made_again() {
    let Some((_server, url)) = database(PLANES).await else {
        return;
    };
    let source = Sql::postgres(&url)
        .query("SELECT *, pg_backend_pid() AS pid FROM planes")
        .key("seats");
    let mut reader = source.open().await.unwrap();
    let first = reader.read(None, 2).await.unwrap();
    let pid = first.items[0].read::<serde_json::Value>().unwrap()["pid"]
        .as_i64()
        .unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let ended = sqlx::query("SELECT pg_terminate_backend($1)").bind(i32::try_from(pid).unwrap());
    ended.execute(&mut other).await.unwrap();
    // It ends some time after it was told to.
    let is_there = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
    let is_there = || sqlx::query_scalar::<_, i64>(is_there).bind(i32::try_from(pid).unwrap());
    while is_there().fetch_one(&mut other).await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }

    let lost = reader.read(first.next.as_ref(), 2).await.unwrap_err();
    let second = reader.read(first.next.as_ref(), 2).await.unwrap();

    assert!(lost.retry().is_retryable(), "{lost:?}");
    assert_eq!(keys(&second.items), ["20", "100"]);
}

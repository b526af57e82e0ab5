//! Puts together what a database is asked.
//!
//! Names are quoted, values are bound; the only text that is taken as it is stands in the program.

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Encode, Type};

use super::value::SqlValue;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// What is read, in which order.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) dialect: Dialect,
    pub(super) select: String,
    pub(super) keys: Vec<String>,
    pub(super) binds: Vec<SqlValue>,
    /// What a text is cast to, to be compared with each key.
    pub(super) casts: Vec<&'static str>,
}

/// All of a table, or some of its columns and its keys.
pub(super) fn select_table(name: &str, columns: &[String], keys: &[String]) -> String {
    let name = quoted(name);
    if columns.is_empty() {
        return format!("SELECT * FROM {name}");
    }
    let others = keys.iter().filter(|key| !columns.contains(key));
    let columns: Vec<String> = columns.iter().chain(others).map(|column| quoted(column)).collect();
    format!("SELECT {} FROM {name}", columns.join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Ask {
    /// The query as part of others. It may end in a semicolon or in a comment.
    fn page(&self) -> String {
        let select = self.select.trim().trim_end_matches(';');
        format!("(\n{select}\n) AS page")
    }

    /// A query with what varies bound to it.
    pub(super) fn bound<DB: Database>(&self, sql: String) -> Query<'static, DB, DB::Arguments>
    where
        bool: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        f64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query(AssertSqlSafe(sql));
        self.binds.iter().fold(query, |query, value| match value {
            SqlValue::Bool(value) => query.bind(*value),
            SqlValue::Int(value) => query.bind(*value),
            SqlValue::Real(value) => query.bind(*value),
            SqlValue::Text(value) => query.bind(value.clone()),
        })
    }

    /// Gives the columns of the query.
    pub(super) fn columns(&self) -> String {
        format!("SELECT * FROM {} LIMIT 0", self.page())
    }

    /// Gives a row that has no key.
    pub(super) fn without_key(&self) -> String {
        let keys = self.keys.iter().map(|key| format!("page.{} IS NULL", quoted(key)));
        let keys: Vec<String> = keys.collect();
        format!("SELECT 1 FROM {} WHERE {} LIMIT 1", self.page(), keys.join(" OR "))
    }

    /// Gives rows in the order of their keys: all, or those after a key that is bound after the values of the query. The last
    /// placeholder is for their number.
    pub(super) fn rows(&self, is_after: bool) -> String {
        let mut placeholder = self.binds.len();
        let mut next = || {
            placeholder += 1;
            self.placeholder(placeholder)
        };
        let keys: Vec<String> = self.keys.iter().map(|key| self.compared(key)).collect();
        let keys = keys.join(", ");
        let after = if is_after {
            let values = self.casts.iter().map(|cast| self.cast(next(), cast));
            let values: Vec<String> = values.collect();
            format!(" WHERE ({keys}) > ({})", values.join(", "))
        } else {
            String::new()
        };
        let (given, page) = (self.given(), self.page());
        format!("SELECT {given} FROM {page}{after} ORDER BY {keys} LIMIT {}", next())
    }

    fn placeholder(&self, number: usize) -> String {
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!("?{number}"),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("${number}"),
        }
    }

    /// A column of the key, as it is compared: by bytes where the order might take different keys for the same.
    fn compared(&self, key: &str) -> String {
        let key = quoted(key);
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!("page.{key} COLLATE BINARY"),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("page.{key}"),
        }
    }

    fn cast(&self, value: String, ty: &str) -> String {
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                let _ = ty;
                value
            }
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{value}::text::{ty}"),
        }
    }

    /// What is asked of a row: on Postgres the row as JSON and its keys as texts.
    fn given(&self) -> String {
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => "*".to_owned(),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let keys = self.keys.iter().map(|key| format!(", page.{}::text", quoted(key)));
                format!("row_to_json(page)::text{}", keys.collect::<String>())
            }
        }
    }
}

#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod tests {
    use super::*;

    fn ask(dialect: Dialect) -> Ask {
        Ask {
            dialect,
            select: "SELECT * FROM t WHERE x = 1; ".to_owned(),
            keys: vec!["a\"b".to_owned(), "c".to_owned()],
            binds: vec![SqlValue::Int(1)],
            casts: vec!["int8", "text"],
        }
    }

    #[test]
    fn names_are_quoted_and_values_have_placeholders() {
        assert_eq!(
            ask(Dialect::Sqlite).rows(true),
            "SELECT * FROM (\nSELECT * FROM t WHERE x = 1\n) AS page \
             WHERE (page.\"a\"\"b\" COLLATE BINARY, page.\"c\" COLLATE BINARY) > (?2, ?3) \
             ORDER BY page.\"a\"\"b\" COLLATE BINARY, page.\"c\" COLLATE BINARY LIMIT ?4"
        );
        assert_eq!(
            ask(Dialect::Postgres).rows(true),
            "SELECT row_to_json(page)::text, page.\"a\"\"b\"::text, page.\"c\"::text \
             FROM (\nSELECT * FROM t WHERE x = 1\n) AS page \
             WHERE (page.\"a\"\"b\", page.\"c\") > ($2::text::int8, $3::text::text) \
             ORDER BY page.\"a\"\"b\", page.\"c\" LIMIT $4"
        );
    }

    #[test]
    fn the_first_page_is_after_nothing() {
        assert_eq!(
            ask(Dialect::Sqlite).rows(false),
            "SELECT * FROM (\nSELECT * FROM t WHERE x = 1\n) AS page \
             ORDER BY page.\"a\"\"b\" COLLATE BINARY, page.\"c\" COLLATE BINARY LIMIT ?2"
        );
    }

    #[test]
    fn a_table_is_read_with_its_keys() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

        assert_eq!(
            select_table("a\"; --", &[], &names(&["id"])),
            "SELECT * FROM \"a\"\"; --\""
        );
        assert_eq!(
            select_table("t", &names(&["x"]), &names(&["id", "x"])),
            "SELECT \"x\", \"id\" FROM \"t\""
        );
    }
}

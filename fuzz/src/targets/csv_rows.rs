//! CSV files, as the flights example reads them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowstone::prelude::*;

use super::{Target, texts};

#[path = "../../../examples/flights/csv_file.rs"]
#[expect(dead_code, reason = "only reading whole files is tried here")]
mod csv_file;

use csv_file::{CsvFile, FromRow, Row};

struct Flight {
    year: i16,
    name: String,
    delay: Option<f64>,
}

impl FromRow for Flight {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            year: row.get("year")?,
            name: row.get("name")?,
            delay: row.optional("delay")?,
        })
    }
}

pub(super) const CSV: Target = Target {
    name: "csv",
    corpus: || {
        texts(&[
            "year,name,delay\n2013,EWR,1.5\n2013,JFK,NA\n",
            "year,name,delay\r\n2013,\"a,b\",-3\r\n",
            "name,year,delay\n\"x\"\"y\n\",1,2\n",
            "year\n1\n",
        ])
    },
    run: |input| {
        let mut file = tempfile::NamedTempFile::new_in(super::memory()).expect("a file is made");
        let mut gzip = GzEncoder::new(&mut file, Compression::fast());
        gzip.write_all(input)
            .and_then(|()| gzip.finish().map(drop))
            .expect("it is written");
        let is_taken = read(file.path());
        // The bytes as they are, which are hardly ever gzip.
        std::fs::write(file.path(), input).expect("it is written");
        read(file.path());
        is_taken
    },
};

fn read(path: &std::path::Path) -> bool {
    let rows = CsvFile::open(path).and_then(|file| file.rows::<Flight>());
    if let Ok(rows) = &rows {
        let total: i64 = rows.iter().map(|flight| i64::from(flight.year)).sum();
        let named = rows
            .iter()
            .filter(|flight| !flight.name.is_empty() && flight.delay.is_some());
        assert!(named.count() <= rows.len() && total.unsigned_abs() <= rows.len() as u64 * 40_000);
    }
    rows.is_ok()
}

//! Values: they come back as they were, and equal ones are known to be equal.

use flowstone_core::ErrorKind;
use flowstone_core::io::{Address, INLINE_LEN_MAX, Stored};
use futures::TryStreamExt;
use futures::future::join_all;

use super::sample::Sample;
use super::{IoUnderTest, slot};

/// The empty value, small ones and a big one; as often as one asks, and at the same time.
pub async fn what_is_stored_is_loaded(under_test: IoUnderTest) {
    for sample in under_test.accepted() {
        for number in [0, 1, 2, 100, 20_000] {
            let stored = under_test
                .io
                .store(slot(number), &sample.value(number))
                .await
                .expect("it is stored");

            if let Address::Inline(bytes) = &stored.address {
                assert!(
                    bytes.len() <= INLINE_LEN_MAX,
                    "{} bytes are kept in the ledger",
                    bytes.len()
                );
            }
            let loads = join_all((0..3).map(|_| under_test.io.load(&stored, sample.ty()))).await;
            for loaded in loads {
                sample.check(&loaded.expect("it is loaded"), number);
            }
        }
    }
}

/// Rows that come in parts are stored as the whole is, however they are cut.
pub async fn rows_in_parts_are_stored_as_the_whole(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        for (number, len) in [(0, 1), (1, 1), (3, 1), (10, 3), (5000, 1000), (40_000, 7001)] {
            let Some(rows) = sample.rows(number, len) else {
                continue;
            };
            let whole = io.store(slot(0), &sample.value(number)).await.expect("it is stored");

            let stored = io.store_rows(slot(0), rows).await.expect("its rows are stored");

            let told = |stored: &Stored| (stored.data_version, matches!(stored.address, Address::Inline(_)));
            assert_eq!(told(&stored), told(&whole), "{number} rows, {len} at a time");
            sample.check(&io.load(&stored, sample.ty()).await.expect("they are loaded"), number);
            sample.check(&io.load(&whole, sample.ty()).await.expect("it is loaded"), number);
        }
    }
}

/// What is loaded in parts is what is loaded at once, however it was stored.
pub async fn what_is_loaded_in_parts_is_the_whole(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        for number in [0, 1, 2, 100, 40_000] {
            let mut all = vec![io.store(slot(0), &sample.value(number)).await.expect("it is stored")];
            if let Some(rows) = sample.rows(number, 7001) {
                all.push(io.store_rows(slot(0), rows).await.expect("its rows are stored"));
            }
            for stored in all {
                let parts = io.load_rows(&stored, sample.ty()).await.expect("it is loaded");

                let parts = parts.try_collect().await.expect("its parts are loaded");
                sample.check(&sample.join(parts), number);
            }
        }
    }
}

/// Rows of what is gone are not there, and those of another type are refused: at once or by the first part.
pub async fn parts_of_what_is_gone_or_of_another_type_are_refused(under_test: IoUnderTest) {
    let io = &under_test.io;
    let first_of = async |stored: &Stored, ty| io.load_rows(stored, ty).await?.try_next().await;
    for sample in under_test.accepted() {
        for number in [3, 40_000] {
            let stored = io.store(slot(0), &sample.value(number)).await.expect("it is stored");
            for other in Sample::usual().iter().filter(|other| other.ty() != sample.ty()) {
                let error = first_of(&stored, other.ty()).await.expect_err("it is of another type");
                let fits = matches!(error.kind(), ErrorKind::TypeMismatch | ErrorKind::Corrupt);
                assert!(fits, "a `{}` as a `{}`: {error}", sample.ty().name(), other.ty().name());
            }
            if matches!(stored.address, Address::Inline(_)) {
                continue;
            }
            io.delete(&stored.address).await.expect("it is deleted");
            let error = first_of(&stored, sample.ty()).await.expect_err("it is gone");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

/// When rows end with an error, that is told, and what is stored next is not touched by it.
pub async fn rows_that_break_off_are_not_stored(under_test: IoUnderTest) {
    let io = &under_test.io;
    for sample in under_test.accepted() {
        for (number, len) in [(0, 1), (1, 1), (5000, 1000)] {
            let (Some(broken), Some(whole)) = (sample.broken_rows(number, len), sample.rows(number, len)) else {
                continue;
            };
            let error = io.store_rows(slot(0), broken).await.expect_err("a row is missing");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

            let stored = io.store_rows(slot(0), whole).await.expect("the rows are stored");
            sample.check(&io.load(&stored, sample.ty()).await.expect("they are loaded"), number);
        }
    }
}

/// Equal content has one data version, wherever and whenever it is stored; other content has another.
pub async fn equal_values_have_equal_data_versions(under_test: IoUnderTest) {
    for sample in under_test.accepted() {
        let mut versions = Vec::new();
        for number in [0, 1, 2, 1000] {
            let first = under_test
                .io
                .store(slot(0), &sample.value(number))
                .await
                .expect("it is stored");
            let again = under_test
                .io
                .store(slot(number + 1), &sample.value(number))
                .await
                .expect("it is stored");
            assert_eq!(
                first.data_version,
                again.data_version,
                "`{}` number {number}",
                sample.ty().name()
            );
            assert_eq!((first.bytes, first.rows), (again.bytes, again.rows));
            versions.push(first.data_version);
        }
        versions.sort();
        versions.dedup();
        assert_eq!(
            versions.len(),
            4,
            "other content of `{}` has the same data version",
            sample.ty().name()
        );
    }
}

/// A value that is asked for as something else is refused, not misread.
pub async fn a_value_of_another_type_is_refused(under_test: IoUnderTest) {
    let samples = under_test.accepted();
    let all = Sample::usual();
    for sample in &samples {
        let stored = under_test
            .io
            .store(slot(0), &sample.value(3))
            .await
            .expect("it is stored");
        for other in samples
            .iter()
            .copied()
            .chain(&all)
            .filter(|other| other.ty() != sample.ty())
        {
            let error = under_test
                .io
                .load(&stored, other.ty())
                .await
                .expect_err("it is of another type");
            // A format that does not name its type sees only that the bytes are not such a value.
            let fits = matches!(error.kind(), ErrorKind::TypeMismatch | ErrorKind::Corrupt);
            assert!(
                fits,
                "a `{}` is asked for as a `{}`: {error}",
                sample.ty().name(),
                other.ty().name()
            );
        }
    }
}

/// What `accepts` refuses, `store` refuses too.
pub async fn what_is_not_accepted_is_not_stored(under_test: IoUnderTest) {
    for sample in &under_test.samples {
        let Err(refusal) = under_test.io.accepts(sample.ty()) else {
            continue;
        };
        assert_eq!(refusal.kind(), ErrorKind::TypeMismatch, "{refusal}");
        let stored = under_test.io.store(slot(0), &sample.value(1)).await;
        assert!(
            stored.is_err(),
            "`{}` is refused when it is defined, and stored when it is made",
            sample.ty().name()
        );
    }
}

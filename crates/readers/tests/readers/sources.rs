//! Lists, functions and streams as sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{keys, read_all, texts};
use flowstone_core::reader::{Cursor, Item, ItemSource};
use flowstone_core::{Error, ErrorKind};
use flowstone_readers::{from_fn, from_stream, items_from, keyed_items_from};
use futures::{StreamExt, stream};

#[tokio::test]
async fn the_last_page_of_a_list_says_that_it_is_the_last() {
    let mut reader = items_from([1, 2]).unwrap().open().await.unwrap();

    let page = reader.read(None, 2).await.unwrap();

    assert_eq!((page.items.len(), page.next), (2, None));
}

#[tokio::test]
async fn an_empty_list_has_no_items() {
    let none: [u8; 0] = [];

    assert!(read_all(&items_from(none).unwrap(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn values_have_the_keys_that_they_are_given() {
    let source = keyed_items_from([("UA", 1), ("B6", 2)], |(carrier, _)| *carrier).unwrap();

    let items = read_all(&source, 10).await.unwrap();

    assert_eq!(keys(&items), ["UA", "B6"]);
    assert_eq!(texts(&items), [r#"["UA",1]"#, r#"["B6",2]"#]);
    assert!(!source.open().await.unwrap().has_distinct_keys());
}

#[tokio::test]
async fn a_value_that_is_no_json_is_refused_where_the_source_is_made() {
    let keyed_by_lists = std::collections::BTreeMap::from([(vec![1], 2)]);

    assert_eq!(items_from([keyed_by_lists]).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_list_that_became_shorter_is_not_read_on() {
    let cursor = items_from([1, 2, 3, 4])
        .unwrap()
        .open()
        .await
        .unwrap()
        .read(None, 3)
        .await
        .unwrap()
        .next;

    let mut shorter = items_from([1]).unwrap().open().await.unwrap();
    let refused = shorter.read(cursor.as_ref(), 1).await.unwrap_err();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Corrupt, "source_changed")
    );
}

#[tokio::test]
async fn a_function_that_gives_too_much_is_refused() {
    let source = from_fn(|_: Option<u8>, items_max| async move {
        let items = (0..=items_max).map(|number| Item::new(number.to_string(), &number));
        Ok((items.collect::<Result<_, _>>()?, None))
    });

    let refused = read_all(&source, 2).await.unwrap_err();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::LimitExceeded, "page_too_long")
    );
    assert!(refused.advice().is_some());
}

#[tokio::test]
async fn what_a_function_says_passes_through() {
    let source = from_fn(|_: Option<u8>, _| async { Err(Error::rate_limited("slow down", Duration::from_secs(7))) });

    let error = read_all(&source, 2).await.unwrap_err();

    assert_eq!(
        error.retry(),
        flowstone_core::ErrorClass::RateLimited(Duration::from_secs(7))
    );
}

#[tokio::test]
async fn a_cursor_that_the_function_cannot_read_is_refused() {
    let of_numbers = from_fn(|_: Option<u64>, _| async { Ok((Vec::new(), Some(7))) });
    let of_texts = from_fn(|_: Option<String>, _| async { Ok((Vec::new(), None)) });
    let cursor = of_numbers.open().await.unwrap().read(None, 1).await.unwrap().next;

    let refused = of_texts
        .open()
        .await
        .unwrap()
        .read(cursor.as_ref(), 1)
        .await
        .unwrap_err();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Unsupported, "cursor_version")
    );
}

#[tokio::test]
async fn distinct_keys_are_believed() {
    let function = from_fn(|_: Option<u8>, _| async { Ok((Vec::new(), None)) });
    let stream = from_stream(stream::empty);

    assert!(!function.open().await.unwrap().has_distinct_keys());
    assert!(function.distinct_keys().open().await.unwrap().has_distinct_keys());
    assert!(!stream.open().await.unwrap().has_distinct_keys());
    assert!(stream.distinct_keys().open().await.unwrap().has_distinct_keys());
}

#[tokio::test]
async fn a_stream_is_opened_once_while_nothing_goes_wrong() {
    let opened = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&opened);
    let source = from_stream(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        stream::iter(0..50).map(|number| Item::new(number.to_string(), &number))
    });

    let items = read_all(&source, 7).await.unwrap();

    assert_eq!((items.len(), opened.load(Ordering::Relaxed)), (50, 1));
}

#[tokio::test]
async fn a_stream_that_failed_is_opened_again_and_goes_on_where_it_was() {
    let opened = Arc::new(AtomicU32::new(0));
    let source = from_stream(move || {
        let is_first = opened.fetch_add(1, Ordering::Relaxed) == 0;
        stream::iter(0..6).map(move |number| match number {
            4 if is_first => Err(Error::transient("gone")),
            _ => Item::new(number.to_string(), &number),
        })
    });
    let mut reader = source.open().await.unwrap();
    let first = reader.read(None, 3).await.unwrap();

    let failed = reader.read(first.next.as_ref(), 3).await.unwrap_err();
    let rest = reader.read(first.next.as_ref(), 3).await.unwrap();

    assert!(failed.retry().is_retryable());
    assert_eq!(
        (keys(&first.items), keys(&rest.items)),
        (vec!["0", "1", "2"], vec!["3", "4", "5"])
    );
}

#[tokio::test]
async fn a_stream_that_became_shorter_is_not_read_on() {
    let numbers = |count| from_stream(move || stream::iter(0..count).map(|n| Item::new(n.to_string(), &n)));
    let cursor = numbers(9).open().await.unwrap().read(None, 5).await.unwrap().next;

    let refused = numbers(3)
        .open()
        .await
        .unwrap()
        .read(cursor.as_ref(), 5)
        .await
        .unwrap_err();

    assert_eq!(refused.stable_code(), "source_changed");
    assert!(
        refused
            .to_string()
            .contains("5 items were read before, and now there are 3 only")
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_does_not_hold_back_what_it_gave() {
    let source = from_stream(|| {
        stream::iter(0..3).then(|number| async move {
            tokio::time::sleep(Duration::from_secs(u64::from(number == 2) * 3_600)).await;
            Item::new(number.to_string(), &number)
        })
    });
    let mut reader = source.open().await.unwrap();

    let before_the_pause = reader.read(None, 10).await.unwrap();
    let after = reader.read(before_the_pause.next.as_ref(), 10).await.unwrap();

    assert_eq!(
        (keys(&before_the_pause.items), keys(&after.items)),
        (vec!["0", "1"], vec!["2"])
    );
}

#[tokio::test]
async fn a_cursor_of_another_source_is_refused() {
    let foreign = Cursor {
        version: 1,
        position: b"?".to_vec(),
    };
    let list = items_from([1]).unwrap();
    let stream = from_stream(stream::empty);
    let function = from_fn(|_: Option<u8>, _| async { Ok((Vec::new(), None)) });

    for source in [&list as &dyn ItemSource, &stream, &function] {
        let refused = source.open().await.unwrap().read(Some(&foreign), 1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
}

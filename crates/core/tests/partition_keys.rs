//! Keys: one text and one binary form each, order kept, limits held, formats stable.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{KEY_DEPTH_MAX, KEY_TEXT_BYTES_MAX, PartitionKey};
use jiff::Timestamp;
use jiff::civil::Date;
use proptest::prelude::*;

fn any_key() -> impl Strategy<Value = PartitionKey> {
    let leaf = prop_oneof![
        Just(PartitionKey::Unit),
        any::<bool>().prop_map(PartitionKey::Bool),
        prop_oneof![
            i128::from(i64::MIN)..=i128::from(u64::MAX),
            -3_i128..3,
            Just(i64::MIN.into()),
            Just(u64::MAX.into())
        ]
        .prop_map(PartitionKey::Int),
        any_text().prop_map(PartitionKey::Text),
        (any_year(), 1_i8..=12, 1_i8..=28)
            .prop_map(|(year, month, day)| PartitionKey::Date(Date::new(year, month, day).unwrap())),
        (any_year(), 1_i8..=12).prop_map(|(year, month)| PartitionKey::Month { year, month }),
        any_year().prop_map(PartitionKey::Year),
        prop_oneof![
            Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond(),
            -3_000_000_000_i128..3_000_000_000
        ]
        .prop_map(|nanos| PartitionKey::Instant(Timestamp::from_nanosecond(nanos).unwrap())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(PartitionKey::Tuple)
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[\"\\\\(),.| -]{0,6}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}a]{0,4}",
        Just(String::new()),
        Just("1".to_owned()),
        Just("2013-01-01".to_owned()),
    ]
}

fn any_year() -> impl Strategy<Value = i16> {
    prop_oneof![-9999_i16..=9999, 2012_i16..=2014, Just(-1), Just(0)]
}

proptest! {
    #[test]
    fn text_and_bytes_round_trip(key in any_key()) {
        prop_assert_eq!(&key.to_string().parse::<PartitionKey>().unwrap(), &key);
        prop_assert_eq!(&PartitionKey::decode(&key.encode()).unwrap(), &key);
    }

    #[test]
    fn bytes_order_as_keys_do(a in any_key(), b in any_key()) {
        prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
    }

    #[test]
    fn different_keys_differ_in_both_forms(a in any_key(), b in any_key()) {
        prop_assert_eq!(a == b, a.to_string() == b.to_string());
        prop_assert_eq!(a == b, a.encode() == b.encode());
    }

    #[test]
    fn hostile_bytes_give_an_error_or_a_key_with_exactly_these_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(key) = PartitionKey::decode(&bytes) {
            prop_assert_eq!(key.encode(), bytes);
        }
    }

    #[test]
    fn a_damaged_key_never_reads_as_another_form_of_itself(key in any_key(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = key.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = PartitionKey::decode(&bytes) {
            prop_assert_ne!(other, key);
        }
    }

    #[test]
    fn hostile_text_never_panics(text in "[-()\",\\\\uTZY:+.0-9a-f{} ]{0,24}") {
        if let Ok(key) = text.parse::<PartitionKey>() {
            prop_assert_eq!(key.to_string().parse::<PartitionKey>().unwrap(), key);
        }
    }

    #[test]
    fn an_instant_with_any_offset_is_one_key(seconds in -1_000_000_000_i64..4_000_000_000, minutes in -1439_i32..1440) {
        let instant = Timestamp::from_second(seconds).unwrap();
        let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
        let text = instant.display_with_offset(offset).to_string();

        prop_assert_eq!(text.parse::<PartitionKey>().unwrap(), PartitionKey::Instant(instant));
    }
}

#[test]
fn keys_of_different_types_are_never_equal() {
    let texts = [
        "()",
        "\"\"",
        "\"nil\"",
        "1",
        "\"1\"",
        "true",
        "\"true\"",
        "(,)",
        "(1,)",
        "((),)",
        "((,),)",
        "2013",
        "Y2013",
        "2013-01",
        "2013-01-01",
        "2013-01-01T00:00:00Z",
        "\"2013-01-01\"",
        "\"d:\"",
        "\"t:!!\"",
        "\"s:\"",
        "\"()\"",
        "(\"a\", 1)",
        "\"(\\\"a\\\", 1)\"",
    ];

    for (position, text) in texts.iter().enumerate() {
        let key: PartitionKey = text.parse().unwrap();
        assert_eq!(key.to_string(), *text);
        assert_eq!(PartitionKey::decode(&key.encode()).unwrap(), key);
        for other in &texts[..position] {
            let other: PartitionKey = other.parse().unwrap();
            assert_ne!(key, other);
            assert_ne!(key.encode(), other.encode());
        }
    }
}

#[test]
fn prefix_like_texts_are_only_texts() {
    for text in [
        "",
        "d:",
        "t:!!",
        "s:",
        "nil",
        "NUL\0NUL",
        "Zürich ✈ 東京",
        "\u{7f}\u{9b}",
        "a\"b\\c",
    ] {
        let key = PartitionKey::text(text).unwrap();

        assert_eq!(key.to_string().parse::<PartitionKey>().unwrap(), key, "{text:?}");
        assert_eq!(PartitionKey::decode(&key.encode()).unwrap(), key, "{text:?}");
    }
}

#[test]
fn numbers_reach_the_edges_of_both_word_types_and_no_further() {
    for edge in [
        i128::from(i64::MIN),
        -1,
        0,
        i128::from(i64::MAX),
        i128::from(i64::MAX) + 1,
        u64::MAX.into(),
    ] {
        let key = PartitionKey::int(edge).unwrap();
        assert_eq!(key.to_string(), edge.to_string());
        assert_eq!(PartitionKey::decode(&key.encode()).unwrap(), key);
    }

    for beyond in [i128::from(i64::MIN) - 1, i128::from(u64::MAX) + 1, i128::MAX] {
        assert_eq!(PartitionKey::int(beyond).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(
            beyond.to_string().parse::<PartitionKey>().unwrap_err().kind(),
            ErrorKind::OutOfRange
        );
        assert!(PartitionKey::decode(&PartitionKey::Int(beyond).encode()).is_err());
    }
    assert!(
        "170141183460469231731687303715884105728"
            .parse::<PartitionKey>()
            .is_err()
    );
}

#[test]
fn a_text_beyond_the_limit_is_refused_with_the_limit_named() {
    let fits = "x".repeat(KEY_TEXT_BYTES_MAX);
    assert!(PartitionKey::text(fits).is_ok());

    let long = "x".repeat(10 * 1024);
    for error in [
        PartitionKey::text(long.as_str()).unwrap_err(),
        format!("\"{long}\"").parse::<PartitionKey>().unwrap_err(),
        PartitionKey::decode(&PartitionKey::Text(long.clone()).encode()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains("the limit is 1024 bytes"), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }

    let wide = PartitionKey::tuple((0..20).map(|_| PartitionKey::Text("x".repeat(1000)))).unwrap_err();
    assert!(wide.to_string().contains("the limit is 16384 bytes"), "{wide}");
}

#[test]
fn tuples_nest_to_the_limit_and_no_deeper() {
    let nest = |depth: usize| (0..depth).fold(PartitionKey::from(1), |key, _| PartitionKey::Tuple(vec![key]));
    let deepest = nest(KEY_DEPTH_MAX);
    let deeper = nest(KEY_DEPTH_MAX + 1);

    assert_eq!(deepest.to_string().parse::<PartitionKey>().unwrap(), deepest);
    assert_eq!(PartitionKey::decode(&deepest.encode()).unwrap(), deepest);
    for error in [
        PartitionKey::tuple([deepest]).unwrap_err(),
        deeper.to_string().parse::<PartitionKey>().unwrap_err(),
        PartitionKey::decode(&deeper.encode()).unwrap_err(),
        "(".repeat(100_000).parse::<PartitionKey>().unwrap_err(),
        PartitionKey::decode(&[&[1][..], &[0x90; 16_000]].concat()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        assert!(error.to_string().contains("32"), "{error}");
    }
}

#[test]
fn the_same_instant_with_two_offsets_is_one_key() {
    let utc: PartitionKey = "2013-01-01T05:00:00Z".parse().unwrap();
    let new_york: PartitionKey = "2013-01-01T00:00:00-05:00".parse().unwrap();

    assert_eq!(utc, new_york);
    assert_eq!(new_york.to_string(), "2013-01-01T05:00:00Z");
}

#[test]
fn leap_seconds_and_instants_without_an_offset_are_refused() {
    for text in [
        "2016-12-31T23:59:60Z",
        "2016-12-31T18:59:60-05:00",
        "2013-01-01T05:00:00",
        "2013-01-01T050000Z",
        "2013-01-01T00:00:00-05:00[America/New_York]",
    ] {
        let error = text.parse::<PartitionKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(error.advice().is_some(), "{text}");
    }
}

#[test]
fn text_that_is_no_key_is_refused_with_a_hint() {
    for text in [
        "",
        "EWR",
        "\"",
        "\"a",
        "a\"",
        "\"\\x\"",
        "\"\\u{}\"",
        "\"\\u{d800}\"",
        "(",
        "(1",
        "(1)",
        "(1,2,)",
        "(,1)",
        "(1,,2)",
        "1 2",
        "()()",
        "01",
        "+1",
        "-0",
        "-",
        "1.5",
        "2013-13",
        "2013-1",
        "2013-02-30",
        "2013-1-1",
        "Y13",
        "20130101T00:00:00Z",
        "Y-0001",
        "TRUE",
        "null",
    ] {
        let error = text.parse::<PartitionKey>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    let refused: &[(&[u8], &str)] = &[
        (&[], "ends too early"),
        (&[1], "ends too early"),
        (&[2, 0x10], "format version is 2"),
        (&[1, 0x11], "0x11 is no type tag"),
        (&[1, 0x00], "0x00 is no type tag"),
        (&[1, 0xff], "0xff is no type tag"),
        (&[1, 0x10, 0x10], "1 bytes follow"),
        (&[1, 0x20, 2], "no truth value"),
        (&[1, 0x40, b'a'], "ends too early"),
        (&[1, 0x40, 0, 7], "not marked"),
        (&[1, 0x40, 0xc3, 0, 0], "not UTF-8"),
        (&[1, 0x50, 0x87, 0xdd, 2, 30], "does not exist"),
        (&[1, 0x60, 0x87, 0xdd, 0x80 ^ 13], "does not exist"),
        (&[1, 0x90, 0x10], "ends too early"),
    ];

    for (bytes, why) in refused {
        let error = PartitionKey::decode(bytes).unwrap_err();
        assert!(error.to_string().contains(why), "{bytes:?}: {error}");
    }
}

#[test]
fn the_golden_file_still_reads_and_writes_the_same() {
    let golden = include_str!("partition_keys.golden");
    let mut last = Vec::new();
    let mut tags = std::collections::BTreeSet::new();

    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let (bytes, text) = line.split_once(' ').unwrap();
        let key: PartitionKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        let encoded = key.encode();
        assert_eq!(
            encoded.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            bytes,
            "{text}"
        );
        assert_eq!(PartitionKey::decode(&encoded).unwrap(), key);
        assert!(last < encoded, "{text} is out of order");
        tags.insert(encoded[1]);
        last = encoded;
    }

    assert_eq!(tags.len(), 9, "every sort of key is in the file");
}

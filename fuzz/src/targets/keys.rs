//! Partition keys as text and as bytes, and the spaces that they are looked up in.

use flowstone_core::partition::{Daily, EveryMinutes, Monthly, PartitionKey, PartitionSpace, Partitions};

use super::{Target, texts};

pub(super) const TEXT: Target = Target {
    name: "partition_key_text",
    corpus: || {
        texts(&[
            "unit",
            "i:-170141183460469231731687303715884105728",
            "s:a,b",
            "2013-01-01",
            "(2013-01-01,\"EWR\")",
            "\"\"",
            "true",
            "17",
            "2013-01",
            "2013",
            "2013-01-01T05:00:00Z",
            "((1,2),(),(\"x\",))",
        ])
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return false;
        };
        let Ok(key) = text.parse::<PartitionKey>() else {
            return false;
        };
        let told = key.to_string();
        let again: PartitionKey = told.parse().expect("what a key says of itself is a key");
        assert_eq!(again, key, "{told}");
        assert_eq!(PartitionKey::decode(&key.encode()).expect("it is encoded"), key);
        true
    },
};

pub(super) const BINARY: Target = Target {
    name: "partition_key_binary",
    corpus: || {
        let keys = [
            PartitionKey::int(7),
            PartitionKey::int(i64::MIN),
            PartitionKey::text("EWR"),
            PartitionKey::text(""),
            PartitionKey::month(2013, 1),
            PartitionKey::year(2013),
            PartitionKey::tuple([
                PartitionKey::int(1).expect("a key"),
                PartitionKey::text("é\0").expect("a key"),
            ]),
        ];
        keys.into_iter().map(|key| key.expect("a key").encode()).collect()
    },
    run: |input| {
        let Ok(key) = PartitionKey::decode(input) else {
            return false;
        };
        assert_eq!(key.encode(), input, "{key} has two encodings");
        let again: PartitionKey = key.to_string().parse().expect("what a key says of itself is a key");
        assert_eq!(again, key);
        true
    },
};

pub(super) const SPACES: Target = Target {
    name: "partition_of_a_space",
    corpus: || {
        texts(&[
            "2013-01-01",
            "2013-01",
            "2013-01-01T05:15:00",
            "EWR",
            "2013-01-31|EWR",
            "-",
            "a..b",
            "9999-12-31",
        ])
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return false;
        };
        let mut is_taken = false;
        for space in spaces() {
            if let Ok(index) = space.parse(text) {
                let label = space.label(index);
                assert_eq!(space.parse(&label).ok(), Some(index), "{text} is {label}");
                is_taken = true;
            }
        }
        is_taken
    },
};

fn spaces() -> Vec<PartitionSpace> {
    let all: [Partitions; 5] = [
        Partitions::unit(),
        Partitions::keys(["EWR", "a", "..", "|", ""]),
        Daily::from("2013-01-01").into(),
        Monthly::from("2013-01").into(),
        EveryMinutes::from(15, "2013-01-01T00:00").into(),
    ];
    all.into_iter()
        .map(|partitions| partitions.build().expect("a space"))
        .collect()
}

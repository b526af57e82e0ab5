//! Users' values in every codec.

use std::collections::BTreeMap;

use flowstone_core::codec::{Bincode, Codec, Json, JsonLines, Postcard, by_tag};
use flowstone_core::{TypeInfo, Value};
use serde::{Deserialize, Serialize};

use super::Target;

/// A value with a little of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    share: Option<f64>,
    text: String,
    list: Vec<(i32, bool)>,
    map: BTreeMap<String, Vec<u8>>,
}

fn sample() -> Sample {
    Sample {
        number: 7,
        share: Some(0.5),
        text: "text é".to_owned(),
        list: vec![(1, true), (-2, false)],
        map: [("a".to_owned(), vec![1, 2, 3])].into(),
    }
}

pub(super) const CODECS: Target = Target {
    name: "codecs",
    corpus: || {
        let codecs: [&dyn Codec; 3] = [&Json, &Bincode, &Postcard];
        let encoded = codecs.iter().map(|codec| codec.encode(&Value::new(sample())));
        let lines = JsonLines.encode(&Value::new(vec![sample(), sample()]));
        encoded
            .chain([lines])
            .map(|bytes| bytes.expect("it can be written").to_vec())
            .collect()
    },
    run: |input| {
        let Ok(codec) = by_tag(input) else { return false };
        // Only sequences are written as lines.
        let ty = if codec.tag() == JsonLines.tag() {
            TypeInfo::of::<Vec<Sample>>()
        } else {
            TypeInfo::of::<Sample>()
        };
        let decoded = codec.decode(input, ty);
        if let Ok(value) = &decoded {
            // A number that JSON cannot hold is refused when it is written.
            let Ok(encoded) = codec.encode(value) else { return true };
            let again = codec.decode(&encoded, ty).expect("what was written can be read");
            let encoded_again = codec.encode(&again).expect("it was written before");
            assert_eq!(encoded_again, encoded);
        }
        decoded.is_ok()
    },
};

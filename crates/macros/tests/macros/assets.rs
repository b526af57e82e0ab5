//! Lists of assets.

use flowstone::pipeline::Pipeline;
use flowstone_macros::{asset, assets};

mod ingest {
    use flowstone_macros::asset;

    #[asset]
    pub(crate) fn r#type() -> u64 {
        1
    }

    #[asset]
    pub(crate) fn total(_type: u64) -> u64 {
        1
    }
}

#[test]
fn paths_and_a_last_comma_are_taken() {
    let names: Vec<String> = assets![ingest::r#type, ingest::total,]
        .iter()
        .map(|asset| asset.name().to_owned())
        .collect();

    assert_eq!(names, ["type", "total"]);
    assert!(assets![].is_empty());
}

#[test]
fn an_asset_that_is_listed_twice_is_refused_when_the_pipeline_is_built() {
    let all = assets![ingest::r#type, ingest::r#type];

    let error = Pipeline::builder("test").assets(all).build().unwrap_err();

    assert_eq!(error.stable_code(), "asset_twice");
}

#[test]
fn a_crate_without_the_facade_says_where_to_look() {
    use flowstone as renamed;

    #[asset(crate = renamed)]
    fn one() -> u64 {
        1
    }

    assert_eq!(assets![crate = renamed; one].len(), 1);
}

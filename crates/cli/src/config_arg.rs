//! What `--config` means: values by asset and field, from the command line, from JSON text, or from a file.
//!
//! Later ones win, field by field. Whether an asset takes what it is given is the planner's to say.

use std::fs;
use std::io::Read as _;

use flowstone_core::graph::AssetGraph;
use flowstone_core::plan::RunConfig;
use flowstone_core::{AssetKey, Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// The longest configuration file, in bytes.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Reads all `--config` arguments, in order.
pub(crate) fn read(graph: &AssetGraph, arguments: &[String]) -> Result<RunConfig> {
    let mut config = RunConfig::default();
    for argument in arguments {
        let invalid = |message: String| {
            Error::new(ErrorKind::Invalid, message)
                .code("config_argument")
                .during("read")
                .about(format!("--config {argument}"))
                .fix("write `asset.field=value`, a JSON object as `{\"asset\": {\"field\": 1}}`, or the name of a file with one")
        };
        if argument.trim_start().starts_with('{') {
            merge_sections(&mut config, graph, parse_object(argument).map_err(invalid)?)?;
        } else if let Some((path, value)) = argument.split_once('=') {
            let (key, fields) = split_path(graph, path)?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            let nested = fields.iter().rev().fold(value, |inner, field| {
                Value::Object(Map::from_iter([((*field).to_owned(), inner)]))
            });
            let Value::Object(section) = nested else {
                return Err(invalid("it names no field".to_owned()));
            };
            merge(config.0.entry(key).or_default(), section);
        } else {
            let text = read_file(argument).map_err(invalid)?;
            merge_sections(&mut config, graph, parse_object(&text).map_err(invalid)?)?;
        }
    }
    Ok(config)
}

fn parse_object(text: &str) -> std::result::Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

fn read_file(path: &str) -> std::result::Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file
        .take(FILE_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if read as u64 > FILE_LEN_MAX {
        return Err(format!("the file is longer than {FILE_LEN_MAX} bytes"));
    }
    Ok(text)
}

fn merge_sections(config: &mut RunConfig, graph: &AssetGraph, sections: Map<String, Value>) -> Result<()> {
    for (name, section) in sections {
        let key = graph.node(graph.find(&name)?).key().clone();
        let Value::Object(section) = section else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the configuration of asset {name} is no JSON object"),
            )
            .code("config_argument")
            .fix("give an object with a member for each field"));
        };
        merge(config.0.entry(key).or_default(), section);
    }
    Ok(())
}

/// The asset and the fields in `asset.field.field`. An asset's name may hold dots: the longest that there is wins.
fn split_path<'a>(graph: &AssetGraph, path: &'a str) -> Result<(AssetKey, Vec<&'a str>)> {
    let dots = path.rmatch_indices('.').map(|(at, _)| at);
    for at in dots {
        let (asset, fields) = (&path[..at], &path[at + 1..]);
        if let Ok(ix) = graph.find(asset) {
            return Ok((graph.node(ix).key().clone(), fields.split('.').collect()));
        }
    }
    let first = path.split('.').next().unwrap_or(path);
    // The name alone is no path, whether there is such an asset or not.
    graph.find(first).and_then(|_| {
        Err(Error::new(ErrorKind::Invalid, format!("{path:?} names no field"))
            .code("config_argument")
            .fix(format!("write `--config {first}.<field>=<value>`")))
    })
}

/// Lays `over` onto `under`: objects field by field, everything else whole.
fn merge(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (field, value) in over {
        match (under.get_mut(&field), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
            (_, value) => {
                under.insert(field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstone_core::asset::Asset;
    use flowstone_core::pipeline::Pipeline;
    use serde_json::json;

    use super::*;

    fn config(arguments: &[&str]) -> Result<Value> {
        let asset = |name: &str| Asset::new(name).run(|| async { 1_i64 });
        let pipeline = Pipeline::builder("p").asset(asset("a")).asset(asset("a.b")).build()?;
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let read = read(pipeline.graph(), &arguments)?;
        Ok(serde_json::to_value(&read.0).unwrap())
    }

    #[test]
    fn a_value_is_json_where_it_can_be_and_text_elsewhere() {
        let read = config(&["a.n=3", "a.text=three", "a.quoted=\"3\"", "a.list=[1,2]", "a.empty="]).unwrap();

        assert_eq!(
            read,
            json!({"a": {"n": 3, "text": "three", "quoted": "3", "list": [1, 2], "empty": ""}})
        );
    }

    #[test]
    fn the_longest_asset_that_there_is_is_meant() {
        let read = config(&["a.b.c=1", "a.x.y=2"]).unwrap();

        assert_eq!(read, json!({"a.b": {"c": 1}, "a": {"x": {"y": 2}}}));
    }

    #[test]
    fn later_arguments_win_field_by_field() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"a": {"n": 1, "m": {"x": 1, "y": 1}}}"#).unwrap();

        let read = config(&[file.to_str().unwrap(), r#"{"a": {"m": {"y": 2}}}"#, "a.n=3"]).unwrap();

        assert_eq!(read, json!({"a": {"n": 3, "m": {"x": 1, "y": 2}}}));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_fix() {
        for (argument, says) in [
            ("a=3", "names no field"),
            ("{\"a\": 3}", "no JSON object"),
            ("{\"a\": ", "no JSON"),
            ("nothing.json", "--config nothing.json"),
        ] {
            let error = config(&[argument]).unwrap_err();

            assert!(error.to_string().contains(says), "{argument}: {error}");
            assert!(error.advice().is_some(), "{argument}");
        }
        assert_eq!(config(&["b.n=3"]).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

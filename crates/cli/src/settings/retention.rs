//! How long what is over is kept, as `flowstone.toml` says it.
//!
//! ```toml
//! [retention]
//! events = { age = "90d" }
//! runs = { age = "30d", count = 500 }
//! versions = { count = 5 }
//!
//! [retention.assets]
//! clean_flights = { age = "0s", count = 1 }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use flowstone_core::retention::{Keep, Retention};
use flowstone_core::{AssetKey, Error, ErrorKind, Result};
use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

/// The word for an age that nothing reaches.
const FOREVER: &str = "forever";

/// The table of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionSettings {
    events: Option<KeepSettings>,
    runs: Option<KeepSettings>,
    versions: Option<KeepSettings>,
    assets: Option<BTreeMap<String, KeepSettings>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepSettings {
    age: Option<String>,
    count: Option<u64>,
}

impl RetentionSettings {
    /// What the file says; the rest as by default, and for single assets as for all.
    pub(super) fn resolve(&self) -> Result<Retention> {
        let defaults = Retention::default();
        let keep = |name: &str, said: Option<&KeepSettings>, default: Keep| match said {
            Some(said) => said
                .over(default)
                .map_err(|error| error.about(format!("retention.{name}"))),
            None => Ok(default),
        };
        let versions = keep("versions", self.versions.as_ref(), defaults.versions)?;
        let mut by_asset = BTreeMap::new();
        for (name, said) in self.assets.iter().flatten() {
            let key = AssetKey::new(name).map_err(|error| error.during("read").about("retention.assets"))?;
            by_asset.insert(key, keep(&format!("assets.{name}"), Some(said), versions)?);
        }
        Ok(Retention {
            events: keep("events", self.events.as_ref(), defaults.events)?,
            runs: keep("runs", self.runs.as_ref(), defaults.runs)?,
            versions,
            by_asset,
        })
    }
}

impl KeepSettings {
    fn over(&self, default: Keep) -> Result<Keep> {
        Ok(Keep {
            age: self.age.as_deref().map_or(Ok(default.age), parse_age)?,
            count: self.count.unwrap_or(default.count),
        })
    }
}

fn parse_age(text: &str) -> Result<Duration> {
    if text == FOREVER {
        return Ok(Duration::MAX);
    }
    let span = text.parse::<Span>().ok();
    let age = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    age.and_then(|age| Duration::try_from(age).ok()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("{text:?} is no age"))
            .code("setting_invalid")
            .during("read")
            .fix(format!("write it as `30d`, `12h` or `2w`, or {FOREVER:?}"))
    })
}

/// What is kept, in the words of a person.
pub(crate) fn describe(keep: Keep) -> String {
    let hours = keep.age.as_secs() / 3600;
    let age = match (keep.age, hours) {
        (Duration::MAX, _) => return FOREVER.to_owned(),
        (Duration::ZERO, _) => None,
        (_, hours) if hours > 0 && hours % 24 == 0 => Some(format!("{} d", hours / 24)),
        (age, _) => Some(format!("{age:?}")),
    };
    match (age, keep.count) {
        (None, count) => format!("the newest {count}"),
        (Some(age), 0) => age,
        (Some(age), count) => format!("{age}, at least {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Retention> {
        let settings: RetentionSettings = toml::from_str(text).expect("it is well formed");
        settings.resolve()
    }

    #[test]
    fn what_is_not_said_is_as_by_default_and_for_assets_as_for_all() {
        let retention =
            resolve("runs = { age = \"2w\" }\nversions = { count = 7 }\nassets = { a = { age = \"0s\" } }").unwrap();

        let defaults = Retention::default();
        assert_eq!(retention.events, defaults.events);
        assert_eq!(retention.runs.age, Duration::from_hours(14 * 24));
        assert_eq!(retention.runs.count, defaults.runs.count);
        let key: AssetKey = "a".parse().unwrap();
        assert_eq!(
            retention.by_asset[&key],
            Keep {
                age: Duration::ZERO,
                count: 7
            }
        );
        assert_eq!(
            resolve("events = { age = \"forever\" }").unwrap().events.age,
            Duration::MAX
        );
    }

    #[test]
    fn an_age_that_is_none_is_refused_with_its_place_and_the_fix() {
        for text in ["soon", "-1d", "", "1y"] {
            let error = resolve(&format!("assets = {{ a = {{ age = {text:?} }} }}")).unwrap_err();

            assert!(error.to_string().contains("retention.assets.a"), "{error}");
            assert!(error.advice().unwrap().contains("30d"));
        }
    }

    #[test]
    fn it_reads_well() {
        let texts = [
            describe(Keep {
                age: Duration::from_hours(720),
                count: 3,
            }),
            describe(Keep::last(5)),
            describe(Keep::days(2)),
            describe(Keep::ALL),
        ];

        assert_eq!(texts, ["30 d, at least 3", "the newest 5", "2 d", "forever"]);
    }
}

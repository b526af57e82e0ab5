//! The settings: `flowstone.toml`, then `FLOWSTONE_*`, then flags; the later wins, and each remembers where it came from.

mod file;
mod retention;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use flowstone_core::retention::Retention;
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_runtime::EngineOptions;
use jiff::SignedDuration;

use crate::args::{EngineArgs, GlobalArgs};

pub(crate) use file::{FILE_NAME, FileSettings};
pub(crate) use retention::describe as describe_keep;

/// The environment variables that are read.
pub(crate) const VARIABLES: [&str; 4] = [
    "FLOWSTONE_STATE_DIR",
    "FLOWSTONE_WORKERS",
    "FLOWSTONE_CANCEL_GRACE",
    "FLOWSTONE_LOG",
];

/// The most workers that may be asked for.
const WORKERS_MAX: usize = 4096;

/// The longest grace that may be asked for.
const CANCEL_GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File,
    Variable(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => FILE_NAME,
            Self::Variable(name) | Self::Flag(name) => name,
        })
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where state lies.
    pub(crate) state_dir: Setting<PathBuf>,
    /// How many steps run at once.
    pub(crate) workers: Setting<usize>,
    /// How long a step may take to end when it is asked to.
    pub(crate) cancel_grace: Setting<Duration>,
    /// What is logged.
    pub(crate) log: Setting<String>,
    /// How long what is over is kept.
    pub(crate) retention: Setting<Retention>,
    /// The slots of pools, where they are to be others than the pipeline says.
    pub(crate) pools: Setting<BTreeMap<String, u32>>,
}

/// The environment, as settings see it.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub(crate) fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Settings {
    /// Reads the file in the current folder, and takes everything together.
    ///
    /// # Errors
    /// `Invalid` for a value or key that is not well formed, with where it stands.
    pub(crate) fn read(global: &GlobalArgs, engine: &EngineArgs) -> Result<Self> {
        Self::resolve(
            &FileSettings::read(FILE_NAME.as_ref())?,
            &process_environment,
            global,
            engine,
        )
    }

    /// Takes everything together; reads nothing.
    pub(crate) fn resolve(
        file: &FileSettings,
        environment: Environment<'_>,
        global: &GlobalArgs,
        engine: &EngineArgs,
    ) -> Result<Self> {
        let defaults = EngineOptions::default();
        let state_dir = match &global.state_dir {
            Some(flag) => Setting {
                value: flag.clone(),
                origin: Origin::Flag("--state-dir"),
            },
            None => match environment("FLOWSTONE_STATE_DIR").filter(|value| !value.is_empty()) {
                Some(value) => Setting {
                    value: value.into(),
                    origin: Origin::Variable("FLOWSTONE_STATE_DIR"),
                },
                None => match &file.state_dir {
                    Some(value) => Setting {
                        value: value.into(),
                        origin: Origin::File,
                    },
                    None => Setting {
                        value: ".flowstone".into(),
                        origin: Origin::Default,
                    },
                },
            },
        };
        if state_dir.value.as_os_str().is_empty() {
            return Err(invalid("it is empty").about(format!("the state folder ({})", state_dir.origin)));
        }
        let workers = text(
            "--workers",
            engine.workers.as_deref(),
            "FLOWSTONE_WORKERS",
            environment,
            file.workers.map(|workers| workers.to_string()),
        )?;
        let cancel_grace = text(
            "--cancel-grace",
            engine.cancel_grace.as_deref(),
            "FLOWSTONE_CANCEL_GRACE",
            environment,
            file.cancel_grace.clone(),
        )?;
        let log = text(
            "--log",
            global.log.as_deref(),
            "FLOWSTONE_LOG",
            environment,
            file.log.clone(),
        )?;
        Ok(Self {
            state_dir,
            workers: read(workers, defaults.workers, parse_workers)?,
            cancel_grace: read(cancel_grace, defaults.cancel_grace, parse_grace)?,
            log: read(log, "warn".to_owned(), |text| Ok(text.to_owned()))?,
            pools: read_pools(file.pools.as_ref())?,
            retention: match &file.retention {
                Some(said) => Setting {
                    value: said.resolve()?,
                    origin: Origin::File,
                },
                None => Setting {
                    value: defaults.retention,
                    origin: Origin::Default,
                },
            },
        })
    }
}

/// The text of a setting from the last place that has one.
fn text(
    flag_name: &'static str,
    flag: Option<&str>,
    variable: &'static str,
    environment: Environment<'_>,
    file: Option<String>,
) -> Result<Option<Setting<String>>> {
    if let Some(value) = flag {
        return Ok(Some(Setting {
            value: value.to_owned(),
            origin: Origin::Flag(flag_name),
        }));
    }
    if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
        let value = value
            .into_string()
            .map_err(|_| invalid("it is not UTF-8").about(variable))?;
        return Ok(Some(Setting {
            value,
            origin: Origin::Variable(variable),
        }));
    }
    Ok(file.map(|value| Setting {
        value,
        origin: Origin::File,
    }))
}

fn read<T>(text: Option<Setting<String>>, default: T, parse: impl Fn(&str) -> Result<T>) -> Result<Setting<T>> {
    match text {
        None => Ok(Setting {
            value: default,
            origin: Origin::Default,
        }),
        Some(Setting { value, origin }) => parse(&value)
            .map(|value| Setting { value, origin })
            .map_err(|error| error.during("read").about(format!("{value:?} ({origin})"))),
    }
}

fn read_pools(said: Option<&BTreeMap<String, u32>>) -> Result<Setting<BTreeMap<String, u32>>> {
    let Some(said) = said else {
        return Ok(Setting {
            value: BTreeMap::new(),
            origin: Origin::Default,
        });
    };
    if let Some((name, _)) = said.iter().find(|(_, slots)| **slots == 0) {
        return Err(invalid("a pool without slots lets nothing run")
            .during("read")
            .about(format!("pools.{name} ({})", Origin::File))
            .fix("give it at least one slot"));
    }
    Ok(Setting {
        value: said.clone(),
        origin: Origin::File,
    })
}

fn parse_workers(text: &str) -> Result<usize> {
    match usize::from_str(text) {
        Ok(count @ 1..=WORKERS_MAX) => Ok(count),
        _ => Err(invalid("it is no number of workers").fix(format!("give a number from 1 to {WORKERS_MAX}"))),
    }
}

fn parse_grace(text: &str) -> Result<Duration> {
    let refused = || invalid("it is no duration").fix("write it as `5s`, `500ms` or `2m`, a day at most");
    let duration = SignedDuration::from_str(text).map_err(|_| refused())?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| *duration <= CANCEL_GRACE_MAX)
        .ok_or_else(refused)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, message).code("setting_invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str, environment: &[(&str, &str)], workers: Option<&str>) -> Result<Settings> {
        let environment = |name: &str| {
            environment
                .iter()
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| OsString::from(value))
        };
        let engine = EngineArgs {
            workers: workers.map(str::to_owned),
            cancel_grace: None,
        };
        Settings::resolve(
            &FileSettings::parse(file)?,
            &environment,
            &GlobalArgs::default(),
            &engine,
        )
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "workers = 3\ncancel_grace = \"1m\"\nlog = \"info\"";
        let environment = [("FLOWSTONE_WORKERS", "4"), ("FLOWSTONE_LOG", "debug")];

        let settings = resolve(file, &environment, Some("5")).unwrap();

        assert_eq!(
            settings.workers,
            Setting {
                value: 5,
                origin: Origin::Flag("--workers")
            }
        );
        assert_eq!(
            settings.log,
            Setting {
                value: "debug".into(),
                origin: Origin::Variable("FLOWSTONE_LOG")
            }
        );
        assert_eq!(
            settings.cancel_grace,
            Setting {
                value: Duration::from_secs(60),
                origin: Origin::File
            }
        );
        assert_eq!(
            settings.state_dir,
            Setting {
                value: ".flowstone".into(),
                origin: Origin::Default
            }
        );
    }

    #[test]
    fn an_empty_variable_sets_nothing() {
        let settings = resolve("", &[("FLOWSTONE_STATE_DIR", ""), ("FLOWSTONE_WORKERS", "")], None).unwrap();

        assert_eq!(settings.state_dir.origin, Origin::Default);
        assert_eq!(settings.workers.origin, Origin::Default);
    }

    #[test]
    fn a_value_that_is_not_well_formed_is_named_with_its_origin_and_the_fix() {
        for (file, environment, workers, says) in [
            ("workers = 0", &[][..], None, "\"0\" (flowstone.toml)"),
            (
                "",
                &[("FLOWSTONE_WORKERS", "many")][..],
                None,
                "\"many\" (FLOWSTONE_WORKERS)",
            ),
            ("", &[][..], Some("-1"), "\"-1\" (--workers)"),
            ("cancel_grace = \"-5s\"", &[][..], None, "\"-5s\" (flowstone.toml)"),
            ("cancel_grace = \"soon\"", &[][..], None, "\"soon\" (flowstone.toml)"),
        ] {
            let error = resolve(file, environment, workers).unwrap_err();

            assert!(error.to_string().contains(says), "{error}");
            assert!(error.advice().is_some());
        }
    }

    #[test]
    fn a_pool_has_slots() {
        assert_eq!(resolve("[pools]\napi = 3", &[], None).unwrap().pools.value["api"], 3);
        let error = resolve("[pools]\napi = 0", &[], None).unwrap_err();
        assert!(error.to_string().contains("pools.api"), "{error}");
        assert!(resolve("[pools]\napi = -1", &[], None).is_err());
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused_with_its_line() {
        let error = resolve("workers = 1\nworker = 2", &[], None).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("unknown field `worker`"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

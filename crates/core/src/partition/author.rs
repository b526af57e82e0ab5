//! How an asset's author writes partitions down: `Daily::from("2013-01-01").zone("America/New_York")`.
//!
//! An attribute has no place for an error, so nothing is judged while writing; [`Partitions::build`] judges, and the
//! pipeline's `build` reports what it says with the asset's file and line.

use jiff::civil::DateTime;

use super::cron::CronRule;
use super::dynamic::DynamicSpace;
use super::granularity::Granularity;
use super::key::PartitionKey;
use super::literal::TimeLiteral;
use super::product::ProductSpace;
use super::space::PartitionSpace;
use super::static_space::StaticSpace;
use super::window::WindowSpace;
use crate::{Error, ErrorKind, Result, ResultExt};

/// Partitions as written down, not judged yet.
#[derive(Debug, Clone)]
pub struct Partitions(Draft);

#[derive(Debug, Clone)]
enum Draft {
    Ready(PartitionSpace),
    Keys(Vec<PartitionKey>),
    Dynamic(String),
    Window(WindowDraft),
    Product(Vec<(String, Partitions)>),
}

#[derive(Debug, Clone)]
enum Shape {
    Plain(Granularity),
    /// A cron expression, not read yet.
    Cron(String),
}

#[derive(Debug, Clone)]
struct WindowDraft {
    shape: Shape,
    from: String,
    until: Option<String>,
    zone: String,
}

impl Partitions {
    /// One partition: the asset is not partitioned.
    pub fn unit() -> Self {
        Self(Draft::Ready(PartitionSpace::Unit))
    }

    /// Named partitions: `Partitions::keys(["EWR", "JFK", "LGA"])`.
    pub fn keys<K: Into<PartitionKey>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(Draft::Keys(keys.into_iter().map(Into::into).collect()))
    }

    /// Named partitions that are added and retired while everything runs, by `partitions add` on the command line or
    /// [`AssetContext::add_partitions`](crate::asset::AssetContext::add_partitions). The store keeps them under the name of the
    /// set; all assets that name it share them.
    ///
    /// ```
    /// use flowstone_core::asset::{Asset, AssetContext};
    /// use flowstone_core::partition::Partitions;
    ///
    /// let found = Asset::new("found").run(|context: AssetContext| async move {
    ///     context.add_partitions("customers", ["ann", "jo"]).await
    /// });
    /// let orders = Asset::new("orders")
    ///     .partitions(Partitions::dynamic("customers"))
    ///     .run(|context: AssetContext| async move { context.partition_label().len() as u64 });
    /// # flowstone_core::pipeline::Pipeline::builder("shop").assets([found, orders]).build()?;
    /// # Ok::<(), flowstone_core::Error>(())
    /// ```
    pub fn dynamic(set: impl Into<String>) -> Self {
        Self(Draft::Dynamic(set.into()))
    }

    /// All combinations of dimensions, each with a name. Dimensions of different types go through `.into()`, or are
    /// added by [`Partitions::by`].
    pub fn product<N: Into<String>, P: Into<Partitions>>(dimensions: impl IntoIterator<Item = (N, P)>) -> Self {
        let dimensions = dimensions
            .into_iter()
            .map(|(name, partitions)| (name.into(), partitions.into()));
        Self(Draft::Product(dimensions.collect()))
    }

    /// Starts a product by its first dimension: `Partitions::dimension("day", Daily::from("2013-01-01")).by(…)`.
    pub fn dimension(name: impl Into<String>, partitions: impl Into<Partitions>) -> Self {
        Self(Draft::Product(vec![(name.into(), partitions.into())]))
    }

    /// Adds a dimension to a product.
    #[must_use]
    pub fn by(self, name: impl Into<String>, partitions: impl Into<Partitions>) -> Self {
        let added = (name.into(), partitions.into());
        match self.0 {
            Draft::Product(mut dimensions) => {
                dimensions.push(added);
                Self(Draft::Product(dimensions))
            }
            // A first dimension without a name is refused by `build`, which says what to write.
            other => Self(Draft::Product(vec![(String::new(), Self(other)), added])),
        }
    }

    /// The space that was meant, or what is wrong with it.
    pub fn build(&self) -> Result<PartitionSpace> {
        match &self.0 {
            Draft::Ready(space) => Ok(space.clone()),
            Draft::Keys(keys) if keys.is_empty() => Err(Error::new(ErrorKind::Invalid, "there are no keys")
                .code("partition_space_empty")
                .during("define")
                .about("static partitions")
                .fix("give at least one key")),
            Draft::Keys(keys) => StaticSpace::new(keys.iter().cloned()).map(PartitionSpace::Static),
            Draft::Dynamic(set) => DynamicSpace::new(set).map(PartitionSpace::Dynamic),
            Draft::Window(draft) => draft.build().map(PartitionSpace::Window),
            Draft::Product(dimensions) => {
                let spaces = dimensions.iter().map(|(name, partitions)| {
                    let space = partitions
                        .build()
                        .map_err(|error| error.during("define").about(format!("dimension {name}")))?;
                    Ok((name.as_str(), space))
                });
                ProductSpace::new(spaces.collect::<Result<Vec<_>>>()?).map(PartitionSpace::Product)
            }
        }
    }
}

impl WindowDraft {
    fn build(&self) -> Result<WindowSpace> {
        let granularity = match &self.shape {
            Shape::Plain(granularity) => granularity.clone(),
            Shape::Cron(text) => Granularity::Cron(CronRule::new(text)?),
        };
        let about = format!("{granularity} partitions");
        let start = civil(&self.from, "start").about(&about)?;
        let end = self
            .until
            .as_deref()
            .map(|until| civil(until, "end"))
            .transpose()
            .about(&about)?;
        WindowSpace::new(granularity, &self.zone, start, end)
    }
}

fn civil(text: &str, what: &str) -> Result<DateTime> {
    TimeLiteral::parse(text)
        .and_then(|literal| literal.civil_start())
        .ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("the {what} {text:?} is no calendar time"))
                .code("partition_space_invalid")
                .during("define")
                .fix("write it as 2013, 2013-01, 2013-01-01 or 2013-01-01T05; the zone goes into zone(…)")
        })
}

impl From<PartitionSpace> for Partitions {
    fn from(space: PartitionSpace) -> Self {
        Self(Draft::Ready(space))
    }
}

macro_rules! window_author {
    ($(#[$doc:meta])* $name:ident, $granularity:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(WindowDraft);

        impl $name {
            /// Windows from this calendar time on, without an end, in UTC.
            pub fn from(start: impl Into<String>) -> Self {
                Self(draft(Shape::Plain($granularity), start.into()))
            }
        }

        window_author!(@shared $name);
    };
    (@shared $name:ident) => {
        impl $name {
            /// Ends the space at this calendar time, which is not included.
            #[must_use]
            pub fn until(mut self, end: impl Into<String>) -> Self {
                self.0.until = Some(end.into());
                self
            }

            /// Places the calendar in an IANA time zone, as `America/New_York`.
            #[must_use]
            pub fn zone(mut self, name: impl Into<String>) -> Self {
                self.0.zone = name.into();
                self
            }
        }

        impl From<$name> for Partitions {
            fn from(windows: $name) -> Self {
                Self(Draft::Window(windows.0))
            }
        }
    };
}

window_author! {
    /// One partition an hour: `Hourly::from("2013-01-01T00")`.
    Hourly, Granularity::Hourly
}
window_author! {
    /// One partition a day: `Daily::from("2013-01-01")`. A time of day moves where every day begins.
    Daily, Granularity::Daily
}
window_author! {
    /// One partition a week: `Weekly::from("2013-01-07")`. Weeks begin on the weekday of the start.
    Weekly, Granularity::Weekly
}
window_author! {
    /// One partition a month: `Monthly::from("2013-01")`.
    Monthly, Granularity::Monthly
}
window_author! {
    /// One partition a year: `Yearly::from("2013")`.
    Yearly, Granularity::Yearly
}

/// One partition every so many minutes: `EveryMinutes::from(15, "2013-01-01T00")`.
#[derive(Debug, Clone)]
pub struct EveryMinutes(WindowDraft);

impl EveryMinutes {
    /// Windows of `minutes` from this calendar time on, without an end, in UTC.
    pub fn from(minutes: u32, start: impl Into<String>) -> Self {
        Self(draft(Shape::Plain(Granularity::Minutes(minutes)), start.into()))
    }
}

window_author!(@shared EveryMinutes);

/// One partition from each time at which a cron expression fires to the next: `Cron::from("0 6 * * MON-FRI",
/// "2013-01-01")`.
///
/// The first partition begins when the expression first fires from the start on; an end must be a time at which it fires.
/// The expression is of the calendar of the zone: of a time that comes twice the first counts, and one that the clocks skip
/// counts as the moment of the change.
#[derive(Debug, Clone)]
pub struct Cron(WindowDraft);

impl Cron {
    /// Windows by a cron expression of five fields from this calendar time on, without an end, in UTC.
    pub fn from(expression: impl Into<String>, start: impl Into<String>) -> Self {
        Self(draft(Shape::Cron(expression.into()), start.into()))
    }
}

window_author!(@shared Cron);

fn draft(shape: Shape, from: String) -> WindowDraft {
    WindowDraft {
        shape,
        from,
        until: None,
        zone: "UTC".to_owned(),
    }
}

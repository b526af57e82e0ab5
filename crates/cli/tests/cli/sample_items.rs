//! Assets of the sample that fan out. Written against core alone, as a plugin would be.

use std::num::NonZeroU32;
use std::sync::Arc;

use flowstone_core::asset::{Asset, Outcome, Step};
use flowstone_core::fan_out::{
    FailurePolicy, FanOut, FanOutOptions, GatheredValue, ItemOutcome, ItemResult, ItemWork, Outcomes,
};
use flowstone_core::reader::{Cursor, Item, ItemReader, Page};
use flowstone_core::{BoxFuture, Error, Result, TypeInfo, Value};

use crate::{given, pass};

/// Numbers from zero on. The third fails unless `SAMPLE_MENDED` is set, the fifth finds nothing to do, every other gives ten
/// times itself; each waits at the gate.
#[derive(Clone)]
struct Numbers {
    len: u64,
    options: FanOutOptions,
    /// The items fan out again into so many.
    inner: Option<u64>,
}

/// What fans out: `sum` into eight numbers, of which one may fail, `daily_sum` on two days, and `grid` into three times two.
pub(crate) fn assets(days: impl Into<flowstone_core::partition::Partitions>) -> [Asset; 3] {
    let len = given("SAMPLE_ITEMS", "8").parse().unwrap();
    let at_once = given("SAMPLE_AT_ONCE", "64").parse().unwrap();
    let numbers = Numbers {
        len,
        options: FanOutOptions {
            max_concurrent: NonZeroU32::new(at_once).unwrap(),
            failure: FailurePolicy::tolerate_count(1),
            ..FanOutOptions::default()
        },
        inner: None,
    };
    let small = Numbers {
        len: 2,
        options: FanOutOptions::default(),
        inner: None,
    };
    let grid = Numbers {
        len: 3,
        inner: Some(2),
        ..small.clone()
    };
    [
        numbers.asset("sum").defined_at("sample_items.rs", 1),
        small
            .asset("daily_sum")
            .partitions(days)
            .defined_at("sample_items.rs", 2),
        grid.asset("grid").defined_at("sample_items.rs", 3),
    ]
}

impl Numbers {
    fn asset(&self, name: &str) -> Asset {
        Asset::new(name).fan_out(Vec::new(), TypeInfo::of::<i64>(), Arc::new(self.clone()))
    }
}

async fn each(step: Step) -> Result<ItemResult> {
    let item = step.item.as_ref().expect("it is called for an item").item()?.clone();
    let number = item.read::<i64>()?;
    let graph = step.scope.pipeline.graph();
    let asset = graph.node(step.scope.node).key();
    let name = format!("{asset} {} {}", item.key, step.attempt);
    pass(name, step.cancelled.cancelled()).await?;
    match number {
        3 if std::env::var_os("SAMPLE_MENDED").is_none() => {
            Err(Error::permanent("three is not to its taste").fix("leave three away"))
        }
        5 => Ok(ItemResult::Skipped("five is boring".to_owned())),
        _ => ItemResult::of(Outcome::Value(Value::new(number * 10))),
    }
}

impl FanOut for Numbers {
    fn options(&self) -> FanOutOptions {
        self.options.clone()
    }

    fn open<'s, 'a, 'f>(&'s self, _: &'a Step) -> BoxFuture<'f, Result<Box<dyn ItemReader>>>
    where
        's: 'f,
        'a: 'f,
        Self: 'f,
    {
        let reader: Box<dyn ItemReader> = Box::new(Reader { len: self.len });
        Box::pin(async move { Ok(reader) })
    }

    fn work(&self) -> ItemWork {
        match self.inner {
            None => ItemWork::Each(Arc::new(|step| Box::pin(each(step)))),
            Some(len) => ItemWork::Nested(Arc::new(Self {
                len,
                options: self.options.clone(),
                inner: None,
            })),
        }
    }

    fn gather<'s, 'f>(&'s self, _: Step, mut outcomes: Outcomes) -> BoxFuture<'f, Result<Outcome<GatheredValue>>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let mut sum = 0;
            while let Some(outcome) = outcomes.next().await? {
                if let ItemOutcome::Ended(result) = outcome.outcome
                    && let Some(value) = result.read(TypeInfo::of::<i64>())?
                {
                    sum += value.take::<i64>()?;
                }
            }
            Ok(Outcome::Value(Value::new(sum).into()))
        })
    }
}

struct Reader {
    len: u64,
}

impl ItemReader for Reader {
    fn read<'s, 'c, 'f>(&'s mut self, cursor: Option<&'c Cursor>, items_max: usize) -> BoxFuture<'f, Result<Page>>
    where
        's: 'f,
        'c: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let start = cursor.map_or(Ok([0; 8]), |cursor| cursor.position[..].try_into());
            let start = u64::from_be_bytes(start.map_err(|_| Error::permanent("it is no cursor of ours"))?);
            let end = (start + items_max as u64).min(self.len);
            let items = (start..end).map(|number| Item::new(format!("n{number}"), &number));
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next: (end < self.len).then(|| Cursor {
                    version: 1,
                    position: end.to_be_bytes().to_vec(),
                }),
            })
        })
    }

    fn close<'s, 'f>(&'s mut self) -> BoxFuture<'f, ()>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async {})
    }
}

//! What the arguments of a batched function may be, and how each is drawn from its call.

use std::future::Future;
use std::sync::Arc;

use super::{Batch, BatchContext, Call};
use crate::asset::{Argument, Config, FromStep, In, PartitionStream, Res};
use crate::{AssetValue, Error, ErrorKind, Result};

/// Something that an argument of a batched function may be.
///
/// A [`Batch`] has one value for each partition, each of the versions that the partition would have read alone.
/// Without it, one value is drawn for the whole call; the upstream must be one that all partitions read alike.
#[diagnostic::on_unimplemented(
    message = "a function that is called for a batch of partitions cannot take `{Self}`",
    label = "not an argument that a call can fill",
    note = "for each partition take `Batch<In<T>>`, `Batch<Arc<T>>`, `Batch<Option<…>>` of either or \
            `Batch<PartitionStream<T>>`; for the whole call `In<T>`, `Arc<T>`, `PartitionStream<T>`, `Res<T>`, \
            `Config<T>` or `BatchContext`, which stands for `AssetContext`"
)]
pub trait FromCall: Sized + Send + 'static {
    /// What it needs.
    fn argument() -> Argument;

    /// Draws it from `call`; `input` is the number of its upstream, if it takes one.
    ///
    /// # Errors
    /// As [`FromStep::from_step`].
    fn from_call(call: &Call, input: usize) -> impl Future<Output = Result<Self>> + Send;
}

impl<A: FromStep> FromCall for Batch<A> {
    fn argument() -> Argument {
        A::argument()
    }

    async fn from_call(call: &Call, input: usize) -> Result<Self> {
        let mut drawn = Vec::with_capacity(call.partitions.len());
        for step in call.steps() {
            let partition = call.partition(step.partition);
            let one = A::from_step(&step, input).await;
            let one = one.map_err(|error| error.about(partition.label()))?;
            drawn.push((partition, one));
        }
        Ok(Self(drawn))
    }
}

/// The same for all partitions of a call, so drawn for the first of them.
macro_rules! for_the_whole_call {
    ($($ty:ty, [$($bounds:tt)+];)+) => {$(
        impl<T: $($bounds)+> FromCall for $ty {
            fn argument() -> Argument {
                match <$ty as FromStep>::argument() {
                    Argument::Upstream { kind, ty, .. } => Argument::Upstream { kind, ty, of_call: true },
                    other => other,
                }
            }

            async fn from_call(call: &Call, input: usize) -> Result<Self> {
                let first = call.steps().next();
                let first = first.ok_or_else(|| Error::new(ErrorKind::Internal, "a call is for no partition"))?;
                <$ty as FromStep>::from_step(&first, input).await
            }
        }
    )+};
}

for_the_whole_call! {
    In<T>, [AssetValue];
    Arc<T>, [AssetValue];
    Option<In<T>>, [AssetValue];
    Option<Arc<T>>, [AssetValue];
    PartitionStream<T>, [AssetValue];
    Res<T>, [Send + Sync + 'static];
    Config<T>, [serde::de::DeserializeOwned + Send + 'static];
}

impl FromCall for BatchContext {
    fn argument() -> Argument {
        Argument::Context
    }

    async fn from_call(call: &Call, _: usize) -> Result<Self> {
        Ok(Self::new(call.clone()))
    }
}

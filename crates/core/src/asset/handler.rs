//! Functions of any supported shape, brought to one.

use std::future::Future;
use std::sync::Arc;

use super::argument::{Argument, FromStep};
use super::batch::{BatchOutcome, Call, FromCall, IntoBatchOutcome};
use super::context::Step;
use super::outcome::{IntoOutcome, Outcome};
use super::{BlockingBatchCall, BlockingCall};
use crate::{AssetValue, BoxFuture, Result, Value};

type AsyncBody = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<Outcome<Value>>> + Send + Sync>;
type BlockingBody = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<BlockingCall>> + Send + Sync>;
type BatchBody = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<BatchOutcome<Value>>> + Send + Sync>;
type BlockingBatchBody = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<BlockingBatchCall>> + Send + Sync>;

/// An asynchronous function of up to twelve arguments that a step can fill. `M` only tells the arities apart.
pub trait Handler<M>: Send + Sync + 'static {
    /// The type of the value that it makes.
    type Output: AssetValue;

    /// What its arguments need, in order.
    fn arguments() -> Vec<Argument>;

    /// The function in the engine's shape.
    fn into_body(self) -> AsyncBody;
}

/// A plain function of up to twelve arguments that a step can fill; it may block.
pub trait BlockingHandler<M>: Send + Sync + 'static {
    /// The type of the value that it makes.
    type Output: AssetValue;

    /// What its arguments need, in order.
    fn arguments() -> Vec<Argument>;

    /// The function in the engine's shape.
    fn into_body(self) -> BlockingBody;
}

/// An asynchronous function of up to twelve arguments that a call for many partitions can fill.
pub trait BatchHandler<M>: Send + Sync + 'static {
    /// The type of the value that it makes of each partition.
    type Output: AssetValue;

    /// What its arguments need, in order.
    fn arguments() -> Vec<Argument>;

    /// The function in the engine's shape.
    fn into_body(self) -> BatchBody;
}

/// A plain function of up to twelve arguments that a call for many partitions can fill; it may block.
pub trait BlockingBatchHandler<M>: Send + Sync + 'static {
    /// The type of the value that it makes of each partition.
    type Output: AssetValue;

    /// What its arguments need, in order.
    fn arguments() -> Vec<Argument>;

    /// The function in the engine's shape.
    fn into_body(self) -> BlockingBatchBody;
}

/// The number of the upstream that an argument takes; counts up as arguments are drawn in order.
struct NextInput(usize);

impl NextInput {
    fn number_for(&mut self, argument: &Argument) -> usize {
        let number = self.0;
        if matches!(argument, Argument::Upstream { .. }) {
            self.0 += 1;
        }
        number
    }
}

macro_rules! handlers {
    ($($arg:ident $value:ident),*) => {
        handlers! { @async Handler, AsyncBody, FromStep::from_step, IntoOutcome::into_outcome; $($arg),* }
        handlers! { @async BatchHandler, BatchBody, FromCall::from_call, IntoBatchOutcome::into_batch_outcome; $($arg),* }
        handlers! {
            @blocking BlockingHandler, BlockingBody, BlockingCall, FromStep::from_step, IntoOutcome::into_outcome;
            $($arg $value),*
        }
        handlers! {
            @blocking BlockingBatchHandler, BlockingBatchBody, BlockingBatchCall, FromCall::from_call,
            IntoBatchOutcome::into_batch_outcome; $($arg $value),*
        }
    };
    (@async $handler:ident, $body:ident, $from:ident::$draw:ident, $into:ident::$sort:ident; $($arg:ident),*) => {
        impl<F, R, M, Fut, $($arg,)*> $handler<(M, Fut, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: $into<M>,
            $($arg: $from,)*
        {
            type Output = R::Output;

            fn arguments() -> Vec<Argument> {
                vec![$($arg::argument()),*]
            }

            fn into_body(self) -> $body {
                let function = Arc::new(self);
                Arc::new(move |drawn_from| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        let mut _next = NextInput(0);
                        let _from = &drawn_from;
                        function($($arg::$draw(_from, _next.number_for(&$arg::argument())).await?),*)
                            .await
                            .$sort()
                    })
                })
            }
        }
    };
    (
        @blocking $handler:ident, $body:ident, $call:ident, $from:ident::$draw:ident, $into:ident::$sort:ident;
        $($arg:ident $value:ident),*
    ) => {
        impl<F, R, M, $($arg,)*> $handler<(M, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: $into<M>,
            $($arg: $from,)*
        {
            type Output = R::Output;

            fn arguments() -> Vec<Argument> {
                vec![$($arg::argument()),*]
            }

            fn into_body(self) -> $body {
                let function = Arc::new(self);
                Arc::new(move |drawn_from| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        let mut _next = NextInput(0);
                        let _from = &drawn_from;
                        $(let $value = $arg::$draw(_from, _next.number_for(&$arg::argument())).await?;)*
                        let call: $call = Box::new(move || function($($value),*).$sort());
                        Ok(call)
                    })
                })
            }
        }
    };
}

handlers!();
handlers!(A1 a1);
handlers!(A1 a1, A2 a2);
handlers!(A1 a1, A2 a2, A3 a3);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8, A9 a9);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8, A9 a9, A10 a10);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8, A9 a9, A10 a10, A11 a11);
handlers!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8, A9 a9, A10 a10, A11 a11, A12 a12);

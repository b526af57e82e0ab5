//! Functions of any supported shape, brought to one.

use std::future::Future;
use std::sync::Arc;

use super::BlockingCall;
use super::argument::{Argument, FromStep};
use super::context::Step;
use super::outcome::{IntoOutcome, Outcome};
use crate::{AssetValue, BoxFuture, Result, Value};

type AsyncBody = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<Outcome<Value>>> + Send + Sync>;
type BlockingBody = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<BlockingCall>> + Send + Sync>;

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
        impl<F, R, M, Fut, $($arg,)*> Handler<(M, Fut, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoOutcome<M>,
            $($arg: FromStep,)*
        {
            type Output = R::Output;

            fn arguments() -> Vec<Argument> {
                vec![$($arg::argument()),*]
            }

            fn into_body(self) -> AsyncBody {
                let function = Arc::new(self);
                Arc::new(move |step| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        let mut _next = NextInput(0);
                        let _step = &step;
                        function($($arg::from_step(_step, _next.number_for(&$arg::argument())).await?),*)
                            .await
                            .into_outcome()
                    })
                })
            }
        }

        impl<F, R, M, $($arg,)*> BlockingHandler<(M, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: IntoOutcome<M>,
            $($arg: FromStep,)*
        {
            type Output = R::Output;

            fn arguments() -> Vec<Argument> {
                vec![$($arg::argument()),*]
            }

            fn into_body(self) -> BlockingBody {
                let function = Arc::new(self);
                Arc::new(move |step| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        let mut _next = NextInput(0);
                        let _step = &step;
                        $(let $value = $arg::from_step(_step, _next.number_for(&$arg::argument())).await?;)*
                        let call: BlockingCall = Box::new(move || function($($value),*).into_outcome());
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

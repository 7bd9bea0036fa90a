//! Function objects: the closures of the user, wrapped so that a node can write them down.
//!
//! [`Plain`] wraps a closure that captures nothing (or one that stays in this process);
//! [`Captured`] wraps data together with a closure that gets the data as its first argument.
//! Nodes are generic over [`Function`] or [`Function2`], so each operator is written once.

use std::sync::Arc;

use crate::codec::{Decoder, Encoder};
use crate::data::Data;
use crate::error::{Error, Result};
use crate::travel::{Portable, is_stateless, remake};

/// A function of one argument.
pub trait Function<A>: Portable {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, argument: A) -> Self::Output;
}

/// A function of two arguments.
pub trait Function2<A, B>: Portable {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, a: A, b: B) -> Self::Output;
}

/// A function of three arguments.
pub trait Function3<A, B, C>: Portable {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, a: A, b: B, c: C) -> Self::Output;
}

/// A function of four arguments.
pub trait Function4<A, B, C, D>: Portable {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, a: A, b: B, c: C, d: D) -> Self::Output;
}

/// A closure as it is. It can leave the process only when it captures nothing.
#[derive(Clone, Copy, Debug)]
pub struct Plain<F>(pub F);

impl<F: Send + Sync + 'static> Portable for Plain<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        refuse_state::<F>(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        remade(decoder).map(Self)
    }
}

impl<A, R, F: Fn(A) -> R + Send + Sync + 'static> Function<A> for Plain<F> {
    type Output = R;

    #[inline]
    fn call(&self, argument: A) -> R {
        (self.0)(argument)
    }
}

impl<A, B, R, F: Fn(A, B) -> R + Send + Sync + 'static> Function2<A, B> for Plain<F> {
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B) -> R {
        (self.0)(a, b)
    }
}

impl<A, B, C, R, F: Fn(A, B, C) -> R + Send + Sync + 'static> Function3<A, B, C> for Plain<F> {
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B, c: C) -> R {
        (self.0)(a, b, c)
    }
}

impl<A, B, C, D, R, F> Function4<A, B, C, D> for Plain<F>
where
    F: Fn(A, B, C, D) -> R + Send + Sync + 'static,
{
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B, c: C, d: D) -> R {
        (self.0)(a, b, c, d)
    }
}

/// Data that goes along with a closure that captures nothing else.
#[derive(Debug)]
pub struct Captured<C, F> {
    /// The data, shared by all nodes made from one `with`.
    pub captures: Arc<C>,
    /// The closure; gets `&C` first.
    pub function: F,
}

impl<C: Data, F: Send + Sync + 'static> Portable for Captured<C, F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        refuse_state::<F>(encoder)?;
        encoder.put(&*self.captures)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        let function = remade(decoder)?;
        Ok(Self {
            captures: Arc::new(decoder.take()?),
            function,
        })
    }
}

impl<A, C: Data, R, F> Function<A> for Captured<C, F>
where
    F: Fn(&C, A) -> R + Send + Sync + 'static,
{
    type Output = R;

    #[inline]
    fn call(&self, argument: A) -> R {
        (self.function)(&self.captures, argument)
    }
}

impl<A, B, C: Data, R, F> Function2<A, B> for Captured<C, F>
where
    F: Fn(&C, A, B) -> R + Send + Sync + 'static,
{
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B) -> R {
        (self.function)(&self.captures, a, b)
    }
}

impl<A, B, C, X: Data, R, F> Function3<A, B, C> for Captured<X, F>
where
    F: Fn(&X, A, B, C) -> R + Send + Sync + 'static,
{
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B, c: C) -> R {
        (self.function)(&self.captures, a, b, c)
    }
}

impl<A, B, C, D, X: Data, R, F> Function4<A, B, C, D> for Captured<X, F>
where
    F: Fn(&X, A, B, C, D) -> R + Send + Sync + 'static,
{
    type Output = R;

    #[inline]
    fn call(&self, a: A, b: B, c: C, d: D) -> R {
        (self.function)(&self.captures, a, b, c, d)
    }
}

/// Refuses a closure that is more than its type.
fn refuse_state<F>(encoder: &Encoder<'_>) -> Result<()> {
    if is_stateless::<F>() {
        return Ok(());
    }
    let name = std::any::type_name::<F>();
    let hint = if name.contains("fn(") {
        "a function pointer cannot leave the process: pass the function itself, not a `fn` value"
    } else {
        "a closure that captures cannot leave the process: hand the data over with \
         `.with(data)`, the closure then gets `&data` as its first argument"
    };
    Err(Error::invalid(hint)
        .with("operator", encoder.operator())
        .with("captured_bytes", size_of::<F>())
        .with("closure", name))
}

fn remade<F>(decoder: &Decoder<'_>) -> Result<F> {
    remake().ok_or_else(|| {
        Error::data("task carries a closure that has state").with("operator", decoder.operator())
    })
}

//! The curve of a market maker's pools.

use super::curve::{ConstantProduct, Curve, Invariant, Reserves};
use super::weighted::WeightedProduct;
use super::yield_space::YieldSpace;
use crate::Result;

/// One of the curves of this crate, as [`MarketMakerBuilder::curve`](super::MarketMakerBuilder::curve) takes it.
///
/// Pools of a market maker are paid money and give compute: the weights of a [`WeightedProduct`] are those of money and compute, in this
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolCurve {
    /// `x y = K`.
    ConstantProduct(ConstantProduct),
    /// `x^wx y^wy = K`.
    WeightedProduct(WeightedProduct),
    /// `x^(1-t) + y^(1-t) = K`.
    YieldSpace(YieldSpace),
}

macro_rules! pool_curve {
    ($($name:ident),*) => {
        $(
            impl From<$name> for PoolCurve {
                fn from(curve: $name) -> Self {
                    Self::$name(curve)
                }
            }
        )*

        impl Curve for PoolCurve {
            fn amount_out(&self, r: &Reserves, dx: u128) -> Result<u128> {
                match self {
                    $(Self::$name(curve) => curve.amount_out(r, dx),)*
                }
            }

            fn amount_in(&self, r: &Reserves, dy: u128) -> Result<u128> {
                match self {
                    $(Self::$name(curve) => curve.amount_in(r, dy),)*
                }
            }

            fn invariant(&self, r: &Reserves) -> Invariant {
                match self {
                    $(Self::$name(curve) => curve.invariant(r),)*
                }
            }

            fn fee_of(&self, paid: u128) -> u128 {
                match self {
                    $(Self::$name(curve) => curve.fee_of(paid),)*
                }
            }
        }
    };
}

pool_curve!(ConstantProduct, WeightedProduct, YieldSpace);

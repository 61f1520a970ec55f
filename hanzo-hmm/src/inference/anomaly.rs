//! How surprising an observation is.

use super::filter::FilterState;
use crate::model::{Emission, Hmm};
use crate::{Error, Result};

impl<E: Emission> Hmm<E> {
    /// Where the next observation lies in its forecast, as a normal score (Zucchini and MacDonald, ch. 6): the normal
    /// quantile of P(X < o) + P(X = o) / 2 given the past. Under the model it is about standard normal, so that values
    /// beyond 3 or 4 in size are outliers. Call it before [`update`](Self::update).
    ///
    /// For families with one coordinate: Gaussians and their mixtures with `D = 1`, Poisson with `D = 1`, and categorical
    /// ones, whose symbols count as ordered. Between -37.6 and 8.3, where probabilities leave the range of `f64`.
    ///
    /// ```
    /// use hanzo_hmm::{GaussianDiag, Hmm, Initial, Transitions};
    ///
    /// let hmm = Hmm::new(
    ///     Initial::Free(vec![0.5, 0.5]),
    ///     Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
    ///     GaussianDiag::new(vec![vec![0.0], vec![1.0]], vec![vec![1.0], vec![1.0]])?,
    /// )?;
    /// let filter = hmm.filter();
    /// assert!(hmm.pseudo_residual(&filter, &[0.5])?.abs() < 1e-12);
    /// assert!(hmm.pseudo_residual(&filter, &[9.0])? > 6.0);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict); the family's error for a bad observation; [`Error::InvalidOption`] for a family
    /// with more than one coordinate.
    pub fn pseudo_residual(&self, filter: &FilterState, o: E::Obs<'_>) -> Result<f64> {
        let prediction = self.predict(filter, 1)?;
        self.emission().check(o, usize::try_from(filter.steps()).unwrap_or(usize::MAX), false)?;
        let mut cdf = vec![0.0; self.n_states()];
        if !self.emission().mid_cdf_into(o, &mut cdf) {
            return Err(Error::InvalidOption { name: "pseudo-residual" });
        }
        Ok(normal_quantile(prediction.iter().zip(&cdf).map(|(p, f)| p * f).sum()))
    }
}

/// The quantile of the standard normal distribution, of `p` clamped to the open unit interval: algorithm AS 241
/// (Wichura, Appl. Stat. 37:477, 1988), about 16 digits.
fn normal_quantile(p: f64) -> f64 {
    let p = p.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRAL);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-tail.ln()).sqrt();
    let value = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &FAR) };
    if q < 0.0 { -value } else { value }
}

/// The quotient of two polynomials of degree 7, constants first.
fn ratio(r: f64, [above, below]: &[[f64; 8]; 2]) -> f64 {
    let at = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * r + c);
    at(above) / at(below)
}

const CENTRAL: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
];
const MIDDLE: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_8e-9,
    ],
];
const FAR: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_inverts_the_distribution_function() {
        let mut x = -37.0;
        while x < 6.0 {
            let p = 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
            // Above the median p itself has lost digits of x.
            let lost = if x > 0.0 { 2e-16 / (-0.5 * x * x).exp() * 2.6 } else { 0.0 };
            let found = normal_quantile(p);
            assert!((found - x).abs() < 4e-15 * f64::abs(x).max(1.0) + lost, "{x}: {found}");
            x += 0.173;
        }
        assert!(normal_quantile(0.0) > -38.0 && normal_quantile(1.0) < 8.3);
    }
}

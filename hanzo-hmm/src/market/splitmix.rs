//! The random numbers of the baseline routers and of the evaluation.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, the same everywhere.
///
/// Good for simulations, not for secrets.
///
/// ```
/// use hanzo_hmm::market::SplitMix64;
///
/// let mut rng = SplitMix64::new(0);
/// assert_eq!(rng.next_u64(), 16_294_208_416_658_607_535);
/// assert!((0.0..1.0).contains(&rng.unit()) && rng.below(6) < 6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [0, 1) of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `n` (off from uniform by at most `n / 2^64`); 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        // The product of two 64-bit numbers, shifted: below n.
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// A standard normal number: the cosine half of Box and Muller, two units a call.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A gamma number of shape `a >= 1` and scale 1 (Marsaglia and Tsang, 2000). A smaller shape, or one that is no number, counts as 1.
    pub fn gamma(&mut self, a: f64) -> f64 {
        // Of an infinite shape no draw would ever be accepted.
        let d = a.max(1.0).clamp(1.0, LARGEST_SHAPE) - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.unit();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// A beta number of shapes `a, b >= 1`, in [0, 1]; smaller shapes count as 1.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let g = self.gamma(a);
        g / (g + self.gamma(b))
    }

    /// A permutation of `0..n` (Fisher and Yates, from the back).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Beyond this a gamma number is its mean in a double.
const LARGEST_SHAPE: f64 = 1e100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_out_of_range_give_numbers() {
        let mut rng = SplitMix64::new(1);
        for a in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, 1e300, f64::MAX] {
            assert!(rng.gamma(a).is_finite());
            for b in [1.0, f64::INFINITY] {
                assert!((0.0..=1.0).contains(&rng.beta(a, b)));
            }
        }
    }
}

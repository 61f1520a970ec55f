//! The stationary distribution of a chain.

use super::Transitions;
use crate::{Error, Result};

impl Transitions {
    /// The distribution that the chain keeps: `p = p A`. O(S^3).
    ///
    /// By the elimination of Grassmann, Taksar and Heyman (1985), which subtracts nothing, so that every entry is
    /// exact to a few roundings, however small.
    ///
    /// ```
    /// use hanzo_hmm::Transitions;
    ///
    /// let chain = Transitions::new(vec![vec![0.9, 0.1], vec![0.3, 0.7]])?;
    /// assert!((chain.stationary_distribution()?[0] - 0.75).abs() < 1e-15);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotErgodic`] when some state cannot be reached from some other, or when probabilities are so small that
    /// the answer leaves the range of the numbers.
    pub fn stationary_distribution(&self) -> Result<Vec<f64>> {
        let n = self.n_states();
        if !self.is_irreducible() {
            return Err(Error::NotErgodic);
        }
        let mut a = self.probabilities().to_vec();
        for last in (1..n).rev() {
            let out: f64 = a[last * n..last * n + last].iter().sum();
            if out <= 0.0 {
                return Err(Error::NotErgodic);
            }
            for i in 0..last {
                a[i * n + last] /= out;
                for j in 0..last {
                    a[i * n + j] += a[i * n + last] * a[last * n + j];
                }
            }
        }
        let mut p = vec![1.0; n];
        let mut total = 1.0;
        for j in 1..n {
            p[j] = (0..j).map(|i| p[i] * a[i * n + j]).sum();
            total += p[j];
        }
        p.iter_mut().for_each(|p| *p /= total);
        if p.iter().all(|p| p.is_finite() && *p > 0.0) { Ok(p) } else { Err(Error::NotErgodic) }
    }

    /// Expected number of steps that a visit to each state lasts, `1 / (1 - A_ii)`; infinite for an absorbing state.
    #[must_use]
    pub fn expected_dwell_times(&self) -> Vec<f64> {
        let n = self.n_states();
        // The sum of the others has more digits than 1 - A_ii.
        let leave = |i: usize| self.row(i).iter().enumerate().filter(|(j, _)| *j != i).map(|(_, p)| p).sum::<f64>();
        (0..n).map(|i| leave(i).recip()).collect()
    }

    /// Whether every state can be reached from every other one.
    #[must_use]
    pub fn is_irreducible(&self) -> bool {
        self.reaches_all(false) && self.reaches_all(true)
    }

    /// Whether state 0 reaches every state, or with `backwards` every state reaches state 0.
    fn reaches_all(&self, backwards: bool) -> bool {
        let n = self.n_states();
        let table = if backwards { self.transposed() } else { self.probabilities() };
        let mut seen = vec![false; n];
        seen[0] = true;
        let mut open = vec![0];
        while let Some(i) = open.pop() {
            for (j, p) in table[i * n..(i + 1) * n].iter().enumerate() {
                if *p > 0.0 && !seen[j] {
                    seen[j] = true;
                    open.push(j);
                }
            }
        }
        seen.into_iter().all(|seen| seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_entries_are_exact() {
        let chain = Transitions::new(vec![vec![1.0, 1e-200], vec![1e-100, 1.0]]).unwrap();
        let p = chain.stationary_distribution().unwrap();
        assert!((p[1] - 1e-100).abs() < 1e-115);
        assert_eq!(chain.expected_dwell_times(), [1e200, 1e100]);
    }

    #[test]
    fn reducible_chains_have_none() {
        let absorbing = Transitions::new(vec![vec![0.5, 0.5], vec![0.0, 1.0]]).unwrap();
        assert_eq!(absorbing.stationary_distribution(), Err(Error::NotErgodic));
        assert_eq!(absorbing.expected_dwell_times(), [2.0, f64::INFINITY]);
        assert_eq!(Transitions::new(vec![vec![1.0]]).unwrap().stationary_distribution(), Ok(vec![1.0]));
    }

    #[test]
    fn distribution_is_kept_by_the_chain() {
        let rows: Vec<Vec<f64>> = (0..7)
            .map(|i| {
                let row: Vec<f64> = (0..7).map(|j| f64::from((i * 5 + j * 3) % 11)).collect();
                let sum: f64 = row.iter().sum();
                row.into_iter().map(|x| x / sum).collect()
            })
            .collect();
        let chain = Transitions::new(rows).unwrap();
        let p = chain.stationary_distribution().unwrap();
        for j in 0..7 {
            let next: f64 = (0..7).map(|i| p[i] * chain.row(i)[j]).sum();
            assert!((next - p[j]).abs() < 1e-16);
        }
    }
}

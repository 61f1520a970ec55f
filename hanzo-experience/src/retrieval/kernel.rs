//! Dot products of unit rows, compiled for several instruction sets, one of which is picked at run time.
//!
//! Each is sixteen running sums and then a fixed tree, products rounded before they are added: every instruction set gives the
//! same bits, whatever the order and the number of the rows.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "calling code for an instruction set that the processor was found to have")
)]

/// Rows are padded to a multiple of this.
pub(crate) const LANES: usize = 16;

/// Dot product of two rows whose length is a multiple of the lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [score] = dots_of([b], a);
    score
}

/// Dot products of a query with as many successive rows as there are scores.
pub(crate) fn dots(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has been found to have AVX-512F.
            return unsafe { dots_avx512(query, rows, scores) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has been found to have AVX2.
            return unsafe { dots_avx2(query, rows, scores) };
        }
    }
    dots_portable(query, rows, scores);
}

fn dots_portable(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    dots_by::<1>(query, rows, scores);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dots_avx2(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    dots_by::<4>(query, rows, scores);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dots_avx512(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    dots_by::<8>(query, rows, scores);
}

/// `R` rows at a time, as far as the registers go: a sum has to wait for the one before, those of other rows need not.
#[inline(always)]
fn dots_by<const R: usize>(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    let width = query.len();
    if width == 0 {
        return;
    }
    let (blocks, rest) = scores.as_chunks_mut::<R>();
    let mut rows = rows.chunks_exact(width);
    for block in blocks {
        let some: [&[f32]; R] = core::array::from_fn(|_| rows.next().unwrap_or(query));
        *block = dots_of(some, query);
    }
    for (score, row) in rest.iter_mut().zip(rows) {
        [*score] = dots_of([row], query);
    }
}

#[inline(always)]
fn dots_of<const R: usize>(rows: [&[f32]; R], query: &[f32]) -> [f32; R] {
    let mut sums = [[0.0_f32; LANES]; R];
    let rows = rows.map(|row| row.as_chunks::<LANES>().0);
    let (query, _) = query.as_chunks::<LANES>();
    let length = rows.iter().fold(query.len(), |length, row| length.min(row.len()));
    let rows = rows.map(|row| &row[..length]);
    for (at, query) in query[..length].iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            // By index: this is the form that the compiler keeps in vector registers.
            for lane in 0..LANES {
                sums[lane] += row[at][lane] * query[lane];
            }
        }
    }
    // A fixed tree: halves, quarters, pairs.
    sums.map(|sums| {
        let eight: [f32; 8] = core::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
        let four: [f32; 4] = core::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of many sizes, so that another order of the sums would show.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 1_000.0 - 8_000.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        for width in [16, 32, 768, 784] {
            for count in [0, 1, 3, 4, 5, 8, 13, 64] {
                let (query, rows) = (numbers(width), numbers(width * count + 16));
                let rows = &rows[16..];
                let expected: Vec<u32> = rows.chunks_exact(width).map(|row| dot(&query, row).to_bits()).collect();
                let check = |name: &str, run: fn(&[f32], &[f32], &mut [f32])| {
                    let mut scores = vec![f32::NAN; count];
                    run(&query, rows, &mut scores);
                    let bits: Vec<u32> = scores.iter().map(|score| score.to_bits()).collect();
                    assert_eq!(bits, expected, "{name}, {count} rows of {width}");
                };
                check("picked", dots);
                check("portable", dots_portable);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has been found to have AVX2.
                    check("avx2", |query, rows, scores| unsafe { dots_avx2(query, rows, scores) });
                }
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has been found to have AVX-512F.
                    check("avx512", |query, rows, scores| unsafe { dots_avx512(query, rows, scores) });
                }
            }
        }
    }

    #[test]
    fn dot_products_are_near_the_exact_ones() {
        let (a, b) = (numbers(768), numbers(800));
        let b = &b[32..];
        let exact: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let size: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs()).sum();
        assert!((f64::from(dot(&a, b)) - exact).abs() < 1e-5 * size);
    }
}

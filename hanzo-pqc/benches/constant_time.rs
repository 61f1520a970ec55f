//! Does the time of an operation tell two classes of input apart? The test of dudect (Reparaz, Balasch, Verbauwhede, 2017): measure both
//! classes interleaved at random, compare the means by Welch's t, with the slowest measurements cut off at several thresholds.
//!
//! `cargo bench -p hanzo-pqc --bench constant_time [-- MEASUREMENTS]`. A |t| above 10 is a difference to explain, below 4.5 is none found.
//! On a shared machine the statistic is noisy, so that this is a command to read, not a test that passes or fails.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use hanzo_pqc::rand_core::{Rng, SeedableRng};
use hanzo_pqc::{Ciphertext, DecapsulationKey, Dek, Envelope, EnvelopeHeader, HybridSuite, KeyId, PrivacyTier};
use rand_chacha::ChaCha12Rng;

/// Inputs of each class, prepared before the clock runs.
const POOL: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let measurements: usize = given.unwrap_or(20_000).max(1_000);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    println!("{measurements} measurements each");
    println!("{:<58} {:>8} {:>12}", "operation: class 0 / class 1", "max |t|", "mean ns");

    for suite in [HybridSuite::MlKem768, HybridSuite::XWing, HybridSuite::MlKem768X25519] {
        let key = DecapsulationKey::generate(suite, &mut rng);
        let mut random = Vec::new();
        for _ in 0..POOL {
            let (valid, _) = key.encapsulation_key().encapsulate(&[], &mut rng)?;
            let mut bytes = valid.as_bytes().to_vec();
            // Only ML-KEM's part is made random: a point of X25519 is as good as another.
            rng.fill_bytes(&mut bytes[..suite.kem().ciphertext_len()]);
            random.push(Ciphertext::from_bytes(suite, &bytes)?);
        }
        let mut valid = Vec::new();
        for _ in 0..POOL {
            valid.push(key.encapsulation_key().encapsulate(&[], &mut rng)?.0);
        }
        let name = format!("decapsulate {suite}: valid / random");
        report(&name, measurements, [&valid, &random], &mut rng, |ciphertext| {
            let _ = black_box(key.decapsulate(black_box(ciphertext), &[]));
        });
    }

    let tier = PrivacyTier::CpuTee;
    let key = DecapsulationKey::generate(tier.suite(), &mut rng);
    let header = EnvelopeHeader::new(tier, tier.suite(), KeyId::new("key")?)?;
    let mut classes = [Vec::new(), Vec::new()];
    for _ in 0..POOL {
        let dek = Dek::generate(&mut rng);
        let sealed = Envelope::seal(header.clone(), key.encapsulation_key(), &dek, &mut rng)?.to_bytes();
        // The tag is the last 16 bytes: wrong in the first of them, or in the last.
        for (class, from_end) in classes.iter_mut().zip([16, 1]) {
            let mut wrong = sealed.clone();
            let at = wrong.len() - from_end;
            wrong[at] ^= 1;
            class.push(Envelope::from_bytes(&wrong)?);
        }
    }
    let name = "open envelope: tag wrong in first / last byte";
    report(name, measurements, [&classes[0], &classes[1]], &mut rng, |envelope| {
        let _ = black_box(black_box(envelope).open(&key));
    });

    let (ciphertext, shared) = key.encapsulation_key().encapsulate(&[], &mut rng)?;
    let good = shared.key_confirmation(key.encapsulation_key(), &ciphertext)?;
    let class = |at: usize| {
        let mut wrong = good;
        wrong[at] ^= 1;
        vec![wrong; POOL]
    };
    let name = "check confirmation: wrong in first / last byte";
    report(name, measurements, [&class(0), &class(31)], &mut rng, |confirmation| {
        let _ = black_box(shared.check_confirmation(key.encapsulation_key(), &ciphertext, black_box(confirmation)));
    });
    Ok(())
}

fn report<T>(
    name: &str,
    measurements: usize,
    classes: [&Vec<T>; 2],
    rng: &mut ChaCha12Rng,
    mut operation: impl FnMut(&T),
) {
    let mut times = Vec::with_capacity(measurements);
    for i in 0..measurements + POOL {
        let class = (rng.next_u32() & 1) as usize;
        let input = &classes[class][rng.next_u32() as usize % POOL];
        let start = Instant::now();
        operation(input);
        let time = start.elapsed().as_nanos() as f64;
        // The first rounds warm up.
        if i >= POOL {
            times.push((class, time));
        }
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let cuts = [0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
    let statistic = cuts.into_iter().map(|part| {
        let cut = sorted[((sorted.len() - 1) as f64 * part) as usize];
        welch(times.iter().filter(|(_, time)| *time <= cut)).abs()
    });
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    println!("{name:<58} {:>8.2} {mean:>12.0}", statistic.fold(0.0, f64::max));
}

/// Welch's t of the two classes.
fn welch<'a>(times: impl Iterator<Item = &'a (usize, f64)>) -> f64 {
    // Count, mean and sum of squared differences, updated one by one (Welford).
    let mut sums = [(0.0_f64, 0.0_f64, 0.0_f64); 2];
    for (class, time) in times {
        let (n, mean, squares) = &mut sums[*class];
        *n += 1.0;
        let delta = time - *mean;
        *mean += delta / *n;
        *squares += delta * (time - *mean);
    }
    let [(n0, mean0, squares0), (n1, mean1, squares1)] = sums;
    if n0 < 2.0 || n1 < 2.0 {
        return 0.0;
    }
    let spread = (squares0 / (n0 - 1.0) / n0 + squares1 / (n1 - 1.0) / n1).sqrt();
    if spread == 0.0 { 0.0 } else { (mean0 - mean1) / spread }
}

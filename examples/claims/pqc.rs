//! Claims about post-quantum cryptography, answered by `hanzo-pqc` on RustCrypto.

use hanzo::pqc::{
    Ciphertext, DecapsulationKey, HybridSuite, KemAlgorithm, PrivacyTier, Signature, SignatureAlgorithm, SigningKey,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::Result;
use crate::row::{Check, Row, Setting, Verdict, at_least, at_most, equal, microseconds};

/// ML-KEM-768 alone, and with X25519 as tiers 0 to 2 use it.
const ALONE: HybridSuite = HybridSuite::MlKem768;

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    let times = Times::take(setting)?;
    Ok(vec![
        kem_sizes(setting)?,
        dsa_sizes(setting)?,
        levels(),
        tiers(),
        ratios()?,
        under_100(&times),
        hybrid_under_100(&times),
        table_2(&times),
        overhead(&times),
        combiner(setting)?,
    ])
}

fn rng(setting: Setting) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(setting.seed)
}

fn same(sizes: &[usize], claimed: &[usize]) -> Vec<Check> {
    sizes.iter().zip(claimed).map(|(size, claimed)| equal(*size as f64, *claimed as f64)).collect()
}

fn kem_sizes(setting: Setting) -> Result<Row> {
    let mut rng = rng(setting);
    let key = DecapsulationKey::generate(ALONE, &mut rng);
    let (ciphertext, secret) = key.encapsulation_key().encapsulate(b"", &mut rng)?;
    let sizes = [
        key.encapsulation_key().as_bytes().len(),
        ALONE.kem().expanded_key_len(),
        ciphertext.as_bytes().len(),
        secret.expose_bytes().len(),
    ];
    let seed = key.expose_seed().map_or(0, <[u8]>::len);
    Ok(Row::new(
        "000 4.1.1",
        "ML-KEM-768: encapsulation key 1184 bytes, decapsulation key 2400, ciphertext 1088, shared secret 32",
        format!("a key made here: {sizes:?} bytes; the secret is kept as its seed of {seed} bytes"),
        Verdict::Corrected(format!("{sizes:?} bytes")),
    )
    .when(same(&sizes, &[1184, 2400, 1088, 32]), Verdict::Holds))
}

fn dsa_sizes(setting: Setting) -> Result<Row> {
    let mut rng = rng(setting);
    let algorithm = SignatureAlgorithm::MlDsa65;
    let key = SigningKey::generate(algorithm, &mut rng);
    let fixed = [key.sign_deterministic(b"message")?, key.sign_deterministic(b"message")?];
    let hedged = [key.sign(b"message", &mut rng)?, key.sign(b"message", &mut rng)?];
    let equal_bytes = |pair: &[Signature; 2]| pair[0].as_bytes() == pair[1].as_bytes();
    let sizes = [key.verifying_key().as_bytes().len(), algorithm.expanded_key_len(), fixed[0].as_bytes().len()];
    let checks = same(&sizes, &[1952, 4032, 3309]);
    let other = hedged[0].as_bytes().len();
    Ok(Row::new(
        "000 4.1.2",
        "ML-DSA-65: verification key 1952 bytes, signing key 4032, signature 3309 (deterministic)",
        format!(
            "{sizes:?} bytes; two deterministic signatures of one message are the same: {}, two hedged ones: {}, and these \
             have {other} bytes too",
            equal_bytes(&fixed),
            equal_bytes(&hedged)
        ),
        Verdict::Corrected(format!("{sizes:?} bytes")),
    )
    .when(
        checks.into_iter().chain([equal(other as f64, 3309.0), equal(f64::from(equal_bytes(&hedged)), 0.0)]),
        Verdict::Under("of either variant; hedged signatures (FIPS 204's default) are as long, and are ours".into()),
    ))
}

fn levels() -> Row {
    let kem = KemAlgorithm::ALL.map(KemAlgorithm::security_category);
    let dsa = SignatureAlgorithm::ALL.map(SignatureAlgorithm::security_category);
    // 128, 192 and 256 bits are those of AES, categories 1, 3 and 5.
    let checks =
        kem.iter().chain(&dsa).zip([1.0, 3.0, 5.0].repeat(2)).map(|(category, of)| equal(f64::from(*category), of));
    let row = Row::new(
        "000 4.1",
        "128, 192 and 256-bit security of ML-KEM-512, 768, 1024 and of ML-DSA-44, 65, 87",
        format!("NIST categories of the crate: ML-KEM {kem:?}, ML-DSA {dsa:?} (AES-128, 192, 256 are 1, 3, 5)"),
        Verdict::Corrected(format!(
            "NIST categories {kem:?} and {dsa:?}, which compare with AES and SHA and are no counts of bits; ML-DSA-44 is in category 2, not in that of AES-128"
        )),
    );
    row.when(checks, Verdict::Holds)
}

fn tiers() -> Row {
    let (kem, dsa) = ([768, 768, 768, 1024, 1024], [65, 65, 65, 87, 87]);
    let number = |name: &str| name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(f64::NAN);
    let ours = PrivacyTier::ALL.map(|tier| (number(tier.kem().name()), number(tier.dsa().name())));
    Row::new(
        "000 table 1",
        "five privacy tiers: ML-KEM-768 and ML-DSA-65 for 0 to 2, ML-KEM-1024 and ML-DSA-87 for 3 and 4",
        format!("tiers of the crate: {}", ours.map(|(kem, dsa)| format!("{kem}/{dsa}")).join(", ")),
        Verdict::Corrected("the crate's tiers".into()),
    )
    .when(
        ours.iter()
            .zip(kem.iter().zip(dsa))
            .flat_map(|(ours, (kem, dsa))| [equal(ours.0, f64::from(*kem)), equal(ours.1, f64::from(dsa))]),
        Verdict::Holds,
    )
}

fn ratios() -> Result<Row> {
    let hybrid = PrivacyTier::Open.suite();
    // What X25519 adds to ML-KEM in the hybrid suite is X25519.
    let classical_key = hybrid.encapsulation_key_len() - ALONE.encapsulation_key_len();
    let classical_ciphertext = hybrid.ciphertext_len() - ALONE.ciphertext_len();
    let dsa = SignatureAlgorithm::MlDsa65;
    // An Ed25519 key is an encoded point of the same curve, a signature two field elements long.
    let ratios = [
        ALONE.encapsulation_key_len() as f64 / classical_key as f64,
        ALONE.ciphertext_len() as f64 / classical_ciphertext as f64,
        dsa.verifying_key_len() as f64 / classical_key as f64,
        dsa.signature_len() as f64 / (2 * classical_key) as f64,
    ];
    let shown = ratios.map(|ratio| format!("{ratio:.0}")).join(", ");
    let inside = ratios.iter().flat_map(|ratio| [at_least(*ratio, 5.0), at_most(*ratio, 10.0)]);
    Ok(Row::new(
        "000 12.1.1",
        "ML-KEM/ML-DSA keys are 5-10 times larger than classical counterparts",
        format!(
            "encapsulation key, ciphertext (beside X25519's {classical_key} bytes), verification key, signature (beside \
             Ed25519): {shown} times larger"
        ),
        Verdict::Corrected(format!("{shown} times larger than X25519 and Ed25519")),
    )
    .when(inside, Verdict::Holds))
}

/// Microseconds of each operation.
struct Times {
    /// Key, encapsulation, decapsulation of ML-KEM-768.
    alone: [f64; 3],
    /// The same with X25519.
    hybrid: [f64; 3],
    /// Key, signature, verification of ML-DSA-65.
    dsa: [f64; 3],
}

impl Times {
    fn take(setting: Setting) -> Result<Self> {
        let mut rng = rng(setting);
        let (rounds, batch) = (setting.pick(15, 4), setting.pick(40, 10));
        let mut kem = |suite: HybridSuite| -> Result<[f64; 3]> {
            let key = DecapsulationKey::generate(suite, &mut rng);
            let public = key.encapsulation_key();
            let (ciphertext, _) = public.encapsulate(b"", &mut rng)?;
            Ok([
                microseconds(rounds, batch, |_| DecapsulationKey::generate(suite, &mut rng)),
                microseconds(rounds, batch, |_| public.encapsulate(b"", &mut rng)),
                microseconds(rounds, batch, |_| key.decapsulate(&ciphertext, b"")),
            ])
        };
        let (alone, hybrid) = (kem(ALONE)?, kem(PrivacyTier::Open.suite())?);
        let algorithm = SignatureAlgorithm::MlDsa65;
        let key = SigningKey::generate(algorithm, &mut rng);
        let signature = key.sign(b"message", &mut rng)?;
        let dsa = [
            microseconds(rounds, batch, |_| SigningKey::generate(algorithm, &mut rng)),
            // Rejections make the time of a signature random: the mean of all.
            microseconds(1, rounds * batch, |i| key.sign(&i.to_le_bytes(), &mut rng)),
            microseconds(rounds, batch, |_| key.verifying_key().verify(b"message", &signature)),
        ];
        Ok(Self { alone, hybrid, dsa })
    }
}

fn shown(times: [f64; 3]) -> String {
    times.map(|time| format!("{time:.0}")).join(", ")
}

fn under_100(times: &Times) -> Row {
    let shown = shown(times.alone);
    Row::new(
        "000 abstract, 13",
        "sub-100 us PQC operations (ML-KEM-768); printed as \"sub-100s\" and \"<100s\"",
        format!("ML-KEM-768 key, encapsulation, decapsulation: {shown} us"),
        Verdict::Corrected(format!("{shown} us on this machine")),
    )
    .when(
        times.alone.map(|time| at_most(time, 100.0)),
        Verdict::Under("microseconds are meant, and ML-KEM-768 alone".into()),
    )
    .timed()
}

fn hybrid_under_100(times: &Times) -> Row {
    let shown = shown(times.hybrid);
    Row::new(
        "000 abstract, 4.3",
        "sub-100 us PQC operations, in the hybrid mode that section 4.3 makes the rule",
        format!("with X25519 and the combiner, key, encapsulation, decapsulation: {shown} us"),
        Verdict::Corrected(format!("{shown} us on this machine with the portable backend")),
    )
    .when(times.hybrid.map(|time| at_most(time, 100.0)), Verdict::Under("microseconds are meant".into()))
    .timed()
}

fn table_2(times: &Times) -> Row {
    let measured = format!("{} us; {} us", shown(times.alone), shown(times.dsa));
    let claimed = [47.0, 58.0, 71.0, 98.0, 241.0, 117.0];
    let all = times.alone.into_iter().chain(times.dsa);
    Row::new(
        "000 table 2",
        "ML-KEM-768: 47, 58, 71 \"s\"; ML-DSA-65: 98, 241, 117 \"s\" (key, encapsulate or sign, decapsulate or verify)",
        measured.clone(),
        Verdict::Corrected(format!("{measured} on this machine; the table's unit is microseconds, not seconds")),
    )
    .when(
        all.zip(claimed).map(|(time, claimed)| at_most(time, claimed)),
        Verdict::Under("microseconds are meant; all six are at or below the table's".into()),
    )
    .timed()
}

fn overhead(times: &Times) -> Row {
    // What is added to the classical operation cannot be more than the whole post-quantum one.
    let [_, sign, verify] = times.dsa;
    let agreement = times.alone[1].max(times.alone[2]);
    let most = agreement.max(sign).max(verify) / 1e3;
    Row::new(
        "000 10.3, table 4",
        "PQC adds negligible overhead (<0.2 ms) to key agreement, signing and verifying",
        format!(
            "added at most, as the classical operation is still done: key agreement {:.3} ms a side, signature {:.3} ms, \
             verification {:.3} ms",
            agreement / 1e3,
            sign / 1e3,
            verify / 1e3
        ),
        Verdict::Corrected(format!("up to {most:.3} ms on this machine, for a signature")),
    )
    .when([at_most(most, 0.2)], Verdict::Under("time only; messages grow by kilobytes (row above)".into()))
    .when(
        [at_most(agreement / 1e3, 0.2), at_most(verify / 1e3, 0.2)],
        Verdict::Under(format!(
            "key agreement and verification; a signature takes {:.2} ms here on average, for it starts over on rejection",
            sign / 1e3
        )),
    )
    .timed()
}

/// Changes every byte of everything that goes into the key, one at a time.
fn combiner(setting: Setting) -> Result<Row> {
    let mut rng = rng(setting);
    let suite = PrivacyTier::Open.suite();
    let key = DecapsulationKey::generate(suite, &mut rng);
    let other = DecapsulationKey::generate(suite, &mut rng);
    let context = b"handshake 1".as_slice();
    let (ciphertext, secret) = key.encapsulation_key().encapsulate(context, &mut rng)?;
    let (mut kept, mut changed) = (0, [0_u32; 3]);
    let split = ALONE.ciphertext_len();
    for at in 0..ciphertext.as_bytes().len() {
        let mut bytes = ciphertext.as_bytes().to_vec();
        bytes[at] ^= 1;
        // A refusal is no key either.
        let same = Ciphertext::from_bytes(suite, &bytes)
            .and_then(|forged| key.decapsulate(&forged, context))
            .is_ok_and(|got| got.ct_eq(&secret));
        kept += u32::from(same);
        changed[usize::from(at >= split)] += u32::from(!same);
    }
    for at in 0..context.len() {
        let mut bytes = context.to_vec();
        bytes[at] ^= 1;
        let same = key.decapsulate(&ciphertext, &bytes)?.ct_eq(&secret);
        kept += u32::from(same);
        changed[2] += u32::from(!same);
    }
    kept += u32::from(other.decapsulate(&ciphertext, context)?.ct_eq(&secret));
    let tried = u32::try_from(ciphertext.as_bytes().len() + context.len())?;
    let [pq, classical, bound] = changed;
    Ok(Row::new(
        "000 4.3, eq. 9",
        "the hybrid key has security level max(ML-KEM, X25519)",
        format!(
            "{tried} bytes changed one at a time: another key after each change of {pq} bytes of the ML-KEM part, {classical} \
             of the X25519 part, {bound} of the context; keys kept: {kept}"
        ),
        Verdict::Corrected("this combiner does not bind its inputs".into()),
    )
    .when(
        [equal(f64::from(kept), 0.0), equal(f64::from(pq + classical + bound), f64::from(tried))],
        Verdict::Corrected(
            "levels of unlike problems have no maximum: the key is secret while either ML-KEM or X25519 is, and hangs on \
             both ciphertexts, the keys and the context (eq. 9 as printed binds no ciphertext and no context)"
                .into(),
        ),
    ))
}

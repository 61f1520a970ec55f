//! Claims about the experience ledger, answered by `hanzo-experience`.

use hanzo::experience::governance::{
    Choice, Event, Governance, GovernanceConfig, Parameter, PowerSnapshot, ProposalKind, Status,
};
use hanzo::experience::merkle::{Log, leaf_hash};
use hanzo::experience::rewards::mul_div;
use hanzo::experience::store::{Durable, FileStore};
use hanzo::experience::{
    Account, Dedup, Draft, ExperienceId, Library, LibraryConfig, Mode, Operation, Search, Stamp, Text, VectorIndex,
};
use hanzo::poai::theory::clopper_pearson;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};

use crate::Result;
use crate::row::{Row, Setting, Verdict, at_least, at_most, equal, grouped, microseconds, near};

/// Active experiences of a full library, and the dimension of their vectors.
const ITEMS: usize = 1_000;
const DIMENSION: usize = 768;

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    let (exact, cached) = retrieval(setting)?;
    Ok(vec![
        proofs()?,
        consistency(setting)?,
        exact,
        cached,
        deduplication()?,
        bounds(setting)?,
        storage(setting)?,
        votes()?,
        cost()?,
        improvement()?,
    ])
}

/// A log of entries that stand for experiences.
fn log() -> Log {
    Log::from_leaves((0..ITEMS).map(|i| leaf_hash(format!("experience {i}").as_bytes())).collect())
}

fn proofs() -> Result<Row> {
    let log = log();
    let checkpoint = log.checkpoint(&"example.com/claims".parse()?);
    let (mut accepted, mut forged, mut tried, mut longest) = (0_u32, 0_u32, 0_u32, 0);
    for (index, leaf) in (0..).zip(log.leaves()) {
        let proof = log.prove_inclusion(index, log.size())?;
        longest = longest.max(proof.to_bytes().len());
        accepted += u32::from(checkpoint.verify_inclusion(index, leaf, &proof).is_ok());
        // Another leaf, and another place.
        let wrong = [leaf_hash(b"another experience"), log.leaves()[(index as usize + 1) % ITEMS]];
        for leaf in &wrong {
            tried += 1;
            forged += u32::from(checkpoint.verify_inclusion(index, leaf, &proof).is_ok());
        }
    }
    Ok(Row::new(
        "004 5.3, 11.3",
        "a Merkle proof ties an experience to the root on chain: if it verifies, the experience is in the library",
        format!(
            "{} entries: {accepted} proofs accepted, {forged} of {tried} with another leaf; at most {longest} bytes a proof, \
             not the {} of the library's hashes",
            grouped(ITEMS as f64),
            grouped((ITEMS * 32) as f64)
        ),
        Verdict::Corrected(format!("{forged} forged proofs are accepted")),
    )
    .when(
        [equal(f64::from(accepted), ITEMS as f64), equal(f64::from(forged), 0.0)],
        Verdict::Under(
            "leaves and nodes are hashed apart (RFC 9162), which algorithm 4 leaves out, and the size is committed to with the \
             root"
                .into(),
        ),
    ))
}

fn consistency(setting: Setting) -> Result<Row> {
    let log = log();
    let origin = "example.com/claims".parse()?;
    let new = log.checkpoint(&origin);
    let (mut accepted, mut forged, mut longest, mut count) = (0_u32, 0_u32, 0, 0_u32);
    for size in (1..ITEMS as u64).step_by(setting.pick(1, 37)) {
        let old = Log::from_leaves(log.leaves()[..size as usize].to_vec()).checkpoint(&origin);
        // The same history with its last entry changed.
        let mut leaves = log.leaves()[..size as usize].to_vec();
        leaves[size as usize - 1] = leaf_hash(b"rewritten");
        let rewritten = Log::from_leaves(leaves).checkpoint(&origin);
        let proof = log.prove_consistency(size, log.size())?;
        longest = longest.max(proof.to_bytes().len());
        accepted += u32::from(new.verify_extends(&old, &proof).is_ok());
        forged += u32::from(new.verify_extends(&rewritten, &proof).is_ok());
        count += 1;
    }
    Ok(Row::new(
        "004 5.2.2",
        "complete auditability: anyone can reconstruct model behavior at any point in time",
        format!(
            "{count} earlier states against the last: {accepted} shown to be its beginning, {forged} with a rewritten entry; \
             at most {longest} bytes"
        ),
        Verdict::Corrected(format!("{forged} rewritten histories are accepted")),
    )
    .when(
        [equal(f64::from(accepted), f64::from(count)), equal(f64::from(forged), 0.0)],
        Verdict::Under(
            "of the library: that nothing was rewritten is proven; a model's behaviour follows from weights, sampling and \
             software too"
                .into(),
        ),
    ))
}

fn id(number: usize) -> ExperienceId {
    leaf_hash(&number.to_le_bytes()).into()
}

fn retrieval(setting: Setting) -> Result<(Row, Row)> {
    const K: usize = 10;
    let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
    let mut vector = || -> Vec<f32> { (0..DIMENSION).map(|_| StandardNormal.sample(&mut rng)).collect() };
    let rows: Vec<Vec<f32>> = (0..ITEMS).map(|_| vector()).collect();
    let mut index = VectorIndex::new("drawn", DIMENSION)?;
    for (number, row) in rows.iter().enumerate() {
        index.insert(id(number), row)?;
    }
    let queries: Vec<Vec<f32>> = (0..setting.pick(50, 5)).map(|_| vector()).collect();
    let mut same = 0_usize;
    for query in &queries {
        let wide = |row: &[f32]| -> f64 {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            dot(row, query) / (dot(row, row).sqrt() * dot(query, query).sqrt())
        };
        let mut scores: Vec<(f64, ExperienceId)> =
            rows.iter().enumerate().map(|(number, row)| (wide(row), id(number))).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hits = index.search(query, &Search::new(K))?;
        same += hits.iter().zip(&scores).filter(|(hit, (_, id))| hit.id == *id).count();
    }
    let us =
        microseconds(setting.pick(20, 5), 20, |i| index.search(&queries[i as usize % queries.len()], &Search::new(K)));
    let total = K * queries.len();
    let exact = Row::new(
        "004 algorithm 5",
        "retrieval gives the top-k experiences by cosine",
        format!(
            "{} vectors of {DIMENSION}, {} queries: {same} of {total} hits where a full sort in f64 puts them",
            grouped(ITEMS as f64),
            queries.len()
        ),
        Verdict::Corrected(format!("{same} of {total}")),
    )
    .when([equal(same as f64, total as f64)], Verdict::Holds);
    let cached = Row::new(
        "004 7.3",
        "frequently retrieved experiences cached in GPU memory for zero-latency access",
        format!("a full library of {} searched exactly on one core: {us:.0} us", grouped(ITEMS as f64)),
        Verdict::Corrected(format!(
            "{us:.0} us without any cache or GPU; no access takes no time, and a library of at most {} needs none",
            grouped(ITEMS as f64)
        )),
    )
    .when([at_most(us, 0.0)], Verdict::Holds)
    .timed();
    Ok((exact, cached))
}

/// How many experiences are active after two are added, with vectors of this cosine.
fn after(first: &str, second: &str, cosine: f32, dedup: Dedup) -> Result<usize> {
    let config = LibraryConfig::new("example.com/claims".parse()?).encoder("by hand", 2).dedup(Some(dedup));
    let mut library = Library::new(config)?;
    for (text, vector) in [(first, vec![1.0, 0.0]), (second, vec![cosine, (1.0 - cosine * cosine).sqrt()])] {
        let draft = Draft::new(Text::new(text)?, "math.algebra".parse()?, "author", 1).vector(vector);
        library.apply(&Stamp::new(1, "author"), Mode::Atomic, &[Operation::Add(draft)])?;
    }
    Ok(library.len())
}

fn deduplication() -> Result<Row> {
    let (yes, no) = (
        "When the discriminant is negative, say that there is no real root and stop.",
        "When the discriminant is positive, compute both real roots and check them.",
    );
    let copy = "When the discriminant is negative, say that there is no real root, and stop!";
    // As close as sentence encoders put a statement and its contrary.
    let by_cosine = after(yes, no, 0.95, Dedup::new(1, 0.9)?)?;
    let by_both = after(yes, no, 0.95, Dedup::default())?;
    let copies = after(yes, copy, 0.95, Dedup::default())?;
    let below = after(yes, copy, 0.89, Dedup::default())?;
    Ok(Row::new(
        "004 7.3",
        "deduplication: if sim(new, e) > 0.9, merge instead of adding a duplicate",
        format!(
            "two contrary lessons at cosine 0.95: {by_cosine} left by that rule, {by_both} by the crate's; a copy at 0.95: \
             {copies} left, at 0.89: {below}"
        ),
        Verdict::Corrected("the gate does not act".into()),
    )
    .when([equal(by_cosine as f64, 2.0), equal(copies as f64, 1.0)], Verdict::Holds)
    .when(
        [equal(by_cosine as f64, 1.0), equal(by_both as f64, 2.0), equal(copies as f64, 1.0), equal(below as f64, 2.0)],
        Verdict::Corrected(
            "cosine above 0.9 and nearly the same words, or the verdict of a merger: cosine alone merges a lesson with its \
             contrary"
                .into(),
        ),
    ))
}

fn bounds(setting: Setting) -> Result<Row> {
    let words = |count: usize| Text::new(&vec!["word"; count].join(" ")).is_ok();
    let mut library = Library::new(LibraryConfig::new("example.com/claims".parse()?))?;
    let added = ITEMS + setting.pick(100, 20);
    let drafts: Vec<Operation> = (0..added)
        .map(|i| {
            Ok(Operation::Add(Draft::new(Text::new(&format!("lesson number {i}"))?, "math".parse()?, "author", 1)))
        })
        .collect::<Result<_>>()?;
    for batch in drafts.chunks(100) {
        library.apply(&Stamp::new(1, "author"), Mode::Lenient, batch)?;
    }
    let config = GovernanceConfig::new(1);
    let (max_words, max_items) = (config.get(Parameter::MaxWords), config.get(Parameter::MaxItems));
    Ok(Row::new(
        "004 5.1, C",
        "experiences of at most 32 words, at most 1000 in a library",
        format!(
            "a text of 32 words is taken: {}, of 33: {}; {} active after {added} additions; limits by vote {max_words} and \
             {max_items}",
            words(32),
            words(33),
            library.len()
        ),
        Verdict::Corrected(format!("{max_words} words, {} active", library.len())),
    )
    .when(
        [
            equal(f64::from(words(32)), 1.0),
            equal(f64::from(words(33)), 0.0),
            equal(library.len() as f64, ITEMS as f64),
            equal(max_words as f64, 32.0),
            equal(max_items as f64, 1_000.0),
        ],
        Verdict::Holds,
    ))
}

/// Lessons added one by one to a library in a file of its own.
fn write(folder: &std::path::Path, count: u32) -> Result<(f64, f64)> {
    let config = LibraryConfig::new("example.com/claims".parse()?);
    let mut durable = Durable::open(config.clone(), FileStore::open(folder.join("library.hxs"))?)?;
    let mut failed = 0;
    let write = microseconds(1, count, |i| {
        let draft =
            || Some(Draft::new(Text::new(&format!("lesson number {i}")).ok()?, "math".parse().ok()?, "author", 1));
        let operation = draft().map(Operation::Add).into_iter().collect::<Vec<_>>();
        let done = durable.update(|library| library.apply(&Stamp::new(1, "author"), Mode::Atomic, &operation));
        failed += u32::from(done.is_err());
    });
    drop(durable);
    let kept = Durable::open(config, FileStore::open(folder.join("library.hxs"))?)?;
    let ids: Vec<ExperienceId> = kept.library().iter().map(|(id, _)| *id).collect();
    if failed > 0 || ids.len() != count as usize {
        return Err(format!("{failed} of {count} changes failed, {} are kept", ids.len()).into());
    }
    let read = microseconds(5, 1_000, |i| kept.library().get(&ids[i as usize % ids.len()]).is_some());
    Ok((write, read))
}

fn storage(setting: Setting) -> Result<Row> {
    let count = setting.pick(50, 10);
    let folder = std::env::temp_dir().join(format!("claims-{}-{}", std::process::id(), setting.seed));
    std::fs::create_dir_all(&folder)?;
    let measured = write(&folder, count);
    let _ = std::fs::remove_dir_all(&folder);
    let (write, read) = measured?;
    Ok(Row::new(
        "000 6.1.2",
        "state is written in under a millisecond (SSD) and read in microseconds (hot cache)",
        format!(
            "an experience added and acknowledged once its file is synchronised: {:.2} ms, mean of {count}; read from memory: \
             {read:.2} us",
            write / 1e3
        ),
        Verdict::Corrected(format!("{:.1} ms a durable change on this disk, {read:.2} us a read", write / 1e3)),
    )
    .when(
        [at_most(write, 1_000.0), at_most(read, 10.0)],
        Verdict::Under("this disk synchronises that fast; a change is durable only after it did".into()),
    )
    .timed())
}

/// What becomes of a proposal with these votes of a supply of 100,000.
fn vote(yes: u128, no: u128) -> Result<Status> {
    let [builder, for_it, against]: [Account; 3] = ["builder".parse()?, "yes".parse()?, "no".parse()?];
    let config = GovernanceConfig::new(1);
    let end = config.get(Parameter::Period);
    let mut governance = Governance::new(config);
    let power = PowerSnapshot::new(100_000, [(for_it.clone(), yes), (against.clone(), no)])?;
    let kind = ProposalKind::Treasury { to: builder.clone(), amount: 1 };
    governance.on(0, Event::Propose { proposer: builder, kind, start: 0, power })?;
    for (voter, power, choice) in [(for_it, yes, Choice::Yes), (against, no, Choice::No)] {
        if power > 0 {
            governance.on(1, Event::Vote { proposal: 0, voter, choice })?;
        }
    }
    governance.on(end, Event::Finalize { proposal: 0 })?;
    Ok(governance.proposal(0).ok_or("no proposal")?.status())
}

fn votes() -> Result<Row> {
    let cases = [(6_600, 3_400), (6_599, 3_401), (10_000, 0), (9_999, 0)];
    let want = [Status::Approved, Status::Rejected, Status::Approved, Status::NotQuorate];
    let mut got = Vec::new();
    for (yes, no) in cases {
        got.push(vote(yes, no)?);
    }
    let right = got.iter().zip(want).filter(|(got, want)| *got == want).count();
    let [week, quorum, approval, slash] = [Parameter::Period, Parameter::Quorum, Parameter::Approval, Parameter::Slash]
        .map(|p| GovernanceConfig::new(1).get(p));
    Ok(Row::new(
        "004 5.4, C",
        "66% approval, 10% quorum, 7 days, half of the stake slashed if malicious",
        format!(
            "of 100,000: 66.00 % of 10 % {}, 65.99 % {}, all of 10 % {}, all of 9.999 % {}; {} days, {quorum}, {approval} and \
             {slash} basis points",
            got[0].as_str(),
            got[1].as_str(),
            got[2].as_str(),
            got[3].as_str(),
            week / 86_400
        ),
        Verdict::Corrected(format!("{right} of {} votes end as claimed", want.len())),
    )
    .when(
        [
            equal(right as f64, want.len() as f64),
            equal(week as f64, 7.0 * 86_400.0),
            equal(quorum as f64, 1_000.0),
            equal(approval as f64, 6_600.0),
            equal(slash as f64, 5_000.0),
        ],
        Verdict::Under("66 % of yes and no, which is less than two thirds; abstentions count for the quorum alone".into()),
    ))
}

fn cost() -> Result<Row> {
    // Both prices are the source's.
    let saved = 1_000_000 - mul_div(18, 1_000_000, 10_000)?;
    let per_cent = saved as f64 / 1e4;
    Ok(Row::new(
        "004 abstract, 12.1",
        "99.8% cost reduction compared to fine-tuning ($18 against $10,000+)",
        format!("1 - 18 / 10,000 = {per_cent:.2} %"),
        Verdict::Corrected(format!("{per_cent:.2} %")),
    )
    .when(
        [near(per_cent, 99.8, 0.05)],
        Verdict::Untestable(
            "the arithmetic is right, but the two are quoted prices of different work by different people (one curates a \
             library for a large model, the other trains a 32B model); nothing here trains one"
                .into(),
        ),
    ))
}

fn improvement() -> Result<Row> {
    let relative = mul_div(188, 1_000_000, 163)? as f64 / 1e4 - 100.0;
    let points = 18.8 - 16.3;
    // 94 of 500 issues; 16.3 % of 500 is no whole number, and 82 is the nearest above.
    let (shared, alone) = (clopper_pearson(94, 500, 0.95)?, clopper_pearson(82, 500, 0.95)?);
    let overlap = alone.1 - shared.0;
    let shown = |(low, high): (f64, f64)| format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high);
    Ok(Row::new(
        "002 abstract, table 1",
        "15.2% improvement when nodes share priors (18.8 % against 16.3 % of 500 issues)",
        format!(
            "{relative:.2} % relative, {points:.1} points; exact 95 % intervals of 94 and 82 of 500: {} and {} (16.3 % of 500 is \
             {:.1})",
            shown(shared),
            shown(alone),
            0.163 * 500.0
        ),
        Verdict::Corrected(format!("{relative:.1} % relative, {points:.1} points")),
    )
    .when([near(relative, 15.2, 0.05), at_most(overlap, 0.0)], Verdict::Holds)
    .when(
        [at_least(overlap, 0.0)],
        Verdict::Corrected(format!(
            "{relative:.1} % relative, {points:.1} points of 500 issues in one run: the intervals overlap, so no improvement is \
             shown"
        )),
    ))
}

//! Traces of the production implementation and published vectors, replayed bit for bit.

use crate::support::data;

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::support::data::{Id, hash, id, lines, number, params, variant, votes};
use hanzo_snow::analysis::{expected_polls, poll_success, poll_success_exact, run_within, window_failure};
use hanzo_snow::checkpoint::{Checkpointer, InclusionProof, Leaf};
use hanzo_snow::rand_core::TryRng;
use hanzo_snow::{
    AddError, BlockRef, Decision, Ignored, PollOutcome, PollSet, Quorum, Snowball, Snowflake, Snowman, StakeHeap, Tree,
    ValidatorSampler, ValidatorSet, Variant, sample_units,
};
use serde_json::Value;

#[test]
fn snowman_traces() {
    let Some(cases) = lines("snowman_traces.jsonl.gz") else { return };
    assert_eq!(cases.len(), 150);
    for case in &cases {
        let name = &case["case"];
        let genesis = BlockRef { id: [0; 32], parent: [0; 32], height: 0 };
        let mut chain = Snowman::new(params(case), Variant::Snowflake, genesis, number(name));
        let mut decisions = Vec::new();
        for (at, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            if let Some(add) = op.get("add") {
                let block = BlockRef { id: id(&add[0]), parent: id(&add[1]), height: number(&add[2]) };
                let added = chain.add(block);
                let refused = matches!(added, Err(AddError::UnknownParent | AddError::Decided));
                assert_eq!(refused, op.get("err").is_some(), "case {name} op {at}: {added:?}");
                assert_eq!(added.is_err(), refused, "case {name} op {at}: {added:?}");
            } else {
                chain.record_poll(&votes(&op["poll"]), &mut decisions).unwrap();
            }
            assert_eq!(chain.preference(), id(&op["pref"]), "case {name} op {at}");
            let last = (id(&op["last_accepted"][0]), number(&op["last_accepted"][1]));
            assert_eq!(chain.last_accepted(), last, "case {name} op {at}");
            assert_eq!(chain.processing_len(), number::<usize>(&op["processing"]), "case {name} op {at}");
        }
        check_end(case, &chain, &decisions);
    }
}

/// Compares the order of acceptance and the fate of each block.
fn check_end(case: &Value, chain: &Snowman<Id>, decisions: &[Decision<Id>]) {
    let name = &case["case"];
    let mut accepted = Vec::new();
    let mut rejected = Vec::new();
    for decision in decisions {
        match *decision {
            Decision::Accepted { id, .. } => accepted.push(id),
            Decision::Rejected { id, .. } => rejected.push(id),
            _ => panic!("case {name}: {decision:?}"),
        }
    }
    let order: Vec<Id> =
        case["accept_order"].as_array().unwrap().iter().map(|v| hash(&v.as_str().unwrap()[1..])).collect();
    assert_eq!(accepted, order, "case {name}");
    for (block, status) in case["final_status"].as_object().unwrap() {
        let block = hash(block);
        let ours = if accepted.contains(&block) || block == [0; 32] {
            "A"
        } else if rejected.contains(&block) {
            "R"
        } else {
            assert!(chain.is_processing(&block), "case {name}");
            "P"
        };
        assert_eq!(ours, status, "case {name}");
    }
}

fn replay_trees(file: &str, count: usize) {
    let Some(cases) = lines(file) else { return };
    assert_eq!(cases.len(), count);
    for case in &cases {
        let name = &case["case"];
        let mut tree = Tree::new(params(case), variant(case), id(&case["initial"]));
        for (at, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            if let Some(add) = op.get("add") {
                tree.add(id(add));
            } else if let Some(poll) = op.get("poll") {
                let successful = tree.record_poll(&votes(poll)).unwrap();
                assert_eq!(successful, op["successful"], "case {name} op {at}");
            } else {
                assert_eq!(op["unsuccessful"], true);
                tree.record_unsuccessful();
            }
            assert_eq!(tree.preference(), id(&op["preference"]), "case {name} op {at}");
            assert_eq!(tree.is_finalized(), op["finalized"], "case {name} op {at}");
        }
    }
}

#[test]
fn tree_traces() {
    replay_trees("tree_traces.jsonl.gz", 100);
}

#[test]
fn tree_directed() {
    replay_trees("tree_directed.jsonl", 16);
}

#[test]
fn multi_threshold_traces() {
    let Some(cases) = lines("multi_threshold_traces.jsonl.gz") else { return };
    assert_eq!(cases.len(), 100);
    for case in &cases {
        let name = &case["case"];
        let initial: u8 = number(&case["initial"]);
        let mut snowflake = Snowflake::new(params(case), initial);
        let mut snowball = Snowball::new(params(case), initial);
        for (at, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            if op.get("unsuccessful").is_some() {
                snowflake.record_unsuccessful();
                snowball.record_unsuccessful();
            } else {
                let (count, choice) = (number(&op["count"]), number(&op["choice"]));
                let outcome = snowflake.record_poll(count, choice);
                assert_eq!(outcome, snowball.record_poll(count, choice));
                assert_eq!(outcome == PollOutcome::Finalized, op["finalized"], "case {name} op {at}");
            }
            let (preference, finalized, confidence) = match variant(case) {
                Variant::Snowflake => (*snowflake.preference(), snowflake.is_finalized(), snowflake.confidence()),
                Variant::Snowball => (*snowball.preference(), snowball.is_finalized(), snowball.confidence()),
            };
            assert_eq!(preference, number::<u8>(&op["preference"]), "case {name} op {at}");
            assert_eq!(finalized, op["finalized"], "case {name} op {at}");
            let expected: Vec<u32> = op["confidence"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(confidence, expected, "case {name} op {at}");
        }
    }
}

/// Gives out recorded words; asking for more fails the test.
struct Words(std::vec::IntoIter<u64>);

impl TryRng for Words {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("the samplers draw whole words")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next().expect("no more words than the vector has"))
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        panic!("the samplers draw whole words")
    }
}

#[test]
fn sampler_vectors() {
    let Some(cases) = lines("sampler_vectors.jsonl") else { return };
    assert_eq!(cases.len(), 75);
    for (line, case) in cases.iter().enumerate() {
        let words: Vec<u64> = case["words"].as_array().unwrap().iter().map(number).collect();
        let offered = words.len();
        let mut words = Words(words.into_iter());
        let count: u16 = number(&case["count"]);
        let mut out: Vec<u64> = Vec::new();
        let drawn = if case["kind"] == "uniform_without_replacement" {
            sample_units(number(&case["n"]), count, &mut words, &mut out)
        } else {
            assert_eq!(case["kind"], "weight_without_replacement");
            let stakes = case["weights"].as_array().unwrap().iter().map(number::<u64>);
            let set = ValidatorSet::new((0_u64..).zip(stakes)).unwrap();
            StakeHeap::new(&set).sample(count, &mut words, &mut out)
        };
        assert_eq!(drawn.is_ok(), case["ok"].as_bool().unwrap(), "line {line}");
        if drawn.is_ok() {
            let expected: Vec<u64> = case["out"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(out, expected, "line {line}");
            assert_eq!(words.0.len(), 0, "line {line}: words left over");
        } else {
            // Refused before a word is drawn: an error leaves the generator as it was.
            assert_eq!(words.0.len(), offered, "line {line}");
        }
    }
}

#[test]
fn quorum_vectors() {
    let Some(cases) = lines("quorum.jsonl") else { return };
    assert_eq!(cases.len(), 17);
    for case in &cases {
        let total: u64 = number(&case["total"]);
        let quorum = Quorum::of(total.try_into().unwrap());
        assert_eq!(quorum.stake(), number::<u64>(&case["quorum"]), "total {total}");
        assert_eq!(quorum.max_faulty(), number::<u64>(&case["max_faulty"]), "total {total}");
        assert_eq!(quorum.one_honest(), number::<u64>(&case["one_honest"]), "total {total}");
        let wide = |stake: u64| i128::from(stake);
        let shared = 2 * wide(quorum.stake()) - wide(total) - wide(quorum.max_faulty());
        assert_eq!(shared.to_string(), case["intersection_minus_faulty"].as_str().unwrap());
        assert!(shared >= 1);
    }
}

#[test]
fn poll_traces() {
    let Some(cases) = lines("poll_traces.jsonl.gz") else { return };
    assert_eq!(cases.len(), 150);
    for case in &cases {
        let name = &case["case"];
        let parents: BTreeMap<Id, Id> =
            case["blocks"].as_array().unwrap().iter().map(|pair| (id(&pair[0]), id(&pair[1]))).collect();
        let parent_of = |block: &Id| parents.get(block).copied();
        let mut polls = PollSet::new(params(case));
        let multiplicity = case["multiplicity"].as_array().unwrap();
        let sample = multiplicity.iter().enumerate().flat_map(|(node, times)| vec![node; number(times)]);
        let poll = polls.open(sample).unwrap();
        for (at, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let node = number(&step["validator"]);
            let taken = match step.get("vote") {
                Some(vote) => polls.vote(poll, &node, id(vote), &parent_of),
                None => polls.drop_voter(poll, &node, &parent_of),
            };
            assert!(taken, "case {name} step {at}");
            assert_eq!(polls.is_finished(poll), step["finished"].as_bool(), "case {name} step {at}");
        }
        assert_eq!(polls.next_result().unwrap().votes, votes(&case["result"]), "case {name}");
        assert_eq!(polls.ignored(), Ignored::default());
    }
}

#[test]
fn checkpoint_vectors() {
    let Some(cases) = lines("checkpoint_vectors.jsonl") else { return };
    assert_eq!(cases.len(), 11);
    let mut checkpointer = Checkpointer::new(id(&cases[0]["chain"]), number(&cases[0]["epoch"]), 0);
    for case in &cases {
        let leaves: Vec<Leaf> = case["leaves"]
            .as_array()
            .unwrap()
            .iter()
            .map(|leaf| Leaf {
                round: number(&leaf["round"]),
                author: number(&leaf["author"]),
                index: number(&leaf["index"]),
                tx: id(&leaf["tx"]),
            })
            .collect();
        let checkpoint = checkpointer.seal(number(&case["last_round"]), &leaves).unwrap();
        assert_eq!(checkpoint.sequence, number::<u64>(&case["sequence"]));
        assert_eq!(checkpoint.first_round, number::<u64>(&case["first_round"]));
        assert_eq!(checkpoint.leaf_count, number::<u64>(&case["leaf_count"]));
        assert_eq!(checkpoint.root, id(&case["root"]));
        assert_eq!(checkpoint.previous, id(&case["previous"]));
        assert_eq!(checkpoint.digest(), id(&case["digest"]));
        if let Some(first) = leaves.first() {
            assert_eq!(first.hash(&checkpoint.chain, checkpoint.epoch), id(&case["first_leaf_hash"]));
        }
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = InclusionProof::new(&checkpoint, &leaves, index as u64).unwrap();
            assert_eq!(proof.verify(&checkpoint, leaf), Ok(()));
        }
    }
}

fn close(ours: f64, theirs: &Value, relative: f64, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    let error = (ours - theirs).abs() / theirs.abs().max(f64::MIN_POSITIVE);
    assert!(error <= relative, "{what}: {ours:e} against {theirs:e}, off by {error:e}");
}

#[test]
fn analysis_figures() {
    let Some(rows) = lines("analysis.jsonl") else { return };
    assert_eq!(rows.len(), 36);
    for row in &rows {
        let (k, alpha, beta) = (number(&row["k"]), number(&row["alpha"]), number(&row["beta"]));
        if let Some(p) = row["p"].as_str() {
            let (above, below) = p.split_once('/').unwrap_or((p, "1"));
            let p = above.parse::<f64>().unwrap() / below.parse::<f64>().unwrap();
            let what = format!("k {k} alpha {alpha} beta {beta} p {p}");
            let q = poll_success(k, alpha, p).unwrap();
            close(q.value(), &row["poll_success"], 1e-12, &what);
            close(q.log10().unwrap(), &row["log10_poll_success"], 1e-12, &what);
            close(window_failure(&q, beta).log10().unwrap(), &row["log10_window_failure"], 1e-12, &what);
            close(expected_polls(&q, beta).unwrap().unwrap(), &row["expected_rounds"], 1e-12, &what);
            let within = run_within(&q, beta, number(&row["trials"])).unwrap();
            close(within, &row["run_within_trials"], 1e-12, &what);
        } else {
            let (population, support) = (number(&row["population"]), number(&row["support"]));
            let what = format!("k {k} alpha {alpha} {support} of {population}");
            let q = poll_success_exact(k, alpha, population, support).unwrap();
            let value = &row["poll_success_hypergeometric"];
            match q.log10() {
                None => assert!(row["log10"].is_null() && value.as_f64() == Some(0.0), "{what}"),
                Some(log10) => {
                    close(q.value(), value, 1e-12, &what);
                    close(log10, &row["log10"], 1e-12, &what);
                }
            }
        }
    }
}

#[test]
fn safety_table() {
    let Some(table) = data::text("safety_binomial.csv") else { return };
    let mut rows = 0;
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [k, alpha, beta, support, success, log10] = cells[..] else { panic!("{row}") };
        let q = poll_success(k.parse().unwrap(), alpha.parse().unwrap(), support.parse().unwrap()).unwrap();
        let expected: f64 = success.parse().unwrap();
        assert!((q.value() - expected).abs() <= 1e-11 * expected, "{row}: {}", q.value());
        let window = window_failure(&q, beta.parse().unwrap()).log10().unwrap();
        assert!((window - log10.parse::<f64>().unwrap()).abs() <= 1e-8, "{row}: {window}");
        rows += 1;
    }
    assert_eq!(rows, 114);
}

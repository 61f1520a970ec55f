//! Robust aggregation: exact vectors, laws, and what each precondition refuses.

use crate::support::data::{data, list, number, text};
use hanzo_experience::aggregate::{
    Aggregate, Aggregator, Fixed, Krum, Limits, MultiKrum, Prior, Schema, Tie, TrimmedMean, Weighted, WeightedMedian,
    WeightedTrimmedMean, geometric_median,
};
use hanzo_experience::{Account, Error, registry};
use num_bigint::BigInt;
use proptest::prelude::*;
use serde_json::Value;

const SCHEMA: u64 = 7;

fn accounts(count: usize) -> Vec<Account> {
    // Wide enough that the order of names is the order of numbers.
    (0..count).map(|index| format!("node-{index:05}").parse().expect("an account")).collect()
}

fn prior(raw: &[i64]) -> Prior {
    Prior::dense(SCHEMA, raw.iter().copied().map(Fixed::from_raw).collect()).expect("a prior")
}

/// Aggregates these rows with these weights, each from a node of its own.
fn run(rule: &dyn Aggregator, rows: &[Prior], weights: &[u128]) -> Result<Aggregate, Error> {
    let names = accounts(rows.len());
    let parts = names.iter().zip(rows).zip(weights);
    let submissions: Vec<Weighted<'_>> =
        parts.map(|((submitter, prior), weight)| Weighted { submitter, prior, weight: *weight }).collect();
    rule.aggregate(&submissions)
}

fn columns(values: &[i64]) -> Vec<Prior> {
    values.iter().map(|value| prior(&[*value])).collect()
}

fn raw(aggregate: &Aggregate) -> Vec<Option<i64>> {
    aggregate.values().iter().map(|value| value.map(Fixed::to_raw)).collect()
}

fn integers<T: core::str::FromStr>(value: &Value, member: &str) -> Vec<T> {
    let parse = |text: &Value| text.as_str().and_then(|text| text.parse().ok()).expect("an integer");
    list(value, member).iter().map(parse).collect()
}

#[test]
fn shared_vectors() {
    let Some(file) = data("computed/aggregate.json") else { return };
    for case in list(&file, "quantize") {
        let bits = u64::from_str_radix(text(case, "x_bits"), 16).expect("hex");
        assert_eq!(
            Fixed::from_f64(f64::from_bits(bits)).map(|x| x.to_raw().to_string()).as_deref(),
            Ok(text(case, "raw"))
        );
    }
    let one = |rule: &dyn Aggregator, case: &Value, member: &str| {
        let weights =
            if case["weights"].is_array() { integers(case, "weights") } else { vec![1; list(case, "values").len()] };
        let aggregate = run(rule, &columns(&integers(case, "values")), &weights).expect("an aggregate");
        assert_eq!(raw(&aggregate), [Some(text(case, member).parse().expect("an integer"))], "{case}");
    };
    for case in list(&file, "median") {
        one(&WeightedMedian::default(), case, "lower");
        one(&WeightedMedian::new(Tie::Midpoint), case, "midpoint");
    }
    for case in list(&file, "trimmed") {
        one(&TrimmedMean::new(number(case, "b") as usize), case, "mean");
    }
    for case in list(&file, "weighted_trimmed") {
        one(&WeightedTrimmedMean::new(number(case, "trim_bps") as u16).expect("a share"), case, "mean");
    }
    let vectors = |case: &Value| -> Vec<Prior> {
        let row = |row: &Value| {
            let values = row.as_array().expect("a list").iter();
            prior(&values.map(|x| x.as_str().and_then(|x| x.parse().ok()).expect("an integer")).collect::<Vec<i64>>())
        };
        list(case, "vectors").iter().map(row).collect()
    };
    for case in list(&file, "krum") {
        let rows = vectors(case);
        let names = accounts(rows.len());
        let parts = names.iter().zip(&rows);
        let submissions: Vec<_> = parts.map(|(submitter, prior)| Weighted { submitter, prior, weight: 1 }).collect();
        let f = number(case, "f") as usize;
        let scores = MultiKrum::new(f, 1).and_then(|rule| rule.scores(&submissions)).expect("scores");
        assert_eq!(scores, integers::<u128>(case, "scores"));
        let chosen = Krum::new(f).aggregate(&submissions).and_then(|aggregate| aggregate.to_prior());
        assert_eq!(chosen.as_ref(), Ok(&rows[number(case, "selected") as usize]));
    }
    for case in list(&file, "multi_krum") {
        let rows = vectors(case);
        let rule = MultiKrum::new(number(case, "f") as usize, number(case, "m") as usize).expect("a rule");
        let aggregate = run(&rule, &rows, &vec![1; rows.len()]).expect("an aggregate");
        assert_eq!(raw(&aggregate), integers::<i64>(case, "mean").into_iter().map(Some).collect::<Vec<_>>());
    }
}

/// Elements, some of them absent, with a weight.
type Rows = Vec<(Vec<Option<i64>>, u128)>;

/// The number of elements, rows, and a shuffle of them.
fn submissions() -> impl Strategy<Value = (u32, Rows, Vec<usize>)> {
    // More elements than are gathered at once.
    let weight = prop_oneof![Just(0), 1..4_u128, any::<u64>().prop_map(u128::from), any::<u128>().prop_map(|w| w >> 5)];
    let value = prop_oneof![-3..3_i64, any::<i64>()];
    (1..150_usize, 1..9_usize).prop_flat_map(move |(dimension, count)| {
        let row = prop::collection::vec(prop::option::weighted(0.8, value.clone()), dimension);
        let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
        (Just(dimension as u32), prop::collection::vec((row, weight.clone()), count), order)
    })
}

fn sparse(dimension: u32, row: &[Option<i64>]) -> Prior {
    let present = (0..).zip(row).filter_map(|(index, value)| Some((index, Fixed::from_raw((*value)?))));
    Prior::new(SCHEMA, dimension, present).expect("a prior")
}

/// By its definition, in big integers.
fn plain_median(cells: &[(i64, u128)], tie: Tie) -> i64 {
    let mut cells: Vec<(i64, u128)> = cells.iter().copied().filter(|(_, weight)| *weight > 0).collect();
    cells.sort_unstable();
    let total: BigInt = cells.iter().map(|(_, weight)| BigInt::from(*weight)).sum();
    let mut sum = BigInt::ZERO;
    for (index, (value, weight)) in cells.iter().enumerate() {
        sum += *weight;
        let twice: BigInt = &sum * 2;
        if twice >= total {
            return match (tie, cells.get(index + 1)) {
                (Tie::Midpoint, Some((next, _))) if twice == total => {
                    ((i128::from(*value) + i128::from(*next)) >> 1) as i64
                }
                _ => *value,
            };
        }
    }
    unreachable!("half of a positive weight is reached")
}

/// By its definition, in exact fractions: the rest over its weight.
fn plain_trimmed(cells: &[(i64, u128)], bps: u16, all: u128) -> Option<i64> {
    let shift = (0..).find(|shift| all >> shift < 1 << 62).expect("a shift");
    let mut cells: Vec<(i64, u128)> = cells.iter().map(|(value, weight)| (*value, weight >> shift)).collect();
    cells.sort_unstable();
    let total: u128 = cells.iter().map(|(_, weight)| weight).sum();
    let trim = total * u128::from(bps) / 10_000;
    for from_top in [false, true] {
        let mut left = trim;
        let mut cut = |cell: &mut (i64, u128)| {
            let taken = left.min(cell.1);
            cell.1 -= taken;
            left -= taken;
        };
        if from_top { cells.iter_mut().rev().for_each(&mut cut) } else { cells.iter_mut().for_each(&mut cut) }
    }
    let rest = total - 2 * trim;
    let sum: BigInt = cells.iter().map(|(value, weight)| BigInt::from(*value) * BigInt::from(*weight)).sum();
    (rest > 0).then(|| half_even(&sum, rest))
}

fn half_even(sum: &BigInt, count: u128) -> i64 {
    let count = BigInt::from(count);
    // Floor division of big integers.
    let mut quotient = sum / &count;
    if &quotient * &count > *sum {
        quotient -= 1;
    }
    let twice: BigInt = (sum - &quotient * &count) * 2;
    let odd = &quotient % 2 != BigInt::ZERO;
    let up = twice > count || (twice == count && odd);
    (quotient + i32::from(up)).try_into().expect("between values")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// Every rule against its definition in big integers, for sparse priors; equal bits and root for any order.
    #[test]
    fn rules_are_their_definitions((dimension, rows, order) in submissions(), bps in 0..5_000_u16, b in 0..3_usize) {
        let priors: Vec<Prior> = rows.iter().map(|(row, _)| sparse(dimension, row)).collect();
        let names = accounts(rows.len());
        let build = |order: &[usize]| -> Vec<Weighted<'_>> {
            order.iter().map(|i| Weighted { submitter: &names[*i], prior: &priors[*i], weight: rows[*i].1 }).collect()
        };
        let sorted: Vec<usize> = (0..rows.len()).collect();
        let cells = |element: usize| -> Vec<(i64, u128)> {
            rows.iter().filter_map(|(row, weight)| Some((row[element]?, *weight))).collect()
        };
        let total: u128 = rows.iter().map(|(_, weight)| weight).sum();
        let enough = |cells: &[(i64, u128)], total: u128| {
            let present: BigInt = cells.iter().map(|(_, weight)| BigInt::from(*weight)).sum();
            present > BigInt::ZERO && present * 2 >= BigInt::from(total)
        };

        for tie in [Tie::Lower, Tie::Midpoint] {
            let rule = WeightedMedian::new(tie);
            let got = rule.aggregate(&build(&sorted));
            prop_assert_eq!(&got, &rule.aggregate(&build(&order)));
            if total == 0 {
                prop_assert_eq!(got, Err(Error::NoWeight));
                continue;
            }
            let got = got.unwrap();
            for element in 0..dimension as usize {
                let cells = cells(element);
                let want = enough(&cells, total).then(|| plain_median(&cells, tie));
                prop_assert_eq!(raw(&got)[element], want);
            }
            prop_assert_eq!(got.root(), registry::aggregate_root(SCHEMA, raw(&got)));
        }

        let rule = WeightedTrimmedMean::new(bps).unwrap();
        let got = rule.aggregate(&build(&sorted));
        prop_assert_eq!(&got, &rule.aggregate(&build(&order)));
        if let Ok(got) = got {
            let shift = (0..).find(|shift| total >> shift < 1 << 62).unwrap();
            let shifted: u128 = rows.iter().map(|(_, weight)| weight >> shift).sum();
            for element in 0..dimension as usize {
                let cells = cells(element);
                let small: Vec<_> = cells.iter().map(|(value, weight)| (*value, weight >> shift)).collect();
                let want = enough(&small, shifted).then(|| plain_trimmed(&cells, bps, total).unwrap());
                prop_assert_eq!(raw(&got)[element], want);
            }
        }

        let rule = TrimmedMean::new(b);
        let got = rule.aggregate(&build(&sorted));
        prop_assert_eq!(&got, &rule.aggregate(&build(&order)));
        match got {
            Err(error) => prop_assert_eq!(error, Error::TooFew { need: 2 * b + 1, got: rows.len() }),
            Ok(got) => for element in 0..dimension as usize {
                let mut values: Vec<i64> = cells(element).iter().map(|(value, _)| *value).collect();
                values.sort_unstable();
                let want = (values.len() > 2 * b && values.len() * 2 >= rows.len()).then(|| {
                    let kept = &values[b..values.len() - b];
                    half_even(&kept.iter().map(|value| BigInt::from(*value)).sum(), kept.len() as u128)
                });
                prop_assert_eq!(raw(&got)[element], want);
            },
        }
    }

    /// Whatever 49.9 % of the weight sends, every element stays between honest values.
    #[test]
    fn medians_stay_in_the_honest_hull(
        honest in prop::collection::vec((prop::collection::vec(-1_000..1_000_i64, 3), 1..1_000_u128), 1..8),
        lies in prop::collection::vec((prop::collection::vec(any::<i64>(), 3), 1..1_000_u128), 1..8),
    ) {
        // Scaled so that the liars have 499/1000 of the weight, or one unit less.
        let (h, l): (u128, u128) = (honest.iter().map(|(_, w)| w).sum(), lies.iter().map(|(_, w)| w).sum());
        let rows: Vec<Prior> = honest.iter().chain(&lies).map(|(row, _)| prior(row)).collect();
        let weights = honest.iter().map(|(_, w)| w * l * 501).chain(lies.iter().map(|(_, w)| w * h * 499));
        let weights: Vec<u128> = weights.collect();
        for tie in [Tie::Lower, Tie::Midpoint] {
            let got = raw(&run(&WeightedMedian::new(tie), &rows, &weights).unwrap());
            for element in 0..3 {
                let values = honest.iter().map(|(row, _)| row[element]);
                let hull = values.clone().min().unwrap()..=values.max().unwrap();
                prop_assert!(got[element].is_some_and(|value| hull.contains(&value)), "{got:?} {hull:?}");
            }
        }
    }

    /// Krum against its definition in big integers, for any order.
    #[test]
    fn krum_is_its_definition(
        rows in prop::collection::vec(prop::collection::vec(any::<i32>(), 4), 5..9),
        shift in 0..20_u32,
    ) {
        let rows: Vec<Vec<i64>> =
            rows.iter().map(|row| row.iter().map(|x| i64::from(*x) << shift).collect()).collect();
        let (n, f) = (rows.len(), 1);
        let score = |own: usize| -> BigInt {
            let distance = |other: &Vec<i64>| -> BigInt {
                other.iter().zip(&rows[own]).map(|(a, b)| (BigInt::from(*a) - BigInt::from(*b)).pow(2)).sum()
            };
            let mut others: Vec<BigInt> =
                rows.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, row)| distance(row)).collect();
            others.sort();
            others.into_iter().take(n - f - 2).sum()
        };
        let best = (0..n).min_by_key(|own| (score(*own), *own)).unwrap();
        let priors: Vec<Prior> = rows.iter().map(|row| prior(row)).collect();
        let chosen = run(&Krum::new(f), &priors, &vec![1; n]).unwrap();
        prop_assert_eq!(chosen.to_prior().unwrap(), priors[best].clone());
        let names = accounts(n);
        let reversed: Vec<_> =
            (0..n).rev().map(|i| Weighted { submitter: &names[i], prior: &priors[i], weight: 1 }).collect();
        prop_assert_eq!(Krum::new(f).aggregate(&reversed).unwrap(), chosen);
    }

    #[test]
    fn prior_bytes_are_canonical((dimension, rows, _) in submissions(), cut in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let prior = sparse(dimension, &rows[0].0);
        let bytes = prior.to_bytes();
        prop_assert_eq!(Prior::from_bytes(&bytes), Ok(prior));
        prop_assert_eq!(Prior::from_bytes(&bytes[..cut.index(bytes.len())]), Err(Error::MalformedPrior));
        let mut spoilt = bytes.clone();
        spoilt[cut.index(bytes.len())] ^= flip;
        if let Ok(other) = Prior::from_bytes(&spoilt) {
            prop_assert_eq!(other.to_bytes(), spoilt);
        }
    }
}

/// At exactly one half the lower median is the liar's: the strict inequality is needed.
/// Many submitters, in orders and with repetitions that defeat pivots; weights of 64 bits and of more.
#[test]
fn medians_of_many() {
    let mut state = 7_u64;
    let mut random = |of: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % of
    };
    for n in [1_i64, 2, 12, 13, 14, 40, 257, 3_000] {
        let shapes: [Vec<i64>; 8] = [
            (0..n).collect(),
            (0..n).rev().collect(),
            vec![5; n as usize],
            (0..n).map(|i| i % 2).collect(),
            // Organ pipes, and the middle taken where samples look.
            (0..n).map(|i| i.min(n - i)).collect(),
            (0..n).map(|i| if i % (n / 9).max(1) < 2 { i64::MIN + i } else { i }).collect(),
            (0..n).map(|_| random(4) as i64).collect(),
            (0..n).map(|_| random(u64::MAX) as i64).collect(),
        ];
        for values in &shapes {
            for shift in [0, 70] {
                for heavy in [1, 50, 1_000_000] {
                    let weights: Vec<u128> = (0..n).map(|_| u128::from(1 + random(heavy)) << shift).collect();
                    let cells: Vec<(i64, u128)> = values.iter().copied().zip(weights.iter().copied()).collect();
                    for tie in [Tie::Lower, Tie::Midpoint] {
                        let aggregate =
                            run(&WeightedMedian::new(tie), &columns(values), &weights).expect("an aggregate");
                        assert_eq!(
                            raw(&aggregate),
                            [Some(plain_median(&cells, tie))],
                            "n={n} shift={shift} heavy={heavy}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn half_of_the_weight_breaks_a_median() {
    let got = run(&WeightedMedian::default(), &columns(&[1, 2, i64::MIN]), &[1, 1, 2]);
    assert_eq!(got.map(|aggregate| raw(&aggregate)), Ok(vec![Some(i64::MIN)]));
}

#[test]
fn preconditions_are_errors() {
    let rows = columns(&[1, 2, 3, 4, 5]);
    let ones = [1; 5];
    let fails = |rule: &dyn Aggregator, count: usize| run(rule, &rows[..count], &ones[..count]).unwrap_err();
    assert_eq!(fails(&WeightedMedian::default(), 0), Error::TooFew { need: 1, got: 0 });
    assert_eq!(fails(&TrimmedMean::new(2), 4), Error::TooFew { need: 5, got: 4 });
    assert_eq!(fails(&TrimmedMean::new(usize::MAX), 4), Error::Overflow);
    assert_eq!(fails(&Krum::new(1), 4), Error::TooFew { need: 5, got: 4 });
    assert!(run(&Krum::new(1), &rows, &ones).is_ok());
    let three = MultiKrum::new(1, 2).unwrap();
    assert_eq!(fails(&three, 5), Error::TooFew { need: 6, got: 5 });
    assert_eq!(fails(&Krum::new(usize::MAX / 2), 4), Error::Overflow);
    assert_eq!(MultiKrum::new(1, 0), Err(Error::OutOfRange { field: "m" }));
    assert_eq!(WeightedTrimmedMean::new(5_000), Err(Error::OutOfRange { field: "trim_bps" }));
    assert_eq!(Limits::new(10_001, 0), Err(Error::OutOfRange { field: "min_participation_bps" }));
    assert_eq!(Limits::new(0, 10_001), Err(Error::OutOfRange { field: "max_weight_bps" }));

    for rule in [&WeightedMedian::default() as &dyn Aggregator, &WeightedTrimmedMean::new(0).unwrap()] {
        assert_eq!(run(rule, &rows, &[0; 5]), Err(Error::NoWeight));
        assert_eq!(run(rule, &rows, &[u128::MAX, 1, 0, 0, 0]), Err(Error::Overflow));
        assert!(run(rule, &rows, &[u128::MAX, 0, 0, 0, 0]).is_ok());
    }
    let names = accounts(2);
    let twice = [&names[0], &names[0]].map(|submitter| Weighted { submitter, prior: &rows[0], weight: 1 });
    let other = Prior::dense(SCHEMA + 1, vec![Fixed::ZERO]).unwrap();
    let longer = prior(&[1, 2]);
    for rule in [&WeightedMedian::default() as &dyn Aggregator, &TrimmedMean::new(0), &Krum::new(0)] {
        assert_eq!(rule.aggregate(&twice), Err(Error::DuplicateSubmitter));
        for odd in [&other, &longer] {
            let mixed = [(&names[0], &rows[0]), (&names[1], odd)].map(|(submitter, prior)| Weighted {
                submitter,
                prior,
                weight: 1,
            });
            assert_eq!(rule.aggregate(&mixed), Err(Error::SchemaMismatch));
        }
    }
    let hole = sparse(2, &[Some(1), None]);
    assert_eq!(run(&Krum::new(0), &[hole, longer.clone(), longer], &[1; 3]), Err(Error::NotDense));
}

/// Extremes overflow the distances of those who send them, and of nobody else.
#[test]
fn extremes_do_not_stop_krum() {
    let far = [i64::MAX; 3];
    let rows = [
        prior(&[1, 1, 1]),
        prior(&[2, 2, 2]),
        prior(&[3, 3, 3]),
        prior(&[2, 2, 3]),
        prior(&far),
        prior(&[i64::MIN; 3]),
    ];
    let got = run(&Krum::new(1), &rows[..5], &[1; 5]).unwrap();
    assert_eq!(raw(&got), [Some(2), Some(2), Some(3)]);
    let apart = [prior(&far), prior(&[i64::MIN; 3]), prior(&[0; 3])];
    assert!(run(&Krum::new(0), &apart, &[1; 3]).is_ok());
    let apart: Vec<Prior> = [i64::MAX, i64::MIN]
        .into_iter()
        .cycle()
        .zip(0..5)
        .map(|(x, i)| prior(&[x, if i & 2 == 0 { x } else { !x }, if i & 4 == 0 { x } else { !x }]))
        .collect();
    assert_eq!(run(&Krum::new(0), &apart, &[1; 5]), Err(Error::Overflow));
}

#[test]
fn limits_cut_weights_and_ask_for_participation() {
    // One of three has 90 % of the weight; cut to 40 %, the others outweigh it.
    let rows = columns(&[-9, 5, 6]);
    let rule = |bps| WeightedMedian::default().limits(Limits::new(5_000, bps).unwrap());
    let value = |rule: &WeightedMedian| raw(&run(rule, &rows, &[90, 5, 5]).unwrap())[0];
    assert_eq!([value(&rule(10_000)), value(&rule(1_000)), value(&rule(500))], [Some(-9), Some(-9), Some(5)]);
    assert_eq!(run(&rule(0), &rows, &[90, 5, 5]), Err(Error::NoWeight));
    // Half of the weight is present at element 1, less at element 2.
    let rows = [sparse(3, &[Some(1), Some(2), None]), sparse(3, &[Some(3), None, Some(4)])];
    let got = run(&WeightedMedian::default(), &rows, &[51, 49]).unwrap();
    assert_eq!(raw(&got), [Some(1), Some(2), None]);
    let all = WeightedMedian::default().limits(Limits::new(10_000, 10_000).unwrap());
    assert_eq!(raw(&run(&all, &rows, &[51, 49]).unwrap()), [Some(1), None, None]);
}

#[test]
fn schemas_name_themselves() {
    let bins = Schema::token_bins(vec![10, 20, 40]).unwrap();
    let elements = [9, 10, 19, 20, 39, 40, u32::MAX].map(|token| bins.element_of_token(token));
    assert_eq!(elements, [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]);
    // SHA-256("hanzo.experience.schema.v1" || 00 || 00 || 0000000a 00000014 00000028), first eight bytes.
    assert_eq!(bins.id(), 0x794a_d4d1_607e_3c68);
    assert_eq!(Schema::token_bins(vec![]), Err(Error::OutOfRange { field: "schema" }));
    assert_eq!(Schema::token_bins(vec![1, 1]), Err(Error::IndexOrder));
    let prior = bins.decompose_tokens([(1, 9.0), (11, 1.0), (12, -0.5), (45, 0.25)]).unwrap();
    assert_eq!(prior.get(0), Some(Fixed::from_f64(0.25).unwrap()));
    assert_eq!((prior.get(1), prior.get(2)), (None, Some(Fixed::from_f64(0.25).unwrap())));
    assert_eq!((prior.schema(), prior.dimension()), (bins.id(), 3));
    assert_eq!(bins.decompose_tokens([(1, f64::NAN)]), Err(Error::NonFinite { index: 0 }));

    let centroids = Schema::centroids(&[vec![2.0, 0.0], vec![0.0, 0.5], vec![3.0, 0.0]]).unwrap();
    // Scaled to unit length, the first and the third are one: the lower index wins.
    assert_eq!(centroids.element_of_vector(&[5.0, 1.0]), Ok(0));
    assert_eq!(centroids.element_of_vector(&[1.0, 5.0]), Ok(1));
    let vectors: [(&[f32], f64); 2] = [(&[0.0, 1.0], 0.5), (&[0.1, 1.0], -1.0)];
    assert_eq!(centroids.decompose_vectors(vectors).unwrap().get(1), Some(Fixed::from_f64(-0.25).unwrap()));
    assert_eq!(centroids.element_of_vector(&[1.0]), Err(Error::DimensionMismatch { got: 1, want: 2 }));
    assert_eq!(centroids.element_of_vector(&[1.0, f32::NAN]), Err(Error::NonFinite { index: 1 }));
    assert_eq!(bins.element_of_vector(&[1.0]), Err(Error::SchemaMismatch));
    assert_eq!(centroids.decompose_tokens([(1, 1.0)]), Err(Error::SchemaMismatch));
    assert_eq!(Schema::centroids(&[vec![0.0, 0.0]]), Err(Error::ZeroNorm));
    assert_eq!(Schema::centroids(&[vec![1.0], vec![1.0, 2.0]]), Err(Error::DimensionMismatch { got: 2, want: 1 }));
}

/// On a line the geometric median is a median; among points it has a zero sum of unit pulls.
#[test]
fn geometric_medians() {
    let line: [&[f64]; 3] = [&[0.0], &[1.0], &[10.0]];
    let median = geometric_median(&line, &[1.0, 1.0, 1.0], 1e-12, 10_000).unwrap();
    assert!((median.point[0] - 1.0).abs() < 1e-6, "{median:?}");
    // The Fermat point of an equilateral triangle is its centre.
    let height = 0.75_f64.sqrt();
    let triangle: [&[f64]; 3] = [&[0.0, 0.0], &[1.0, 0.0], &[0.5, height]];
    let median = geometric_median(&triangle, &[1.0; 3], 1e-12, 10_000).unwrap();
    assert!((median.point[0] - 0.5).abs() < 1e-9 && (median.point[1] - height / 3.0).abs() < 1e-9);
    // A point with more than half of the weight is the median.
    let heavy = geometric_median(&triangle, &[5.0, 1.0, 1.0], 1e-12, 10_000).unwrap();
    assert!(heavy.point.iter().all(|x| x.abs() < 1e-6), "{heavy:?}");
    let bad =
        |points: &[&[f64]], weights: &[f64], tolerance| geometric_median(points, weights, tolerance, 10).unwrap_err();
    assert_eq!(bad(&[], &[], 1.0), Error::TooFew { need: 1, got: 0 });
    assert_eq!(bad(&line, &[1.0], 1.0), Error::DimensionMismatch { got: 1, want: 3 });
    assert_eq!(bad(&line, &[1.0, -1.0, 1.0], 1.0), Error::OutOfRange { field: "weights" });
    assert_eq!(bad(&line, &[0.0; 3], 1.0), Error::NoWeight);
    assert_eq!(bad(&line, &[1.0; 3], f64::NAN), Error::OutOfRange { field: "tolerance" });
    assert_eq!(bad(&[&[f64::INFINITY]], &[1.0], 1.0), Error::NonFinite { index: 0 });
}

//! Governance, registry and rewards: the rules of each transition, and no base unit made or lost by any run of events.

use std::collections::BTreeMap;

use hanzo_experience::governance::{
    self, Choice, Governance, GovernanceConfig, Parameter, PowerSnapshot, ProposalKind, RejectPolicy,
};
use hanzo_experience::merkle::{StateRoot, StateTree};
use hanzo_experience::registry::{self, History, Registry, RegistryConfig, Submission, aggregate_root};
use hanzo_experience::rewards::{Fetch, contributor_pool, largest_remainder, rebates};
use hanzo_experience::{
    Account, Draft, Effect, Error, ExperienceId, Library, LibraryConfig, Mode, Operation, Snapshot, Stamp, Text,
};
use proptest::prelude::*;

fn account(name: &str) -> Account {
    name.parse().unwrap()
}

fn state(byte: u8) -> StateRoot {
    StateTree::new([ExperienceId::from_bytes([byte; 32])]).root()
}

/// What was locked under each key and not yet released, burned or paid. Fails on a key that gives more than it has.
#[derive(Default)]
struct Held(BTreeMap<String, u128>);

impl Held {
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Lock { amount, key, .. } => *self.0.entry(key.clone()).or_default() += amount,
                Effect::Pay { key, .. } if key.starts_with("treasury/") => {}
                Effect::Release { amount, key, .. }
                | Effect::Burn { amount, key, .. }
                | Effect::Pay { amount, key, .. } => {
                    let held = self.0.get_mut(key).unwrap_or_else(|| panic!("nothing held under {key}"));
                    *held = held.checked_sub(*amount).unwrap_or_else(|| panic!("{key} gives more than it has"));
                }
                Effect::Event { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn of(&self, key: &str) -> u128 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

const WEEK: u64 = 604_800;

fn propose(proposer: &str, kind: ProposalKind, start: u64, power: &[(&str, u128)]) -> governance::Event {
    let power = power.iter().map(|(name, power)| (account(name), *power));
    let power = PowerSnapshot::new(1_000, power).unwrap();
    governance::Event::Propose { proposer: account(proposer), kind, start, power }
}

fn vote(proposal: u64, voter: &str, choice: Choice) -> governance::Event {
    governance::Event::Vote { proposal, voter: account(voter), choice }
}

fn upgrade() -> ProposalKind {
    ProposalKind::Upgrade { digest: [1; 32] }
}

fn draft(text: &str) -> Draft {
    Draft::new(Text::new(text).unwrap(), "math".parse().unwrap(), "alice", 1)
}

#[test]
fn votes_have_their_time_and_power() {
    let mut governance = Governance::new(GovernanceConfig::new(1));
    let power = [("ann", 60), ("bob", 40)];
    assert_eq!(governance.on(10, propose("ann", upgrade(), 9, &power)), Err(Error::OutOfRange { field: "start" }));
    governance.on(10, propose("ann", upgrade(), 20, &power)).unwrap();
    let mut at = |now, event| governance.on(now, event).map(|_| ());
    assert_eq!(at(19, vote(0, "ann", Choice::Yes)), Err(Error::VotingClosed));
    assert_eq!(at(20, vote(0, "ann", Choice::Yes)), Ok(()));
    assert_eq!(at(20, vote(0, "eve", Choice::Yes)), Err(Error::NoVotingPower));
    assert_eq!(at(20, vote(1, "ann", Choice::Yes)), Err(Error::UnknownProposal { number: 1 }));
    assert_eq!(at(19, vote(0, "bob", Choice::No)), Err(Error::OutOfRange { field: "now" }));
    let end = 20 + WEEK;
    assert_eq!(at(end - 1, vote(0, "bob", Choice::No)), Ok(()));
    assert_eq!(at(end - 1, governance::Event::Finalize { proposal: 0 }), Err(Error::TooEarly { until: end }));
    // A second vote of an account replaces its first.
    assert_eq!(at(end - 1, vote(0, "bob", Choice::Abstain)), Ok(()));
    assert_eq!(at(end, vote(0, "bob", Choice::No)), Err(Error::VotingClosed));
    let execute = governance::Event::Execute { proposal: 0, state: None };
    assert_eq!(at(end, execute.clone()), Err(Error::WrongState { state: "voting" }));
    assert_eq!(at(end, governance::Event::Finalize { proposal: 0 }), Ok(()));
    assert_eq!(at(end, vote(0, "bob", Choice::No)), Err(Error::WrongState { state: "approved" }));
    assert_eq!(at(end, governance::Event::Finalize { proposal: 0 }), Err(Error::WrongState { state: "approved" }));
    let settle = governance::Event::Settle { proposal: 0 };
    assert_eq!(at(end, settle.clone()), Err(Error::TooEarly { until: end + WEEK }));
    assert_eq!(at(end, execute.clone()), Ok(()));
    assert_eq!(at(end, execute), Err(Error::WrongState { state: "executed" }));
    let malicious = governance::Event::FindMalicious { proposal: 0 };
    assert_eq!(at(end + WEEK, malicious.clone()), Err(Error::VotingClosed));
    assert_eq!(at(end + WEEK, settle.clone()), Ok(()));
    assert_eq!(at(end + WEEK, settle), Err(Error::WrongState { state: "settled" }));
    assert_eq!(at(end + WEEK, malicious), Err(Error::WrongState { state: "settled" }));
    let tally = governance.proposal(0).unwrap().tally();
    assert_eq!((tally.yes, tally.no, tally.abstain, tally.turnout_bps), (60, 0, 40, 1_000));

    let over = [(account("a"), 600), (account("b"), 401)];
    assert_eq!(PowerSnapshot::new(1_000, over), Err(Error::PowerExceedsSupply));
    let huge = [(account("a"), u128::MAX), (account("b"), 1)];
    assert_eq!(PowerSnapshot::new(u128::MAX, huge), Err(Error::PowerExceedsSupply));
}

#[test]
fn stakes_go_where_the_rules_say() {
    let held_after = |policy, choices: &[(&str, Choice)]| {
        let config = GovernanceConfig::new(1).stakes(101, 1_001).reject_policy(policy);
        let mut governance = Governance::new(config);
        let power = [("ann", 100), ("bob", 34), ("cat", 33)];
        let mut effects = governance.on(0, propose("ann", upgrade(), 0, &power)).unwrap();
        for (voter, choice) in choices {
            governance.on(1, vote(0, voter, *choice)).unwrap();
        }
        effects.extend(governance.on(WEEK, governance::Event::Finalize { proposal: 0 }).unwrap());
        let mut held = Held::default();
        held.take(&effects);
        effects.retain(|effect| !matches!(effect, Effect::Event { .. } | Effect::Lock { .. }));
        (held.of("proposal/0"), effects)
    };
    let key = || "proposal/0".to_owned();
    let no = [("bob", Choice::No), ("cat", Choice::No), ("ann", Choice::Yes)];
    let ann = || account("ann");
    let refund = (0, vec![Effect::Release { account: ann(), amount: 1_001, key: key() }]);
    assert_eq!(held_after(RejectPolicy::Refund, &no), refund);
    assert_eq!(held_after(RejectPolicy::Burn, &no).1, [Effect::Burn { account: ann(), amount: 1_001, key: key() }]);
    let (held, paid) = held_after(RejectPolicy::Redistribute, &no);
    let pay = |name: &str, amount| Effect::Pay { account: account(name), amount, key: key() };
    assert_eq!((held, &paid[..]), (0, &[pay("bob", 508), pay("cat", 493)][..]));
    // Nobody decided, or too few: back, whatever the policy.
    for policy in [RejectPolicy::Refund, RejectPolicy::Burn, RejectPolicy::Redistribute] {
        assert_eq!(held_after(policy, &[("ann", Choice::Abstain)]), refund);
        assert_eq!(held_after(policy, &[("bob", Choice::No)]), refund);
    }
    assert_eq!(held_after(RejectPolicy::Burn, &[("ann", Choice::Yes)]), (1_001, vec![]));

    let mut governance = Governance::new(GovernanceConfig::new(1).stakes(101, 1_001));
    let power = [("ann", 500)];
    governance.on(0, propose("ann", upgrade(), 0, &power)).unwrap();
    governance.on(0, vote(0, "ann", Choice::Yes)).unwrap();
    governance.on(WEEK, governance::Event::Finalize { proposal: 0 }).unwrap();
    let effects = governance.on(2 * WEEK - 1, governance::Event::FindMalicious { proposal: 0 }).unwrap();
    let burn = Effect::Burn { account: ann(), amount: 501, key: key() };
    assert_eq!(effects[1..], [burn, Effect::Release { account: ann(), amount: 500, key: key() }]);
    let again = governance.on(2 * WEEK - 1, governance::Event::FindMalicious { proposal: 0 });
    assert_eq!(again, Err(Error::WrongState { state: "malicious" }));
}

#[test]
fn each_kind_does_its_own() {
    let mut governance = Governance::new(GovernanceConfig::new(1));
    let power = [("ann", 1_000)];
    let mut library = Library::new(LibraryConfig::new("example.com/dao".parse().unwrap())).unwrap();
    let base = library.state_root();
    let bad = ProposalKind::Parameter { parameter: Parameter::Quorum, value: 10_001 };
    let out_of_range = |field| Err(Error::OutOfRange { field });
    assert_eq!(governance.on(0, propose("ann", bad, 0, &power)), out_of_range("parameter"));
    let none = ProposalKind::Experience { operations: vec![], base };
    assert_eq!(governance.on(0, propose("ann", none, 0, &power)), out_of_range("operations"));
    for (parameter, value) in [
        (Parameter::Period, 0),
        (Parameter::MaxWords, 0),
        (Parameter::MaxWords, 33),
        (Parameter::MaxItems, 0),
        (Parameter::Approval, 1 << 40),
        (Parameter::Slash, 10_001),
    ] {
        let kind = ProposalKind::Parameter { parameter, value };
        assert_eq!(governance.on(0, propose("ann", kind, 0, &power)), out_of_range("parameter"));
    }

    let learn = || vec![Operation::Add(draft("check the units"))];
    let kinds = [
        ProposalKind::Experience { operations: learn(), base },
        ProposalKind::Parameter { parameter: Parameter::MaxWords, value: 2 },
        ProposalKind::Treasury { to: account("bob"), amount: 77 },
    ];
    for (number, kind) in (0..).zip(kinds) {
        governance.on(0, propose("ann", kind, 0, &power)).unwrap();
        governance.on(0, vote(number, "ann", Choice::Yes)).unwrap();
    }
    for proposal in 0..3 {
        governance.on(WEEK, governance::Event::Finalize { proposal }).unwrap();
    }
    let execute = |proposal, state| governance::Event::Execute { proposal, state };
    assert_eq!(governance.on(WEEK, execute(0, None)), Err(Error::StaleBase));
    assert_eq!(governance.on(WEEK, execute(0, Some(state(9)))), Err(Error::StaleBase));
    governance.on(WEEK, execute(0, Some(library.state_root()))).unwrap();
    let ProposalKind::Experience { operations, .. } = governance.proposal(0).unwrap().kind() else { panic!() };
    let stamp = Stamp::new(WEEK, "governance").reference("proposal/0");
    library.apply(&stamp, Mode::Atomic, operations).unwrap();
    assert_eq!((library.len(), library.entries()[0].reference()), (1, "proposal/0"));

    governance.on(WEEK, execute(1, None)).unwrap();
    assert_eq!(governance.config().get(Parameter::MaxWords), 2);
    let long = ProposalKind::Experience { operations: learn(), base };
    let refused = Err(Error::TooManyWords { got: 3, max: 2 });
    assert_eq!(governance.on(WEEK, propose("ann", long, WEEK, &power)), refused);
    let paid = governance.on(WEEK, execute(2, None)).unwrap();
    let key = "treasury/2".to_owned();
    assert_eq!(paid[1], Effect::Pay { account: account("bob"), amount: 77, key });
}

fn submission(submitter: &str, byte: u8) -> Submission {
    Submission {
        submitter: account(submitter),
        commitment: state(byte).commitment(),
        state: state(byte),
        cid: "bafy".into(),
        schema: 1,
        attestation: [0; 32],
        bond: 25,
    }
}

fn score(entry: u64, voter: &str, score: u16, stake: u128) -> registry::Event {
    registry::Event::Vote { entry, voter: account(voter), score, stake }
}

fn challenge(entry: u64, challenger: &str, bond: u128, evidence: u8) -> registry::Event {
    registry::Event::Challenge { entry, challenger: account(challenger), bond, evidence: [evidence; 32] }
}

#[test]
fn entries_live_by_their_rules() {
    let mut registry = Registry::new(RegistryConfig::new(1));
    let mut held = Held::default();
    let mut at = |now, event| registry.on(now, event).inspect(|effects| held.take(effects)).map(|_| ());
    let low = Submission { bond: 24, ..submission("ann", 1) };
    assert_eq!(at(0, registry::Event::Submit(low)), Err(Error::InsufficientBond { got: 24, want: 25 }));
    let wrong = Submission { commitment: state(2).commitment(), ..submission("ann", 1) };
    assert_eq!(at(0, registry::Event::Submit(wrong)), Err(Error::RootMismatch));
    let long = Submission { cid: "b".repeat(129), ..submission("ann", 1) };
    assert_eq!(at(0, registry::Event::Submit(long)), Err(Error::TooManyBytes { got: 129, max: 128 }));
    assert_eq!(at(10, registry::Event::Submit(submission("ann", 1))), Ok(()));
    assert_eq!(at(10, registry::Event::Submit(submission("bob", 1))), Err(Error::AlreadyLive { number: 0 }));
    let other = Submission { schema: 2, ..submission("bob", 1) };
    assert_eq!(at(10, registry::Event::Submit(other)), Ok(()));

    assert_eq!(at(10, score(0, "ann", 900, 1)), Err(Error::SelfVote));
    assert_eq!(at(10, score(0, "bob", 1_001, 1)), Err(Error::OutOfRange { field: "score" }));
    assert_eq!(at(10, score(0, "bob", 1_000, 0)), Err(Error::OutOfRange { field: "stake" }));
    assert_eq!(at(10, score(7, "bob", 1_000, 1)), Err(Error::UnknownEntry { number: 7 }));
    assert_eq!(at(10, score(0, "bob", 100, u128::MAX)), Ok(()));
    assert_eq!(at(10, score(0, "cat", 100, 1)), Err(Error::Overflow));
    assert_eq!(at(10, score(0, "bob", 100, 5)), Ok(()));
    assert_eq!(at(10, challenge(0, "bob", 25, 1)), Err(Error::WrongState { state: "pending" }));
    assert_eq!(at(10, score(0, "cat", 200, 4)), Ok(()));
    assert_eq!(at(10, score(0, "dan", 900, 5)), Ok(()));

    assert_eq!(at(10, challenge(0, "ann", 25, 1)), Err(Error::SelfVote));
    assert_eq!(at(10, challenge(0, "bob", 24, 1)), Err(Error::InsufficientBond { got: 24, want: 25 }));
    let withdraw = |by: &str| registry::Event::Withdraw { entry: 0, by: account(by) };
    assert_eq!(at(11, withdraw("ann")), Err(Error::TooEarly { until: 10 + WEEK }));
    assert_eq!(at(10 + WEEK, withdraw("bob")), Err(Error::NotSubmitter));
    assert_eq!(at(10 + WEEK, withdraw("ann")), Err(Error::QualityBound { quality: 200 }));
    assert_eq!(at(10 + WEEK, challenge(0, "bob", 27, 1)), Ok(()));
    let now = 10 + WEEK;
    assert_eq!(at(now, challenge(0, "cat", 25, 2)), Err(Error::WrongState { state: "challenged" }));
    assert_eq!(at(now, score(0, "bob", 1, 1)), Err(Error::WrongState { state: "challenged" }));
    assert_eq!(at(now, registry::Event::Expire { entry: 0 }), Err(Error::TooEarly { until: now + WEEK }));
    let resolve = |upheld| registry::Event::Resolve { entry: 0, upheld };
    assert_eq!(at(now, resolve(false)), Ok(()));
    assert_eq!(at(now, resolve(false)), Err(Error::WrongState { state: "active" }));
    assert_eq!(at(now, challenge(0, "cat", 25, 1)), Err(Error::EvidenceRefused));
    assert_eq!(at(now, challenge(0, "cat", 25, 2)), Ok(()));
    assert_eq!(at(now + WEEK, resolve(true)), Err(Error::VotingClosed));
    assert_eq!(at(now + WEEK, registry::Event::Expire { entry: 0 }), Ok(()));
    assert_eq!(at(now + WEEK, challenge(0, "cat", 25, 2)), Ok(()));
    assert_eq!(at(now + WEEK, resolve(true)), Ok(()));
    for event in [resolve(true), withdraw("ann"), score(0, "bob", 1, 1), challenge(0, "bob", 25, 3)] {
        assert_eq!(at(now + WEEK, event), Err(Error::WrongState { state: "slashed" }));
    }
    // What was slashed may be submitted anew.
    assert_eq!(at(now + WEEK, registry::Event::Submit(submission("ann", 1))), Ok(()));
    let high = [("bob", 301), ("cat", 300), ("dan", 299)];
    high.iter().for_each(|(voter, value)| at(now + WEEK, score(2, voter, *value, 1)).unwrap());
    assert_eq!(at(now + WEEK, challenge(2, "bob", 25, 1)), Err(Error::QualityBound { quality: 300 }));

    assert_eq!((held.of("entry/0"), held.of("entry/1"), held.of("entry/2")), (0, 25, 25));
    assert_eq!((held.of("challenge/0/0"), held.of("challenge/0/1"), held.of("challenge/0/2")), (0, 0, 0));
    let history = registry.history(&account("ann"));
    assert_eq!(history, History { entries: 2, slashed: 1, mean_quality: Some(250) });
}

#[test]
fn only_good_entries_of_one_schema_are_aggregated() {
    let mut registry = Registry::new(RegistryConfig::new(1).min_voters(1).bonds(1, 1));
    for (byte, schema, bond, quality) in
        [(1, 1, 10, 900), (2, 1, 20, 300), (3, 2, 30, 800), (4, 1, 40, 299), (5, 1, 1, 0)]
    {
        let submission = Submission { schema, bond, ..submission("ann", byte) };
        registry.on(0, registry::Event::Submit(submission)).unwrap();
        if byte < 5 {
            registry.on(0, score(u64::from(byte) - 1, "bob", quality, 1)).unwrap();
        }
    }
    let selection = registry.aggregate(&[1, 0, 1]).unwrap();
    let weights: Vec<(u64, u128)> = selection.entries.iter().map(|one| (one.entry, one.weight)).collect();
    assert_eq!((selection.schema, &weights[..]), (1, &[(0, 9_000), (1, 6_000)][..]));
    assert_eq!(registry.aggregate(&[0, 2]), Err(Error::SchemaMismatch));
    assert_eq!(registry.aggregate(&[0, 3]), Err(Error::QualityBound { quality: 299 }));
    assert_eq!(registry.aggregate(&[4]), Err(Error::WrongState { state: "pending" }));
    assert_eq!(registry.aggregate(&[5]), Err(Error::UnknownEntry { number: 5 }));
    assert_eq!(registry.aggregate(&[]), Err(Error::NoWeight));
    assert_eq!(registry.to_fetch(), [0, 2]);
    let (a, b) = (aggregate_root(1, [Some(5), None]), aggregate_root(1, [Some(5), Some(0)]));
    assert_ne!(a, b);
    assert_ne!(aggregate_root(2, [Some(5), None]), a);
}

/// A file is taken only if it is the one that was registered, and its contents make the state that was vouched for.
#[test]
fn files_are_checked_against_the_registry() {
    let library = |texts: &[&str]| {
        let mut library = Library::new(LibraryConfig::new("example.com/shared".parse().unwrap())).unwrap();
        let batch: Vec<Operation> = texts.iter().map(|text| Operation::Add(draft(text))).collect();
        library.apply(&Stamp::new(1, "ann"), Mode::Atomic, &batch).unwrap();
        library
    };
    let (good, bad) = (library(&["check the units", "draw a picture"]), library(&["trust the first answer"]));
    let file = good.snapshot().to_bytes();
    let mut registry = Registry::new(RegistryConfig::new(1));
    for (number, (claimed, kept)) in (0..).zip([(&good, &good), (&bad, &good)]) {
        let submission = Submission {
            commitment: claimed.state_root().commitment(),
            state: claimed.state_root(),
            cid: kept.snapshot().cid().unwrap().to_string(),
            ..submission("ann", 0)
        };
        registry.on(0, registry::Event::Submit(submission)).unwrap();
        let listing = registry.entry(number).unwrap();
        let read = listing.check_file(&file);
        assert_eq!(read, if number == 0 { Ok(Snapshot::from_bytes(&file).unwrap()) } else { Err(Error::RootMismatch) });
        assert_eq!(listing.check_file(&file[1..]), Err(Error::RootMismatch));
    }
    let listing = registry.entry(0).unwrap();
    let snapshot = listing.check_file(&file).unwrap();
    let mut mine = library(&["check the units"]);
    let contents = || snapshot.contents().iter().cloned();
    let stamp = Stamp::new(2, "bob").reference("entry/0");
    assert_eq!(mine.import_state(&stamp, contents(), &bad.state_root()).map(|_| ()), Err(Error::RootMismatch));
    let applied = mine.import_state(&stamp, contents(), &listing.submission().state).unwrap();
    assert_eq!((applied.added.len(), mine.state_root()), (1, good.state_root()));
    assert_eq!(mine.entries().last().unwrap().kind().as_str(), "import");
}

#[derive(Debug, Clone)]
enum Step {
    Propose(u8, u8),
    Govern(u8, u8, u8, u8),
    Submit(u8, u8, u8),
    Register(u8, u8, u8, u16),
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![
        2 => any::<(u8, u8)>().prop_map(|(who, kind)| Step::Propose(who, kind)),
        6 => any::<(u8, u8, u8, u8)>().prop_map(|(what, which, who, how)| Step::Govern(what, which, who, how)),
        2 => any::<(u8, u8, u8)>().prop_map(|(who, state, bond)| Step::Submit(who, state, bond)),
        8 => (any::<(u8, u8, u8)>(), 0..1_100_u16).prop_map(|((what, which, who), score)| Step::Register(what, which, who, score)),
    ];
    prop::collection::vec((0..200_000_u32, step), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_unit_is_accounted_for(steps in steps(), policy in 0..3_u8) {
        const NAMES: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
        let name = |who: u8| NAMES[usize::from(who) % NAMES.len()];
        let policy = [RejectPolicy::Refund, RejectPolicy::Burn, RejectPolicy::Redistribute][usize::from(policy)];
        let mut governance = Governance::new(GovernanceConfig::new(7).stakes(701, 7_003).reject_policy(policy));
        let mut registry = Registry::new(RegistryConfig::new(1).min_voters(2).slash_bps(3_333).unwrap());
        let (mut held, mut now) = (Held::default(), 0);
        for (wait, step) in steps {
            now += u64::from(wait);
            let (old_governance, old_registry) = (governance.clone(), registry.clone());
            let proposal = |which: u8| u64::from(which) % (governance.len() + 1);
            let entry = |which: u8| u64::from(which) % (registry.len() + 1);
            let result = match step {
                Step::Propose(who, kind) => {
                    let kind = match kind % 4 {
                        0 => upgrade(),
                        1 => ProposalKind::Parameter { parameter: Parameter::Slash, value: u64::from(kind) * 50 },
                        2 => ProposalKind::Treasury { to: account(name(kind)), amount: kind.into() },
                        _ => ProposalKind::Experience { operations: vec![Operation::Keep], base: state(kind % 2) },
                    };
                    let power = [("ann", 300), ("bob", 200), ("cat", 101), ("dan", 7)];
                    governance.on(now, propose(name(who), kind, now, &power))
                }
                Step::Govern(what, which, who, how) => {
                    let proposal = proposal(which);
                    governance.on(now, match what % 8 {
                        0..=3 => vote(proposal, name(who), [Choice::Yes, Choice::Yes, Choice::No, Choice::Abstain][usize::from(how % 4)]),
                        4 => governance::Event::Finalize { proposal },
                        5 => governance::Event::Execute { proposal, state: Some(state(how % 2)) },
                        6 => governance::Event::FindMalicious { proposal },
                        _ => governance::Event::Settle { proposal },
                    })
                }
                Step::Submit(who, state, bond) => {
                    let submission = Submission { bond: 20 + u128::from(bond), ..submission(name(who), state % 4) };
                    registry.on(now, registry::Event::Submit(submission))
                }
                Step::Register(what, which, who, value) => {
                    let entry = entry(which);
                    registry.on(now, match what % 8 {
                        0..=2 => score(entry, name(who), value, u128::from(who) + 1),
                        3 | 4 => challenge(entry, name(who), 20 + u128::from(value), what),
                        5 => registry::Event::Resolve { entry, upheld: value % 2 == 0 },
                        6 => registry::Event::Expire { entry },
                        _ => registry::Event::Withdraw { entry, by: account(name(who)) },
                    })
                }
            };
            match result {
                // `Held` fails where a key gives more than it has.
                Ok(effects) => held.take(&effects),
                Err(_) => prop_assert!(governance == old_governance && registry == old_registry),
            }
            // A key holds exactly what its machine says it holds.
            for number in 0..governance.len() {
                let proposal = governance.proposal(number).unwrap();
                let expected = if proposal.is_stake_held() { proposal.stake() } else { 0 };
                prop_assert_eq!(held.of(&format!("proposal/{number}")), expected);
            }
            for number in 0..registry.len() {
                let listing = registry.entry(number).unwrap();
                let expected = if listing.status().is_final() { 0 } else { listing.submission().bond };
                prop_assert_eq!(held.of(&format!("entry/{number}")), expected);
                let prefix = format!("challenge/{number}/");
                let open = held.0.iter().filter(|(key, amount)| key.starts_with(&prefix) && **amount > 0).count();
                prop_assert_eq!(open, usize::from(listing.status() == registry::Status::Challenged));
            }
        }
    }

    #[test]
    fn shares_sum_to_the_pool(pool in any::<u128>(), weights in prop::collection::vec((any::<u64>(), 0..64_u32), 1..20)) {
        let weights: Vec<u128> = weights.iter().map(|(weight, shift)| u128::from(weight >> shift) << (shift % 50)).collect();
        match largest_remainder(pool, &weights) {
            Ok(shares) => {
                prop_assert_eq!(shares.iter().sum::<u128>(), pool);
                for (a, b) in weights.iter().zip(&shares).zip(weights.iter().zip(&shares).skip(1)) {
                    // More weight never gets less by more than the unit that is left over.
                    prop_assert!(a.0 <= b.0 || a.1 + 1 >= *b.1);
                }
            }
            Err(error) => prop_assert_eq!((error, weights.iter().sum::<u128>()), (Error::NoWeight, 0)),
        }
    }

    #[test]
    fn pools_are_paid_out_whole(
        pool in any::<u128>(),
        usage in prop::collection::btree_map(0..9_u8, any::<u64>(), 0..9),
        fetches in prop::collection::vec((0..4_u8, 0..4_u8, any::<u64>(), 0..=1_000_u16), 0..12),
        top in (0..=10_000_u16, 0..12_usize),
    ) {
        let treasury = account("treasury");
        let paid = |effects: &[Effect]| effects.iter().map(|effect| match effect {
            Effect::Pay { amount, .. } => *amount,
            other => panic!("{other:?}"),
        }).sum::<u128>();
        let name = |who: &u8| account(&format!("peer-{who}"));
        let usage: BTreeMap<Account, u64> = usage.iter().map(|(who, uses)| (name(who), *uses)).collect();
        let effects = contributor_pool(pool, &usage, top.0, top.1, &treasury, "pool/1").unwrap();
        prop_assert_eq!(paid(&effects), pool);
        let list: Vec<Fetch> = fetches.iter().map(|(from, by, size, quality)| Fetch {
            from: name(from), by: name(by), size: *size, quality: *quality,
        }).collect();
        let effects = rebates(pool, &list, &treasury, "rebates/1").unwrap();
        prop_assert_eq!(paid(&effects), pool);
        let served = list.iter().any(|fetch| fetch.from != fetch.by && fetch.size > 0 && fetch.quality > 0);
        let to_treasury = effects.iter().any(|effect| matches!(effect, Effect::Pay { account, .. } if *account == treasury));
        prop_assert_eq!(to_treasury, !served && pool > 0);
    }
}

//! Effects of the registry and of governance, applied by a treasury.

use hanzo::experience::merkle::{Hash, StateRoot};
use hanzo::experience::registry::{Event, Registry, RegistryConfig, Submission};
use hanzo::experience::{Account, Effect};
use hanzo::glue::{BondError, Bonds, account_of_name};
use hanzo::metering::{AccountId, Effect as Transfer, FeeSchedule, Timestamp, Treasury, TreasuryConfig};

fn name(byte: u8) -> Account {
    format!("{byte:02x}").repeat(32).parse().expect("an account")
}

/// A submission, votes, a challenge that is upheld: what is burned and paid arrives, and nothing else moves.
#[test]
fn a_slashed_bond_is_burned_and_paid() {
    let now = Timestamp::from_nanos(1);
    let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()])).expect("a treasury");
    let wallets: Vec<AccountId> =
        (0..6).map(|byte| treasury.open_party(now, &[byte; 32]).expect("a new account")).collect();
    for (id, wallet) in (1..).zip(&wallets) {
        treasury.apply(now, &Transfer::Mint { id, to: wallet.get(), amount: 1_000 }).expect("a mint");
    }
    let mut registry = Registry::new(RegistryConfig::new(10));
    let root = StateRoot::new(1, Hash::from_bytes([9; 32])).expect("a state");
    let submission = Submission {
        commitment: root.commitment(),
        state: root,
        cid: "bafkreigh2akiscaildc".into(),
        schema: 1,
        attestation: [1; 32],
        submitter: name(0),
        bond: 251,
    };
    let mut effects = registry.on(10, Event::Submit(submission)).expect("a submission");
    for voter in 1..=3 {
        let vote = Event::Vote { entry: 0, voter: name(voter), score: 100, stake: 5 };
        effects.extend(registry.on(20, vote).expect("a vote"));
    }
    let evidence = [2; 32];
    let challenge = Event::Challenge { entry: 0, challenger: name(4), bond: 250, evidence };
    effects.extend(registry.on(30, challenge).expect("a challenge"));
    effects.extend(registry.on(40, Event::Resolve { entry: 0, upheld: true }).expect("a verdict"));

    let mut bonds = Bonds::new("registry/1", wallets[5]);
    let transfers: Vec<Transfer> =
        effects.iter().filter_map(|effect| bonds.transfer(effect, account_of_name).expect("a known account")).collect();
    for transfer in transfers.iter().chain(&transfers) {
        // Twice: what was applied is not applied again.
        treasury.apply(now, transfer).expect("cover");
    }
    // Half of 251, rounded up, is burned; the challenger has the rest, and its own bond back.
    let available: Vec<u128> = wallets.iter().map(|wallet| treasury.available(*wallet)).collect();
    assert_eq!(available, [749, 1_000, 1_000, 1_000, 1_125, 1_000]);
    let mut again = Bonds::new("registry/1", wallets[5]);
    let twin: Vec<Transfer> =
        effects.iter().filter_map(|effect| again.transfer(effect, account_of_name).expect("known")).collect();
    assert_eq!(twin, transfers);
}

#[test]
fn keys_and_accounts_are_checked() {
    let pool = AccountId::of_party(&[5; 32]);
    let mut bonds = Bonds::new("g", pool);
    let key = || "proposal/1".to_owned();
    let release = Effect::Release { account: name(1), amount: 5, key: key() };
    assert_eq!(bonds.transfer(&release, account_of_name), Err(BondError::WrongKey(key())));
    let alice: Account = "alice".parse().expect("an account");
    let lock = Effect::Lock { account: alice.clone(), amount: 5, key: key() };
    assert_eq!(bonds.transfer(&lock, account_of_name), Err(BondError::UnknownAccount(alice)));
    assert_eq!(bonds, Bonds::new("g", pool));
    let known = |_: &Account| Some(pool);
    let Ok(Some(Transfer::Bond { id, .. })) = bonds.transfer(&lock, known) else { panic!("a bond") };
    assert_eq!(bonds.transfer(&lock, known), Err(BondError::WrongKey(key())));
    let Ok(Some(Transfer::DrawBond { bond, to: Some(_), .. })) = bonds.transfer(&release, known) else {
        panic!("a draw")
    };
    assert_eq!(bond, id);
    // Without a lock, what is paid comes out of the pool, and what is minted out of nothing.
    let pay = Effect::Pay { account: name(1), amount: 5, key: "treasury/2".into() };
    assert!(
        matches!(bonds.transfer(&pay, account_of_name), Ok(Some(Transfer::Pay { from, .. })) if from == pool.get())
    );
    let mint = Effect::Mint { account: name(1), amount: 5, key: "mint/2".into() };
    assert!(matches!(bonds.transfer(&mint, account_of_name), Ok(Some(Transfer::Mint { .. }))));
    let event = Effect::Event { account: name(1), event: "voted", key: key() };
    assert_eq!(bonds.transfer(&event, account_of_name), Ok(None));
}

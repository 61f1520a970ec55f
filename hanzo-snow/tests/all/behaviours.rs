//! What the production implementation is known to do, case by case: the numbers are those of the list in the crate's specification.
//!
//! The cases of samplers (49, 50), of networks (25, 38) and of a failing application (21) stand with those.

mod instances;
mod polls;
mod snowman;

use hanzo_snow::{Params, VoteBag};

type Id = [u8; 32];

fn id(n: u8) -> Id {
    let mut id = [0; 32];
    id[0] = n;
    id
}

fn params(k: u16, alpha: u16, beta: u32) -> Params {
    split_params(k, alpha, &[(alpha, beta)])
}

fn split_params(k: u16, alpha_preference: u16, conditions: &[(u16, u32)]) -> Params {
    let builder = Params::builder().k(k).alpha_preference(alpha_preference);
    builder.conditions(conditions.iter().copied()).concurrent_repolls(1).build().unwrap()
}

fn bag(votes: &[(u8, u32)]) -> VoteBag<Id> {
    votes.iter().map(|&(n, count)| (id(n), count)).collect()
}

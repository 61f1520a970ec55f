//! Products of many tenants' tokens at once.

use alloc::vec::Vec;

use super::{add, check_sums, dense};
use crate::delta::PackedDelta;
use crate::element::Element;
use crate::error::{Extent, Result};
use crate::matrix::MatRef;
use crate::workspace::Workspace;

/// One product of a batch: `y += delta x`.
#[derive(Debug)]
pub struct Job<'a> {
    /// The delta; jobs that share one share the reads of its bits.
    pub delta: &'a PackedDelta,
    /// Input, one value a column.
    pub x: &'a [f32],
    /// Output, one value a row.
    pub y: &'a mut [f32],
}

/// `y += D x` for every job, any mix of deltas and shapes. Jobs on the same delta (the same object) share the reads of its
/// bits. Every result has the bits of [`PackedDelta::matvec_acc`] for that job alone.
///
/// # Errors
/// As for [`PackedDelta::matvec_acc`], for the first job at fault; then every `y` is untouched.
///
/// ```
/// use hanzo_bitdelta::{Job, MatRef, PackOptions, PackedDelta, Workspace, batched_matvec_acc};
/// let pack = |d: &[f32]| PackedDelta::from_delta(MatRef::new(d, 1, 2)?, &PackOptions::new());
/// let (ada, bob) = (pack(&[1.0, 1.0])?, pack(&[-2.0, -2.0])?);
/// let mut y = [[0.0], [0.0]];
/// let [first, second] = &mut y;
/// let mut jobs = [
///     Job { delta: &ada, x: &[3.0, 4.0], y: first },
///     Job { delta: &bob, x: &[3.0, 4.0], y: second },
/// ];
/// batched_matvec_acc(&mut jobs, &mut Workspace::new())?;
/// assert_eq!(y, [[7.0], [-14.0]]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub fn batched_matvec_acc(jobs: &mut [Job<'_>], ws: &mut Workspace) -> Result<()> {
    check_jobs(jobs)?;
    let results = delta_products(jobs, ws);
    for (job, sums) in jobs.iter().zip(&results) {
        check_sums(job.y, &[sums], 0)?;
    }
    for (job, sums) in jobs.iter_mut().zip(&results) {
        add(job.y, sums);
    }
    Ok(())
}

/// `y += W x + D x` for every job: one base, any mix of deltas over it, and the base is read once for all of them. Every
/// result has the bits of [`PackedDelta::fused_matvec_acc`] for that job alone.
///
/// # Errors
/// As for [`PackedDelta::fused_matvec_acc`], for the first job at fault; then every `y` is untouched.
///
/// ```
/// use hanzo_bitdelta::{Job, MatRef, PackOptions, PackedDelta, Workspace, fused_batched_matvec_acc};
/// let pack = |d: &[f32]| PackedDelta::from_delta(MatRef::new(d, 1, 2)?, &PackOptions::new());
/// let (ada, bob) = (pack(&[1.0, 1.0])?, pack(&[-2.0, -2.0])?);
/// let mut y = [[0.0], [0.0]];
/// let [first, second] = &mut y;
/// let mut jobs = [
///     Job { delta: &ada, x: &[3.0, 4.0], y: first },
///     Job { delta: &bob, x: &[3.0, 4.0], y: second },
/// ];
/// fused_batched_matvec_acc(MatRef::new(&[10.0_f32, 0.0], 1, 2)?, &mut jobs, &mut Workspace::new())?;
/// assert_eq!(y, [[37.0], [16.0]]); // 30 + 7, 30 - 14
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub fn fused_batched_matvec_acc<T: Element>(
    base: MatRef<'_, T>,
    jobs: &mut [Job<'_>],
    ws: &mut Workspace,
) -> Result<()> {
    for job in jobs.iter() {
        Extent::check(&[job.delta.rows(), job.delta.cols()], &[base.rows(), base.cols()])?;
    }
    check_jobs(jobs)?;
    let rows = base.rows();
    if jobs.is_empty() || rows == 0 || base.cols() == 0 {
        return Ok(());
    }
    let xs: Vec<&[f32]> = jobs.iter().map(|job| job.x).collect();
    dense::products(base, &xs, ws)?;
    let dense = core::mem::take(&mut ws.dense);
    let results = delta_products(jobs, ws);
    let checked = jobs
        .iter()
        .zip(&results)
        .zip(dense.chunks_exact(rows))
        .try_for_each(|((job, sums), dense)| check_sums(job.y, &[dense, sums], 0));
    if checked.is_ok() {
        for ((job, sums), dense) in jobs.iter_mut().zip(&results).zip(dense.chunks_exact(rows)) {
            add(job.y, dense);
            add(job.y, sums);
        }
    }
    ws.dense = dense;
    checked
}

fn check_jobs(jobs: &[Job<'_>]) -> Result<()> {
    jobs.iter().try_for_each(|job| {
        Extent::check(&[job.delta.cols()], &[job.x.len()])?;
        Extent::check(&[job.delta.rows()], &[job.y.len()])?;
        job.delta.check_input(job.x, 0)
    })
}

/// What each job adds to its output, padding rows included; empty for an empty delta.
fn delta_products(jobs: &[Job<'_>], ws: &mut Workspace) -> Vec<Vec<f32>> {
    // Jobs by delta, in the order of each delta's first job.
    let mut groups: Vec<(&PackedDelta, Vec<usize>)> = Vec::new();
    for (index, job) in jobs.iter().enumerate().filter(|(_, job)| !job.delta.is_empty()) {
        match groups.iter_mut().find(|(delta, _)| core::ptr::eq(*delta, job.delta)) {
            Some((_, members)) => members.push(index),
            None => groups.push((job.delta, alloc::vec![index])),
        }
    }
    // An empty delta adds nothing; with no columns there still are rows.
    let mut results: Vec<Vec<f32>> = jobs.iter().map(|job| alloc::vec![0.0; job.y.len()]).collect();
    for (delta, members) in &groups {
        let stride = delta.padded_rows();
        ws.results.clear();
        ws.results.resize(members.len() * stride, 0.0);
        delta.add_products(members.len(), |t| jobs[members[t]].x, ws);
        for (&index, sums) in members.iter().zip(ws.results.chunks_exact(stride)) {
            let rows = results[index].len();
            results[index].copy_from_slice(&sums[..rows]);
        }
    }
    results
}

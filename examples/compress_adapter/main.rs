//! Compresses a fine-tuned model to a 1-bit adapter over its base.
//!
//! ```text
//! compress_adapter BASE.safetensors FINE.safetensors OUT.safetensors [--granularity G] [--planes N] [--paper]
//! compress_adapter --pair PAIR.safetensors [--steps N]
//! compress_adapter [--steps N]
//! ```
//!
//! The first form reads two models with the same tensor names, writes the adapter and prints what each tensor keeps. The
//! second reads a pair of small networks with calibration and test data from one file (`base.0.weight`, `fine.0.weight`,
//! `fine.0.bias`, .., `x_calib`, `x_test`, `y_test`) and prints what every method of the crate makes of it. Without files a
//! pair is trained first, on images made up here and then turned by a quarter, and both of the others are shown.
//! `G` is tensor, row, col, rowcol (the default) or the columns of a block.

mod methods;
mod network;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hanzo_bitdelta::{
    Adapter, Dtype, Entry, Granularity, MatRef, PackOptions, ReadOptions, Selection, StorageAccount, TensorView,
};
use indicatif::{ProgressBar, ProgressStyle};
use safetensors::SafeTensors;

use crate::network::Pair;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

struct Arguments {
    files: Vec<PathBuf>,
    pair: Option<PathBuf>,
    options: PackOptions,
    paper: bool,
    steps: u32,
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    match (arguments.files.as_slice(), &arguments.pair) {
        ([base, fine, out], None) => compress(base, fine, out, &arguments),
        ([], Some(pair)) => methods::compare(&Pair::read(pair)?, arguments.steps),
        ([], None) => {
            let pair = Pair::train(&progress(1, "training")?)?;
            let folder = std::env::temp_dir().join(format!("compress-adapter-{}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let [base, fine, out] = ["base", "fine", "adapter"].map(|name| folder.join(format!("{name}.safetensors")));
            pair.write(&base, &fine)?;
            compress(&base, &fine, &out, &arguments)?;
            std::fs::remove_dir_all(&folder)?;
            println!();
            methods::compare(&pair, arguments.steps)
        }
        _ => Err("give three files, or --pair with one, or nothing".into()),
    }
}

fn arguments() -> Result<Arguments> {
    use lexopt::prelude::*;
    let mut found = Arguments { files: Vec::new(), pair: None, options: PackOptions::new(), paper: false, steps: 200 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("granularity") => {
                let word = parser.value()?.string()?;
                found.options = found.options.granularity(match word.as_str() {
                    "tensor" => Granularity::Tensor,
                    "row" => Granularity::Row,
                    "col" => Granularity::Col,
                    "rowcol" => Granularity::RowCol,
                    block => Granularity::block(block.parse()?)?,
                });
            }
            Long("planes") => found.options = found.options.planes(parser.value()?.parse()?),
            Long("paper") => found.paper = true,
            Long("pair") => found.pair = Some(parser.value()?.into()),
            Long("steps") => found.steps = parser.value()?.parse()?,
            Value(path) => found.files.push(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(found)
}

/// Packs two files of tensors into a third, and prints what each tensor keeps.
fn compress(base: &Path, fine: &Path, out: &Path, arguments: &Arguments) -> Result<()> {
    let (base_bytes, fine_bytes) = (std::fs::read(base)?, std::fs::read(fine)?);
    let (base_file, fine_file) = (SafeTensors::deserialize(&base_bytes)?, SafeTensors::deserialize(&fine_bytes)?);
    let (base, fine) = (tensors(&base_file)?, tensors(&fine_file)?);
    let (base, fine) = (views(&base)?, views(&fine)?);
    println!("base digest {}", hanzo_bitdelta::base_digest(&base)?);

    // The bar moves as the rule is asked about each tensor, which is when it is packed.
    let bar = progress(fine.len() as u64, "packing")?;
    let (ticks, options, paper) = (bar.clone(), arguments.options, arguments.paper);
    let rule = if paper { Selection::paper() } else { Selection::matrices(options) };
    let selection = Selection::new(move |name, shape| {
        ticks.inc(1);
        ticks.set_message(name.to_owned());
        rule.treatment(name, shape)
    });
    let started = Instant::now();
    let adapter = Adapter::builder().producer("compress_adapter").compress(&base, &fine, &selection)?.build()?;
    let elapsed = started.elapsed();
    bar.finish_and_clear();
    std::fs::write(out, adapter.to_bytes()?)?;

    // What is printed is what the file holds.
    let adapter = Adapter::open(out, ReadOptions::default())?;
    report(&adapter, &base, &fine)?;
    let account = adapter.storage()?;
    println!(
        "adapter {} in {:.0} ms: {} bytes beside {}, {:.1} times smaller ({:.1} with 12 % for transport)",
        &adapter.id().to_string()[..12],
        elapsed.as_secs_f64() * 1e3,
        account.stored_bytes(),
        account.source_bytes(),
        account.ratio(),
        account.with_transport_overhead_bp(1200).ratio(),
    );
    Ok(())
}

/// One line a tensor.
fn report(adapter: &Adapter, base: &[TensorView<'_>], fine: &[TensorView<'_>]) -> Result<()> {
    println!(
        "{:<28} {:>12} {:>10} {:>9} {:>8} {:>12} {:>7}",
        "tensor", "shape", "kept as", "rel.error", "cosine", "bits/weight", "ratio"
    );
    for name in adapter.names() {
        let find = |tensors: &[TensorView<'_>]| tensors.iter().find(|t| t.name() == name).and_then(floats);
        match adapter.get(name)? {
            Entry::Packed(delta) => {
                let (Some(base), Some(fine)) = (find(base), find(fine)) else { continue };
                let difference: Vec<f32> = fine.iter().zip(&base).map(|(fine, base)| fine - base).collect();
                let fidelity = delta.fidelity(MatRef::new(&difference, delta.rows(), delta.cols())?)?;
                let storage = delta.storage(delta.spec().source_dtype);
                println!(
                    "{name:<28} {:>12} {:>10} {:>9.4} {:>8.4} {:>12.3} {:>7.2}",
                    format!("{}x{}", delta.rows(), delta.cols()),
                    format!("{} bit", delta.planes()),
                    fidelity.relative_error(),
                    fidelity.cosine(),
                    storage.bits_per_weight(),
                    storage.ratio(),
                );
            }
            Entry::Raw(tensor) => {
                let account = StorageAccount::new().with_raw(tensor.data().len() as u64);
                println!("{name:<28} {:>12} {:>10} {:>48.2}", format!("{:?}", tensor.shape()), "raw", account.ratio());
            }
            Entry::Zero(tensor) => println!("{name:<28} {:>12} {:>10}", format!("{:?}", tensor.shape()), "unchanged"),
        }
    }
    Ok(())
}

struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: &'a [u8],
}

fn tensors<'a>(file: &SafeTensors<'a>) -> Result<Vec<Tensor<'a>>> {
    file.iter()
        .map(|(name, view)| {
            let word = view.dtype().to_string();
            let dtype = Dtype::from_word(&word).ok_or_else(|| format!("{name}: no adapter holds {word}"))?;
            Ok(Tensor { name: name.to_owned(), dtype, shape: view.shape().to_vec(), data: view.data() })
        })
        .collect()
}

fn views<'a>(tensors: &'a [Tensor<'a>]) -> Result<Vec<TensorView<'a>>> {
    tensors.iter().map(|t| Ok(TensorView::new(&t.name, t.dtype, &t.shape, t.data)?)).collect()
}

/// The values of a tensor of floats.
fn floats(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    use hanzo_bitdelta::{Bf16, Element, F16};
    let halves = || tensor.data().as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    match tensor.dtype() {
        Dtype::F32 => Some(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => Some(halves().map(|bits| F16::from_bits(bits).to_f32()).collect()),
        Dtype::Bf16 => Some(halves().map(|bits| Bf16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

/// A progress bar on the standard error, hidden where that is no terminal.
pub(crate) fn progress(length: u64, what: &'static str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {pos}/{len} {eta} {msg}")?;
    Ok(ProgressBar::new(length).with_style(style).with_prefix(what))
}

//! Compresses a fine-tuned model to a 1-bit adapter over its base; `--help` says how to call it.
//!
//! Without files a pair of small networks is trained first, on images made up here and then turned by a quarter.

mod methods;
mod network;
mod options;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use hanzo::bitdelta::{Adapter, Dtype, Entry, MatRef, ReadOptions, Selection, StorageAccount, TensorView};
use hanzo_examples::{program, say};
use safetensors::SafeTensors;

use crate::network::Pair;
use crate::options::{HELP, Input, Options};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    program::main("compress_adapter", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<()> {
    match &options.input {
        Input::Models { base, fine, out } => compress(base, fine, out, options),
        Input::Pair(pair) => methods::compare(&Pair::read(pair)?, options.steps),
        Input::Trained => {
            let pair = Pair::train(&program::progress(1, "steps of training"))?;
            let folder = std::env::temp_dir().join(format!("compress-adapter-{}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let [base, fine, out] = ["base", "fine", "adapter"].map(|name| folder.join(format!("{name}.safetensors")));
            let shown = pair.write(&base, &fine).and_then(|()| compress(&base, &fine, &out, options));
            std::fs::remove_dir_all(&folder)?;
            shown?;
            say!();
            methods::compare(&pair, options.steps)
        }
    }
}

/// Packs two files of tensors into a third, and prints what each tensor keeps.
fn compress(base: &Path, fine: &Path, out: &Path, options: &Options) -> Result<()> {
    let (base_bytes, fine_bytes) = (network::read(base)?, network::read(fine)?);
    let (base, fine) = (tensors(base, &base_bytes)?, tensors(fine, &fine_bytes)?);
    let (base, fine) = (views(&base)?, views(&fine)?);
    say!("base digest {}", hanzo::bitdelta::base_digest(&base)?);

    // The bar moves as the rule is asked about each tensor, which is when it is packed.
    let bar = program::progress(fine.len() as u64, "tensors");
    let ticks = bar.clone();
    let rule = if options.paper { Selection::paper() } else { Selection::matrices(options.pack) };
    let selection = Selection::new(move |name, shape| {
        ticks.inc(1);
        ticks.set_message(name.to_owned());
        rule.treatment(name, shape)
    });
    let started = Instant::now();
    let adapter = Adapter::builder().producer("compress_adapter").compress(&base, &fine, &selection)?.build()?;
    let elapsed = started.elapsed();
    bar.finish_and_clear();
    std::fs::write(out, adapter.to_bytes()?).map_err(|error| format!("cannot write {}: {error}", out.display()))?;

    // What is printed is what the file holds.
    let adapter = Adapter::open(out, ReadOptions::default())?;
    report(&adapter, &base, &fine)?;
    let account = adapter.storage()?;
    say!(
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
    say!(
        "{:<28} {:>12} {:>10} {:>9} {:>8} {:>12} {:>7}",
        "tensor",
        "shape",
        "kept as",
        "rel.error",
        "cosine",
        "bits/weight",
        "ratio"
    );
    for name in adapter.names() {
        let find = |tensors: &[TensorView<'_>]| tensors.iter().find(|t| t.name() == name).and_then(floats);
        match adapter.get(name)? {
            Entry::Packed(delta) => {
                let (Some(base), Some(fine)) = (find(base), find(fine)) else { continue };
                let difference: Vec<f32> = fine.iter().zip(&base).map(|(fine, base)| fine - base).collect();
                let fidelity = delta.fidelity(MatRef::new(&difference, delta.rows(), delta.cols())?)?;
                let storage = delta.storage(delta.spec().source_dtype);
                say!(
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
                say!("{name:<28} {:>12} {:>10} {:>48.2}", format!("{:?}", tensor.shape()), "raw", account.ratio());
            }
            Entry::Zero(tensor) => say!("{name:<28} {:>12} {:>10}", format!("{:?}", tensor.shape()), "unchanged"),
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

fn tensors<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<Tensor<'a>>> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("{}: {error}", path.display()))?;
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
    use hanzo::bitdelta::{Bf16, Element, F16};
    let halves = || tensor.data().as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    match tensor.dtype() {
        Dtype::F32 => Some(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => Some(halves().map(|bits| F16::from_bits(bits).to_f32()).collect()),
        Dtype::Bf16 => Some(halves().map(|bits| Bf16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

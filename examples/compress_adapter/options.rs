//! The command line.

use std::error::Error;
use std::path::PathBuf;

use hanzo::bitdelta::{Granularity, PackOptions};
use hanzo_examples::program;
use lexopt::prelude::*;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Compresses a fine-tuned model to a 1-bit adapter over its base, and prints what each tensor and each method keeps.

Usage: cargo run --release --example compress_adapter -- [OPTIONS] [BASE FINE OUT]

  BASE FINE OUT       two safetensors files with the same tensor names, and the adapter file to write
  (nothing)           trains a pair of small networks, packs it, and compares the methods of the crate on it

Options:
  --pair FILE         compare the methods on a pair with calibration and test data in one safetensors file:
                      base.0.weight, base.0.bias, .., fine.0.weight, fine.0.bias, .., x_calib, x_test,
                      y_test
  --granularity G     scales: tensor, row, col, rowcol, or the columns of a block [default: rowcol]
  --planes N          sign planes of a weight, 1 to 4 [default: 1]
  --paper             BitDelta's own choice of tensors, one scale each
  --steps N           steps of scale distillation when methods are compared [default: 200]
  --help              print this
";

/// Where the weights come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// A network trained here.
    Trained,
    /// A pair in one file.
    Pair(PathBuf),
    /// Two models, and the adapter to write.
    Models { base: PathBuf, fine: PathBuf, out: PathBuf },
}

/// Checked options.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where the weights come from.
    pub(crate) input: Input,
    /// How a matrix is packed.
    pub(crate) pack: PackOptions,
    /// Whether to choose tensors as the paper does.
    pub(crate) paper: bool,
    /// Steps of distillation.
    pub(crate) steps: u32,
}

/// The options of these arguments; `None` where help was asked for.
///
/// # Errors
///
/// What is wrong, in one line.
pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, Box<dyn Error>> {
    let (mut files, mut pair) = (Vec::new(), None);
    let (mut pack, mut paper, mut steps) = (PackOptions::new(), false, 200);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("granularity") => pack = pack.granularity(granularity(&arguments.value()?.string()?)?),
            Long("planes") => {
                pack = pack.planes(program::number(&mut arguments, "planes", 1..=4)?);
            }
            Long("paper") => paper = true,
            Long("pair") => pair = Some(arguments.value()?.into()),
            Long("steps") => steps = arguments.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            Value(path) => files.push(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let input = match (<[PathBuf; 3]>::try_from(files), pair) {
        (Ok([base, _, out] | [_, base, out]), _) if base == out => return Err("OUT is one of the inputs".into()),
        (Ok([base, fine, out]), None) => Input::Models { base, fine, out },
        (Err(files), Some(pair)) if files.is_empty() => Input::Pair(pair),
        (Err(files), None) if files.is_empty() => Input::Trained,
        _ => return Err("give BASE FINE OUT, or --pair FILE, or nothing".into()),
    };
    Ok(Some(Options { input, pack, paper, steps }))
}

fn granularity(word: &str) -> Result<Granularity, Box<dyn Error>> {
    Ok(match word {
        "tensor" => Granularity::Tensor,
        "row" => Granularity::Row,
        "col" => Granularity::Col,
        "rowcol" => Granularity::RowCol,
        block => {
            let columns = block.parse().map_err(|_| format!("unknown granularity {block:?}"))?;
            Granularity::block(columns)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Option<Options>, Box<dyn Error>> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_read_and_checked() {
        assert_eq!(of(&[]).unwrap().unwrap().input, Input::Trained);
        assert_eq!(of(&["--pair", "p"]).unwrap().unwrap().input, Input::Pair("p".into()));
        let models = Input::Models { base: "b".into(), fine: "f".into(), out: "o".into() };
        assert_eq!(of(&["b", "f", "o", "--granularity", "128"]).unwrap().unwrap().input, models);
        assert!(of(&["--help"]).unwrap().is_none());
        for bad in [
            &["b", "f"][..],
            &["b", "f", "b"],
            &["b", "f", "f"],
            &["b", "f", "o", "--pair", "p"],
            &["--granularity", "cell"],
            &["--granularity", "0"],
            &["--planes", "0"],
            &["--planes", "5"],
            &["--steps", "many"],
            &["--what"],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}

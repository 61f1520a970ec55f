//! The series: a column of a table, or a drawn one.

use std::path::Path;

use hanzo::hmm::{GaussianDiag, Hmm, Initial, Transitions};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// A series with its name; `None` where a cell is empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// Name of the column.
    pub(crate) name: String,
    /// The values.
    pub(crate) values: Vec<Option<f64>>,
}

/// Reads a column of a table with a header line.
///
/// # Errors
///
/// One line that says which file, line or column is wrong.
pub(crate) fn read(path: &Path, column: Option<&str>) -> Result<Series, String> {
    let shown = path.display();
    let mut table =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|e| format!("{shown}: {e}"))?;
    let header = table.headers().map_err(|e| format!("{shown}: {e}"))?.clone();
    let records = table.records().collect::<Result<Vec<_>, _>>().map_err(|e| format!("{shown}: {e}"))?;
    let first = records.first().ok_or_else(|| format!("{shown}: no line after the header"))?;
    let at = match column {
        Some(name) => header
            .iter()
            .position(|title| title == name)
            .ok_or_else(|| format!("{shown}: no column {name:?} among {:?}", header.iter().collect::<Vec<_>>()))?,
        None => first
            .iter()
            .position(|cell| cell.parse::<f64>().is_ok_and(f64::is_finite))
            .ok_or_else(|| format!("{shown}: no column of numbers"))?,
    };
    let mut values = Vec::with_capacity(records.len());
    for (line, record) in records.iter().enumerate() {
        values.push(match record.get(at).unwrap_or("") {
            "" => None,
            cell => match cell.parse::<f64>() {
                Ok(value) if value.is_finite() => Some(value),
                _ => return Err(format!("{shown}, line {}: {cell:?} is not a number", line + 2)),
            },
        });
    }
    Ok(Series { name: header.get(at).unwrap_or("value").to_owned(), values })
}

/// A series of 1500 values with three regimes.
///
/// # Errors
///
/// Never: the parameters are valid.
pub(crate) fn drawn(seed: u64) -> hanzo::hmm::Result<Series> {
    let model = Hmm::new(
        Initial::Stationary,
        Transitions::new(vec![vec![0.985, 0.01, 0.005], vec![0.02, 0.97, 0.01], vec![0.01, 0.04, 0.95]])?,
        GaussianDiag::new(vec![vec![0.5], vec![-0.2], vec![-2.0]], vec![vec![0.16], vec![1.0], vec![6.0]])?,
    )?;
    let steps = model.sample(&mut Xoshiro256PlusPlus::seed_from_u64(seed), 1500);
    Ok(Series { name: "drawn".into(), values: steps.into_iter().map(|(_, x)| x.first().copied()).collect() })
}

/// Differences of neighbours, of logs where every value is positive; missing where either is.
pub(crate) fn differences(series: Series) -> Series {
    let logs = series.values.iter().flatten().all(|x| *x > 0.0);
    let change = |pair: &[Option<f64>]| match pair {
        [Some(a), Some(b)] if logs => Some((b / a).ln()),
        [Some(a), Some(b)] => Some(b - a),
        _ => None,
    };
    let name = if logs { format!("change of ln {}", series.name) } else { format!("change of {}", series.name) };
    Series { name, values: series.values.windows(2).map(change).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_keep_gaps() {
        let series = Series { name: "x".into(), values: vec![Some(1.0), Some(2.0), None, Some(-1.0), Some(4.0)] };
        assert_eq!(differences(series).values, [Some(1.0), None, None, Some(5.0)]);
    }
}

//! Adapter files, packed words and what packing makes of any matrix.

use std::sync::Arc;

use hanzo_bitdelta::{
    Adapter, Dtype, Entry, Granularity, Layout, MatMut, MatRef, PackOptions, PackedDelta, RawTensor, ReadOptions,
    Verify, ZeroTensor,
};

use crate::Parser;

pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "bitdelta/read_adapter", samples: files, read: read_adapter, memory: 32 },
    Parser { name: "bitdelta/roundtrip_header", samples: headers, read: roundtrip_header, memory: 64 },
    Parser { name: "bitdelta/pack_shapes", samples: || vec![(0..=255).collect()], read: pack_shapes, memory: 256 },
    Parser { name: "bitdelta/reference_import", samples: words, read: reference_import, memory: 256 },
];

fn adapter(layout: Layout) -> Adapter {
    let values: Vec<f32> = (0..35 * 70).map(|i| (i as f32 * 0.37).sin()).collect();
    let matrix = MatRef::new(&values, 35, 70).expect("a shape that fits");
    let rows = PackOptions::new().granularity(Granularity::RowCol).planes(2);
    let blocks = PackOptions::new().granularity(Granularity::block(32).expect("a block of 32"));
    let pack = |options| PackedDelta::from_delta(matrix, options).expect("finite values pack");
    let raw = RawTensor::new(Dtype::F16, &[3], vec![0; 6]).expect("three halves");
    let zero = ZeroTensor::new(Dtype::F32, &[4, 4]).expect("a small shape");
    Adapter::builder()
        .producer("parsers")
        .layout(layout)
        .entry("a", pack(&rows))
        .entry("b", pack(&blocks))
        .entry("c", Entry::Raw(raw))
        .entry("d", Entry::Zero(zero))
        .build()
        .expect("entries of different names")
}

fn files() -> Vec<Vec<u8>> {
    [Layout::Tiled16, Layout::RowMajor64].map(|layout| adapter(layout).to_bytes().expect("it fits")).to_vec()
}

fn read_adapter(bytes: &[u8]) -> bool {
    let options = ReadOptions::new().verify(Verify::Eager);
    let Ok(adapter) = Adapter::from_bytes(Arc::from(bytes), options) else { return false };
    assert_eq!(adapter.to_bytes().expect("it was read"), bytes, "an accepted file is written otherwise");
    for name in adapter.names() {
        let _ = adapter.get(name).expect("eager reading has checked it");
    }
    // Lazy reading says the same.
    let lazy = Adapter::from_bytes(Arc::from(bytes), ReadOptions::new()).expect("eager reading took it");
    assert_eq!(lazy.id(), adapter.id());
    lazy.verify().expect("eager reading took it");
    true
}

/// The header alone, over the payload of a good file.
fn headers() -> Vec<Vec<u8>> {
    vec![header(&files()[0]).0.to_vec()]
}

fn header(file: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = file.split_first_chunk::<8>().expect("a file begins with its header's length");
    rest.split_at(u64::from_le_bytes(*length) as usize)
}

fn roundtrip_header(bytes: &[u8]) -> bool {
    let good = adapter(Layout::Tiled16).to_bytes().expect("it fits");
    let file = [&(bytes.len() as u64).to_le_bytes()[..], bytes, header(&good).1].concat();
    read_adapter(&file)
}

/// Shape, options and values from the bytes; one plane says the sign of every value, and both layouts say the same.
fn pack_shapes(bytes: &[u8]) -> bool {
    let Some((&[rows, cols, granularity, planes, zero], rest)) = bytes.split_first_chunk::<5>() else { return false };
    let (rows, cols) = (usize::from(rows % 40), usize::from(cols));
    let values: Vec<f32> = (0..rows * cols)
        .map(|i| {
            f32::from_le_bytes(std::array::from_fn(|k| rest.get((4 * i + k) % rest.len().max(1)).copied().unwrap_or(0)))
        })
        .collect();
    let granularity = match granularity % 5 {
        0 => Granularity::Tensor,
        1 => Granularity::Row,
        2 => Granularity::Col,
        3 => Granularity::RowCol,
        _ => Granularity::block(32 * (1 + u32::from(granularity / 5 % 3))).expect("a multiple of 32"),
    };
    let sign_zero = if zero % 2 == 0 { hanzo_bitdelta::SignZero::Negative } else { hanzo_bitdelta::SignZero::Positive };
    let options = PackOptions::new().granularity(granularity).planes(usize::from(planes % 6)).sign_zero(sign_zero);
    let matrix = MatRef::new(&values, rows, cols).expect("a value for every place");
    let Ok(packed) = PackedDelta::from_delta(matrix, &options) else { return false };
    let words = packed.to_rowmajor64();
    let wide = cols.div_ceil(64);
    // Least squares chooses the signs of several planes together.
    for (at, value) in values.iter().enumerate().filter(|_| packed.planes() == 1) {
        let bit = words[at / cols * wide + at % cols / 64] >> (at % cols % 64) & 1 == 1;
        let expected = *value > 0.0 || *value == 0.0 && zero % 2 == 1;
        assert_eq!(bit, expected, "the sign of {value} at {at}");
    }
    let again = PackedDelta::from_rowmajor64(&words, packed.spec(), packed.scales()).expect("its own words");
    let tiled = PackedDelta::from_tiled16(&packed.to_tiled16(), packed.spec(), packed.scales()).expect("its own words");
    assert!(again == packed && tiled == packed, "the layouts differ");
    let mut out = vec![0.0_f32; rows * cols];
    let target = MatMut::new(&mut out, rows, cols).expect("a value for every place");
    // Scales of huge values may overflow the sum, which is an error and no change.
    if packed.apply_to(target).is_err() {
        assert!(out.iter().all(|value| *value == 0.0), "a failed application changed its target");
    }
    true
}

/// Two rows of 64 signs with a scale of 1.
fn words() -> Vec<Vec<u8>> {
    let words = [1_u32, 0x8000_0000, 0xdead_beef, 7].map(u32::to_le_bytes);
    vec![[&[2, 64][..], &1.0_f32.to_le_bytes(), words.as_flattened()].concat()]
}

/// Words of the published implementation: 32 signs in an integer, row after row.
fn reference_import(bytes: &[u8]) -> bool {
    let Some((&[rows, cols, a, b, c, d], rest)) = bytes.split_first_chunk::<6>() else { return false };
    let words: Vec<i32> = rest.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word)).collect();
    let scale = f32::from_le_bytes([a, b, c, d]);
    let (rows, cols) = (usize::from(rows), usize::from(cols));
    let Ok(packed) = PackedDelta::from_reference_i32(&words, rows, cols, scale, Dtype::F32) else { return false };
    assert_eq!(packed.to_reference_i32(0).expect("it came from such words"), words);
    true
}

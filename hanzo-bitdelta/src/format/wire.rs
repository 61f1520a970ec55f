//! The JSON of the header: read into fields of the right JSON type, and written canonically. Nothing here knows what the
//! fields mean.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use serde_json::{Map, Value};

use super::{Header, Kind, Stored, granularity_word};
use crate::digest::Hex;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::options::SignZero;

/// A header as JSON: every field is there and has the right JSON type.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) base_digest: String,
    pub(crate) base_id: String,
    pub(crate) format: String,
    pub(crate) layout: String,
    pub(crate) producer: String,
    pub(crate) version: String,
    pub(crate) manifest: Vec<WireEntry>,
    pub(crate) tensors: BTreeMap<String, WireTensor>,
}

/// An entry of the manifest.
#[derive(Debug)]
pub(crate) struct WireEntry {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) kind: WireKind,
}

#[derive(Debug)]
pub(crate) enum WireKind {
    Packed(WirePacked),
    Raw { dtype: String, data: String },
    Zero { source_dtype: String },
}

#[derive(Debug)]
pub(crate) struct WirePacked {
    pub(crate) block: u64,
    pub(crate) cols: u64,
    pub(crate) scale: String,
    pub(crate) sign: String,
    pub(crate) granularity: String,
    pub(crate) planes: u64,
    pub(crate) rows: u64,
    pub(crate) scale_dtype: String,
    pub(crate) sign_zero: String,
    pub(crate) source_dtype: String,
}

/// What the header says of a stored tensor.
#[derive(Debug)]
pub(crate) struct WireTensor {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) offsets: [u64; 2],
}

/// The strings of `__metadata__`, apart from the manifest: the header is refused for its format and version before the
/// manifest is looked at.
pub(crate) fn parse(text: &str) -> Result<Wire> {
    let json: Value = serde_json::from_str(text).map_err(|_| malformed("the header is not JSON"))?;
    let json = object(&json, "the header is not an object")?;
    let metadata = json.get(METADATA).ok_or(malformed("the header has no metadata"))?;
    let metadata = object(metadata, "the metadata is not an object")?;
    let (format, version) = (string(metadata, "format")?, string(metadata, "version")?);
    if format != FORMAT {
        return Err(malformed("the format is not hanzo-bitdelta"));
    }
    if version != VERSION {
        return Err(Error::UnsupportedVersion { found: version });
    }
    let manifest: Value =
        serde_json::from_str(&string(metadata, "manifest")?).map_err(|_| malformed("the manifest is not JSON"))?;
    let manifest = manifest.as_array().ok_or(malformed("the manifest is not an array"))?;
    let mut tensors = BTreeMap::new();
    for (name, value) in json.iter().filter(|(name, _)| *name != METADATA) {
        tensors.insert(name.clone(), tensor(value)?);
    }
    Ok(Wire {
        base_digest: string(metadata, "base_digest")?,
        base_id: string(metadata, "base_id")?,
        format,
        layout: string(metadata, "layout")?,
        producer: string(metadata, "producer")?,
        version,
        manifest: manifest.iter().map(entry).collect::<Result<_>>()?,
        tensors,
    })
}

impl Wire {
    /// The header that a writer states for these fields.
    pub(crate) fn new(header: &Header, stored: &[Stored]) -> Self {
        let entry = |record: &super::Record| WireEntry {
            name: record.name.clone(),
            shape: record.shape.iter().map(|&dim| dim as u64).collect(),
            kind: match &record.kind {
                Kind::Packed { spec, sign, scale } => {
                    let (granularity, block) = granularity_word(spec.granularity);
                    WireKind::Packed(WirePacked {
                        block,
                        cols: spec.cols as u64,
                        scale: Hex(scale).to_string(),
                        sign: Hex(sign).to_string(),
                        granularity: granularity.to_string(),
                        planes: spec.planes as u64,
                        rows: spec.rows as u64,
                        scale_dtype: spec.scale_dtype.dtype().to_string(),
                        sign_zero: sign_zero_word(spec.sign_zero).to_string(),
                        source_dtype: spec.source_dtype.to_string(),
                    })
                }
                Kind::Raw { dtype, data } => WireKind::Raw { dtype: dtype.to_string(), data: Hex(data).to_string() },
                Kind::Zero { source_dtype } => WireKind::Zero { source_dtype: source_dtype.to_string() },
            },
        };
        let tensor = |stored: &Stored| {
            let offsets = [stored.start, stored.end];
            let tensor = WireTensor { dtype: stored.dtype.to_string(), shape: stored.shape.clone(), offsets };
            (stored.name.clone(), tensor)
        };
        Self {
            base_digest: header.base_digest.map(|digest| digest.to_string()).unwrap_or_default(),
            base_id: header.base_id.clone(),
            format: FORMAT.to_string(),
            layout: header.layout.word().to_string(),
            producer: header.producer.clone(),
            version: VERSION.to_string(),
            manifest: header.records.iter().map(entry).collect(),
            tensors: stored.iter().map(tensor).collect(),
        }
    }

    /// The canonical bytes of the header, without trailing spaces.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("{{\"{METADATA}\":{{");
        let manifest = self.render_manifest();
        let metadata = [
            ("base_digest", &self.base_digest),
            ("base_id", &self.base_id),
            ("format", &self.format),
            ("layout", &self.layout),
            ("manifest", &manifest),
            ("producer", &self.producer),
            ("version", &self.version),
        ];
        for (i, (key, value)) in metadata.into_iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "," });
            push_field(&mut out, key, value);
        }
        out.push('}');
        let packed = self.manifest.iter().filter(|entry| matches!(entry.kind, WireKind::Packed(_)));
        let signs: BTreeSet<String> = packed.map(|entry| format!("{}.sign", entry.name)).collect();
        let class = |name: &String, tensor: &WireTensor| {
            if signs.contains(name) { 64 } else { Dtype::from_word(&tensor.dtype).map_or(1, Dtype::size) }
        };
        let mut tensors: Vec<_> = self.tensors.iter().map(|(name, t)| (class(name, t), name, t)).collect();
        tensors.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        for (_, name, tensor) in tensors {
            out.push(',');
            push_string(&mut out, name);
            out.push_str(":{");
            push_field(&mut out, "dtype", &tensor.dtype);
            out.push_str(",\"shape\":");
            push_numbers(&mut out, &tensor.shape);
            out.push_str(",\"data_offsets\":");
            push_numbers(&mut out, &tensor.offsets);
            out.push('}');
        }
        out.push('}');
        out
    }

    fn render_manifest(&self) -> String {
        let mut entries: Vec<&WireEntry> = self.manifest.iter().collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut out = String::from("[");
        for (i, entry) in entries.into_iter().enumerate() {
            out.push_str(if i == 0 { "{" } else { ",{" });
            match &entry.kind {
                WireKind::Packed(packed) => {
                    push_number(&mut out, "block", packed.block);
                    push_number(&mut out, ",cols", packed.cols);
                    out.push_str(",\"digest\":{");
                    push_field(&mut out, "scale", &packed.scale);
                    push_field(&mut out, ",sign", &packed.sign);
                    out.push('}');
                    push_field(&mut out, ",granularity", &packed.granularity);
                    push_field(&mut out, ",kind", "packed");
                    push_field(&mut out, ",name", &entry.name);
                    push_number(&mut out, ",planes", packed.planes);
                    push_number(&mut out, ",rows", packed.rows);
                    push_field(&mut out, ",scale_dtype", &packed.scale_dtype);
                    push_shape(&mut out, entry);
                    push_field(&mut out, ",sign_zero", &packed.sign_zero);
                    push_field(&mut out, ",source_dtype", &packed.source_dtype);
                }
                WireKind::Raw { dtype, data } => {
                    out.push_str("\"digest\":{");
                    push_field(&mut out, "data", data);
                    out.push('}');
                    push_field(&mut out, ",dtype", dtype);
                    push_field(&mut out, ",kind", "raw");
                    push_field(&mut out, ",name", &entry.name);
                    push_shape(&mut out, entry);
                }
                WireKind::Zero { source_dtype } => {
                    push_field(&mut out, "kind", "zero");
                    push_field(&mut out, ",name", &entry.name);
                    push_shape(&mut out, entry);
                    push_field(&mut out, ",source_dtype", source_dtype);
                }
            }
            out.push('}');
        }
        out.push(']');
        out
    }
}

/// The word of a sign rule.
pub(crate) fn sign_zero_word(sign: SignZero) -> &'static str {
    match sign {
        SignZero::Negative => "neg",
        SignZero::Positive => "pos",
    }
}

pub(crate) fn malformed(reason: &'static str) -> Error {
    Error::Malformed { reason }
}

fn entry(value: &Value) -> Result<WireEntry> {
    let entry = object(value, "a manifest entry is not an object")?;
    let digest = |key| {
        let digest = entry.get("digest").ok_or(malformed("a manifest entry has no digest"))?;
        string(object(digest, "a digest is not an object")?, key)
    };
    let kind = match string(entry, "kind")?.as_str() {
        "packed" => WireKind::Packed(WirePacked {
            block: number(entry, "block")?,
            cols: number(entry, "cols")?,
            scale: digest("scale")?,
            sign: digest("sign")?,
            granularity: string(entry, "granularity")?,
            planes: number(entry, "planes")?,
            rows: number(entry, "rows")?,
            scale_dtype: string(entry, "scale_dtype")?,
            sign_zero: string(entry, "sign_zero")?,
            source_dtype: string(entry, "source_dtype")?,
        }),
        "raw" => WireKind::Raw { dtype: string(entry, "dtype")?, data: digest("data")? },
        "zero" => WireKind::Zero { source_dtype: string(entry, "source_dtype")? },
        _ => return Err(malformed("an entry is of an unknown kind")),
    };
    Ok(WireEntry { name: string(entry, "name")?, shape: numbers(entry, "shape")?, kind })
}

fn tensor(value: &Value) -> Result<WireTensor> {
    let tensor = object(value, "a tensor is not an object")?;
    let offsets = numbers(tensor, "data_offsets")?;
    let offsets = offsets.try_into().map_err(|_| malformed("a tensor has not two offsets"))?;
    Ok(WireTensor { dtype: string(tensor, "dtype")?, shape: numbers(tensor, "shape")?, offsets })
}

fn object<'a>(value: &'a Value, reason: &'static str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or(malformed(reason))
}

fn string(map: &Map<String, Value>, key: &str) -> Result<String> {
    let value = map.get(key).and_then(Value::as_str);
    value.map(ToString::to_string).ok_or(malformed("a string of the header is missing"))
}

fn number(map: &Map<String, Value>, key: &str) -> Result<u64> {
    map.get(key).and_then(Value::as_u64).ok_or(malformed("a number of the header is missing"))
}

fn numbers(map: &Map<String, Value>, key: &str) -> Result<Vec<u64>> {
    let values = map.get(key).and_then(Value::as_array).ok_or(malformed("an array of the header is missing"))?;
    values.iter().map(|value| value.as_u64().ok_or(malformed("an element of an array is no number"))).collect()
}

/// Writes a key; a leading comma of `key` goes before the quote.
fn push_key(out: &mut String, key: &str) {
    let bare = key.trim_start_matches(',');
    out.push_str(&key[..key.len() - bare.len()]);
    push_string(out, bare);
    out.push(':');
}

fn push_field(out: &mut String, key: &str, value: &str) {
    push_key(out, key);
    push_string(out, value);
}

fn push_number(out: &mut String, key: &str, value: u64) {
    push_key(out, key);
    out.push_str(&value.to_string());
}

fn push_shape(out: &mut String, entry: &WireEntry) {
    push_key(out, ",shape");
    push_numbers(out, &entry.shape);
}

fn push_numbers(out: &mut String, values: &[u64]) {
    out.push('[');
    for (i, value) in values.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        out.push_str(&value.to_string());
    }
    out.push(']');
}

/// Writes a JSON string: raw UTF-8, and the shortest escapes where JSON asks for one.
fn push_string(out: &mut String, value: &str) {
    out.push('"');
    let mut rest = value;
    // All that is escaped is one byte long.
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing into a string does not fail.
            byte => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Key of the metadata in a safetensors header.
pub(crate) const METADATA: &str = "__metadata__";
const FORMAT: &str = "hanzo-bitdelta";
const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_the_format_says() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é/\u{2028}");
        assert_eq!(out, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}é/\u{2028}\"");
    }
}

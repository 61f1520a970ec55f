//! The one binary encoding of journal bodies and snapshots: fields in order, integers big-endian, `u8` tags for enums
//! and options, `u32` counts for lists. Reading is bounded by the bytes there are.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// A value with a canonical encoding.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError>;

    #[cfg(test)]
    fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// The value of exactly these bytes.
    fn from_wire(bytes: &[u8]) -> Result<Self, WireError> {
        let mut bytes = Bytes(bytes);
        let value = Self::take(&mut bytes)?;
        bytes.finish()?;
        Ok(value)
    }
}

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Too few or too many.
    Length,
    /// A tag that stands for nothing, or a value out of its range.
    Value,
}

/// Bytes still to be read.
#[derive(Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(WireError::Length)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(WireError::Length)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) const fn finish(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Length) }
    }

    /// A count of items that take at least a byte each.
    fn count(&mut self) -> Result<usize, WireError> {
        let count = u32::take(self)? as usize;
        if count > self.0.len() { Err(WireError::Length) } else { Ok(count) }
    }
}

macro_rules! wire_int {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
                Ok(Self::from_be_bytes(bytes.array()?))
            }
        }
    )*};
}
wire_int!(u8, u16, u32, u64, u128, i128);

/// `wire_struct!(T { a, b })` for a struct whose fields are valid whatever their values.
macro_rules! wire_struct {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }
            fn take(bytes: &mut $crate::wire::Bytes<'_>) -> Result<Self, $crate::wire::WireError> {
                $(let $field = $crate::wire::Wire::take(bytes)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
}

/// `wire_enum!(T { 0 => A, 1 => B { x, y }, 2 => C(z) })`.
macro_rules! wire_enum {
    ($type:ty { $($tag:literal => $variant:ident $({ $($field:ident),* })? $(( $item:ident ))?),* $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($item))? => {
                        out.push($tag);
                        $($($crate::wire::Wire::put($field, out);)*)?
                        $($crate::wire::Wire::put($item, out);)?
                    })*
                }
            }
            fn take(bytes: &mut $crate::wire::Bytes<'_>) -> Result<Self, $crate::wire::WireError> {
                Ok(match <u8 as $crate::wire::Wire>::take(bytes)? {
                    $($tag => Self::$variant
                        $({ $($field: $crate::wire::Wire::take(bytes)?),* })?
                        $(({ let $item = $crate::wire::Wire::take(bytes)?; $item }))?,)*
                    _ => return Err($crate::wire::WireError::Value),
                })
            }
        }
    };
}
pub(crate) use {wire_enum, wire_struct};

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        match u8::take(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value),
        }
    }
}

impl Wire for [u8; 32] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        bytes.array()
    }
}

impl Wire for [u64; 4] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|n| n.put(out));
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok([u64::take(bytes)?, u64::take(bytes)?, u64::take(bytes)?, u64::take(bytes)?])
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok((A::take(bytes)?, B::take(bytes)?))
    }
}

impl<A: Wire, B: Wire, C: Wire> Wire for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok((A::take(bytes)?, B::take(bytes)?, C::take(bytes)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok(if bool::take(bytes)? { Some(T::take(bytes)?) } else { None })
    }
}

fn put_all<'a, T: Wire + 'a>(items: impl ExactSizeIterator<Item = &'a T>, out: &mut Vec<u8>) {
    // A list of 2^32 items does not come up: they would take more memory than the journal lets through.
    (items.len() as u32).put(out);
    items.for_each(|item| item.put(out));
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.iter(), out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        (0..bytes.count()?).map(|_| T::take(bytes)).collect()
    }
}

impl<T: Wire> Wire for VecDeque<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.iter(), out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        (0..bytes.count()?).map(|_| T::take(bytes)).collect()
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let mut map = Self::new();
        for _ in 0..bytes.count()? {
            let key = K::take(bytes)?;
            // One encoding a map: by rising key.
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(WireError::Value);
            }
            map.insert(key, V::take(bytes)?);
        }
        Ok(map)
    }
}

/// A hash map, encoded by rising key.
pub(crate) fn put_hash_map<K: Wire + Ord + Copy, V: Wire, S>(map: &hashbrown::HashMap<K, V, S>, out: &mut Vec<u8>) {
    let mut entries: Vec<(K, &V)> = map.iter().map(|(k, v)| (*k, v)).collect();
    entries.sort_unstable_by_key(|e| e.0);
    (entries.len() as u32).put(out);
    for (key, value) in entries {
        key.put(out);
        value.put(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_and_bytes_are_bounded() {
        let map: BTreeMap<u16, (bool, Option<u128>)> = [(1, (true, None)), (7, (false, Some(9)))].into();
        let bytes = map.to_wire();
        assert_eq!(BTreeMap::from_wire(&bytes), Ok(map));
        for cut in 0..bytes.len() {
            assert!(BTreeMap::<u16, (bool, Option<u128>)>::from_wire(&bytes[..cut]).is_err());
        }
        // A count no bytes stand behind allocates nothing.
        assert_eq!(Vec::<u8>::from_wire(&[255, 255, 255, 255]), Err(WireError::Length));
        assert_eq!(bool::from_wire(&[2]), Err(WireError::Value));
        assert_eq!(u8::from_wire(&[2, 3]), Err(WireError::Length));
        // Keys out of order are another encoding of the same map.
        let twice = [0, 0, 0, 2, 0, 1, 9, 0, 1, 9];
        assert_eq!(BTreeMap::<u16, u8>::from_wire(&twice), Err(WireError::Value));
    }
}
